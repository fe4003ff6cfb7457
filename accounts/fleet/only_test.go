package fleet

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/revocation"
)

// device is one credential that was issued.
type device struct {
	key, issuer string
	iat, exp    int64
	revoked     bool
}

// TestNothingRevokedComesBack: whatever is revoked stays refused until it has
// expired, and nobody else is refused, in any order of issuing, revoking,
// taking back, rolling and compacting, with signers whose clocks are off.
func TestNothingRevokedComesBack(t *testing.T) {
	t.Parallel()
	f := Fleet{Name: "sensors", Cohorts: 2, TTL: time.Hour, Confine: ByID}
	fresh := publicKeys(t, 60)
	rapid.Check(t, func(rt *rapid.T) {
		ac := jwt.NewAccountClaims(fresh[0])
		ac.Name = "iot"
		if err := SetOnly(ac, f.TTL); err != nil {
			rt.Fatal(err)
		}
		template, _ := f.Template(ac)
		if err := Add(ac, f, template, fresh[1:3]); err != nil {
			rt.Fatal(err)
		}
		next, now := 3, int64(1_000_000)
		var devices []*device
		cut := map[string]bool{} // keys that were retired before what they signed had expired
		pick := func(label string) *device {
			if len(devices) == 0 {
				return nil
			}
			return devices[rapid.IntRange(0, len(devices)-1).Draw(rt, label)]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"issue": func(rt *rapid.T) {
				signers, err := f.Signers(ac)
				if err != nil {
					rt.Fatal(err)
				}
				iat := now + rapid.Int64Range(-300, 300).Draw(rt, "skew")
				d := &device{key: string(rune('a'+len(devices)%26)) + time.Duration(len(devices)).String(), issuer: signers[rapid.IntRange(0, 1).Draw(rt, "cohort")].Public, iat: iat, exp: iat + 3600}
				devices = append(devices, d)
			},
			"revoke": func(rt *rapid.T) {
				if d := pick("revoked"); d != nil {
					list := revocation.List(ac.Revocations).Merge(revocation.List{d.key: max(now, d.iat)})
					ac.Revocations, d.revoked = jwt.RevocationList(list), true
				}
			},
			"unrevoke": func(rt *rapid.T) {
				if d := pick("un-revoked"); d != nil {
					delete(ac.Revocations, d.key)
					d.revoked = false
				}
			},
			"roll": func(rt *rapid.T) {
				if next < len(fresh) {
					f.Roll(ac, template, map[int]string{rapid.IntRange(0, 1).Draw(rt, "cohort"): fresh[next]}, Until(now+3600+300))
					next++
				}
			},
			"cut a cohort": func(rt *rapid.T) {
				if next < len(fresh) {
					for _, k := range f.Roll(ac, template, map[int]string{rapid.IntRange(0, 1).Draw(rt, "cohort"): fresh[next]}, Window{}) {
						cut[k.Public] = true
					}
					next++
				}
			},
			"compact": func(*rapid.T) { Compact(ac, time.Unix(now, 0), false) },
			"wait":    func(rt *rapid.T) { now += rapid.Int64Range(1, 3000).Draw(rt, "seconds") },
			"": func(rt *rapid.T) {
				for _, d := range devices {
					if now >= d.exp {
						continue
					}
					refused := !ac.SigningKeys.Contains(d.issuer) || revocation.List(ac.Revocations).Covers(d.key, d.iat)
					if refused != (d.revoked || cut[d.issuer]) {
						rt.Fatalf("at %d: %+v refused %v; list %v", now, *d, refused, ac.Revocations)
					}
				}
			},
		})
	})
}

func TestCompact(t *testing.T) {
	t.Parallel()
	f := sensors(2)
	ac := add(t, f)
	now := time.Unix(2_000_000_000, 0)
	f.Roll(ac, Scope(ac, f.Keys(ac)[0]), map[int]string{0: publicKeys(t, 1)[0]}, Until(now.Unix()))
	ac.Revocations = jwt.RevocationList{"UA": 5}
	done := Compact(ac, now.Add(-time.Second), false)
	if !done.Empty() {
		t.Fatalf("took out %+v", done)
	}
	done = Compact(ac, now, false)
	if len(done.Keys) != 1 || done.Keys[0].Role != "sensors/c00e1" || done.Entries != 0 || done.Horizon != 0 || len(ac.Revocations) != 1 {
		t.Fatalf("took out %+v of an account with long-lived users", done)
	}
	if err := SetOnly(ac, f.TTL); err != nil {
		t.Fatal(err)
	}
	horizon := now.Add(-f.TTL - Skew).Unix()
	ac.Revocations["UB"], ac.Revocations["UC"] = horizon, horizon+1
	done = Compact(ac, now, false)
	if done.Entries != 2 || done.Horizon != horizon || len(ac.Revocations) != 2 || ac.Revocations[revocation.All] != horizon || ac.Revocations["UC"] == 0 {
		t.Fatalf("took out %+v, left %v", done, ac.Revocations)
	}
	if again := Compact(ac, now, false); !again.Empty() || slices.ContainsFunc(ac.Tags, func(s string) bool { return s == retireTag("sensors/c00e1", now.Unix()) }) {
		t.Fatalf("took out twice: %+v", again)
	}
}
