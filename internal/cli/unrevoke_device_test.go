package cli_test

import (
	"strings"
	"testing"
	"time"
)

// TestUnrevokeDevice: what comes off the list connects again, and of what does
// not the receipt says why.
func TestUnrevokeDevice(t *testing.T) {
	t.Parallel()
	p := iot(t)
	p.ok("issue", "-a", "iot", "--count", "40", "--prefix", "s-", "--tag", "site:7", "--out", "a.ndjson")
	a := lines(t, p.text("a.ndjson"))
	p.put("list.txt", "\ufeff"+a[0].ID+"\r\n\r\n"+a[1].Public+"\r\n"+a[0].ID+"\r\n")
	p.ok("revoke", "device", "--file", "list.txt", "--from", "a.ndjson", "-a", "iot", "--yes").says("2 devices")
	p.unchanged(func() {
		p.run("unrevoke", "device", "-a", "iot").exits(2).complains("say which devices")
		p.run("unrevoke", "device", "--cohort", "1", "-a", "iot").exits(2).complains("--from")
		p.run("unrevoke", "device", "--cohort", "4", "--from", "a.ndjson", "-a", "iot").exits(2)
		p.run("unrevoke", "device", a[0].Seed, "-a", "iot").exits(2)
		p.run("unrevoke", "device", a[0].ID, "-a", "iot").exits(3).complains("unknown-key", "--from")
		p.ok("unrevoke", "device", a[0].ID, "--from", "a.ndjson", "-a", "iot", "--dry-run").says("would un-revoke device s-1")
	})
	p.ok("unrevoke", "device", a[0].ID, a[5].ID, "--from", "a.ndjson", "-a", "iot").
		says("1 of 2 devices of fleet sensors", "1 device not on the list", "undo: nsc revoke device s-1 s-6 -a iot --from a.ndjson")
	p.ok("unrevoke", "device", a[0].ID, "--from", "a.ndjson", "-a", "iot").says("already so")
	p.ok("unrevoke", "device", a[1].Public, "-a", "iot").says("of which no credential is known here")
	for _, l := range a {
		if p.refused("iot", l) {
			t.Errorf("%s is refused", l.ID)
		}
	}
}

func TestUnrevokeDeviceSaysWhatStaysRefused(t *testing.T) {
	t.Parallel()
	p := iot(t)
	p.ok("issue", "-a", "iot", "--count", "40", "--prefix", "s-", "--tag", "site:7", "--out", "a.ndjson")
	a := lines(t, p.text("a.ndjson"))
	p.ok("revoke", "device", "--tag", "site:7", "--from", "a.ndjson", "-a", "iot")
	p.ok("revoke", "device", "--cohort", "2", "-a", "iot", "--yes")
	var res struct {
		Returned struct{ Devices, Returned, Retired, Covered int }
	}
	r := p.ok("unrevoke", "device", "--tag", "site:7", "--from", "a.ndjson", "-a", "iot", "--json")
	r.json(&res)
	stays := 0
	for _, l := range a {
		if p.refused("iot", l) {
			stays++
		}
	}
	if got := res.Returned; got.Devices != 40 || got.Returned != 40 || stays == 0 || got.Retired != stays {
		t.Fatalf("%+v, %d stay refused", got, stays)
	}
	if !strings.Contains(r.out, "the key that signed is retired for ever") {
		t.Error(r.out)
	}
	p.now = func() time.Time { return time.Now().Add(time.Second) }
	p.ok("revoke", "user", "*", "-a", "iot")
	p.run("unrevoke", "device", "--tag", "site:7", "--from", "a.ndjson", "-a", "iot").exits(4).complains("covered", "nsc issue -a iot --public-keys")
}

// TestHostileLists: what is no list of devices is refused with its place, and
// without what it holds.
func TestHostileLists(t *testing.T) {
	t.Parallel()
	p := iot(t)
	p.ok("issue", "-a", "iot", "--count", "1", "--prefix", "s-", "--out", "a.ndjson")
	seed := lines(t, p.text("a.ndjson"))[0].Seed
	for name, text := range map[string]string{
		"long": "ok\n" + strings.Repeat("a", 1<<20), "wide": "a b c d\n", "utf16": "\xff\xfes\x00-\x00", "nul": "a\x00b\n",
		"seed": seed + "\n", "half": p.text("a.ndjson")[:300] + "\n", "all": "*\n", "deep": "a.b\n", "dots": "..\n",
	} {
		p.put(name, text)
		p.unchanged(func() {
			r := p.run("revoke", "device", "--file", name, "-a", "iot", "--yes").exits(7).complains(name + ", line ")
			if strings.Contains(r.err, seed) {
				t.Error("a seed is shown")
			}
		})
	}
	p.put("empty", "\n# nobody\n\n")
	p.run("revoke", "device", "--file", "empty", "-a", "iot", "--yes").exits(3).complains("no device is named there")
	p.run("edit", "fleet", "-a", "iot", "--abort-roll", "--cohort", "1").exits(2)
	p.run("edit", "fleet", "-a", "iot", "--roll-at", "50", "--cohort", "1").exits(2)
}

// TestListsOfOtherAccounts: what issue wrote for another account is refused.
func TestListsOfOtherAccounts(t *testing.T) {
	t.Parallel()
	p := iot(t)
	p.ok("add", "fleet", "cams", "-a", "app", "--cohorts", "1", "--ttl", "1h")
	p.ok("issue", "-a", "app", "--count", "3", "--prefix", "s-", "--tag", "x", "--out", "b.ndjson")
	p.unchanged(func() {
		p.run("revoke", "device", "--file", "b.ndjson", "-a", "iot", "--yes").exits(7).complains("b.ndjson, line 1", "other-account")
		p.run("revoke", "device", "s-2", "--from", "b.ndjson", "-a", "iot").exits(7).complains("b.ndjson, line 2", "other-account")
		p.run("unrevoke", "device", "--tag", "x", "--from", "b.ndjson", "-a", "iot").exits(7).complains("other-account")
	})
}
