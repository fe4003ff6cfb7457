package resolver

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
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
