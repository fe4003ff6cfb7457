package resolver

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

// TestProofs: several proofs in one answer, in the order of the request, and no
// more of them than a message holds.
func TestProofs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func(n int) api.ProofsReply {
		req := api.ProofsRequest{}
		for i := range n {
			req.Items = append(req.Items, api.ProofItem{Key: fmt.Sprint(i), Revision: 1})
		}
		return w.s.Proofs(context.Background(), req)
	}
	slow := showing("b", 0, api.Pending)
	w.s.cfg.Nodes = func() []Node { return []Node{inForce("a", 1), slow} }
	if reply := ask(3); reply.Error != nil || len(reply.Proofs) != 3 || reply.Proofs[2].Proven || len(reply.Proofs[2].Nodes) != 2 {
		t.Errorf("%+v", reply)
	}
	slow.proof.Reason = strings.Repeat("x", 64<<10)
	reply := ask(100)
	text, err := json.Marshal(reply)
	if err != nil || len(reply.Proofs) == 0 || len(reply.Proofs) >= 100 || len(text) > 1<<20 {
		t.Errorf("%d proofs in %d bytes (%v)", len(reply.Proofs), len(text), err)
	}
	slow.proof.Reason = strings.Repeat("x", 2<<20) // more than any message: said once
	if n := len(ask(2).Proofs); n != 1 {
		t.Errorf("%d proofs", n)
	}
	if reply := ask(maxItems + 1); reply.Error == nil || reply.Error.Code != fault.Invalid {
		t.Errorf("%+v", reply.Error)
	}
}
