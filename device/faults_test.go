package device

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// served starts an accountd for devices and makes a token that names it.
func served(t *testing.T, life int64) (s *accountd, url string, token func(servers ...string) string) {
	pair, group := must(keys.NewAccount()), must(keys.NewAccount())
	s = &accountd{account: pair.PublicKey(), signer: pair, refuse: math.MaxInt64, life: life}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	ac := jwt.NewAccountClaims(pair.PublicKey())
	return s, srv.URL, func(servers ...string) string {
		holder, now := must(keys.NewUser()), time.Now().Unix()
		doc := must(fleet.Group{Name: "g"}.Issue(ac, group, holder.PublicKey(), fleet.Terms{Uses: 1, Servers: servers}, now, now+60))
		return string(fleet.FormatToken(doc, holder.Seed()))
	}
}

// failing lets the write of a number fail, before it is done or after.
func (a *Agent) failing(at int, after bool) (failed *bool) {
	write, count, failed := a.write, 0, new(bool)
	a.write = func(name string, data []byte) error {
		count++
		if count != at {
			return write(name, data)
		}
		*failed = true
		if after {
			if err := write(name, data); err != nil {
				return err
			}
		}
		return errors.New("the power is gone")
	}
	return failed
}

// TestFaults: whichever write fails, done or not, what the device has is whole and of
// one key, the step can be repeated, and clients get what the device has.
func TestFaults(t *testing.T) {
	t.Parallel()
	_, url, token := served(t, 3600)
	for name, o := range map[string]Options{
		"plain": {Bearer: true}, "sealed": {Bearer: true, Identities: []string{must(operator.NewIdentity())}, Clients: "clients"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			writes := 0
			for _, renew := range []bool{false, true} {
				for _, after := range []bool{false, true} {
					for at := 1; ; at++ {
						o.Dir = t.TempDir()
						if o.Clients != "" {
							o.Clients = filepath.Join(t.TempDir(), "clients")
						}
						what := fmt.Sprintf("renew %v, write %d fails, done %v", renew, at, after)
						if !faulty(t, o, token(url), what, renew, at, after) {
							break
						}
						writes++
					}
				}
			}
			if writes < 16 {
				t.Errorf("only %d writes were tried", writes)
			}
		})
	}
}

// faulty takes a device through one write that fails, and reports whether there was
// such a write.
func faulty(t *testing.T, o Options, token, what string, renew bool, at int, after bool) bool {
	t.Helper()
	step := func(a *Agent) error {
		var err error
		if renew {
			_, err = a.Renew(t.Context())
		} else {
			_, err = a.Enroll(t.Context(), token, "d")
		}
		return err
	}
	if renew {
		if _, err := New(o).Enroll(t.Context(), token, "d"); err != nil {
			t.Fatal(err)
		}
	}
	before, _, _ := New(o).read()
	a := New(o)
	failed := a.failing(at, after)
	err := step(a)
	if !*failed {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return false
	}
	if err == nil {
		t.Errorf("%s: no error", what)
	}
	a = New(o)
	found, _, err := a.read()
	switch {
	case err != nil && (renew || !fault.Is(err, fault.NotFound)):
		t.Errorf("%s: what the device has is damaged: %v", what, err)
	case renew && found.Key != before.Key:
		t.Errorf("%s: the device has another key", what)
	case err == nil: // it starts again
		whole(t, a, what)
	}
	was, none := a.readPair()
	if err := step(a); err != nil {
		t.Errorf("%s: it cannot be repeated: %v", what, err)
	}
	st, _, err := a.read()
	if err != nil || st.ID != "d" {
		t.Errorf("%s: repeated: %+v, %v", what, st, err)
	}
	if is := must(a.readPair()); none == nil && is.PublicKey() != was.PublicKey() {
		t.Errorf("%s: repeated: another key", what)
	}
	whole(t, a, what+", repeated")
	return true
}

// whole checks that clients have, once the agent has started, what the device has.
func whole(t *testing.T, a *Agent, what string) {
	t.Helper()
	if err := a.locked(t.Context(), a.hand); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	own := must(a.secret(a.creds()))
	token, seed, err := nscstore.ParseCreds(own)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{credsName: own, jwtName: []byte(token + "\n")} {
		if got := must(os.ReadFile(filepath.Join(a.clients, name))); !bytes.Equal(got, want) {
			t.Errorf("%s: clients have another %s", what, name)
		}
	}
	if len(a.identities) == 0 {
		return
	}
	for _, e := range must(os.ReadDir(a.dir)) {
		if data := must(os.ReadFile(filepath.Join(a.dir, e.Name()))); bytes.Contains(data, seed) {
			t.Errorf("%s: %s holds the seed as it is", what, e.Name())
		}
	}
}

// TestHostileServers: a device follows nobody elsewhere, reads no more than an answer
// can have, and stays as it is.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	s, url, token := served(t, 3600)
	for what, answer := range map[string]http.HandlerFunc{
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, url+r.URL.Path, http.StatusTemporaryRedirect)
		},
		"never ends":       func(w http.ResponseWriter, _ *http.Request) { endless(w) },
		"is no accountd":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"nonce":"x"}`)) },
		"is not at home":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"hangs up at once": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		srv := httptest.NewServer(answer)
		a := New(Options{Dir: t.TempDir()})
		_, err := a.Enroll(t.Context(), token(srv.URL), "")
		srv.Close()
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("who %s: %v", what, err)
		}
		if _, err := a.State(); !fault.Is(err, fault.NotFound) {
			t.Errorf("who %s: %v", what, err)
		}
		if _, err := a.Enroll(t.Context(), token(srv.URL, url), ""); err != nil {
			t.Errorf("beside one who %s: %v", what, err)
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"schema":1,"nonce":"x"}`)) }))
	defer srv.Close()
	if _, err := New(Options{Dir: t.TempDir()}).Enroll(t.Context(), token(srv.URL), ""); fault.RuleOf(err) != "answer" {
		t.Errorf("who has nothing but nonces: %v", err)
	}
	if n := s.asked.Load(); n != 5 {
		t.Errorf("accountd was asked %d times", n)
	}
}

func endless(w http.ResponseWriter) {
	for {
		if _, err := w.Write(bytes.Repeat([]byte(" "), 4096)); err != nil {
			return
		}
	}
}

// TestTokensOfNobody: what is no token, or not all of one, is refused before anything
// is made, and never shown.
func TestTokensOfNobody(t *testing.T) {
	t.Parallel()
	_, url, token := served(t, 3600)
	good := token(url)
	at := strings.LastIndexByte(good, '.')
	other := string(must(keys.NewUser()).Seed())
	for _, bad := range []string{"", "x", good[:at], good[:at+1], good[:at+1] + other, good + ".x", good[:at-1] + good[at:], strings.ToLower(good), "\x00" + good, good[:at] + "." + good[at:]} {
		dir := filepath.Join(t.TempDir(), "device")
		_, err := New(Options{Dir: dir}).Enroll(t.Context(), bad, "")
		if code := fault.CodeOf(err); code != fault.Invalid && code != fault.Untrusted {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
		if err != nil && (strings.Contains(err.Error(), good[at+1:]) || strings.Contains(err.Error(), other)) {
			t.Errorf("the error shows a seed: %v", err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("a folder was made")
		}
	}
}
