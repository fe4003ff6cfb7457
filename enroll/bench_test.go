package enroll

import (
	"testing"
	"time"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
)

// BenchmarkRenew is a renewal without what carries it: by the nonce that came with
// the credentials, or by one that is asked for.
func BenchmarkRenew(b *testing.B) {
	w := newWorld(b)
	w.s.perDevice = newLimiter(time.Nanosecond, 1<<30, 1)
	w.s.cfg.Decided = func(string, string, string) {}
	d := w.device("x", fleet.Terms{})
	reply, err := d.ask()
	if err != nil {
		b.Fatal(err)
	}
	own := &device{w: w, pair: d.pair, jwt: reply.JWT}
	asking, err := own.request()
	if err != nil {
		b.Fatal(err)
	}
	next := own.sign(api.EnrollRequest{JWT: reply.JWT, Key: d.pair.PublicKey(), Nonce: reply.Next})
	for name, requests := range map[string][]api.EnrollRequest{"next": {next}, "asked": {{Key: next.Key}, asking}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					for _, req := range requests {
						if _, err := own.send(req); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "renewals/s")
		})
	}
}
