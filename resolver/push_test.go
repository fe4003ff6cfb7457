package resolver

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

func (w *world) push(token string) (api.Result, error) {
	return w.s.Push(context.Background(), "push", token)
}

// TestPushIsBoundByTheSameRules: a door without bases lets nothing back in.
func TestPushIsBoundByTheSameRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	for name, c := range map[string]struct {
		token string
		rule  string
	}{
		"the older JWT":       {s.first.Token, "older"},
		"without revocations": {w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Revocations = nil }).Token, "revocation"},
		"with a retired key":  {w.edit(s.current, func(ac *jwt.AccountClaims) { ac.SigningKeys.Add(s.retired) }).Token, "retired key"},
		"self-signed":         {w.sign(w.tenant, w.account()).Token, "chain"},
		"garbage":             {"x", "malformed"},
	} {
		if _, err := w.push(c.token); fault.RuleOf(err) != c.rule {
			t.Errorf("%s: %v", name, err)
		}
	}
	next := w.edit(s.current, func(ac *jwt.AccountClaims) {
		ac.Imports = jwt.Imports{{Account: w.system.PublicKey(), Subject: "x", Type: jwt.Stream}}
	})
	res, err := w.push(next.Token)
	if err != nil || res.Revision != 3 || len(res.Findings) != 1 || !strings.Contains(pushedText(res), "incomplete") {
		t.Fatalf("%+v %v", res, err)
	}
	var last store.Change
	if err := w.store.View(context.Background(), func(r store.Reader) error {
		all, err := r.Changes(0, 100)
		last = all[len(all)-1]
		return err
	}); err != nil || last.Base != "none" || last.Actor != w.sk.PublicKey() || last.Via != "push" {
		t.Errorf("%+v %v", last, err)
	}
}

// TestPushOfOneSecondAndJti: the library's jti hashes the standard fields
// alone, so that two versions of one second share it.
func TestPushOfOneSecondAndJti(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kp := must(nkeys.FromSeed(w.sk.Seed()))
	ac := w.account()
	var one, two string
	for first := int64(0); first != ac.IssuedAt || first == 0; { // until both are of one second
		one = must(ac.Encode(kp))
		first = ac.IssuedAt
		ac.Tags.Add("x")
		two = must(ac.Encode(kp))
		ac.Tags.Remove("x")
	}
	w.clock = time.Unix(ac.IssuedAt, 0).UTC()
	if _, err := w.push(one); err != nil {
		t.Fatal(err)
	}
	if _, err := w.push(two); fault.RuleOf(err) != "base" {
		t.Fatalf("two versions with one jti: %v", err)
	}
}

// deletion is a stock deletion request, signed at the world's time plus after.
func (w *world) deletion(kp keys.OperatorPair, after time.Duration, list ...string) string {
	if list == nil {
		list = []string{}
	}
	draft := claims.Request("generic", kp.PublicKey(), "", "", 0, map[string]any{"accounts": list})
	return must(draft.Sign(kp, w.clock.Add(after).Unix())).Token
}

// TestStockDeletionAsTheLibraryMakesIt reads the form that official tools send.
func TestStockDeletionAsTheLibraryMakesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	gc := jwt.NewGenericClaims(w.sk.PublicKey())
	gc.Data["accounts"] = []string{s.current.Subject}
	token := must(gc.Encode(must(nkeys.FromSeed(w.sk.Seed()))))
	w.clock = time.Unix(gc.IssuedAt, 0).UTC() // the library stamps its own clock
	// The stored version is of the test's own time, years later.
	if _, err := w.s.Delete(context.Background(), "push", token); fault.RuleOf(err) != "older" {
		t.Fatalf("%v", err)
	}
}

func TestStockDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	key := s.current.Subject
	remove := func(token string) (api.Result, error) { return w.s.Delete(context.Background(), "push", token) }
	for name, c := range map[string]struct {
		token string
		code  fault.Code
	}{
		"foreign operator": {w.deletion(must(keys.NewOperator()), 0, key), fault.Untrusted},
		"accountd's key":   {w.deletion(w.accountd, 0, key), fault.Untrusted},
		"no accounts":      {w.deletion(w.sk, 0), fault.Invalid},
		"not a key":        {w.deletion(w.sk, 0, "x"), fault.Invalid},
		"system account":   {w.deletion(w.sk, 0, w.system.PublicKey()), fault.Denied},
		"an account JWT":   {s.current.Token, fault.Invalid},
	} {
		if _, err := remove(c.token); !fault.Is(err, c.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := remove(w.deletion(w.sk, -time.Second, key)); fault.RuleOf(err) != "older" {
		t.Fatalf("a deletion older than the stored version: %v", err)
	}
	w.s.cfg.Streams = func(context.Context, string) (api.JetStreamUse, error) {
		return api.JetStreamUse{Streams: []string{"ORDERS"}}, nil
	}
	if _, err := remove(w.deletion(w.sk2, 0, key)); fault.RuleOf(err) != "jetstream data" {
		t.Fatalf("an account with streams: %v", err)
	}
	w.s.cfg.Streams = nil
	token := w.deletion(w.sk, 0, key)
	if res, err := remove(token); err != nil || res.Outcome != api.OutcomeDeleted {
		t.Fatalf("%+v %v", res, err)
	}
	if _, err := remove(token); !fault.Is(err, fault.Denied) {
		t.Fatalf("replayed: %v", err)
	}
	if _, err := remove(w.deletion(w.sk2, -time.Hour, key)); fault.RuleOf(err) != "clock" {
		t.Fatalf("an old request: %v", err)
	}
}

func TestHTTPPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	h := w.handler()
	do := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
		r.RemoteAddr, r.Host = here, "localhost"
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	path := "/jwt/v1/accounts/" + s.current.Subject
	next := w.edit(s.current, func(*jwt.AccountClaims) {})
	for name, c := range map[string]struct {
		path, body string
		want       int
	}{
		"stale":         {path, s.first.Token, 409},
		"shrinking":     {path, w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Revocations = nil }).Token, 403},
		"untrusted":     {path, w.sign(must(keys.NewOperator()), w.account()).Token, 400},
		"other account": {"/jwt/v1/accounts/" + w.system.PublicKey(), next.Token, 400},
		"oversized":     {path, strings.Repeat("x", 2<<20), 400},
		"good":          {path, next.Token, 200},
	} {
		if name == "good" {
			continue
		}
		if got := do(http.MethodPost, c.path, c.body); got.Code != c.want || strings.Contains(got.Body.String(), "internal") {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	if got := do(http.MethodPost, path, next.Token+"\n"); got.Code != 200 || !strings.Contains(got.Body.String(), "revision 3") {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	if got := do(http.MethodGet, "/jwt/v1/pack?max=all", ""); strings.Count(got.Body.String(), "\n") != 2 || !strings.Contains(got.Body.String(), s.current.Subject+"|"+next.Token) {
		t.Errorf("pack: %s", got.Body)
	}
	if got := do(http.MethodGet, "/jwt/v1/pack?max=0", ""); got.Code != 400 {
		t.Errorf("pack max=0: %d", got.Code)
	}
	got := do(http.MethodGet, path+"?decode=true", "")
	dec := json.NewDecoder(got.Body)
	var header, body map[string]any
	if err := dec.Decode(&header); err != nil || dec.Decode(&body) != nil || body["sub"] != s.current.Subject {
		t.Errorf("decode: %v %v", header, body)
	}
	if got := do(http.MethodGet, path+"?text", ""); !strings.HasPrefix(got.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("text: %v", got.Header())
	}
}
