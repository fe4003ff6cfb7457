package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/operator/nscstore"
)

// token returns the JWT of a credentials file.
func token(t testing.TB, creds string) string {
	t.Helper()
	token, err := readToken(creds)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func readToken(creds string) (string, error) {
	data, err := os.ReadFile(creds)
	if err != nil {
		return "", err
	}
	token, _, err := nscstore.ParseCreds(data)
	return token, err
}

// subject is whom a token is about.
func subject(t testing.TB, token string) string {
	t.Helper()
	doc, err := claims.Decode(token)
	if err != nil {
		t.Fatal(err)
	}
	return doc.Subject
}

// accountOnDisk reads an account from the local store.
func (c *cloud) accountOnDisk(name string) *jwt.AccountClaims {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, "nsc", "stores", "dev", "accounts", name, name+".jwt"))
	if err != nil {
		c.t.Fatal(err)
	}
	return account(c.t, string(data))
}

// accountServed reads an account from accountd.
func (c *cloud) accountServed(name string) *jwt.AccountClaims {
	c.t.Helper()
	reply, err := c.mustHand().Get(context.Background(), api.GetRequest{Account: name})
	if err == nil {
		err = reply.Error.Fault()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return account(c.t, reply.Version.JWT)
}

func account(t testing.TB, token string) *jwt.AccountClaims {
	t.Helper()
	ac, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		t.Fatal(err)
	}
	return ac
}
