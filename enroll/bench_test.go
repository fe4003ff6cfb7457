package enroll

import (
	"testing"
	"time"

	"github.com/accountd/accountd/accounts/fleet"
)

// BenchmarkRenew is both requests of a renewal, without what carries them.
func BenchmarkRenew(b *testing.B) {
	w := newWorld(b)
	w.s.perDevice = newLimiter(time.Nanosecond, 1<<30, 1)
	w.s.cfg.Decided = func(string, string, string) {}
	d := w.device("x", fleet.Terms{}).enrol()
	req, err := d.request()
	if err != nil {
		b.Fatal(err)
	}
	nonce := req
	nonce.Nonce = ""
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := d.send(nonce); err != nil {
				b.Fatal(err)
			}
			if _, err := d.send(req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "renewals/s")
}
