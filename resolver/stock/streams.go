package stock

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/fault"
)

// jsz is what JSZ tells of the JetStream data of one account.
type jsz struct {
	Accounts []struct {
		ID      string `json:"id"`
		Streams []struct {
			Name string `json:"name"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// Streams names the JetStream streams of an account on the servers that are up;
// what one that is away holds nobody can tell. It is fault.Unavailable when one
// that is up does not answer.
func (f *Fleet) Streams(ctx context.Context, account string) ([]string, error) {
	body, err := json.Marshal(map[string]any{"account": account, "streams": true})
	if err != nil {
		return nil, err
	}
	up, names := f.upNow(), map[string]bool{}
	whole, err := f.ask.gather(ctx, fmt.Sprintf(subjectPing, "JSZ"), body, f.cfg.Answer, f.stirred, func(m *nats.Msg) bool {
		if m != nil {
			a, err := decode[jsz](m)
			if err != nil {
				return false
			}
			delete(up, a.Server.ID)
			for _, acc := range a.Data.Accounts {
				for _, s := range acc.Streams {
					names[s.Name] = true
				}
			}
		}
		for id, s := range up {
			if !f.still(s, id) {
				delete(up, id)
			}
		}
		return len(up) == 0
	})
	if err == nil && !whole {
		err = fault.New(fault.Unavailable, "%d servers do not answer", len(up))
	}
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(names))
	for name := range names {
		out = append(out, name)
	}
	slices.SortFunc(out, strings.Compare)
	return out, nil
}
