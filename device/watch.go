package device

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
)

// spreadLeast is how long devices that are cut take at most until they ask for new
// credentials: they are cut together, and are not to ask together.
const spreadLeast = 5 * time.Second

// await waits until it is time to renew, or servers refuse the credentials that
// they took. ok is false when ctx ends.
func (a *Agent) await(ctx context.Context, st State, spread time.Duration) (cut, ok bool) {
	watching, end := context.WithCancel(ctx)
	defer end()
	refused := a.watch(watching, st)
	tick := time.NewTicker(clockSlack)
	defer tick.Stop()
	for {
		timer := time.NewTimer(a.due(st.Renew))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false, false
		case <-timer.C:
			return false, true
		case <-tick.C: // the clock may have been set, or have stood still
			timer.Stop()
		case <-refused:
			timer.Stop()
			a.log.Info("servers refuse the credentials; new ones are asked for", "within", spread.String())
			return true, sleep(ctx, rand.N(spread))
		}
	}
}

// watch keeps a connection until ctx ends, by the device's credentials. What it
// returns is closed when servers refuse them.
func (a *Agent) watch(ctx context.Context, st State) <-chan struct{} {
	refused := make(chan struct{})
	x := exchange{servers: st.Servers, pin: st.Pin, now: a.now}
	urls := x.urls(st.types)
	_, doc, err := a.read()
	if err != nil || urls == "" {
		return refused
	}
	var once sync.Once
	heard := func(err error) {
		if authRefused(err) {
			once.Do(func() { close(refused) })
		}
	}
	go func() {
		nc, err := api.Connect(ctx, urls, append(x.options(st.Key, doc.Token, a.sign),
			nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectJitter(time.Second, time.Second),
			nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { heard(err) }),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { heard(err) }),
			nats.ClosedHandler(func(nc *nats.Conn) { heard(nc.LastError()) }))...)
		if err != nil {
			heard(err)
			return
		}
		context.AfterFunc(ctx, nc.Close)
	}()
	return refused
}

// sign signs with the device's key, which is not kept in memory meanwhile.
func (a *Agent) sign(nonce []byte) ([]byte, error) {
	own, err := a.readPair()
	if err != nil {
		return nil, err
	}
	defer own.Wipe()
	return own.Sign(nonce)
}

// authRefused reports whether a server refused credentials.
func authRefused(err error) bool {
	for _, refusal := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
