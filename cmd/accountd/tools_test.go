package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
)

// TestAccountServerOverHTTP: the operator names the HTTP address, a client finds
// the service there, and a later start with nats names that again.
func TestAccountServerOverHTTP(t *testing.T) {
	t.Parallel()
	dir, flags := filepath.Join(t.TempDir(), "dev"), ports(t)
	named := func() string {
		oc, err := jwt.DecodeOperatorClaims(read(t, dir, "nsc/stores/dev/dev.jwt"))
		if err != nil {
			t.Fatal(err)
		}
		if len(oc.OperatorServiceURLs) != 1 {
			t.Errorf("service URLs %v", oc.OperatorServiceURLs)
		}
		return oc.AccountServerURL
	}
	d := dev(t, dir, append(flags, "--account-server", "http")...)
	if want := d.HTTP + "/jwt/v1"; named() != want {
		t.Errorf("named %s, want %s", named(), want)
	}
	client, err := api.DialHTTP(t.Context(), named(), time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if client.Operator != d.Operator {
		t.Errorf("it serves %s", client.Operator)
	}
	st, err := client.Status(t.Context(), api.StatusRequest{})
	if err != nil || st.Total != 1 || st.InForce != 1 {
		t.Errorf("%+v %v", st, err)
	}
	d.ends(t)

	d = dev(t, dir, flags...) // resumes as it was
	if want := d.HTTP + "/jwt/v1"; named() != want {
		t.Errorf("named %s, want %s", named(), want)
	}
	d.ends(t)
	d = dev(t, dir, append(flags, "--account-server", "nats")...)
	if named() != d.Nodes[0].URL {
		t.Errorf("named %s, want %s", named(), d.Nodes[0].URL)
	}
	d.ends(t)
	exits(t, 2, []string{"dev", "--dir", dir, "--account-server", "http", "--http", "off"}, "is off")
	exits(t, 2, []string{"dev", "--dir", dir, "--account-server", "gopher"}, "expected nats or http")
}
