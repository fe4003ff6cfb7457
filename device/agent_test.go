package device

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// accountd answers devices with credentials of a second, until it refuses.
type accountd struct {
	account string
	signer  keys.AccountPair
	asked   atomic.Int64 // for credentials
	refuse  int64        // from that one on
	life    int64        // of credentials, seconds
}

// ServeHTTP implements http.Handler.
func (s *accountd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req api.EnrollRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		panic(err)
	}
	reply := api.EnrollReply{Schema: api.Schema, Now: time.Now().Unix()}
	switch {
	case req.Nonce == "":
		reply.Nonce = "nonce"
	case keys.Verify(req.Key, req.Text(), req.Proof) != nil:
		reply.Error = &api.Error{Code: fault.Denied, Rule: "proof"}
	default:
		if s.asked.Add(1) >= s.refuse {
			reply.Error = &api.Error{Code: fault.Denied, Rule: "revoked", Message: "revoked"}
			break
		}
		now := time.Now().Unix()
		reply.JWT, reply.Expires, reply.Renew = s.user(req.Key, now+s.life), now+s.life, now
	}
	_ = json.NewEncoder(w).Encode(reply)
}

func (s *accountd) user(key string, expires int64) string {
	uc := jwt.NewUserClaims(key)
	uc.Name, uc.IssuerAccount, uc.Expires = "d", s.account, expires
	return must(must(claims.New(uc)).Sign(s.signer, time.Now().Unix())).Token
}

// TestRun: the agent renews whenever it is told to, whatever its clock says; a
// refusal ends it once its credentials have expired, and not before.
func TestRun(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, fleet.Skew, -fleet.Skew} {
		t.Run(ahead.String(), func(t *testing.T) {
			t.Parallel()
			pair, group := must(keys.NewAccount()), must(keys.NewAccount())
			s := &accountd{account: pair.PublicKey(), signer: pair, refuse: 5, life: 6}
			srv := httptest.NewServer(s)
			defer srv.Close()
			ac := jwt.NewAccountClaims(pair.PublicKey())
			holder := must(keys.NewUser())
			token := must(fleet.Group{Name: "g"}.Issue(ac, group, holder.PublicKey(), fleet.Terms{Uses: 1, Servers: []string{srv.URL}}, time.Now().Unix(), time.Now().Unix()+60))
			o := Options{Dir: t.TempDir(), Now: func() time.Time { return time.Now().Add(ahead) }}
			if _, err := New(o).Enroll(t.Context(), string(fleet.FormatToken(token, holder.Seed())), ""); err != nil {
				t.Fatal(err)
			}
			var last State
			states := 0
			err := New(o).Run(t.Context(), func(st State) { last, states = st, states+1 })
			if fault.RuleOf(err) != "revoked" || states != 4 || time.Now().Unix() < last.Expires {
				t.Errorf("after %d states, %d s before the end: %v", states, last.Expires-time.Now().Unix(), err)
			}
			if n := s.asked.Load(); n < 6 {
				t.Errorf("it asked %d times, and not again after the refusal", n)
			}
		})
	}
}

// TestClockOfAnotherDay: what accountd cannot have told is not believed, and without
// it the device reckons with a clock that is ahead or behind.
func TestClockOfAnotherDay(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a := New(Options{Dir: t.TempDir(), Now: func() time.Time { return now }})
	a.hear(now.Add(4 * time.Minute).Unix())
	if at, known := a.time(); !known || at.Sub(now) < 3*time.Minute {
		t.Errorf("it is %s at %s, known %v", at, now, known)
	}
	now = now.Add(time.Hour)
	if at, known := a.time(); !known || at.Sub(now) < 3*time.Minute {
		t.Errorf("an hour later it is %s at %s, known %v", at, now, known)
	}
	a.hear(now.Add(24 * time.Hour).Unix())
	if _, known := a.time(); known {
		t.Error("it believes another day")
	}
	if a.passed(now.Unix()-60) || !a.passed(now.Add(-fleet.Skew).Unix()) {
		t.Error("a device that may be ahead takes what is as passed")
	}
	if a.due(now.Add(fleet.Skew).Unix()) > 0 {
		t.Error("a device that may be behind waits too long")
	}
}

// TestWrongAnswers: credentials of others are not taken.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	pair := must(keys.NewAccount())
	a := New(Options{Dir: t.TempDir()})
	x := exchange{device: must(keys.NewUser()), now: time.Now}
	s, foreign := &accountd{account: pair.PublicKey(), signer: pair}, &accountd{account: must(keys.NewAccount()).PublicKey(), signer: pair}
	own, later := x.device.PublicKey(), time.Now().Unix()+60
	for what, token := range map[string]string{
		"another key":     s.user(must(keys.NewUser()).PublicKey(), later),
		"another account": foreign.user(own, later),
		"expired":         s.user(own, time.Now().Add(-fleet.Skew).Unix()-1),
		"no JWT":          "x",
	} {
		if err := a.accept(t.Context(), x, s.account, api.EnrollReply{JWT: token}); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	if _, err := a.State(); !fault.Is(err, fault.NotFound) {
		t.Errorf("something was written: %v", err)
	}
}

// TestWays: a device connects as servers let it, and asks in the ways that are left.
func TestWays(t *testing.T) {
	t.Parallel()
	x := exchange{servers: []string{"nats://a:1", "tls://b:2", "wss://c:3", "https://d:4", "ftp://e:5", "f"}}
	for _, c := range []struct {
		types []string
		want  string
	}{
		{nil, "nats://a:1,tls://b:2,wss://c:3"},
		{[]string{"STANDARD"}, "nats://a:1,tls://b:2"},
		{[]string{"MQTT", "WEBSOCKET"}, "wss://c:3"},
		{[]string{"MQTT"}, ""},
		{[]string{"LEAFNODE", "LEAFNODE_WS"}, ""},
	} {
		if got := x.urls(c.types); got != c.want {
			t.Errorf("%v: %s", c.types, got)
		}
	}
}

// TestReconnectDelay: pauses grow up to a minute and a half, and differ.
func TestReconnectDelay(t *testing.T) {
	t.Parallel()
	for rounds, most := range map[int]time.Duration{0: 1500 * time.Millisecond, 3: 12 * time.Second, 1000: 90 * time.Second} {
		seen := map[time.Duration]bool{}
		for range 100 {
			d := reconnectDelay(rounds)
			if seen[d] = true; d < most/3 || d > most {
				t.Errorf("%s after %d rounds", d, rounds)
			}
		}
		if len(seen) < 90 {
			t.Errorf("after %d rounds only %d pauses of 100 differ", rounds, len(seen))
		}
	}
}

// TestFinal: the agent gives up on what no time heals, and on nothing else.
func TestFinal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{fault.New(fault.Denied, "x").ByRule("revoked"), true},
		{fault.New(fault.Denied, "x").ByRule("retired-key"), true},
		{fault.New(fault.Expired, "x").ByRule("too-late"), true},
		{fault.New(fault.Untrusted, "x").ByRule("chain"), true},
		{fault.New(fault.Denied, "x").ByRule("suspended"), false}, // until it is resumed
		{fault.New(fault.Denied, "x").ByRule("refused"), false},   // as servers do when it is suspended
		{fault.New(fault.Expired, "x").ByRule("nonce"), false},
		{fault.New(fault.Unavailable, "x").ByRule("rate-limit"), false},
		{fault.New(fault.Unavailable, "x").ByRule("cohort-key"), false},
		{fault.New(fault.Unavailable, "x"), false},
		{fault.New(fault.Denied, "disk full"), false},
		{fault.New(fault.Conflict, "x").ByRule("one-process"), false},
		{errors.Join(fs.ErrPermission), false},
		{errors.New("x"), false},
	} {
		if final(c.err) != c.want {
			t.Errorf("%v: final %v", c.err, !c.want)
		}
	}
}
