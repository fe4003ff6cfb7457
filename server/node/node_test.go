package node

import (
	"testing"

	"github.com/nats-io/jwt/v2"
)

func TestClaimAndRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(t, n, app.rec)

	alice, bob := app.user("alice", nil), app.user("bob", nil)
	ca, cb := connect(t, n, alice), connect(t, n, bob)
	p := inForce(t, n, app.revoke(alice))
	ca.gone(t)
	cb.alive(t)
	refused(t, n, alice)
	if !p.Loaded || !p.Swept || len(p.Closed) != 1 || p.Closed[0].User != alice.key || p.Closed[0].Kind != "client" {
		t.Errorf("proof %+v", p)
	}
	t.Logf("cut after %.2f ms (%s), proven after %.0f ms", p.Closed[0].Ms, p.Closed[0].Found, p.Ms)

	inForce(t, n, app.unrevoke(alice))
	connect(t, n, alice).alive(t)
}

func TestKernelFitsTheServer(t *testing.T) {
	t.Parallel()
	if _, err := newKernel(); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP", func(c *jwt.AccountClaims) { c.Revocations = jwt.RevocationList{"*": 1} })
	inForce(t, n, app.rec)
	if n.kernel.loaded(n.srv, app.key) != nil {
		t.Fatal("looking loaded the account")
	}
	u := app.user("u", nil)
	c := connect(t, n, u)
	acc := n.kernel.loaded(n.srv, app.key)
	if acc == nil || acc.Name != app.key || n.kernel.claimJWT(acc) != app.rec.JWT {
		t.Fatal("accounts are not where they were")
	}
	e := n.kernel.effect(acc)
	if e.revoked["*"] != 1 || e.updated.IsZero() || len(e.signers) != 1 {
		t.Errorf("effect %+v", e)
	}
	var list []session
	n.kernel.peers(acc, func(p peer) {
		if s, ok := n.kernel.session(p); ok {
			list = append(list, s)
			if p.user.Issued == 0 || p.user.SigningKey != "" {
				t.Errorf("user %+v", p.user)
			}
		}
	})
	id, err := c.GetClientID()
	if err != nil || len(list) != 1 || list[0].cid != id || list[0].user != u.key || list[0].start.IsZero() {
		t.Errorf("sessions %+v, client %d, %v", list, id, err)
	}
}
