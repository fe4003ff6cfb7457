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
	home := t.TempDir()
	tenant := &cloud{t: t, dir: c.dir, home: home, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "NSC_HOME=" + filepath.Join(home, "nsc"), "NKEYS_PATH=" + filepath.Join(home, "keys"), "XDG_DATA_HOME=" + filepath.Join(home, "data"),
	}}
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
