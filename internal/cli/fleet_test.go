package cli_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountd/accountd/accounts/fleet"
)

// iot is a person with a fleet-only account iot and the fleet sensors of four
// cohorts.
func iot(t *testing.T) *person {
	t.Helper()
	p := local(t)
	p.ok("add", "account", "iot", "--fleet-only", "--ttl", "168h")
	p.ok("add", "fleet", "sensors", "-a", "iot", "--cohorts", "4").says("fleet sensors in iot  4 cohorts, credentials live at most 168h",
		"devices publish    iot.{{name()}}.>", "_INBOX.{{subject()}}.>")
	return p
}

func TestAddFleet(t *testing.T) {
	t.Parallel()
	p := iot(t)
	_, ac := p.account("iot")
	f, err := fleet.Find(ac, "sensors")
	if err != nil || len(f.Keys(ac)) != 4 {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, k := range f.Keys(ac) {
		if !p.store().Keystore().HasSeed(k.Public) {
			t.Errorf("the seed of %s is not here", k.Role)
		}
	}
	key := f.Keys(ac)[0]
	if out := p.ok("describe", "account", "iot").says("fleet sensors  4 keys").out; strings.Contains(out, key.Role) {
		t.Errorf("the keys of a fleet are listed one by one:\n%s", out)
	}
	p.ok("describe", "account", "iot", "-W").says("role " + key.Role + "  " + key.Public)
	p.unchanged(func() {
		p.ok("add", "fleet", "b", "-a", "iot", "--dry-run").says("fleet b in iot  64 cohorts", "nothing was changed")
		p.run("add", "fleet", "sensors", "-a", "iot").exits(5).complains("fleet-exists", "nsc describe fleet sensors -a iot")
		p.run("add", "fleet", "B", "-a", "iot").exits(7).complains("fleet-name")
		p.run("add", "fleet", "b", "-a", "iot", "--ttl", "169h").exits(7).complains("live at most 168h")
		p.run("add", "fleet", "b", "-a", "iot", "--role", "none").exits(3)
		p.run("add", "fleet", "b", "-a", "iot", "--allow-sub", "a..b").exits(7)
		p.run("add", "fleet", "-a", "iot").exits(2)
		p.run("add", "account", "x", "--ttl", "1h").exits(2).complains("--fleet-only")
		p.run("add", "account", "x", "--fleet-only", "--ttl", "1s").exits(7)
	})
	p.ok("edit", "signing-key", "--sk", "generate", "--role", "pump", "-a", "iot", "--allow-pub", "pumps.>")
	p.ok("add", "fleet", "pumps", "-a", "iot", "--role", "pump", "--cohorts", "2", "--allow-sub", "cmd.{{name()}}", "--confine", "key").
		says("devices publish    pumps.>", "devices subscribe  cmd.{{name()}}")
	p.ok("add", "fleet", "keyed", "-a", "iot", "--confine", "key", "--cohorts", "1").says("iot.{{subject()}}.>")
	p.ok("list", "fleets", "-a", "iot").says("sensors", "pumps", "keyed", "LIFETIME")
	p.ok("list", "fleets", "-a", "app").complains("account app has no fleet")
	p.run("describe", "fleet", "-a", "iot").exits(2).complains("has 3 fleets and none is named")
	p.run("describe", "fleet", "nope", "-a", "iot").exits(3)
}

func TestFleetOnlyAccountsRefuseLongLivedUsers(t *testing.T) {
	t.Parallel()
	p := iot(t)
	p.unchanged(func() {
		p.run("add", "user", "x", "-a", "iot").exits(4).complains("fleet-only", "--expiry")
		p.run("add", "user", "x", "-a", "iot", "--expiry", "8d").exits(4)
	})
	p.ok("add", "user", "x", "-a", "iot", "--expiry", "7d")
	p.run("edit", "user", "x", "-a", "iot", "--expiry", "0").exits(4).complains("fleet-only")
}

func TestEditFleetKeepsKeys(t *testing.T) {
	t.Parallel()
	p := iot(t)
	_, ac := p.account("iot")
	f, _ := fleet.Find(ac, "sensors")
	before := f.Keys(ac)
	p.ok("add", "station", "line4", "--fleet", "sensors", "-a", "iot", "--until", "90d").says("station line4 of fleet sensors", "nsc compact iot")
	p.run("add", "station", "line4", "-a", "iot").exits(5)
	p.run("add", "station", "line5", "-a", "iot", "--until", "2020-01-01").exits(2)
	p.ok("edit", "fleet", "-a", "iot", "--ttl", "48h").says("live at most 48h")
	p.ok("edit", "fleet", "-a", "iot", "--ttl", "48h").says("already so")
	p.ok("edit", "fleet", "-a", "iot", "--roll", "--cohort", "2").says("1 cohort got new keys")
	p.ok("edit", "fleet", "-a", "iot", "--allow-sub", "iot.news").says("4 cohorts got new keys", "iot.news").
		complains("stations keep the key", "line4")
	p.run("edit", "fleet", "-a", "iot", "--roll", "--cohort", "4").exits(2)
	p.run("edit", "fleet", "-a", "iot", "--allow-sub", "x", "--cohort", "1").exits(2)
	p.run("edit", "fleet", "-a", "iot").exits(2)
	_, ac = p.account("iot")
	f, _ = fleet.Find(ac, "sensors")
	for _, k := range before {
		if !ac.SigningKeys.Contains(k.Public) || slices.Contains(fleet.Scope(ac, k).Sub.Allow, "iot.news") {
			t.Errorf("%s is gone or changed", k.Role)
		}
	}
	signers, err := f.Signers(ac)
	if err != nil || signers[2].Epoch != 3 || signers[1].Epoch != 2 {
		t.Fatalf("%+v, %v", signers, err)
	}
	p.ok("describe", "fleet", "-a", "iot").says("4 cohort keys that sign now", "sensors/c02e2", "sensors/station-line4", "here")
	var v struct {
		Keys []struct {
			Role string
			Seed bool
		}
	}
	p.ok("describe", "fleet", "-a", "iot", "--json").json(&v)
	if len(v.Keys) != 10 || !v.Keys[0].Seed {
		t.Errorf("keys %+v", v.Keys)
	}
}

// TestRollOverTime: old keys are retired one by one within the time that was
// given, and not before all has expired once that is taken back.
func TestRollOverTime(t *testing.T) {
	t.Parallel()
	p := iot(t)
	p.unchanged(func() {
		p.run("edit", "fleet", "-a", "iot", "--roll", "--over", "1s").exits(2).complains("between 1m and")
		p.run("edit", "fleet", "-a", "iot", "--roll", "--over", "169h").exits(2)
		p.run("edit", "fleet", "-a", "iot", "--over", "1h").exits(2)
		p.run("edit", "fleet", "-a", "iot", "--ttl", "1h", "--over", "1h").exits(2).complains("--over is for new keys")
		p.run("edit", "fleet", "-a", "iot", "--abort-roll", "--roll").exits(2)
		p.run("revoke", "device", "x", "-a", "iot", "--over", "1h").exits(2).complains("--graceful")
		p.ok("edit", "fleet", "-a", "iot", "--abort-roll").says("no roll cuts anybody", "already so")
	})
	start := time.Now()
	p.now = func() time.Time { return start }
	p.ok("edit", "fleet", "-a", "iot", "--roll", "--over", "1h").says("4 cohorts got new keys", "undo: nsc edit fleet sensors -a iot --abort-roll").
		complains("are cut, cohort by cohort from", "they need new ones")
	var v struct {
		Roll struct {
			Old        int `json:"old_keys"`
			Next, Last int64
		}
	}
	p.ok("describe", "fleet", "-a", "iot", "--json").json(&v)
	if v.Roll.Old != 4 || v.Roll.Next != start.Unix()+1795+1795/4 || v.Roll.Last != start.Unix()+3590 {
		t.Fatalf("%+v", v)
	}
	p.now = func() time.Time { return start.Add(46 * time.Minute) }
	p.ok("compact", "iot").says("sensors/c00e1", "sensors/c01e1")
	p.ok("describe", "fleet", "-a", "iot").says("rolling       2 old keys admit what they signed, retired from ")
	p.ok("edit", "fleet", "-a", "iot", "--abort-roll").says("2 old keys admit what they signed until it has expired").complains("--graceful could not list")
	p.now = func() time.Time { return start.Add(2 * time.Hour) }
	p.ok("compact", "iot")
	_, ac := p.account("iot")
	if len(ac.SigningKeys) != 6 {
		t.Fatalf("keys %v", ac.SigningKeys.Keys())
	}
	p.now = func() time.Time { return start.Add(169 * time.Hour) }
	p.ok("compact", "iot").says("sensors/c03e1")
	if out := p.ok("describe", "fleet", "-a", "iot").out; strings.Contains(out, "rolling") {
		t.Error(out)
	}
}

func TestDeleteFleet(t *testing.T) {
	t.Parallel()
	p := iot(t)
	p.run("delete", "fleet", "sensors", "-a", "iot").exits(2).complains("will be cut and refused for ever", "--yes")
	p.ok("delete", "fleet", "sensors", "-a", "iot", "--yes").says("deleted fleet sensors of iot, 4 signing keys")
	_, ac := p.account("iot")
	if len(ac.SigningKeys) != 0 || strings.Contains(strings.Join(ac.Tags, " "), "sensors") {
		t.Errorf("left %v %v", ac.SigningKeys, ac.Tags)
	}
	p.run("delete", "fleet", "sensors", "-a", "iot", "--yes").exits(3)
}

func TestCompact(t *testing.T) {
	t.Parallel()
	p := iot(t)
	p.ok("add", "station", "line4", "-a", "iot", "--until", "1d")
	p.ok("edit", "fleet", "-a", "iot", "--roll", "--cohort", "0")
	p.ok("add", "user", "x", "-a", "iot", "--expiry", "1d")
	p.ok("revoke", "user", "x", "-a", "iot")
	p.now = func() time.Time { return time.Now().Add(time.Hour) }
	p.ok("compact", "iot").says("refused is what was issued until").says("lives longer than it may")
	p.now = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }
	p.unchanged(func() {
		p.ok("compact", "iot", "--dry-run").says("sensors/station-line4", "sensors/c00e1", "1 revocation of credentials that have expired", "would be retired for ever")
	})
	p.ok("compact", "iot").says("sensors/station-line4", "sensors/c00e1")
	_, ac := p.account("iot")
	if len(ac.SigningKeys) != 4 || len(ac.Revocations) != 1 {
		t.Errorf("left %v and %v", ac.SigningKeys.Keys(), ac.Revocations)
	}
	p.ok("unrevoke", "user", "*", "-a", "iot").says("already so")
	p.ok("compact", "app").says("nothing to take out")
	p.ok("edit", "account", "app", "--tag", "fleet-only:24h")
	p.ok("add", "user", "y", "-a", "app", "--expiry", "1d")
	p.ok("edit", "account", "app", "--rm-tag", "fleet-only:24h")
	p.ok("edit", "user", "y", "-a", "app", "--expiry", "0")
	p.ok("edit", "account", "app", "--tag", "fleet-only:24h")
	p.run("compact", "app").exits(5).complains("fleet-only", "nsc edit user y -a app --expiry 1d")
}
