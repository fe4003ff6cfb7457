package cli_test

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestNearAccounts: a misspelt account that only accountd knows has a
// suggestion, too.
func TestNearAccounts(t *testing.T) {
	t.Parallel()
	p := own(t).person(t)
	q := p.twin()
	p.ok("add", "account", "payments")
	p.ok("add", "account", "vanished")
	p.ok("delete", "account", "vanished", "--yes")
	q.unchanged(func() {
		q.run("status", "paymets").exits(3).complains(`did you mean "payments"?`)
		q.run("pull", "-a", "paymets").exits(3).complains(`did you mean "payments"?`)
		q.run("restore", "account", "vanishd").exits(3).complains(`did you mean "vanished"?`)
		if r := q.run("restore", "account", "paymets").exits(3); strings.Contains(r.err, "did you mean") {
			t.Errorf("an account that is not deleted is offered: %s", r.err)
		}
		p.run("edit", "operator", "--start", "30d").exits(7).complains("nsc edit operator --start 0")
	})
}

// TestPullAllSaysWhatItRefused: in the JSON, too.
func TestPullAllSaysWhatItRefused(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "torn")
	q := p.twin()
	p.ok("edit", "account", "torn", "--tag", "theirs")
	q.ok("edit", "account", "torn", "--tag", "mine", "--no-push")
	var all struct{ Results []mutation }
	r := q.run("pull", "-A", "--json").json(&all)
	if r.code == 0 {
		t.Error("the pull succeeds")
	}
	for _, m := range all.Results {
		if m.Name == "torn" && (m.Outcome != "refused" || m.Error == nil) || m.Error != nil && m.Outcome != "refused" {
			t.Errorf("%+v", m)
		}
	}
}

// TestWordsAndFlags: what is wrong is named, and what was offered once is
// accepted.
func TestWordsAndFlags(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.run("upgrade-jwt").exits(2).complains("official tool alone", "nsc upgrade-jwt")
	p.run("revoke", "usr", "me", "-a", "app").exits(2).complains(`unknown command "revoke usr"`, "did you mean: nsc revoke user")
	p.run("revok", "user", "me", "-a", "app").exits(2).complains("did you mean: nsc revoke")
	p.run("revoke", "--bogus").exits(2).complains("unknown flag --bogus")
	p.run("list", "accounts", "-i").exits(2)
	p.ok("add", "account", "--help").says("ask for the values that are not given as flags")
	p.ok("edit", "account", "app", "--conns", "0", "--leaf-conns", "0", "--subscriptions", "0").
		complains("with --conns 0 no client can connect", "no leaf node can connect", "nobody can subscribe")
	if r := p.ok("edit", "account", "app", "--conns", "5", "--leaf-conns", "-1", "--subscriptions", "-1"); strings.Contains(r.err, "warning") {
		t.Error(r.err)
	}
}

// TestStoreOfVersionOne: a store of 2020 says what upgrades it.
func TestStoreOfVersionOne(t *testing.T) {
	t.Parallel()
	p := local(t)
	token, err := p.operator().JWT()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(token, ".")
	token = base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"jwt","alg":"ed25519"}`)) + "." + rest
	file := p.put("data/nats/nsc/stores/acme/acme.jwt", token)
	for _, line := range []string{"list accounts", "add account b", "edit operator --tag x", "push -A", "validate", "describe jwt --file " + file} {
		p.run(strings.Fields(line)...).exits(7).complains("version-1", "official tool: nsc upgrade-jwt")
	}
}
