package stock

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

// jsz is what JSZ tells of the JetStream data of one account.
type jsz struct {
	Accounts []struct {
		Memory  uint64 `json:"memory"`
		Store   uint64 `json:"storage"`
		ID      string `json:"id"`
		Streams []struct {
			Name string `json:"name"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// JetStream returns what an account has in JetStream on the servers that are up;
// what one that is away holds nobody can tell. It is fault.Unavailable when one
// that is up does not answer.
func (f *Fleet) JetStream(ctx context.Context, account string) (use api.JetStreamUse, err error) {
	body, err := json.Marshal(map[string]any{"account": account, "streams": true})
	if err != nil {
		return use, err
	}
	up := f.upNow()
	whole, err := f.ask.gather(ctx, fmt.Sprintf(subjectPing, "JSZ"), body, f.cfg.Answer, f.stirred, func(m *nats.Msg) bool {
		if m != nil {
			a, err := decode[jsz](m)
			if err != nil {
				return false
			}
			delete(up, a.Server.ID)
			for _, acc := range a.Data.Accounts {
				of := api.JetStreamUse{Memory: acc.Memory, Disk: acc.Store}
				for _, s := range acc.Streams {
					of.Streams = append(of.Streams, s.Name)
				}
				use.Merge(of)
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
	return use, err
}
