package e2e

import (
	"os"
	"testing"

	"github.com/accountd/accountd/operator/nscstore"
)

// token returns the JWT of a credentials file.
func token(t testing.TB, creds string) string {
	t.Helper()
	data, err := os.ReadFile(creds)
	if err != nil {
		t.Fatal(err)
	}
	jwt, _, err := nscstore.ParseCreds(data)
	if err != nil {
		t.Fatalf("%s: %v", creds, err)
	}
	return jwt
}
