package resolver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

func (w *world) serve() string {
	srv := httptest.NewServer(w.handler())
	w.t.Cleanup(srv.Close)
	return srv.URL
}

func TestClientOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s.cfg.Nodes = func() []Node { return []Node{inForce("nats-0", 1)} }
	ctx := context.Background()
	c, err := api.DialHTTP(ctx, w.serve()+"/jwt/v1", func() time.Time { return w.clock }, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Operator != w.root.PublicKey() || c.Server != w.server.PublicKey() || c.Custody != Delegated {
		t.Fatalf("%+v", c)
	}
	d := w.sign(w.sk, w.account())
	reply, err := c.Put(ctx, w.sk, api.PutRequest{Items: []api.Item{{JWT: d.Token}}})
	if err != nil || reply.Error != nil || reply.Results[0].Revision != 1 {
		t.Fatalf("%+v %v", reply, err)
	}
	if reply, err = c.Put(ctx, w.tenant, api.PutRequest{Items: []api.Item{{JWT: d.Token}}}); err != nil || reply.Error == nil || reply.Error.Code != fault.Denied {
		t.Fatalf("by a foreign key: %+v %v", reply, err)
	}
	op := w.editOperator(w.operator, w.root, drop(w.sk2.PublicKey()))
	if reply, err = c.PutOperator(ctx, w.root, api.OperatorPutRequest{JWT: op.Token, Base: w.operator.ID}); err != nil || reply.Error != nil {
		t.Fatalf("%+v %v", reply, err)
	}
	got, err := c.Get(ctx, api.GetRequest{Account: "coke"})
	if err != nil || got.Version == nil || got.Version.JWT != d.Token {
		t.Fatalf("%+v %v", got, err)
	}
	if list, err := c.List(ctx, api.ListRequest{}); err != nil || len(list.Accounts) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	if p, err := c.Proof(ctx, api.ProofRequest{Key: d.Subject, Revision: 1, WaitMs: 1000}); err != nil || !p.Proven {
		t.Fatalf("%+v %v", p, err)
	}
	if st, err := c.Status(ctx, api.StatusRequest{}); err != nil || st.Total != 2 {
		t.Fatalf("%+v %v", st, err)
	}
	if seen, err := c.Seen(ctx, api.SeenRequest{Account: d.Subject, User: "*"}); err != nil || seen.Connections != 2 {
		t.Fatalf("%+v %v", seen, err)
	}
}

// TestForgetServer is for the operator alone, and once a request.
func TestForgetServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var forgotten []string
	w.s.cfg.Forget = func(_ context.Context, name string) error {
		forgotten = append(forgotten, name)
		return nil
	}
	body := []byte(`{"server":"edge-7"}`)
	token := w.envelope(w.sk, body)
	for name, c := range map[string]string{"unsigned": "", "by a tenant": w.envelope(w.tenant, body), "of another body": w.envelope(w.sk, []byte("{}"))} {
		if reply := w.s.Forget(context.Background(), "test", c, body); reply.Error == nil {
			t.Errorf("%s: forgotten", name)
		}
	}
	first, again := w.s.Forget(context.Background(), "test", token, body), w.s.Forget(context.Background(), "test", token, body)
	if first.Error != nil || again.Error == nil || len(forgotten) != 1 || forgotten[0] != "edge-7" {
		t.Errorf("%+v, %+v, %v", first, again, forgotten)
	}
}

func TestDialHTTPRefusesOthers(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"nothing there": func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) },
		"another":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"service":"x"}`)) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
	} {
		srv := httptest.NewServer(h)
		_, err := api.DialHTTP(context.Background(), srv.URL, time.Now, nil)
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
		srv.Close()
	}
	if _, err := api.DialHTTP(context.Background(), "nats://x", time.Now, nil); !fault.Is(err, fault.Usage) {
		t.Errorf("%v", err)
	}
}

// TestHTTPDoorsRefuse: no hostile request gets a 5xx or changes anything.
func TestHTTPDoorsRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	head := w.head()
	h := w.handler()
	for _, c := range []struct {
		method, path, body, from string
		want                     int
	}{
		{"POST", "/v1/claims", `{"items":[{"jwt":"x"}]}`, "127.0.0.1:1", 403},
		{"POST", "/v1/claims", "", "127.0.0.1:1", 400},
		{"POST", "/v1/claims", strings.Repeat("[", 1<<20), "127.0.0.1:1", 400},
		{"POST", "/v1/claims", strings.Repeat(" ", 5<<20), "127.0.0.1:1", 400},
		{"POST", "/v1/claims/get", `{"account":1}`, "127.0.0.1:1", 400},
		{"POST", "/v1/claims/get", `{"account":"nobody"}`, "127.0.0.1:1", 404},
		{"POST", "/v1/claims/list", `{}`, "192.0.2.1:1", 403},
		{"GET", "/v1/status", "", "192.0.2.1:1", 403},
		{"GET", "/v1/status?account=nobody", "", "127.0.0.1:1", 404},
		{"GET", "/v1/status", "", "[::1]:1", 200},
		{"GET", "/v1/claims", "", "127.0.0.1:1", 405},
		{"DELETE", "/v1/claims", "", "127.0.0.1:1", 405},
		{"PUT", "/jwt/v1/accounts/" + w.system.PublicKey(), "x", "127.0.0.1:1", 405},
		{"GET", "/v1/../../etc/passwd", "", "127.0.0.1:1", 307},
		{"GET", "/jwt/v1/pack", "", "192.0.2.1:1", 403},
	} {
		r := httptest.NewRequestWithContext(context.Background(), c.method, c.path, strings.NewReader(c.body))
		r.RemoteAddr, r.Host = c.from, "127.0.0.1:9222"
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != c.want {
			t.Errorf("%s %s from %s: %d, want %d: %.200s", c.method, c.path, c.from, rec.Code, c.want, rec.Body)
		}
	}
	if w.head() != head {
		t.Error("a refused request changed the store")
	}
}

// TestReadingFromElsewhereNeedsASignature of a living operator key.
func TestReadingFromElsewhereNeedsASignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handler()
	foreign := must(keys.NewOperator())
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"by the operator": {w.envelope(w.sk, []byte("{}")), 200},
		"by a stranger":   {must(api.SignRequest(foreign, w.root.PublicKey(), w.server.PublicKey(), []byte("{}"), w.clock)), 403},
		"of another body": {w.envelope(w.sk, []byte("[]")), 403},
		"by accountd":     {w.envelope(w.accountd, []byte("{}")), 403},
		"garbage":         {"x", 400},
	} {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/v1/claims/list", strings.NewReader("{}"))
		r.RemoteAddr = "192.0.2.1:1"
		r.Header.Set(api.AuthHeader, c.token)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != c.want {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
}
