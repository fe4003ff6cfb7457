package resolver

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/claims"
)

// TestPackOfTheSame: a directory that holds what the store holds gets nothing
// but the end. (A message without a connection cannot be answered: whoever
// tries, fails and takes the reply subject away.)
func TestPackOfTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setup()
	d := &natsDoor{s: w.s, ctx: context.Background()}
	var sum claims.Sum
	if err := w.s.Pack(d.ctx, func(_, token string) error { sum.Add(token); return nil }); err != nil {
		t.Fatal(err)
	}
	same := &nats.Msg{Reply: "r", Data: sum[:]}
	if d.pack(same); same.Reply == "" {
		t.Error("accounts are sent to a directory that has them")
	}
	sum.Add("another")
	for _, data := range [][]byte{sum[:], nil} {
		other := &nats.Msg{Reply: "r", Data: data}
		if d.pack(other); other.Reply != "" {
			t.Errorf("nothing is sent to a directory with the sum %x", data)
		}
	}
}
