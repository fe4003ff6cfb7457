package resolver

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/keys"
)

// fakeNode shows what it is told to: real servers are tested elsewhere.
type fakeNode struct {
	trusts []string
	name   string
	proof  api.NodeProof
}

func (n fakeNode) Name() string                                        { return n.name }
func (n fakeNode) Await(context.Context, string, uint64) api.NodeProof { return n.proof }
func (n fakeNode) Proof(string) api.NodeProof                          { return n.proof }
func (n fakeNode) Trusts() []string                                    { return n.trusts }
func (n fakeNode) Status() api.NodeStatus {
	return api.NodeStatus{Server: n.name, Applied: 1, Trusts: n.trusts}
}
func (n fakeNode) Seen(req api.SeenRequest) api.SeenReply {
	return api.SeenReply{IssuedAt: 7, Connections: 2, Named: []api.SeenJWT{{Name: req.Account, Key: "U"}}}
}
func inForce(name string, rev uint64) fakeNode { return showing(name, rev, api.InForce) }
func showing(name string, rev uint64, st api.State) fakeNode {
	return fakeNode{name: name, proof: api.NodeProof{Server: name, Revision: rev, State: st}}
}

func TestProofIsThatOfTheWeakestServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		nodes []Node
		want  bool
	}{
		{nil, false},
		{[]Node{inForce("a", 1), inForce("b", 1)}, true},
		{[]Node{inForce("a", 1), showing("b", 1, api.Stored)}, true},
		{[]Node{inForce("a", 1), showing("b", 0, api.Pending)}, false},
		{[]Node{showing("a", 1, api.Rejected), inForce("b", 1)}, false},
	} {
		w.s.cfg.Nodes = func() []Node { return c.nodes }
		reply := w.s.Proof(context.Background(), api.ProofRequest{Key: "A", Revision: 1})
		if reply.Proven != c.want || len(reply.Nodes) != len(c.nodes) {
			t.Errorf("%v: %+v", c.nodes, reply)
		}
	}
}

func TestStatusShowsWhatNeedsALook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	w.s.cfg.Nodes = func() []Node { return []Node{inForce("nats-0", 1)} }
	st := w.s.Status(context.Background(), api.StatusRequest{})
	if st.Error != nil || st.Total != 2 || st.InForce != 1 || len(st.Accounts) != 1 || st.Accounts[0].Key != s.current.Subject || st.Accounts[0].State != api.Pending {
		t.Fatalf("%+v", st)
	}
	if st.Nodes[0].Behind != st.Head-1 {
		t.Errorf("behind %d of %d", st.Nodes[0].Behind, st.Head)
	}
	one := w.s.Status(context.Background(), api.StatusRequest{Account: "SYS"})
	if len(one.Accounts) != 1 || one.Accounts[0].State != api.InForce || one.Accounts[0].Actor == "" {
		t.Fatalf("%+v", one)
	}
	if missing := w.s.Status(context.Background(), api.StatusRequest{Account: "nobody"}); missing.Error == nil || missing.Error.Code != "not_found" {
		t.Fatalf("%+v", missing)
	}
	w.s.cfg.Nodes = func() []Node { return []Node{inForce("a", 1), inForce("b", 1)} }
	if seen := w.s.Seen(context.Background(), api.SeenRequest{}); seen.IssuedAt != 7 || seen.Connections != 4 || seen.Servers["b"] != 2 || len(seen.Named) != 1 {
		t.Errorf("%+v", seen)
	}
	if seen := w.s.Seen(context.Background(), api.SeenRequest{Names: make([]string, api.MaxSeenNames+1)}); seen.Error == nil {
		t.Error("too many names")
	}
}

func TestGetAndList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	for _, name := range []string{"coke", s.current.Subject} {
		got := w.s.Get(context.Background(), api.GetRequest{Account: name})
		if got.Error != nil || got.Version.JWT != s.current.Token || got.Retired[s.retired] == 0 {
			t.Fatalf("%s: %+v", name, got)
		}
	}
	if op := w.s.Get(context.Background(), api.GetRequest{}); op.Version == nil || op.Version.JWT != w.operator.Token {
		t.Fatalf("%+v", op)
	}
	for i := range 5 {
		ac := jwt.NewAccountClaims(must(keys.NewAccount()).PublicKey())
		ac.Name, ac.Tags = "coke", jwt.TagList{fmt.Sprintf("namespace:c%d", i)}
		w.mustPut(w.sign(w.sk, ac), "")
	}
	if got := w.s.Get(context.Background(), api.GetRequest{Account: "coke"}); got.Error == nil || got.Error.Code != "conflict" {
		t.Fatalf("a name that several have: %+v", got)
	}
	var all []string
	for req := (api.ListRequest{Limit: 2}); ; {
		page := w.s.List(context.Background(), req)
		for _, v := range page.Accounts {
			all = append(all, v.Key)
		}
		if !page.More {
			break
		}
		req.After = all[len(all)-1]
	}
	if len(all) != 7 || !slices.IsSorted(all) {
		t.Fatalf("%d accounts: %v", len(all), all)
	}
}

func TestHTTPLookups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	h := w.handler()
	get := func(path, etag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil)
		r.Header.Set("If-None-Match", etag)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	good := get("/jwt/v1/accounts/"+s.current.Subject, "")
	if good.Code != 200 || good.Body.String() != s.current.Token || good.Header().Get("ETag") != `"`+s.current.ID+`"` {
		t.Fatalf("%d %s", good.Code, good.Header())
	}
	for path, want := range map[string]int{
		"/jwt/v1/operator": 200,
		"/jwt/v1/accounts/" + must(keys.NewAccount()).PublicKey(): 404,
		"/jwt/v1/accounts/" + victim:                              400,
		"/jwt/v1/accounts/..%2f..%2fetc":                          400,
		"/jwt/v1/accounts/":                                       200,
		"/jwt/v1/pack":                                            403,
	} {
		if got := get(path, "").Code; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := get("/jwt/v1/accounts/"+s.current.Subject, good.Header().Get("ETag")); got.Code != 304 || got.Body.Len() != 0 {
		t.Errorf("unchanged: %d", got.Code)
	}
}
