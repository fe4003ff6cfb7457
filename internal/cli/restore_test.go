package cli_test

import (
	"testing"

	"github.com/accountd/accountd/keys"
)

// TestRestoreKnowsItsUsers: nobody has credentials that are valid again without
// that being said, and the local store learns of the users that it can.
func TestRestoreKnowsItsUsers(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "users")
	p.ok("add", "user", "u1", "-a", "users")
	pair, err := keys.NewUser()
	if err != nil {
		t.Fatal(err)
	}
	p.ok("add", "user", "own", "-a", "users", "-k", pair.PublicKey())
	was, _ := p.user("users", "u1")
	account, _ := p.account("users")
	p.ok("delete", "account", "users", "--yes").says("until the undo brings them back: own, u1\n",
		"the undo makes the credentials of all users valid again", "--revoke-users", "undo: nsc restore account users")
	p.ok("restore", "account", "users").says("users that are back: own, u1\n").complains(
		"also those of users that the local store has forgotten", "nsc revoke user '*' -a users")
	if doc, _ := p.user("users", "u1"); doc.Token != was.Token {
		t.Error("the user is another one")
	}
	if names, _ := p.operator().Users("users"); len(names) != 2 {
		t.Errorf("users %v", names)
	}
	p.ok("delete", "account", "users", "--yes", "--rm-creds").complains("forgotten here for good: own, u1\n")
	p.unchanged(func() {
		p.ok("restore", "account", "users", "--revoke-users", "--dry-run").says("all users are revoked")
	})
	if kept, err := p.operator().KeptUsers(account.Subject); err != nil || len(kept) != 0 {
		t.Errorf("kept %d, %v", len(kept), err)
	}
	var m mutation
	p.ok("restore", "account", "users", "--revoke-users", "--json").json(&m)
	defer func() {
		p.ok("delete", "account", "users", "--yes", "--no-push").complains("stay in force on the servers")
	}()
	if _, ac := p.account("users"); m.Revoked["*"] < was.IssuedAt || ac.Revocations["*"] != m.Revoked["*"] || !m.Proven {
		t.Errorf("%+v, revocations %v", m, ac.Revocations)
	}
}
