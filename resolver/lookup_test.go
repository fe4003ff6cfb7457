package resolver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// get asks h for a path, from an address.
func get(h http.Handler, path, from string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil)
	r.RemoteAddr, r.Host = from, "127.0.0.1:9222"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

const here, elsewhereAddr = "127.0.0.1:1", "192.0.2.1:1"

// TestLookupIsCurrent: what is held of earlier requests never hides a change,
// however many there were in between.
func TestLookupIsCurrent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handler()
	path := "/jwt/v1/accounts/" + w.tenant.PublicKey()
	want := func(status int, token string) {
		t.Helper()
		for range 2 {
			if rec := get(h, path, elsewhereAddr); rec.Code != status || status == 200 && rec.Body.String() != token {
				t.Fatalf("%d %.60s, want %d", rec.Code, rec.Body, status)
			}
		}
	}
	want(404, "")
	d := w.sign(w.sk, w.account())
	w.mustPut(d, "")
	want(200, d.Token)
	for _, others := range []int{0, 3, followLimit + 1} {
		for i := range others {
			ac := jwt.NewAccountClaims(must(keys.NewAccount()).PublicKey())
			ac.Name = fmt.Sprintf("other-%d-%d", others, i)
			w.mustPut(w.sign(w.sk, ac), "")
		}
		want(200, d.Token)
		next := w.edit(d, func(ac *jwt.AccountClaims) { ac.Tags.Add(fmt.Sprint(others)) })
		w.mustPut(next, d.ID)
		d = next
		want(200, d.Token)
	}
	if res := w.put(api.Item{Delete: d.Subject, Base: d.ID}); res.Error != nil {
		t.Fatal(res.Error)
	}
	want(404, "")
	if rec := get(h, "/jwt/v1/operator", elsewhereAddr); rec.Body.String() != w.operator.Token {
		t.Errorf("the operator: %d %.60s", rec.Code, rec.Body)
	}
	op := w.editOperator(w.operator, w.root, drop(w.sk2.PublicKey()))
	if err := w.s.cfg.Store.Update(context.Background(), func(tx store.Tx) error {
		rec, err := operatorRecord(tx)
		if err != nil {
			return err
		}
		setVersion(&rec, op)
		_, err = tx.Put(rec.Revision, rec, store.Change{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if rec := get(h, "/jwt/v1/operator", elsewhereAddr); rec.Body.String() != op.Token {
		t.Errorf("the operator's new version: %d %.60s", rec.Code, rec.Body)
	}
}

// TestLookupsAreBounded: what is held stays within its bound, and what is given
// up is read anew.
func TestLookupsAreBounded(t *testing.T) {
	t.Parallel()
	l := &lookups{held: map[string]*lookup{}}
	size := heldBytes / 3
	for i := range 10 {
		l.hold(fmt.Sprint(i), &lookup{token: make([]byte, size)}, 0)
		if l.bytes > heldBytes || l.bytes != size*len(l.held) || l.held[fmt.Sprint(i)] == nil {
			t.Fatalf("after %d: %d bytes in %d", i, l.bytes, len(l.held))
		}
	}
	l.hold("late", &lookup{}, 7)
	if l.held["late"] != nil {
		t.Error("an answer of another change is held")
	}
}

// TestLookupOptions: each option does what the archived account server did.
func TestLookupOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handler()
	ac := w.account()
	ac.Expires = w.clock.Add(time.Hour).Unix()
	d := w.sign(w.sk, ac)
	w.mustPut(d, "")
	path := "/jwt/v1/accounts/" + d.Subject
	etag := `"` + d.ID + `"`
	for _, c := range []struct {
		query, match string
		status       int
		kind, body   string
	}{
		{"", "", 200, "application/jwt", d.Token},
		{"", `"other"`, 200, "application/jwt", d.Token},
		{"", `"other", ` + etag, 304, "", ""},
		{"?text=true", "", 200, "text/plain; charset=utf-8", d.Token},
		{"?text=false", "", 200, "application/jwt", d.Token},
		{"?check", "", 200, "application/jwt", d.Token},
		{"?decode=true", "", 200, "application/json", `"name": "coke"`},
		{"?%zz", "", 400, "text/plain; charset=utf-8", "malformed"},
	} {
		rec := get(h, path+c.query, elsewhereAddr, "If-None-Match", c.match)
		if rec.Code != c.status || rec.Header().Get("Content-Type") != c.kind || !strings.Contains(rec.Body.String(), c.body) {
			t.Errorf("%s %s: %d %v %.80s", c.query, c.match, rec.Code, rec.Header(), rec.Body)
		}
		if c.status < 400 && (rec.Header().Get("ETag") != etag || rec.Header().Get("Cache-Control") != "no-cache") {
			t.Errorf("%s: %v", c.query, rec.Header())
		}
	}
	w.clock = w.clock.Add(2 * time.Hour)
	if rec := get(h, path+"?check=true", elsewhereAddr); rec.Code != 404 {
		t.Errorf("an expired claim: %d", rec.Code)
	}
	if rec := get(h, path, elsewhereAddr); rec.Code != 200 {
		t.Errorf("an expired claim without check: %d", rec.Code)
	}
}

// TestNotify: this machine may ask to send an account again, others with a
// signed request.
func TestNotify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handler()
	d := w.sign(w.sk, w.account())
	w.mustPut(d, "")
	path := "/jwt/v1/accounts/" + d.Subject
	if rec := get(h, path+"?notify=true", here); rec.Code != 200 || rec.Body.String() != d.Token {
		t.Errorf("where there are no stock servers: %d %s", rec.Code, rec.Body)
	}
	var sent []string
	w.s.cfg.Notify = func(_ context.Context, key string) error {
		sent = append(sent, key)
		return nil
	}
	for i, c := range []struct {
		path, from, token string
		status            int
	}{
		{path + "?notify=true", here, "", 200},
		{path + "?notify", "[::1]:1", "", 200},
		{path + "?notify=true", elsewhereAddr, w.envelope(w.sk, nil), 200},
		{path + "?notify=true", elsewhereAddr, "", 403},
		{path + "?notify=true", elsewhereAddr, w.envelope(w.tenant, nil), 403},
		{path + "?notify=false", here, "", 200},
		{path, here, "", 200},
		{"/jwt/v1/accounts/x?notify=true", here, "", 400},
	} {
		sent = nil
		rec := get(h, c.path, c.from, api.AuthHeader, c.token)
		if want := i < 3; rec.Code != c.status || (len(sent) == 1) != want {
			t.Errorf("%s from %s: %d, sent %v", c.path, c.from, rec.Code, sent)
		}
	}
}

// TestThisMachine: who speaks for others, and who asks for another name, is not
// of this machine, wherever the connection comes from.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	h := newWorld(t).handler()
	for _, c := range []struct {
		host, header string
		want         int
	}{
		{"127.0.0.1:9222", "", 200},
		{"[::1]:9222", "", 200},
		{"localhost:9222", "", 200},
		{"localhost", "", 200},
		{"accountd.example:9222", "", 403}, // may be a page in a browser here
		{"localhost.example", "", 403},
		{"192.0.2.1:9222", "", 403},
		{"", "", 403},
		{"127.0.0.1:9222", "X-Forwarded-For", 403},
		{"127.0.0.1:9222", "Forwarded", 403},
		{"127.0.0.1:9222", "Via", 403},
		{"127.0.0.1:9222", "X-Real-IP", 403},
	} {
		ask := func(path string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil)
			r.RemoteAddr, r.Host = here, c.host
			if c.header != "" {
				r.Header.Set(c.header, "127.0.0.1")
			}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			return rec
		}
		if rec := ask("/jwt/v1/pack"); rec.Code != c.want {
			t.Errorf("host %q, %s: %d %s", c.host, c.header, rec.Code, rec.Body)
		}
		var info api.Info
		if err := json.Unmarshal(ask(api.PathInfo).Body.Bytes(), &info); err != nil || info.Open != (c.want == 200) {
			t.Errorf("host %q, %s: open %t, %v", c.host, c.header, info.Open, err)
		}
	}
}

// FuzzLookup: whatever is asked for is an answer or a refusal, never a failure.
func FuzzLookup(f *testing.F) {
	for _, seed := range []string{"A", "../..", "%2e%2e", "A?decode&text", "\x00", "?notify=%00", strings.Repeat("A", 56)} {
		f.Add(seed)
	}
	h := newWorld(f).handler()
	f.Fuzz(func(t *testing.T, path string) {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://accountd/jwt/v1/accounts/"+path, nil)
		if err != nil {
			return
		}
		r.RemoteAddr = here
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Errorf("%q: %d %s", path, rec.Code, rec.Body)
		}
	})
}
