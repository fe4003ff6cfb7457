package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// BenchmarkStore measures commands about one user, from the start of the
// process to its end, in stores of 10 to 10,000 users of one account; and, if
// OFFICIAL_NSC names that program, the official ones on the same store.
func BenchmarkStore(b *testing.B) {
	commands := map[string][]string{
		"describe": {"describe", "user", "-n", "u5", "-a", "app"},
		"edit":     {"edit", "user", "-n", "u5", "-a", "app", "--tag", "t%d"},
		"add":      {"add", "user", "-n", "new%d", "-a", "app"},
		"revoke":   {"revocations", "add-user", "-n", "u5", "-a", "app"},
	}
	programs := map[string]string{"accountd": filepath.Join(binDir(b), "nsc")}
	if official := os.Getenv("OFFICIAL_NSC"); official != "" {
		programs["stock"] = official
	}
	for _, users := range []int{10, 1000, 10000} {
		for name, args := range commands {
			for way, program := range programs {
				b.Run(fmt.Sprintf("users=%d/command=%s/way=%s", users, name, way), func(b *testing.B) {
					c := storeOf(b, users)
					i := 0
					measure(b, func(string) error {
						i++
						line := append([]string{}, args...)
						for j := range line {
							if line[j] == "t%d" || line[j] == "new%d" {
								line[j] = fmt.Sprintf(line[j], i)
							}
						}
						return succeeds(c.run(program, line...))
					})
				})
			}
		}
	}
}

// storeOf makes a store with one account of so many users, with their keys and
// credentials, in the official layout.
func storeOf(b *testing.B, users int) *cloud {
	b.Helper()
	c := &cloud{t: b, dir: filepath.Join(b.TempDir(), "D"), home: b.TempDir()}
	c.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.home}
	c.nsc("add", "operator", "acme")
	c.nsc("add", "account", "app")
	data := filepath.Join(c.home, ".local/share/nats/nsc")
	dirs := nscstore.Dirs{Stores: filepath.Join(data, "stores"), Keys: filepath.Join(data, "keys")}
	store := must(nscstore.Open(dirs))
	op := must(store.Operator(b.Context(), "acme"))
	app := must(claims.Decode(must(op.AccountJWT("app"))))
	pair := must(keys.AccountFromSeed(must(store.Keystore().Seed(app.Subject))))
	folder := filepath.Join(dirs.Stores, "acme/accounts/app/users")
	for i := range users {
		kp := must(keys.NewUser())
		uc := jwt.NewUserClaims(kp.PublicKey())
		uc.Name = fmt.Sprintf("u%d", i)
		doc := must(must(claims.New(uc)).Sign(pair, app.IssuedAt))
		nk := must(store.Keystore().SeedPath(kp.PublicKey()))
		creds := must(store.Keystore().CredsPath("acme", "app", uc.Name))
		for file, content := range map[string][]byte{
			filepath.Join(folder, uc.Name+".jwt"): []byte(doc.Token), nk: kp.Seed(),
			creds: must(nscstore.FormatCreds(doc.Token, kp.Seed())),
		} {
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(file, content, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	return c
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
