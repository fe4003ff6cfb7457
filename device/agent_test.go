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
}

// ServeHTTP implements http.Handler.
func (s *accountd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req api.EnrollRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		panic(err)
	}
	reply := api.EnrollReply{Schema: api.Schema}
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
		reply.JWT, reply.Expires, reply.Renew = s.user(req.Key, now+2), now+2, now
	}
	_ = json.NewEncoder(w).Encode(reply)
}

func (s *accountd) user(key string, expires int64) string {
	uc := jwt.NewUserClaims(key)
	uc.Name, uc.IssuerAccount, uc.Expires = "d", s.account, expires
	return must(must(claims.New(uc)).Sign(s.signer, time.Now().Unix())).Token
}

// TestRun: the agent renews whenever it is told to; a refusal ends it once its
// credentials have expired, and not before.
func TestRun(t *testing.T) {
	t.Parallel()
	pair, group := must(keys.NewAccount()), must(keys.NewAccount())
	s := &accountd{account: pair.PublicKey(), signer: pair, refuse: 5}
	srv := httptest.NewServer(s)
	defer srv.Close()
	ac := jwt.NewAccountClaims(pair.PublicKey())
	holder := must(keys.NewUser())
	token := must(fleet.Group{Name: "g"}.Issue(ac, group, holder.PublicKey(), fleet.Terms{Uses: 1, Servers: []string{srv.URL}}, time.Now().Unix(), time.Now().Unix()+600))
	a := New(Options{Dir: t.TempDir()})
	if _, err := a.Enroll(t.Context(), string(fleet.FormatToken(token, holder.Seed())), ""); err != nil {
		t.Fatal(err)
	}
	var last State
	states := 0
	err := a.Run(t.Context(), func(st State) { last, states = st, states+1 })
	if fault.RuleOf(err) != "revoked" || states != 4 || time.Now().Unix() < last.Expires {
		t.Errorf("after %d states, %d s before the end: %v", states, last.Expires-time.Now().Unix(), err)
	}
	if n := s.asked.Load(); n < 6 {
		t.Errorf("it asked %d times", n)
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
		"expired":         s.user(own, time.Now().Unix()-1),
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
