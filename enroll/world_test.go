package enroll

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// world is a service over a real store with an account iot, its fleet of two
// cohorts, and a group.
type world struct {
	t        testing.TB
	s        *Service
	store    store.Store
	identity string
	clock    time.Time
	signer   keys.OperatorPair
	account  keys.AccountPair
	group    keys.AccountPair
	cohorts  []keys.AccountPair
	claims   *jwt.AccountClaims
	fleet    fleet.Fleet
	counted  map[string]int // "what outcome rule"
}

func newWorld(t testing.TB) *world {
	t.Helper()
	st := must(bolt.Open(filepath.Join(t.TempDir(), "accountd.db"), bolt.Options{}))
	t.Cleanup(func() { _ = st.Close() })
	return newWorldOn(t, st)
}

func newWorldOn(t testing.TB, st store.Store) *world {
	t.Helper()
	w := &world{
		t: t, identity: must(operator.NewIdentity()), clock: time.Unix(1_800_000_000, 0), signer: must(keys.NewOperator()),
		account: must(keys.NewAccount()), group: must(keys.NewAccount()),
		fleet: fleet.Fleet{Name: "devices", Cohorts: 2, TTL: time.Hour, Confine: fleet.ByID}, counted: map[string]int{},
	}
	w.store = st
	w.claims = jwt.NewAccountClaims(w.account.PublicKey())
	w.claims.Name = "iot"
	var public []string
	for range w.fleet.Cohorts {
		pair := must(keys.NewAccount())
		w.cohorts, public = append(w.cohorts, pair), append(public, pair.PublicKey())
	}
	template := must(w.fleet.Template(w.claims))
	if err := fleet.Add(w.claims, w.fleet, template, public); err != nil {
		t.Fatal(err)
	}
	if err := w.fleet.AddGroup(w.claims, "phones", w.group.PublicKey()); err != nil {
		t.Fatal(err)
	}
	w.publish(nil)
	w.start()
	w.give(w.cohorts...)
	return w
}

// start makes the service, as a process that starts does.
func (w *world) start() {
	w.s = must(New(Config{
		Store: w.store, Identity: w.identity, Now: func() time.Time { return w.clock },
		Decided: func(what, outcome, rule string) { w.counted[what+" "+outcome+" "+rule]++ },
	}))
}

// publish stores the account's claims after a change.
func (w *world) publish(edit func(*jwt.AccountClaims)) {
	w.t.Helper()
	if edit != nil {
		edit(w.claims)
	}
	doc := must(must(claims.New(w.claims)).Sign(w.signer, w.clock.Unix()))
	w.put(store.Record{Kind: store.Account, Key: doc.Subject, Name: doc.Name, ID: doc.ID, JWT: doc.Token}, func(old, next *store.Record) {
		next.Retired, next.Dropped = old.Retired, old.Dropped
	})
}

func (w *world) put(rec store.Record, carry func(old, next *store.Record)) {
	w.t.Helper()
	err := w.store.Update(context.Background(), func(tx store.Tx) error {
		old, err := tx.Get(rec.Kind, rec.Key)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		next := rec
		carry(&old, &next)
		_, err = tx.Put(old.Revision, next, store.Change{Time: w.clock, Action: "put"})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// give hands keys over, as nsc does.
func (w *world) give(pairs ...keys.AccountPair) {
	w.t.Helper()
	ring := w.s.Keyring()
	bundle := api.KeyBundle{Account: w.account.PublicKey()}
	for _, p := range pairs {
		bundle.Seeds = append(bundle.Seeds, p.Seed())
	}
	sealed := must(operator.SealTo(must(json.Marshal(bundle)), must(ring.Recipient())))
	err := w.store.Update(context.Background(), func(tx store.Tx) error {
		old, rec, err := ring.Keep(tx, w.account.PublicKey(), sealed)
		if err == nil && rec.JWT != old.JWT {
			_, err = tx.Put(old.Revision, rec, store.Change{Time: w.clock, Action: "keys"})
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// device is a device with its key and what it has to show.
type device struct {
	w     *world
	pair  keys.UserPair
	token *keys.UserPair // the secret part of its token
	jwt   string
	id    string
	from  Source
}

// device makes a device that holds a token.
func (w *world) device(id string, terms fleet.Terms) *device {
	w.t.Helper()
	holder := must(keys.NewUser())
	return &device{w: w, pair: must(keys.NewUser()), token: &holder, jwt: w.token(holder.PublicKey(), terms), id: id}
}

func (w *world) token(holder string, terms fleet.Terms) string {
	w.t.Helper()
	if terms.Uses == 0 {
		terms.Uses = 1
	}
	terms.Servers = []string{"nats://127.0.0.1:4222"}
	g := must(fleet.FindGroup(w.claims, "phones"))
	return must(g.Issue(w.claims, w.group, holder, terms, w.clock.Unix(), w.clock.Add(time.Hour).Unix())).Token
}

// same is another device with the same token.
func (d *device) same(id string) *device {
	return &device{w: d.w, pair: must(keys.NewUser()), token: d.token, jwt: d.jwt, id: id}
}

// request is a request of d, signed over a nonce.
func (d *device) request() (req api.EnrollRequest, refused error) {
	req = api.EnrollRequest{JWT: d.jwt, Key: d.pair.PublicKey(), ID: d.id}
	first := d.w.s.Answer(context.Background(), d.from, req)
	if first.Error != nil {
		return req, first.Error.Fault()
	}
	req.Nonce = first.Nonce
	return d.sign(req), nil
}

func (d *device) sign(req api.EnrollRequest) api.EnrollRequest {
	req.Proof = must(d.pair.Sign(req.Text()))
	if d.token != nil {
		req.TokenProof = must(d.token.Sign(req.Text()))
	}
	return req
}

// ask asks for credentials, and takes them.
func (d *device) ask() (api.EnrollReply, error) {
	req, err := d.request()
	if err != nil {
		return api.EnrollReply{}, err
	}
	return d.send(req)
}

func (d *device) send(req api.EnrollRequest) (api.EnrollReply, error) {
	reply := d.w.s.Answer(context.Background(), d.from, req)
	if reply.Error != nil {
		return reply, reply.Error.Fault()
	}
	return reply, nil
}

// enrol makes d a device with credentials.
func (d *device) enrol() *device {
	d.w.t.Helper()
	reply, err := d.ask()
	if err != nil {
		d.w.t.Fatal(err)
	}
	return &device{w: d.w, pair: d.pair, jwt: reply.JWT}
}

func (w *world) refuses(what string, err error, code fault.Code, rule string) {
	w.t.Helper()
	if !fault.Is(err, code) || fault.RuleOf(err) != rule {
		w.t.Errorf("%s: got %v (%s, %s), want %s by rule %s", what, err, fault.CodeOf(err), fault.RuleOf(err), code, rule)
	}
}
