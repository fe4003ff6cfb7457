package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// BenchmarkPushAll measures one nsc push -A of many accounts that accountd does
// not know, from the start of the process to its end: all are proven in force
// on three nodes then. The processor time of both processes says more on a busy
// machine than the rate. Then all are pushed again, and nsc status is asked.
// PUSH_ACCOUNTS says how many accounts, 10,000 if unset.
func BenchmarkPushAll(b *testing.B) {
	accounts := 10_000
	if v := os.Getenv("PUSH_ACCOUNTS"); v != "" {
		var err error
		if accounts, err = strconv.Atoi(v); err != nil {
			b.Fatal(err)
		}
	}
	var took, ofNsc, ofAccountd, again, status time.Duration
	for b.Loop() {
		c := newCloud(b)
		c.fill(accounts)
		began, idle := time.Now(), c.daemon.CPU(b)
		r := c.nsc("push", "--all", "--timeout", "5m")
		took += time.Since(began)
		ofNsc += r.cpu
		ofAccountd += c.daemon.CPU(b) - idle
		if st := c.accountsInForce(); st < accounts {
			b.Fatalf("%d of %d accounts are in force", st, accounts)
		}
		again += c.nsc("push", "--all", "--timeout", "5m").cpu
		began = time.Now()
		c.nsc("status") // within its own timeout
		status += time.Since(began)
		c.daemon.Stop()
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N*accounts) }
	b.ReportMetric(1e6/each(took), "accounts/s")
	b.ReportMetric(each(ofNsc), "nsc-cpu-µs/account")
	b.ReportMetric(each(ofAccountd), "accountd-cpu-µs/account")
	b.ReportMetric(each(again), "again-nsc-cpu-µs/account")
	b.ReportMetric(float64(status.Milliseconds())/float64(b.N), "status-ms")
}

// fill writes accounts to the local store only, as files: a transaction each
// would take longer than what is measured.
func (c *cloud) fill(n int) {
	c.t.Helper()
	signer, err := c.operatorSigner(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	write := func(i int) error {
		pair, err := keys.NewAccount()
		if err != nil {
			return err
		}
		ac := jwt.NewAccountClaims(pair.PublicKey())
		ac.Name = fmt.Sprintf("t%05d", i)
		draft, err := claims.New(ac)
		if err != nil {
			return err
		}
		doc, err := draft.Sign(signer, time.Now().Unix())
		if err != nil {
			return err
		}
		dir := filepath.Join(c.dir, "nsc", "stores", "dev", "accounts", ac.Name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, ac.Name+".jwt"), []byte(doc.Token), 0o600)
	}
	for i := range n {
		if err := write(i); err != nil {
			c.t.Fatal(err)
		}
	}
}

// accountsInForce is how many accounts are in force everywhere.
func (c *cloud) accountsInForce() int {
	c.t.Helper()
	h := c.mustHand()
	reply, err := h.Status(context.Background(), api.StatusRequest{})
	if err == nil {
		err = reply.Error.Fault()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return reply.InForce
}
