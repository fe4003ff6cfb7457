package enroll

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// TestNextNonce: a renewal by the nonce that came with the credentials needs no
// other one; it is good for those credentials and that key alone.
func TestNextNonce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("phone-1", fleet.Terms{Uses: 2, Tags: []string{"site:7"}})
	first, err := d.ask()
	if err != nil {
		t.Fatal(err)
	}
	own := &device{w: w, pair: d.pair, jwt: first.JWT}
	req := own.sign(api.EnrollRequest{JWT: first.JWT, Key: d.pair.PublicKey(), Nonce: first.Next})
	asked := w.counted["nonce ok "]
	w.start() // which any process with the identity takes
	w.clock = w.clock.Add(50 * time.Minute)
	next, err := own.send(req)
	if err != nil || next.Next == "" || next.Next == first.Next {
		t.Fatalf("%+v, %v", next, err)
	}
	if uc := w.check(&device{w: w, pair: d.pair, jwt: next.JWT}, "phone-1"); len(uc.Tags) != 1 || w.counted["nonce ok "] != asked {
		t.Errorf("tags %v, counted %v", uc.Tags, w.counted)
	}

	forged := own.sign(api.EnrollRequest{JWT: first.JWT, Key: d.pair.PublicKey(), Nonce: next.Next})
	_, err = own.send(forged)
	w.refuses("of other credentials", err, fault.Denied, "nonce")
	other := w.device("phone-2", fleet.Terms{}).enrol()
	_, err = other.send(other.sign(api.EnrollRequest{JWT: first.JWT, Key: other.pair.PublicKey(), Nonce: first.Next}))
	w.refuses("of another key", err, fault.Denied, "nonce")
	bad := req
	bad.Proof = must(other.pair.Sign(req.Text()))
	_, err = own.send(bad)
	w.refuses("without the key", err, fault.Denied, "proof")
	forger := must(keys.NewAccount()) // has the nonce of what it did not sign
	doc := must(claims.Decode(first.JWT))
	fake := must(must(claims.New(must(claims.As[jwt.UserClaims](doc)))).Sign(forger, doc.IssuedAt)).Token
	_, err = own.send(own.sign(api.EnrollRequest{JWT: fake, Key: d.pair.PublicKey(), Nonce: first.Next}))
	w.refuses("of another JWT", err, fault.Untrusted, "chain")
	w.clock = w.clock.Add(3 * time.Hour)
	_, err = own.send(req)
	w.refuses("long after", err, fault.Expired, "too-late")
	w.clock = w.clock.Add(-3 * time.Hour)
	w.publish(func(ac *jwt.AccountClaims) { ac.RevokeAt(d.pair.PublicKey(), w.clock) })
	_, err = own.send(req)
	w.refuses("revoked", err, fault.Denied, "revoked")
}

// TestBearerHasNoNextNonce: who listens could repeat the request and use the answer.
func TestBearerHasNoNextNonce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(func(ac *jwt.AccountClaims) {
		for _, pair := range w.cohorts {
			ac.SigningKeys[pair.PublicKey()].(*jwt.UserScope).Template.BearerToken = true
		}
	})
	reply, err := w.device("phone-1", fleet.Terms{}).ask()
	if err != nil || reply.Next != "" {
		t.Errorf("%+v, %v", reply, err)
	}
}

// TestTurns: those that are sent away come back one after the other.
func TestTurns(t *testing.T) {
	t.Parallel()
	var turn turns
	now := time.Unix(1000, 0)
	got := map[int]int{}
	for range 3 * int(time.Second/pace) {
		got[turn.next(now)]++
	}
	if len(got) != 3 || got[1] != got[2] || got[2] != got[3] {
		t.Errorf("%v", got)
	}
	if n := turn.next(now.Add(time.Minute)); n != 1 {
		t.Errorf("%d s once all have come", n)
	}
}

// TestSweep: uses of expired tokens go without another enrolment.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("phone-1", fleet.Terms{})
	d.enrol()
	if err := w.s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := d.same("phone-1").ask()
	w.refuses("before the token expired", err, fault.Conflict, "taken")
	w.clock = w.clock.Add(time.Hour + fleet.Skew + time.Second)
	if err := w.s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = w.store.Update(t.Context(), func(tx store.Tx) error {
		n, err := tx.ForgetUses(w.clock)
		if n != 0 {
			t.Errorf("%d uses were left", n)
		}
		e := store.Enrolment{Token: must(claims.Decode(d.jwt)).ID, Uses: 1, Device: "phone-1", Key: "another", Until: w.clock}
		return errors.Join(err, tx.Enroll(e, w.clock))
	})
	if err != nil {
		t.Errorf("the use is still remembered: %v", err)
	}
}
