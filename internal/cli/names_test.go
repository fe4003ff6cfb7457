package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// plant puts a user into the store under a name that only other tools give.
func (p *person) plant(account, name string) (key string) {
	p.t.Helper()
	pair, err := keys.NewUser()
	if err != nil {
		p.t.Fatal(err)
	}
	p.ok("add", "user", "plain", "-a", account, "-k", pair.PublicKey())
	doc, _ := p.user(account, "plain")
	seed, err := p.store().Keystore().Seed(doc.Issuer)
	if err != nil {
		p.t.Fatal(err)
	}
	signer, err := keys.AccountFromSeed(seed)
	if err != nil {
		p.t.Fatal(err)
	}
	draft, err := claims.Edit(doc, func(uc *jwt.UserClaims) error { uc.Name = name; return nil })
	if err != nil {
		p.t.Fatal(err)
	}
	next, err := draft.Sign(signer, p.now().Unix())
	if err != nil {
		p.t.Fatal(err)
	}
	err = p.store().Update(context.Background(), p.operatorName(), func(tx *nscstore.Tx) error { return tx.DeleteUser(account, "plain") })
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(p.operator().Dir(), "accounts", account, "users", name+".jwt")
	if err := os.WriteFile(file, []byte(next.Token), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return pair.PublicKey()
}

// TestAKeyIsAKeyAndNeverAName: a user that is called like another one's key
// does not stand in for it.
func TestAKeyIsAKeyAndNeverAName(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "victim", "-a", "app")
	doc, _ := p.user("app", "victim")
	impostor := p.plant("app", doc.Subject)

	p.ok("revoke", "user", doc.Subject, "-a", "app").says("of victim in app ("+keys.Short(doc.Subject)+")", "undo: nsc unrevoke user victim -a app")
	if _, ac := p.account("app"); ac.Revocations[doc.Subject] == 0 || len(ac.Revocations) != 1 {
		t.Errorf("revocations %v", ac.Revocations)
	}
	p.ok("unrevoke", "user", doc.Subject, "-a", "app")
	p.ok("revoke", "user", impostor, "-a", "app").says("of "+keys.Short(impostor)+" in app", "undo: nsc unrevoke user "+impostor)
	p.ok("delete", "user", impostor, "-a", "app")
	if _, ac := p.account("app"); ac.Revocations[impostor] == 0 || len(ac.Revocations) != 1 {
		t.Errorf("revocations %v", ac.Revocations)
	}
	if names, _ := p.operator().Users("app"); len(names) != 1 || names[0] != "victim" {
		t.Errorf("users %v", names)
	}
	p.ok("add", "user", doc.Subject, "-a", "app", "--reissue").says("user victim in app")
	p.run("edit", "user", impostor, "-a", "app", "--tag", "x").exits(3).complains("no user with the key")

	other, _ := p.account("app")
	p.ok("add", "account", "web")
	p.ok("edit", "account", other.Subject, "--tag", "x").says("account app")
	p.run("edit", "account", impostor, "--tag", "x").exits(3)
}

// TestDeleteUserKnowsNoAllUsers: not even where a user has that name.
func TestDeleteUserKnowsNoAllUsers(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	key := p.plant("app", "*")
	p.unchanged(func() {
		p.run("delete", "user", "*", "-a", "app").exits(2).complains("names no user to delete", "nsc revoke user '*' -a app", "by its public key")
	})
	p.ok("delete", "user", key, "-a", "app").says(keys.Short(key))
	if _, ac := p.account("app"); ac.Revocations[key] == 0 || len(ac.Revocations) != 1 {
		t.Errorf("revocations %v", ac.Revocations)
	}
	if names, _ := p.operator().Users("app"); len(names) != 1 || names[0] != "u" {
		t.Errorf("users %v", names)
	}
	p.ok("add", "user", "v", "-a", "app")
	out := p.ok("revoke", "user", "u", "v", "-a", "app").out
	for _, name := range []string{"u", "v"} {
		doc, _ := p.user("app", name)
		if want := name + " (" + keys.Short(doc.Subject) + ")"; !strings.Contains(out, want) {
			t.Errorf("the receipt lacks %q:\n%s", want, out)
		}
	}
}
