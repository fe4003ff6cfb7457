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

// How often a device asks whether the key goes that signed its credentials: first
// within lookFirst, then as often as it is told to, and never more than lookLeast.
const (
	lookFirst = time.Minute
	lookLeast = 15 * time.Second
)

// await waits until it is time to renew, or servers refuse the credentials that
// they took. That time comes earlier if their key goes before. ok is false when ctx
// ends.
func (a *Agent) await(ctx context.Context, st State, spread time.Duration) (cut, ok bool) {
	watching, end := context.WithCancel(ctx)
	defer end()
	refused, retires := a.watch(watching, st)
	tick := time.NewTicker(clockSlack)
	defer tick.Stop()
	for renew := st.Renew; ; {
		timer := time.NewTimer(a.due(renew))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false, false
		case <-timer.C:
			return false, true
		case <-tick.C: // the clock may have been set, or have stood still
			timer.Stop()
		case at := <-retires:
			timer.Stop()
			if at < renew+int64(spreadLeast/time.Second) {
				renew = a.ahead(at)
				a.log.Info("the key goes that signed the credentials; new ones are asked for", "goes", at, "at", renew)
			}
		case <-refused:
			timer.Stop()
			a.log.Info("servers refuse the credentials; new ones are asked for", "within", spread.String())
			return true, sleep(ctx, rand.N(spread))
		}
	}
}

// ahead picks a time before a key goes, Unix seconds. All devices of the key do so,
// and leave some of that time to those that have to try again.
func (a *Agent) ahead(goes int64) int64 {
	left := a.due(goes)
	return goes - int64((left-rand.N(max(left*4/5, time.Second)))/time.Second)
}

// watch keeps a connection until ctx ends, by the device's credentials. refused is
// closed when servers refuse them; retires gets the time at which their key goes,
// whenever that is known or changes.
func (a *Agent) watch(ctx context.Context, st State) (<-chan struct{}, <-chan int64) {
	refused, retires := make(chan struct{}), make(chan int64, 1)
	x := exchange{servers: st.Servers, pin: st.Pin, now: a.now, hear: a.hear}
	urls := x.urls(st.types)
	_, doc, err := a.read()
	if err != nil || urls == "" {
		return refused, retires
	}
	var once sync.Once
	heard := func(err error) {
		if authRefused(err) {
			once.Do(func() { close(refused) })
		}
	}
	go func() {
		nc, err := api.Connect(ctx, urls, append(x.options(st.Key, doc.Token, a.sign),
			nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.CustomReconnectDelay(reconnectDelay),
			nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { heard(err) }),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { heard(err) }),
			nats.ClosedHandler(func(nc *nats.Conn) { heard(nc.LastError()) }))...)
		if err != nil {
			heard(err)
			return
		}
		defer nc.Close()
		a.look(ctx, x, nc, api.EnrollRequest{Key: st.Key, Issuer: doc.Issuer}, retires)
	}()
	return refused, retires
}

// look asks over nc, until ctx ends, when the key goes that signed the credentials,
// as long as there is somebody who tells.
func (a *Agent) look(ctx context.Context, x exchange, nc *nats.Conn, req api.EnrollRequest, retires chan<- int64) {
	every, last := lookFirst, int64(0)
	for wait := rand.N(lookFirst); sleep(ctx, wait); wait = jittered(every) {
		reply, err := x.ask(ctx, overConn(nc), req)
		if err == nil && reply.Look == 0 {
			break
		}
		if err != nil {
			a.log.Debug("nobody said whether the key goes", "err", err)
			continue
		}
		every = max(time.Duration(reply.Look)*time.Second, lookLeast)
		if at := reply.Retires; at != last && at > 0 {
			last = at
			select {
			case retires <- at:
			case <-ctx.Done():
			}
		}
	}
	<-ctx.Done()
}

// reconnectDelay is the pause before each further round of all servers: devices that
// lost them together are not to come back together.
func reconnectDelay(rounds int) time.Duration {
	return jittered(min(time.Second<<min(rounds, 6), time.Minute))
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
