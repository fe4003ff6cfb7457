package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
)

// TestManagedOperatorWithTheOfficialTool: a tenant with the official nsc and no
// key of the operator makes its account once it is allowed, changes what is its
// own, and cannot raise its limits; what it revokes is cut.
func TestManagedOperatorWithTheOfficialTool(t *testing.T) {
	t.Parallel()
	c := newCloud(t, "--account-server", "http")
	tenant := c.newTenant()
	home := tenant.home
	stored := func() *claims.Document {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(home, "data", "nats/nsc/stores/*/accounts/pepsi/pepsi.jwt"))
		if err != nil || len(files) != 1 {
			t.Fatalf("the tenant's store: %v, %v", files, err)
		}
		d, err := claims.Decode(read(t, files[0]))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	says(t, tenant.official("add", "operator", "-u", c.ready.HTTP+"/jwt/v1/operator"), 0)
	tenant.official("add", "account", "pepsi") // whatever it makes of the refusal
	own := stored()
	if own.Issuer != own.Subject {
		t.Fatalf("an account that nobody allowed is signed by %s", own.Issuer)
	}
	c.nsc("allow", "account", own.Subject)
	natstest.Eventually(t, patience, func() error { // nodes follow what is none of theirs
		if out := c.nsc("servers", "list", "--json").out; strings.Count(out, `"behind": 0`) != len(c.ready.Nodes) {
			return fmt.Errorf("a node is behind: %s", out)
		}
		return nil
	})
	says(t, tenant.official("push", "-a", "pepsi"), 0, "jwt updated: revision 1")
	says(t, tenant.official("pull", "-a", "pepsi"), 0)
	if d := stored(); d.Issuer == d.Subject {
		t.Error("the operator's signature was not pulled")
	}
	says(t, tenant.official("edit", "account", "pepsi", "--conns", "7", "--js-disk-storage", "1G", "--description", "ours"), 0)
	d := stored()
	ac, err := claims.As[jwt.AccountClaims](d)
	if err != nil {
		t.Fatal(err)
	}
	if ac.Description != "ours" || ac.Limits.Conn != jwt.NoLimit || ac.Limits.IsJSEnabled() || d.Issuer == d.Subject {
		t.Errorf("after the tenant's edit: %s", ac)
	}
	says(t, tenant.official("add", "user", "-a", "pepsi", "device"), 0)
	creds := filepath.Join(home, "keys", "creds", "dev", "pepsi", "device.creds")
	c.acceptedEverywhere(creds)
	says(t, tenant.official("revocations", "add-user", "-a", "pepsi", "-n", "device"), 0)
	c.nsc("status", "pepsi", "--watch") // the official tool does not wait
	c.refusedEverywhere(creds)
	if out := c.run("nsc", "allow", "account", "--list"); strings.Contains(out.out, own.Subject) {
		t.Errorf("still to be made: %s", out)
	}
}

// newTenant makes a person with stores of their own and no key of the operator.
// Both nsc find the same store.
func (c *cloud) newTenant() *cloud {
	home := c.t.TempDir()
	return &cloud{t: c.t, dir: c.dir, home: home, env: []string{
		"PATH=" + binDir(c.t) + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + home,
		"NSC_HOME=" + filepath.Join(home, "nsc"), "NKEYS_PATH=" + filepath.Join(home, "keys"), "XDG_DATA_HOME=" + filepath.Join(home, "data"),
	}}
}

// TestManagedStoreOfBothTools: ours and the official nsc take turns on one store
// of a tenant, with a real accountd that signs what they post.
func TestManagedStoreOfBothTools(t *testing.T) {
	t.Parallel()
	c := newCloud(t, "--account-server", "http")
	tenant := c.newTenant()
	stored := func() (*claims.Document, *jwt.AccountClaims) {
		t.Helper()
		d, err := claims.Decode(read(t, filepath.Join(tenant.home, "data/nats/nsc/stores/dev/accounts/pepsi/pepsi.jwt")))
		if err != nil {
			t.Fatal(err)
		}
		ac, err := claims.As[jwt.AccountClaims](d)
		if err != nil {
			t.Fatal(err)
		}
		return d, ac
	}
	nsc := func(args ...string) result { return tenant.run("nsc", args...) }

	says(t, nsc("add", "operator", "-u", c.ready.HTTP+"/jwt/v1/operator"), 0, "operator dev")
	says(t, nsc("add", "operator", "-u", c.ready.HTTP+"/jwt/v1/operator"), 5, "exists already")
	says(t, nsc("add", "account", "pepsi"), 4, "is kept here, signed by its own key alone", "nsc allow account A", "nsc push -a pepsi")
	own, _ := stored()
	if own.Issuer != own.Subject {
		t.Fatalf("an account that nobody allowed is signed by %s", own.Issuer)
	}
	says(t, tenant.official("describe", "account", "pepsi"), 0)
	says(t, nsc("validate", "--all-accounts"), 0, "signed by its own key alone")
	c.nsc("allow", "account", own.Subject)
	says(t, nsc("push", "-a", "pepsi"), 0, "countersigned by operator key")
	if d, _ := stored(); d.Issuer == d.Subject {
		t.Fatal("the operator's answer was not stored")
	}
	says(t, nsc("validate", "--all-accounts"), 0)
	says(t, nsc("push", "-A"), 0)

	says(t, tenant.official("edit", "account", "pepsi", "--description", "official"), 0)
	says(t, nsc("edit", "account", "pepsi", "--info-url", "https://pepsi.example", "--conns", "7"), 0, "countersigned",
		"the operator changed nats.limits.conn from 7 to -1")
	if d, ac := stored(); ac.Description != "official" || ac.InfoURL != "https://pepsi.example" || ac.Limits.Conn != jwt.NoLimit || d.Issuer == d.Subject {
		t.Errorf("after both tools: %s", ac)
	}
	says(t, nsc("add", "user", "device", "-a", "pepsi"), 0)
	creds := filepath.Join(tenant.home, "keys", "creds", "dev", "pepsi", "device.creds")
	c.acceptedEverywhere(creds)
	says(t, nsc("add", "export", "--subject", "orders.>", "-a", "pepsi"), 0, "countersigned")
	says(t, tenant.official("add", "export", "--subject", "bills.>", "-a", "pepsi"), 0)
	says(t, nsc("revoke", "user", "device", "-a", "pepsi"), 0, "revoked device in pepsi", "countersigned")
	if _, ac := stored(); len(ac.Exports) != 2 || len(ac.Revocations) != 1 {
		t.Errorf("after both tools: %s", ac)
	}
	c.nsc("status", "pepsi", "--watch")
	c.refusedEverywhere(creds)
	says(t, nsc("unrevoke", "user", "device", "-a", "pepsi"), 4, "revocation")
	if _, ac := stored(); len(ac.Revocations) != 1 {
		t.Error("a refused change stays in the store")
	}

	// What the operator changed meanwhile is the ground of the next edit.
	c.nsc("pull", "-a", "pepsi")
	c.nsc("edit", "account", "pepsi", "--conns", "9")
	says(t, nsc("edit", "account", "pepsi", "--description", "ours"), 0, "countersigned")
	if _, ac := stored(); ac.Limits.Conn != 9 || ac.Description != "ours" || len(ac.Exports) != 2 {
		t.Errorf("after the operator's edit: %s", ac)
	}
	says(t, nsc("pull", "-A"), 0, "operator dev", "account pepsi")
	says(t, tenant.official("pull", "-A"), 0)
	says(t, nsc("rename", "account", "pepsi", "cola", "--OK"), 4, "the operator decides")
	says(t, nsc("delete", "account", "pepsi", "--yes"), 4, "--force")

	// Nobody answers: kept, and published later.
	c.daemon.Kill()
	says(t, nsc("edit", "account", "pepsi", "--description", "later", "--timeout", "2s"), 6, "nsc push -a pepsi")
	if d, _ := stored(); d.Issuer != d.Subject {
		t.Error("an unpublished change is not signed by the account")
	}
}
