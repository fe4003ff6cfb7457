package resolver

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/storetest"
)

// TestBothHalvesOfAFailure: a put that failed, or whose fate is unknown, may be
// sent again, and leaves one revision either way.
func TestBothHalvesOfAFailure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outcome storetest.Outcome
		again   string // outcome of the second try
	}{
		{storetest.Failed, api.OutcomePut},
		{storetest.Lost, api.OutcomePut},
		{storetest.Applied, api.OutcomeSame},
	} {
		t.Run(c.outcome.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.s.cfg.Store = storetest.NewFaulty(w.store, storetest.Script(c.outcome))
			req := api.PutRequest{Items: []api.Item{{JWT: w.sign(w.sk, w.account()).Token}}}
			reply := w.request(req)
			if reply.Error == nil || reply.Error.Code != fault.Unavailable || len(reply.Results) != 0 {
				t.Fatalf("first: %+v", reply)
			}
			reply = w.request(req)
			if reply.Error != nil || reply.Results[0].Outcome != c.again || reply.Results[0].Revision != 1 {
				t.Fatalf("again: %+v", reply)
			}
		})
	}
}

// TestTransactionThatRunsTwice: a store may run the transaction again.
func TestTransactionThatRunsTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	w.s.cfg.Store = storetest.NewFaulty(w.store, storetest.Script(storetest.Twice, storetest.Twice))
	head := w.head()
	next := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Tags.Add("x") })
	if res := w.mustPut(next, s.current.ID); res.Revision != 3 || w.head() != head+1 {
		t.Fatalf("%+v, head %d after %d", res, w.head(), head)
	}
}

// TestReplayAfterAnUnknownOutcome: the envelope of a put that was applied
// without an answer is spent.
func TestReplayAfterAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s.cfg.Store = storetest.NewFaulty(w.store, storetest.Script(storetest.Applied))
	body := must(json.Marshal(api.PutRequest{Items: []api.Item{{JWT: w.sign(w.sk, w.account()).Token}}}))
	token := w.envelope(w.sk, body)
	w.s.Put(context.Background(), "test", token, body)
	if reply := w.s.Put(context.Background(), "test", token, body); reply.Error == nil || reply.Error.Code != fault.Denied {
		t.Fatalf("%+v", reply)
	}
}

// awayStore is a database that cannot be reached.
type awayStore struct{ store.Store }

func (awayStore) fail() error {
	return fault.New(fault.Unavailable, "connect in store db.internal/acc: %w", errors.New("dial 10.0.0.7:5432 as user test")).About("store", "db.internal/acc")
}
func (a awayStore) View(context.Context, func(store.Reader) error) error { return a.fail() }
func (a awayStore) Update(context.Context, func(store.Tx) error) error   { return a.fail() }

// TestStoreThatIsAway: no door tells where the store is, and each says that it
// helps to try again.
func TestStoreThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.sign(w.sk, w.account()).Token
	w.s.cfg.Store = awayStore{w.store}
	srv := httptest.NewServer(w.handler())
	defer srv.Close()
	said := func(path string) string {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body := string(must(io.ReadAll(resp.Body))); resp.StatusCode == http.StatusServiceUnavailable {
			return body
		}
		return "not 503 but " + resp.Status
	}
	put := w.request(api.PutRequest{Items: []api.Item{{JWT: token}}})
	_, pushed := w.s.Push(t.Context(), "push", token)
	for door, text := range map[string]string{
		"put": put.Error.Message, "push": pushed.Error(), "get": w.s.Get(t.Context(), api.GetRequest{}).Error.Message,
		"lookup": said("/jwt/v1/accounts/" + w.tenant.PublicKey()), "operator": said("/jwt/v1/operator"), "info": said(api.PathInfo),
		"pack": said("/jwt/v1/pack?max=all"),
	} {
		if strings.Contains(text, "internal") || strings.Contains(text, "10.0.0.7") || !strings.Contains(text, "store") {
			t.Errorf("%s says: %s", door, text)
		}
	}
}
