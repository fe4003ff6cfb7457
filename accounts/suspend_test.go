package accounts

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// TestResumeRestoresTheClaims: signed, suspended and resumed, an account says
// what it said before, and JetStream keeps its limits all the time.
func TestResumeRestoresTheClaims(t *testing.T) {
	t.Parallel()
	signer, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	for _, tags := range []jwt.TagList{nil, {"z", "a"}} {
		ac := jwt.NewAccountClaims(key.PublicKey())
		ac.Name, ac.Tags, ac.Limits.Conn, ac.Limits.DiskStorage = "coke", tags, 7, 1<<20
		draft, err := claims.New(ac)
		if err != nil {
			t.Fatal(err)
		}
		first, err := draft.Sign(signer, 1000)
		if err != nil {
			t.Fatal(err)
		}
		edit := func(d *claims.Document, f func(*jwt.AccountClaims) error) *claims.Document {
			t.Helper()
			draft, err := claims.Edit(d, f)
			if err != nil {
				t.Fatal(err)
			}
			next, err := draft.Sign(signer, 1000)
			if err != nil {
				t.Fatal(err)
			}
			return next
		}
		suspended := edit(first, func(ac *jwt.AccountClaims) error {
			if !Suspend(ac) || Suspend(ac) || !Suspended(ac) || ac.Limits.Conn != 0 || ac.Limits.LeafNodeConn != 0 || ac.Limits.DiskStorage != 1<<20 {
				t.Errorf("%+v %v", ac.Limits, ac.Tags)
			}
			return nil
		})
		resumed := edit(suspended, func(ac *jwt.AccountClaims) error {
			was, err := Resume(ac)
			if again, _ := Resume(ac); !was || again {
				t.Errorf("resumed %v, again %v", was, again)
			}
			return err
		})
		if diff := cmp.Diff(first.Token, resumed.Token); diff != "" {
			t.Errorf("not the same claims: %s", diff)
		}
	}
}

func TestSuspendedAccountsAreNotResumedByEdits(t *testing.T) {
	t.Parallel()
	ac := jwt.NewAccountClaims("A")
	ac.Name = "coke"
	if err := (Edit{AddTags: []string{"suspended:1:1"}}).Apply(ac); fault.RuleOf(err) != "suspended" {
		t.Errorf("a tag: %v", err)
	}
	ac.Tags = nil
	Suspend(ac)
	five := int64(5)
	for name, e := range map[string]Edit{
		"clients": {Conns: &five}, "leaf nodes": {LeafConns: &five}, "the tag": {RemoveTags: []string{"suspended:-1:-1"}},
	} {
		c := *ac
		if err := e.Apply(&c); fault.RuleOf(err) != "suspended" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Edit{Subs: &five, AddTags: []string{"x"}}).Apply(ac); err != nil || !Suspended(ac) {
		t.Errorf("%v", err)
	}
	ac.Tags = jwt.TagList{"suspended:soon"}
	if _, err := Resume(ac); fault.RuleOf(err) != "suspended" {
		t.Errorf("%v", err)
	}
}
