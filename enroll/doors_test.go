package enroll

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
)

// TestHTTP: what the door over HTTP answers to what it does not know.
func TestHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mux := http.NewServeMux()
	w.s.Register(mux)
	post := func(method, body string) (*httptest.ResponseRecorder, api.EnrollReply) {
		r := httptest.NewRequest(method, api.PathEnroll, strings.NewReader(body))
		r.RemoteAddr = "192.0.2.7:4711"
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, r)
		var reply api.EnrollReply
		_ = json.Unmarshal(rec.Body.Bytes(), &reply) // not every answer is one
		return rec, reply
	}
	d := w.device("x", fleet.Terms{})
	good, err := d.request()
	if err != nil {
		t.Fatal(err)
	}
	text := func(req api.EnrollRequest) string { return string(must(json.Marshal(req))) }
	big := good
	big.JWT = strings.Repeat("x", maxJWT+1)
	for name, c := range map[string]struct {
		method, body string
		status       int
		rule         string
	}{
		"not posted":        {"GET", "", 405, ""},
		"nothing":           {"POST", "", 400, "malformed"},
		"not JSON":          {"POST", "{", 400, "malformed"},
		"of another type":   {"POST", `{"jwt":1}`, 400, "malformed"},
		"without a key":     {"POST", "{}", 400, "malformed"},
		"a seed for a key":  {"POST", text(api.EnrollRequest{Key: string(d.pair.Seed())}), 400, "malformed"},
		"a long JWT":        {"POST", text(big), 400, "size"},
		"a long body":       {"POST", strings.Repeat(" ", maxBody+1), 400, "size"},
		"a nonce of a user": {"POST", text(api.EnrollRequest{Key: good.Key, JWT: good.JWT, Nonce: "x"}), 403, "nonce"},
	} {
		rec, reply := post(c.method, c.body)
		rule := ""
		if reply.Error != nil {
			rule = reply.Error.Rule
		}
		if rec.Code != c.status || rule != c.rule {
			t.Errorf("%s: %d %s, want %d by %q", name, rec.Code, rec.Body, c.status, c.rule)
		}
		if strings.Contains(rec.Body.String(), "SU") && strings.HasPrefix(name, "a seed") {
			t.Errorf("the seed is in the answer: %s", rec.Body)
		}
	}
	if rec, reply := post("POST", text(good)); rec.Code != 200 || reply.JWT == "" || rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	for i := 0; ; i++ {
		rec, reply := post("POST", text(api.EnrollRequest{Key: good.Key}))
		if rec.Code == 200 && i < 300 {
			continue
		}
		if rec.Code != 429 || rec.Header().Get("Retry-After") != "1" || reply.Wait != 1 || i < 150 {
			t.Errorf("after %d: %d, %v, %s", i, rec.Code, rec.Header(), rec.Body)
		}
		break
	}
}
