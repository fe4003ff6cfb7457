package enroll

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
)

// TestSpared: by a retired key that is spared devices renew for a while, and by
// one whose time has come they do not, though the claims still have it.
func TestSpared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("x", fleet.Terms{Uses: 9})
	x, y := d.enrol(), d.same("y").enrol()
	retires := w.clock.Add(time.Minute).Unix()
	fresh := must(keys.NewAccount())
	cohort := w.fleet.Cohort("x")
	old := w.cohorts[cohort]
	w.publish(func(ac *jwt.AccountClaims) {
		w.fleet.Roll(ac, must(w.fleet.Template(ac)), map[int]string{cohort: fresh.PublicKey()}, fleet.Until(retires))
	})
	w.give(fresh)
	w.cohorts[cohort] = fresh
	if _, err := x.ask(); err != nil {
		t.Errorf("before its key retires: %v", err)
	}
	w.clock = time.Unix(retires, 0)
	_, err := x.ask()
	w.refuses("when its key was to retire", err, fault.Denied, "retired-key")

	spared := fleet.Spared{}
	role := w.fleet.CohortRole(cohort, 1)
	spared.Change(map[string]string{old.PublicKey(): role}, nil, w.clock.Add(time.Hour).Unix(), w.clock.Unix())
	w.put(store.Record{Kind: store.Spared, Key: w.account.PublicKey(), JWT: must(spared.Encode())}, func(_, _ *store.Record) {})
	_, err = x.ask()
	w.refuses("spared, and not retired by anybody", err, fault.Denied, "retired-key")
	w.publish(func(ac *jwt.AccountClaims) { ac.SigningKeys.Remove(old.PublicKey()) })
	w.put(must(w.record()), func(_, next *store.Record) { next.Retired = map[string]int64{old.PublicKey(): w.clock.Unix()} })
	_, err = x.ask()
	w.refuses("spared, and retired as one that was stolen", err, fault.Denied, "retired-key")
	w.publish(func(ac *jwt.AccountClaims) {
		ac.Tags.Add(fmt.Sprintf("returns:%s:%d", role, w.clock.Add(time.Hour).Unix()))
	})
	_, err = x.ask()
	w.refuses("spared, and taken out by who knows nothing of that", err, fault.Denied, "retired-key")
	w.publish(func(ac *jwt.AccountClaims) { ac.Tags.Remove(fmt.Sprintf("retires:%s:%d", role, retires)) })
	reply, err := x.ask()
	if err != nil {
		t.Fatalf("spared: %v", err)
	}
	w.check(&device{w: w, pair: x.pair, jwt: reply.JWT}, "x")
	denied := fleet.Denied{w.fleet.MarkID("x"): w.clock.Add(time.Hour).Unix()}
	w.put(store.Record{Kind: store.Denied, Key: w.account.PublicKey(), JWT: denied.Encode()}, func(_, _ *store.Record) {})
	_, err = x.ask()
	w.refuses("spared, but denied", err, fault.Denied, "revoked")
	w.clock = w.clock.Add(time.Hour + time.Second)
	_, err = x.ask()
	w.refuses("no longer spared", err, fault.Denied, "retired-key")
	if w.fleet.Cohort("y") != cohort {
		if _, err := y.ask(); err != nil {
			t.Errorf("of another cohort: %v", err)
		}
	}
}

// TestRenewAfterRoll: whoever is cut by a planned roll renews by what it has, from
// the moment at which its key was to go; who was revoked before does not, though
// the list has been freed of it.
func TestRenewAfterRoll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("x", fleet.Terms{Uses: 9})
	x, bad := d.enrol(), d.same("bad").enrol()
	at := w.clock.Unix()
	w.put(must(w.record()), func(_, next *store.Record) {
		next.Dropped = []revocation.Dropped{{Entry: revocation.Entry{Key: bad.pair.PublicKey(), At: at}, Because: revocation.AllRetired}}
	})
	w.clock = w.clock.Add(20 * time.Minute)
	window := w.fleet.Within(w.clock.Unix(), w.clock.Unix()+120)
	fresh, public, spared, roles := []keys.AccountPair{}, map[int]string{}, fleet.Spared{}, map[string]string{}
	for cohort := range w.fleet.Cohorts {
		fresh = append(fresh, must(keys.NewAccount()))
		public[cohort] = fresh[cohort].PublicKey()
		roles[w.cohorts[cohort].PublicKey()] = w.fleet.CohortRole(cohort, 1)
	}
	w.publish(func(ac *jwt.AccountClaims) { w.fleet.Roll(ac, must(w.fleet.Template(ac)), public, window) })
	w.give(fresh...)
	w.cohorts = fresh
	w.clock = time.Unix(window.To, 0)
	_, err := x.ask()
	w.refuses("a roll of which accountd was not told", err, fault.Denied, "retired-key")
	spared.Change(roles, nil, window.Returns, window.Now)
	w.put(store.Record{Kind: store.Spared, Key: w.account.PublicKey(), JWT: must(spared.Encode())}, func(_, _ *store.Record) {})
	for _, when := range []string{"when its key was to go", "when it is gone"} {
		if _, err := x.ask(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		_, err = bad.ask()
		w.refuses("revoked, "+when, err, fault.Denied, "revoked")
		w.publish(func(ac *jwt.AccountClaims) { fleet.Compact(ac, w.clock, true) })
		w.put(must(w.record()), func(_, next *store.Record) {
			next.Retired = map[string]int64{}
			for key := range roles {
				next.Retired[key] = w.clock.Unix()
			}
		})
	}
	w.clock = time.Unix(window.Returns, 0)
	_, err = x.ask()
	w.refuses("when all that it signed has expired", err, fault.Denied, "retired-key")
}

// TestLook: users of an account hear when a key of a fleet goes, and nobody else
// does.
func TestLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	account, old := w.account.PublicKey(), w.cohorts[0].PublicKey()
	look := func(from Source, issuer string) api.EnrollReply {
		t.Helper()
		reply := w.s.Answer(t.Context(), from, api.EnrollRequest{Key: must(keys.NewUser()).PublicKey(), Issuer: issuer})
		if reply.Error != nil {
			t.Fatal(reply.Error.Message)
		}
		return reply
	}
	from := Source{Via: "nats", Account: account}
	if reply := look(from, old); reply.Look != 56 || reply.Retires != 0 || reply.Nonce != "" {
		t.Errorf("a key that stays: %+v", reply)
	}
	window := w.fleet.Within(w.clock.Unix(), w.clock.Unix()+120)
	w.publish(func(ac *jwt.AccountClaims) {
		w.fleet.Roll(ac, must(w.fleet.Template(ac)), map[int]string{0: must(keys.NewAccount()).PublicKey()}, window)
	})
	if reply := look(from, old); reply.Retires != window.To {
		t.Errorf("a key that goes: %+v", reply)
	}
	for what, key := range map[string]string{"a group's": w.group.PublicKey(), "the account's": account, "none": "x"} {
		if reply := look(from, key); reply.Look != 0 || reply.Retires != 0 {
			t.Errorf("%s: %+v", what, reply)
		}
	}
	if reply := look(Source{Via: "http"}, old); reply.Nonce == "" || reply.Look != 0 {
		t.Errorf("over HTTP, which does not say whose user asks: %+v", reply)
	}
	if w.counted["look ok "] != 5 {
		t.Errorf("counted %v", w.counted)
	}
}

// TestPass: the way back is a user of the group for the device's own key, which
// lives as long as the device may renew, and is good for nothing but to connect.
func TestPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("x", fleet.Terms{}).enrol()
	pass := func() string {
		t.Helper()
		req, err := d.request()
		if err != nil {
			t.Fatal(err)
		}
		req.Pass = true
		if _, err := d.send(req); fault.RuleOf(err) != "proof" {
			t.Errorf("asked for beyond what was signed: %v", err)
		}
		reply, err := d.send(d.sign(req))
		if err != nil {
			t.Fatal(err)
		}
		return reply.Pass
	}
	if got := pass(); got != "" {
		t.Error("signed by a key that accountd does not have")
	}
	w.give(w.group)
	token := pass()
	doc := must(claims.Decode(token))
	if !must(claims.As[jwt.UserClaims](doc)).HasEmptyPermissions() {
		t.Error("it has permissions of its own")
	}
	if life := doc.Expires - w.clock.Unix(); doc.Subject != d.pair.PublicKey() || doc.Issuer != w.group.PublicKey() || life <= 3600 || life > 7200 {
		t.Errorf("%s by %s, %d s", doc.Subject, doc.Issuer, life)
	}
	w.publish(func(ac *jwt.AccountClaims) { _ = fleet.SetOnly(ac, time.Hour) })
	if short := must(claims.Decode(pass())); short.Expires-short.IssuedAt != 3600 {
		t.Errorf("it lives %d s where no user lives longer than an hour", short.Expires-short.IssuedAt)
	}
	_, err := (&device{w: w, pair: d.pair, jwt: token}).ask()
	w.refuses("by it alone", err, fault.Invalid, "token")
}
