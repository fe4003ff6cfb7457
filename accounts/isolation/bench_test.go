package isolation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/isolation"
)

// contracts makes n tenants that import five private streams of their
// neighbours each.
func contracts(b *testing.B, n int) isolation.Config {
	b.Helper()
	list := make([]*tenantKeys, n)
	for i := range list {
		list[i] = newTenant(fmt.Sprintf("t%d", i))
		list[i].claims.Exports.Add(&jwt.Export{Subject: "orders.*", Type: jwt.Stream, TokenReq: true},
			&jwt.Export{Subject: "ask.*", Type: jwt.Service})
	}
	cfg := isolation.Config{Now: time.Now(), JetStream: true}
	for i, a := range list {
		for k := 1; k <= 5; k++ {
			of := list[(i+k)%n]
			act := jwt.NewActivationClaims(a.pub)
			act.ImportType, act.ImportSubject = jwt.Stream, "orders.*"
			token, err := act.Encode(of.kp)
			if err != nil {
				b.Fatal(err)
			}
			a.claims.Imports.Add(&jwt.Import{
				Account: of.pub, Subject: "orders.*", LocalSubject: jwt.RenamingSubject(of.claims.Name + ".$1"), Type: jwt.Stream, Token: token,
			})
		}
		cfg.Accounts = append(cfg.Accounts, a.claims)
	}
	sys := newTenant("SYS")
	cfg.System, cfg.Accounts = sys.pub, append(cfg.Accounts, sys.claims)
	return cfg
}

// BenchmarkReaches: all accounts against all others, claims read anew each time.
func BenchmarkReaches(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		cfg := contracts(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if got := isolation.New(cfg).Reaches(); len(got) != 5*n {
					b.Fatalf("%d ways", len(got))
				}
			}
		})
	}
}

func BenchmarkFlow(b *testing.B) {
	for _, n := range []int{100, 10000} {
		w := isolation.New(contracts(b, n))
		f := isolation.Flow{From: "t1", Subject: "orders.new", To: "t0", Pattern: "t1.*"}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if out := w.Flow(f); out.Result != isolation.Delivered {
					b.Fatal(out)
				}
			}
		})
	}
}
