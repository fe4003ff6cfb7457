package cli_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/internal/natstest"
)

// TestPlans: a plan rules the limits of the accounts that are on it, says what
// a change does before it does it, and is not lost where others look.
func TestPlans(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.unchanged(func() {
		p.ok("add", "plan", "gold", "--conns", "10", "--dry-run").says("connections 10", "nothing was changed")
		p.run("add", "account", "shop", "--plan", "gold").exits(3).complains("nsc list plans")
		p.run("add", "plan", "none", "--conns", "10").exits(7).complains("(plan-name)")
		p.run("add", "plan", "gold", "--conns", "-5").exits(2)
	})
	p.ok("add", "plan", "gold", "--conns", "1000", "--js-disk-storage", "10G").says("plan gold", "disk 9.3 GiB")
	p.run("add", "plan", "gold").exits(5).complains("(plan-exists)")
	p.ok("add", "account", "shop", "--plan", "gold")
	p.ok("edit", "account", "app", "--plan", "gold")
	p.unchanged(func() {
		p.run("edit", "account", "app", "--conns", "5").exits(4).complains("(plan)", "nsc edit plan gold")
		p.run("edit", "account", "SYS", "--plan", "gold").exits(4)
		p.run("delete", "plan", "gold").exits(5).complains("app, shop", "--plan none")
		p.run("edit", "plan", "gold", "--conns", "5").exits(2).complains("2 accounts on plan gold", "--yes")
		p.ok("edit", "plan", "gold", "--conns", "5", "--js-disk-storage", "20G", "--dry-run").
			says("account app", "conn: 1000 to 5  less", "disk_storage: 10000000000 to 20000000000  more", "account shop")
	})
	p.ok("edit", "plan", "gold", "--conns", "5", "--yes").says("plan gold  limits: connections 5", "account app", "account shop")
	if _, ac := p.account("app"); ac.Limits.Conn != 5 || ac.Limits.DiskStorage != 10_000_000_000 {
		t.Errorf("limits of app: %+v", ac.Limits)
	}
	p.editAccount("shop", func(ac *jwt.AccountClaims) { ac.Limits.Conn = 99 }) // by another tool
	p.ok("list", "plans").says("gold", "2, 1 behind")
	p.ok("describe", "plan", "gold").says("behind        1: shop", "nsc edit plan gold")
	p.ok("edit", "plan", "gold", "--yes").says("account shop")
	if _, ac := p.account("shop"); ac.Limits.Conn != 5 {
		t.Errorf("limits of shop: %+v", ac.Limits)
	}
	p.ok("backup", "all.age", "--passphrase-file", p.put("pass", "correct horse battery staple"))
	p.ok("edit", "account", "shop", "--plan", "none", "--conns", "7")
	p.ok("edit", "account", "app", "--plan", "none")
	p.ok("delete", "plan", "gold")
	p.ok("list", "plans").complains("there is no plan")
}

// TestPlanIsInForce: on servers a smaller plan closes what is too much, having
// said so, for every account that is on it; what was interrupted goes on.
func TestPlanIsInForce(t *testing.T) {
	t.Parallel()
	p := own(t).person(t)
	p.ok("add", "plan", "small", "--conns", "5")
	for _, name := range []string{"one", "two"} {
		p.ok("add", "account", name, "--plan", "small")
	}
	p.ok("add", "user", "u", "-a", "one")
	closed := make(chan struct{}, 2)
	for range 2 {
		nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(p.credsFile("one", "u")), nats.NoReconnect(),
			nats.ClosedHandler(func(*nats.Conn) { closed <- struct{}{} }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
	}
	p.unchanged(func() {
		p.ok("edit", "plan", "small", "--conns", "1", "--dry-run").says("2 connections are open, and servers close those of clients above 1")
	})
	p.ok("edit", "plan", "small", "--conns", "1", "--yes").says("account one  ", "account two  ", "in force on 3 of 3 nodes")
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("no client was closed")
	}
	if len(closed) > 0 {
		t.Error("both clients were closed")
	}
	// The plan is changed, and what changes the accounts was killed: one is signed
	// and not sent, the other is as it was.
	p.editAccount("SYS", func(sys *jwt.AccountClaims) {
		plan, err := accounts.FindPlan(sys, "small")
		if err == nil {
			plan.Limits.Conn = 3
			err = accounts.PutPlan(sys, plan)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	p.ok("push", "-a", "SYS")
	p.editAccount("one", func(ac *jwt.AccountClaims) { ac.Limits.Conn = 3 })
	p.ok("edit", "plan", "small", "--yes").says("account one  ", "account two  ", "in force on 3 of 3 nodes")
	for _, name := range []string{"one", "two"} {
		if _, ac := p.held(name); ac.Limits.Conn != 3 {
			t.Errorf("accountd holds %d connections for %s", ac.Limits.Conn, name)
		}
	}
	p.ok("edit", "plan", "small", "--yes").says("plan small")
	q := alone(t) // who takes what is in force has the plans
	q.copyFrom(p.dir)
	q.ok("pull", "--all")
	q.ok("list", "plans").says("small  2  ")
}

// TestPlanAndStoredData: a smaller plan says what is stored beyond it before it is
// in force, and killed at any time it goes on with the same command.
func TestPlanAndStoredData(t *testing.T) {
	t.Parallel()
	p := own(t).person(t)
	p.ok("add", "plan", "store", "--js-disk-storage", "20M", "--js-streams", "3")
	const tenants = 12
	for i := range tenants {
		p.ok("add", "account", fmt.Sprint("t", i), "--plan", "store")
	}
	js, err := jetstream.New(p.connect("t0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"A", "B"} {
		natstest.Eventually(t, 20*time.Second, func() error {
			_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name}})
			return err
		})
		if _, err := js.Publish(t.Context(), name, make([]byte, 300_000)); err != nil {
			t.Fatal(err)
		}
	}
	p.unchanged(func() {
		p.ok("edit", "plan", "store", "--js-disk-storage", "100k", "--js-streams", "1", "--dry-run").
			says("bytes are stored: they stay, and streams take no more (2: A, B)", "2 streams are there (2: A, B)")
		p.ok("edit", "plan", "store", "--js-disk-storage", "10M", "--js-streams", "2", "--dry-run").silent("they stay")
	})
	kills := 0
	for i, after := range []int{15, 40, 80, 130, 200} {
		size := fmt.Sprint(19-i, "M")
		change := []string{"edit", "plan", "store", "--js-disk-storage", size, "--yes"}
		if p.killed(change, time.Duration(after)*time.Millisecond) {
			kills++
		}
		p.ok(change...)
		for i := range tenants {
			if _, ac := p.held(fmt.Sprint("t", i)); fmt.Sprint(ac.Limits.DiskStorage/1_000_000, "M") != size {
				t.Errorf("killed after %d ms: accountd holds %d bytes for t%d, not %s", after, ac.Limits.DiskStorage, i, size)
			}
		}
	}
	if kills == 0 {
		t.Error("every command had ended before it was killed")
	}
}
