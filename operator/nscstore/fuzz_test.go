package nscstore

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// What the decoder of nsc.json takes comes back as it was after a save.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"store_root":"/s","operator":"O","account":"A","github_updates":"nats-io/nsc","last_update":1}`))
	f.Add([]byte(`{"a":{"b":[1,2,{}]},"operator":null,"a":1e400}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := decodeConfig(data)
		if err != nil {
			return
		}
		out, err := cfg.encode(time.Unix(0, 0), false)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		again, err := decodeConfig(out)
		if err != nil || again.StoreRoot != cfg.StoreRoot || again.Operator != cfg.Operator || again.Account != cfg.Account {
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		twice, err := again.encode(time.Unix(0, 0), false)
		if err != nil || !bytes.Equal(out, twice) {
			t.Fatalf("%q became %q: %v", out, twice, err)
		}
	})
}

// No journal that the decoder takes names a file outside of the layout.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"version":1,"keystore":"/k","steps":[{"from":"a-1.tmp","to":"accounts/A/A.jwt"},{"keys":true,"to":"creds/O/A/u.creds"},{"to":"accounts/A/users","dir":true}]}`))
	f.Add([]byte(`{"version":1,"steps":[{"from":"../a.tmp","to":"../x.jwt"}]}`))
	f.Add([]byte(`{"version":1,"steps":[{"to":"..jwt"}]}`)) // odd, and inside
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := decodeJournal(data)
		if err != nil {
			return
		}
		for _, s := range j.Steps {
			if !filepath.IsLocal(s.To) || strings.Contains(s.From, "/") {
				t.Fatalf("step %+v leaves the store", s)
			}
		}
	})
}

func FuzzPublication(f *testing.F) {
	f.Add([]byte(`{"jti":"X","revision":1,"unpublished":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodePublication(data)
		if err != nil {
			return
		}
		again, err := decodePublication(must(json.Marshal(p)))
		if diff := cmp.Diff(p, again); err != nil || diff != "" {
			t.Fatalf("%v: %s", err, diff)
		}
	})
}

// Credentials that the parser takes are those that it makes of their parts.
func FuzzCreds(f *testing.F) {
	account, user := must(nkeys.CreateAccount()), must(nkeys.CreateUser())
	claims := jwt.NewUserClaims(publicOf(user))
	good := must(FormatCreds(must(claims.Encode(account)), seedOf(user)))
	f.Add(good)
	f.Add(bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")))
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		token, seed, err := ParseCreds(data)
		if err != nil {
			if seed != nil || token != "" {
				t.Fatal("a result beside an error")
			}
			return
		}
		if !bytes.Contains(data, []byte(token)) || !bytes.Contains(data, seed) {
			t.Fatal("the parts are not of the file")
		}
	})
}

func FuzzIdentify(f *testing.F) {
	f.Add("e30.e30.e30")
	f.Add(must(jwt.NewAccountClaims(publicOf(must(nkeys.CreateAccount()))).Encode(must(nkeys.CreateOperator()))))
	f.Fuzz(func(_ *testing.T, token string) {
		_, _ = identify(token)
	})
}

// FuzzSeedFile: a key file is taken for the key that nkeys finds in it, white
// space around it aside.
func FuzzSeedFile(f *testing.F) {
	f.Add(seedOf(must(nkeys.CreateAccount())))
	f.Add(seedOf(must(nkeys.CreateCurveKeys())))
	f.Add(append(seedOf(must(nkeys.CreateCurveKeys())), '\r', ' '))
	f.Add([]byte("SUA\n"))
	f.Fuzz(func(t *testing.T, seed []byte) {
		pub, err := PublicKey(seed)
		if err != nil {
			return
		}
		seed = bytes.TrimSpace(seed)
		kp, err := nkeys.FromSeed(seed)
		if strings.HasPrefix(pub, "X") {
			kp, err = nkeys.FromCurveSeed(seed)
		}
		if err != nil || publicOf(kp) != pub {
			t.Errorf("%s, nkeys says %v", pub, err)
		}
	})
}
