package enroll

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
)

// check decodes what a device got as the servers' library does, and returns it.
func (w *world) check(d *device, id string) *jwt.UserClaims {
	w.t.Helper()
	uc, err := jwt.DecodeUserClaims(d.jwt)
	if err != nil {
		w.t.Fatal(err)
	}
	life := time.Unix(uc.Expires, 0).Sub(w.clock)
	signer := w.cohorts[w.fleet.Cohort(id)].PublicKey()
	if uc.Name != id || uc.Subject != d.pair.PublicKey() || uc.Issuer != signer || uc.IssuerAccount != w.account.PublicKey() ||
		life > w.fleet.TTL || life < w.fleet.TTL*84/100 || !uc.HasEmptyPermissions() {
		w.t.Fatalf("got %+v", uc)
	}
	return uc
}

func TestExchange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("phone-1", fleet.Terms{Tags: []string{"site:7"}})
	got := d.enrol()
	if uc := w.check(got, "phone-1"); len(uc.Tags) != 1 || uc.Tags[0] != "site:7" {
		t.Errorf("tags %v", uc.Tags)
	}
	w.clock = w.clock.Add(time.Minute)
	w.check(d.enrol(), "phone-1") // the answer was lost: it asks again, with its key
	_, err := d.same("phone-1").ask()
	w.refuses("another key", err, fault.Conflict, "taken")
	_, err = d.same("phone-2").ask()
	w.refuses("a second device", err, fault.Denied, "spent")
	w.start() // a restart forgets nothing
	_, err = d.same("phone-2").ask()
	w.refuses("after a restart", err, fault.Denied, "spent")
	if w.counted["enroll conflict taken"] != 1 || w.counted["enroll ok "] != 2 {
		t.Errorf("counted %v", w.counted)
	}

	reply, err := got.ask()
	if err != nil {
		t.Fatal(err)
	}
	half := w.clock.Unix() + (reply.Expires-w.clock.Unix())/2
	if reply.Renew < half || reply.Renew >= reply.Expires {
		t.Errorf("renew at %d, half of the life is at %d, it ends at %d", reply.Renew, half, reply.Expires)
	}
	if uc := w.check(&device{w: w, pair: got.pair, jwt: reply.JWT}, "phone-1"); len(uc.Tags) != 1 {
		t.Errorf("a renewal lost the tags: %v", uc.Tags)
	}
}

// TestIDs: who names a device, and what fits a token.
func TestIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct{ pattern, ask, want, rule string }{
		{"", "x-1", "x-1", ""},
		{"s-7", "", "s-7", ""},
		{"s-7", "s-8", "", "id-pattern"},
		{"s-*", "s-9", "s-9", ""},
		{"s-*", "t-9", "", "id-pattern"},
		{"*-a-*", "x-a-y", "x-a-y", ""},
		{"a*a", "a", "", "id-pattern"}, // the two may not overlap
		{"s-*", "", "", "id-pattern"},  // its key does not fit
		{"", "a.b", "", "device-id"},
		{"", "*", "", "device-id"},
		{"", ">", "", "device-id"},
		{"", "a b", "", "device-id"},
		{"", "a\x00", "", "device-id"},
		{"", "a\nb", "", "device-id"},
		{"", "gerät", "", "device-id"},
		{"", "a\u202eb", "", "device-id"},
		{"", strings.Repeat("x", 4096), "", "device-id"},
		{"s-*", "s-é", "", "device-id"},
		{strings.Repeat("*a", 15) + "*b", strings.Repeat("a", 31), "", "id-pattern"}, // at once
	} {
		d := w.device(c.ask, fleet.Terms{Pattern: c.pattern})
		reply, err := d.ask()
		if c.rule != "" {
			if fault.RuleOf(err) != c.rule {
				t.Errorf("%q for %q: %v, want %s", c.ask, c.pattern, err, c.rule)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q for %q: %v", c.ask, c.pattern, err)
			continue
		}
		w.check(&device{w: w, pair: d.pair, jwt: reply.JWT}, c.want)
	}
	d := w.device("", fleet.Terms{})
	w.check(d.enrol(), d.pair.PublicKey())
}

// TestProofs: nothing but the keys themselves gets credentials.
func TestProofs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("phone-1", fleet.Terms{Uses: 5})
	req, err := d.request()
	if err != nil {
		t.Fatal(err)
	}
	thief := must(keys.NewUser())

	bad := req
	bad.Proof = must(thief.Sign(req.Text()))
	_, err = d.send(bad)
	w.refuses("another key's proof", err, fault.Denied, "proof")
	bad = req
	bad.TokenProof = must(thief.Sign(req.Text()))
	_, err = d.send(bad)
	w.refuses("another token's proof", err, fault.Denied, "proof")
	bad = req
	bad.ID = "phone-2"
	_, err = d.send(bad)
	w.refuses("a proof for another id", err, fault.Denied, "proof")
	bad = req // who listened has the token's JWT and its proof, and puts his key in
	bad.Key = thief.PublicKey()
	bad.Proof = must(thief.Sign(bad.Text()))
	_, err = d.send(bad)
	w.refuses("a nonce for another key", err, fault.Denied, "nonce")
	_, err = (&device{w: w, pair: thief, jwt: d.jwt}).ask()
	w.refuses("a token without its secret part", err, fault.Denied, "proof")
	bad = req
	bad.Nonce = bad.Nonce[:len(bad.Nonce)-2] + "AA"
	_, err = d.send(d.sign(bad))
	w.refuses("a nonce of one's own", err, fault.Denied, "nonce")

	got := d.enrol()
	stolen := &device{w: w, pair: thief, jwt: got.jwt}
	_, err = stolen.ask()
	w.refuses("credentials of another key", err, fault.Denied, "proof")

	w.clock = w.clock.Add(nonceLife + time.Second)
	_, err = d.send(req)
	w.refuses("a nonce that was left lying", err, fault.Expired, "nonce")
	req, _ = d.request()
	other := must(newNoncer("another identity"))
	req.Nonce = must(other.make(req.Key, w.clock))
	_, err = d.send(d.sign(req))
	w.refuses("a nonce of another accountd", err, fault.Denied, "nonce")
	w.identity = must(operator.NewIdentity())
	w.start()
	_, err = d.ask()
	w.refuses("an accountd without the identity", err, fault.Unavailable, "identity")
}

// TestRights: whose JWTs are good for what.
func TestRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bound := must(keys.NewUser())
	d := &device{w: w, pair: bound, jwt: w.token(bound.PublicKey(), fleet.Terms{Bound: true}), id: "b"}
	w.check(d.enrol(), "b")
	_, err := (&device{w: w, pair: must(keys.NewUser()), jwt: d.jwt}).ask()
	w.refuses("a token for another key", err, fault.Denied, "bound-key")

	sign := func(s claims.Signer, change func(*jwt.UserClaims)) string {
		uc := jwt.NewUserClaims(d.pair.PublicKey())
		uc.Name, uc.IssuerAccount, uc.Expires = "b", w.account.PublicKey(), w.clock.Add(time.Hour).Unix()
		change(uc)
		return must(must(claims.New(uc)).Sign(s, w.clock.Unix())).Token
	}
	same := func(*jwt.UserClaims) {}
	foreign := must(keys.NewAccount())
	for what, c := range map[string]struct {
		jwt  string
		code fault.Code
		rule string
	}{
		"signed by nobody we know":         {sign(foreign, same), fault.Untrusted, "chain"},
		"signed by the account itself":     {sign(w.account, func(uc *jwt.UserClaims) { uc.IssuerAccount = "" }), fault.Untrusted, "chain"},
		"of an account that is not stored": {sign(foreign, func(uc *jwt.UserClaims) { uc.IssuerAccount = foreign.PublicKey() }), fault.Denied, "account"},
		"of the group, but no token":       {sign(w.group, same), fault.Invalid, "token"},
		"that never expires":               {sign(w.cohorts[0], func(uc *jwt.UserClaims) { uc.Expires = 0 }), fault.Expired, "too-late"},
		"with a wildcard for a name":       {sign(w.cohorts[0], func(uc *jwt.UserClaims) { uc.Name = ">" }), fault.Invalid, "device-id"},
		"not a JWT":                        {"a.b.c", fault.Invalid, "malformed"},
	} {
		_, err := (&device{w: w, pair: d.pair, jwt: c.jwt}).ask()
		w.refuses(what, err, c.code, c.rule)
	}

	d.from = Source{Via: "nats", Account: foreign.PublicKey()}
	_, err = d.ask()
	w.refuses("from another account", err, fault.Denied, "account")
	d.from.Account = w.account.PublicKey()
	if _, err := d.ask(); err != nil {
		t.Error(err)
	}
	if accounts.Suspend(w.claims); !accounts.Suspended(w.claims) {
		t.Fatal("it is not suspended")
	}
	w.publish(nil)
	_, err = d.ask()
	w.refuses("of a suspended account", err, fault.Denied, "suspended")
}

// TestIssuedEarlier: a revocation covers what was issued before it was stored,
// also where its clock is behind, and this costs nothing of the lifetime.
func TestIssuedEarlier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("a", fleet.Terms{Uses: 2}).enrol()
	uc := w.check(d, "a")
	if left := uc.Expires - w.clock.Unix(); uc.IssuedAt != w.clock.Add(-fleet.Skew).Unix() || left < int64(w.fleet.TTL.Seconds()*0.85) {
		t.Errorf("issued at %d, expires at %d, at %d", uc.IssuedAt, uc.Expires, w.clock.Unix())
	}
	all := w.clock.Add(-time.Minute).Unix()
	w.publish(func(ac *jwt.AccountClaims) { ac.Revocations = jwt.RevocationList{revocation.All: all} })
	if uc := w.check(w.device("b", fleet.Terms{Uses: 1}).enrol(), "b"); uc.IssuedAt != all+1 {
		t.Errorf("issued at %d, and everything until %d is revoked", uc.IssuedAt, all)
	}
}

// TestEnds: tokens and credentials end by time, by revocation and with their key.
func TestEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := w.clock
	d := w.device("a", fleet.Terms{Uses: 9})
	a, b, c := d.enrol(), d.same("b").enrol(), d.same("c").enrol()
	at := func(after time.Duration) { w.clock = begin.Add(after) }

	at(time.Minute)
	w.publish(func(ac *jwt.AccountClaims) {
		ac.Revocations = jwt.RevocationList{b.pair.PublicKey(): begin.Unix()}
	})
	_, err := b.ask()
	w.refuses("a revoked device", err, fault.Denied, "revoked")
	again := d.same("b2")
	again.pair = b.pair
	_, err = again.ask()
	w.refuses("a revoked device with a token", err, fault.Denied, "revoked")
	if _, err := a.ask(); err != nil {
		t.Errorf("another device: %v", err)
	}

	at(time.Hour + time.Second)
	_, err = d.same("late").ask()
	w.refuses("an expired token", err, fault.Expired, "token")
	at(time.Hour + 50*time.Minute) // its credentials have expired, its lifetime ago at most
	if _, err := a.ask(); err != nil {
		t.Errorf("after its end: %v", err)
	}
	w.put(must(w.record()), func(old, next *store.Record) { // the entry left the claims by a drop
		next.Dropped = []revocation.Dropped{{Entry: revocation.Entry{Key: b.pair.PublicKey(), At: begin.Unix()}, Because: "expired:1"}}
	})
	w.publish(func(ac *jwt.AccountClaims) { ac.Revocations = nil })
	_, err = b.ask()
	w.refuses("a device whose revocation left the claims", err, fault.Denied, "revoked")
	at(2*time.Hour + time.Minute)
	_, err = a.ask()
	w.refuses("too late", err, fault.Expired, "too-late")

	at(time.Hour)
	w.publish(func(ac *jwt.AccountClaims) { ac.Revocations = jwt.RevocationList{revocation.All: begin.Unix()} })
	_, err = c.ask()
	w.refuses("what the horizon covers", err, fault.Denied, "revoked")

	retired := w.cohorts[w.fleet.Cohort("c")].PublicKey()
	w.publish(func(ac *jwt.AccountClaims) {
		ac.Revocations = nil
		ac.SigningKeys.Remove(retired)
	})
	w.put(must(w.record()), func(old, next *store.Record) { next.Retired = map[string]int64{retired: w.clock.Unix()} })
	_, err = c.ask()
	w.refuses("signed by a retired key", err, fault.Denied, "retired-key")
}

// TestDenied: who cannot be listed gets no new credentials meanwhile, by none of
// what it has.
func TestDenied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("a", fleet.Terms{Uses: 9})
	a, b := d.enrol(), d.same("b").enrol()
	until := w.clock.Add(time.Hour)
	denied := fleet.Denied{w.fleet.MarkID("a"): until.Unix(), fleet.MarkKey(b.pair.PublicKey()): until.Unix()}
	w.put(store.Record{Kind: store.Denied, Key: must(w.record()).Key, JWT: denied.Encode()}, func(old, next *store.Record) {})
	for _, x := range []*device{a, b} {
		_, err := x.ask()
		w.refuses("renewal", err, fault.Denied, "revoked")
	}
	_, err := d.same("a").ask()
	w.refuses("its id with a token", err, fault.Denied, "revoked")
	again := d.same("b2")
	again.pair = b.pair
	_, err = again.ask()
	w.refuses("its key with a token", err, fault.Denied, "revoked")
	if _, err := d.same("c").ask(); err != nil {
		t.Errorf("another one: %v", err)
	}
	w.clock = until
	if _, err := a.ask(); err != nil {
		t.Errorf("later: %v", err)
	}
}

func (w *world) record() (rec store.Record, err error) {
	err = w.store.View(w.t.Context(), func(r store.Reader) error {
		rec, err = r.Get(store.Account, w.account.PublicKey())
		return err
	})
	return rec, err
}

// TestRolls: a key that is retired signs no more, even if it was given, and one
// that was not given is missed.
func TestRolls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("x", fleet.Terms{Uses: 9})
	old := d.enrol()
	cohort := w.fleet.Cohort("x")
	fresh := must(keys.NewAccount())
	w.publish(func(ac *jwt.AccountClaims) {
		w.fleet.Roll(ac, must(w.fleet.Template(ac)), map[int]string{cohort: fresh.PublicKey()}, fleet.Until(w.clock.Add(2*time.Hour).Unix()))
	})
	_, err := old.ask()
	w.refuses("without the new key", err, fault.Unavailable, "cohort-key")
	w.give(fresh)
	w.cohorts[cohort] = fresh
	reply, err := old.ask()
	if err != nil {
		t.Fatal(err)
	}
	w.check(&device{w: w, pair: old.pair, jwt: reply.JWT}, "x")
	w.put(must(w.record()), func(_, next *store.Record) { next.Retired = map[string]int64{fresh.PublicKey(): 1} })
	w.give(fresh, must(keys.NewAccount()))
	pairs := must(w.s.Keyring().read(must(w.sealed())))
	if _, has := pairs[fresh.PublicKey()]; has {
		t.Error("a retired key is kept")
	}
}

func (w *world) sealed() (rec store.Record, err error) {
	err = w.store.View(w.t.Context(), func(r store.Reader) error {
		rec, err = r.Get(store.DeviceKeys, w.account.PublicKey())
		return err
	})
	return rec, err
}

// TestLimits: who asks too often is told when to come back, and comes back then.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("x", fleet.Terms{}).enrol()
	for i := range 6 {
		if _, err := d.ask(); err != nil {
			t.Fatalf("renewal %d: %v", i, err)
		}
	}
	req, err := d.request()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := d.send(req)
	w.refuses("one more", err, fault.Unavailable, "rate-limit")
	if reply.Wait < 1 || reply.Wait > 10 {
		t.Errorf("try again in %d s", reply.Wait)
	}
	w.clock = w.clock.Add(time.Duration(reply.Wait) * time.Second)
	if _, err := d.ask(); err != nil {
		t.Errorf("after the pause: %v", err)
	}
}

func TestLimiterForgetsTheQuiet(t *testing.T) {
	t.Parallel()
	l, now := newLimiter(time.Second, 2, 10), time.Unix(1_800_000_000, 0)
	for i := range 1000 {
		who := fmt.Sprint(i)
		for at, want := range []time.Duration{0, 0, time.Second} {
			if got := l.wait(who, now); got != want {
				t.Fatalf("asker %d waits %s before request %d, want %s", i, got, at, want)
			}
		}
	}
	if n := len(l.due.recent) + len(l.due.before); n > 20 {
		t.Errorf("it remembers %d", n)
	}
}
