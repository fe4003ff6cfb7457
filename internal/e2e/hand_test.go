package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// hand writes claims with the operator's signing key and without nsc: another
// laptop, or a program.
type hand struct {
	*api.Client
	signer keys.OperatorPair
}

// hand connects a hand to the given servers.
func (c *cloud) hand(ctx context.Context, urls string, opts ...nats.Option) (*hand, error) {
	signer, err := c.operatorSigner(ctx)
	if err != nil {
		return nil, err
	}
	all := append([]nats.Option{
		nats.UserCredentials(c.creds("SYS", "sys")), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, opts...)
	client, err := api.Dial(ctx, urls, time.Now, all...)
	return &hand{client, signer}, err
}

// mustHand is hand for the test's own goroutine.
func (c *cloud) mustHand() *hand {
	c.t.Helper()
	h, err := c.hand(context.Background(), strings.Join(c.urls(), ","))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(h.Close)
	return h
}

// operatorSigner reads the operator's signing key from the keystore.
func (c *cloud) operatorSigner(ctx context.Context) (keys.OperatorPair, error) {
	none := keys.OperatorPair{}
	store, err := nscstore.Open(nscstore.Dirs{
		Config: filepath.Join(c.dir, "nsc"), Stores: filepath.Join(c.dir, "nsc", "stores"), Keys: filepath.Join(c.dir, "nsc", "keys"),
	})
	if err != nil {
		return none, err
	}
	op, err := store.Operator(ctx, "dev")
	if err != nil {
		return none, err
	}
	token, err := op.JWT()
	if err != nil {
		return none, err
	}
	doc, err := claims.Decode(token)
	if err != nil {
		return none, err
	}
	oc, err := claims.As[jwt.OperatorClaims](doc)
	if err != nil {
		return none, err
	}
	i := slices.IndexFunc(oc.SigningKeys, store.Keystore().HasSeed)
	if i < 0 {
		return none, errors.New("no signing key in the keystore")
	}
	seed, err := store.Keystore().Seed(oc.SigningKeys[i])
	if err != nil {
		return none, err
	}
	return keys.OperatorFromSeed(seed)
}

// put sends one item. The error is a refusal of the request as a whole, or of
// the item.
func (h *hand) put(ctx context.Context, item api.Item) (api.Result, error) {
	reply, err := h.Put(ctx, h.signer, api.PutRequest{Items: []api.Item{item}})
	if err == nil {
		err = reply.Error.Fault()
	}
	if err != nil {
		return api.Result{}, err
	}
	if len(reply.Results) != 1 {
		return api.Result{}, fmt.Errorf("%d results for one item", len(reply.Results))
	}
	return reply.Results[0], reply.Results[0].Error.Fault()
}
