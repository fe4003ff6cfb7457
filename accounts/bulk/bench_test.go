package bulk

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"golang.org/x/sys/unix"
)

// BenchmarkIssue compares one device on one core, a key and its signed
// credentials, by us and by the official library. What counts is cpu-devices/s,
// per second of processor time, which others on the machine move less than time.
func BenchmarkIssue(b *testing.B) {
	b.Run("way=ours", func(b *testing.B) { benchmarkIssue(b, 1) })
	b.Run("way=stock", benchmarkLibrary)
}

// BenchmarkIssueOnAllCores is ours on every core.
func BenchmarkIssueOnAllCores(b *testing.B) { benchmarkIssue(b, runtime.GOMAXPROCS(0)) }

func benchmarkIssue(b *testing.B, workers int) {
	is, _ := issuer(b, nil)
	bytes := 0
	run := Run{
		Issuer: is, Source: &Counted{Prefix: "sensor-", Next: 1, After: 1 + b.N}, Workers: workers, Encode: AppendLine,
		Write: func(_ []Credential, text []byte) error { bytes += len(text); return nil },
	}
	b.ResetTimer()
	cpu := processorTime(b)
	if err := run.Do(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(bytes / b.N))
	perSecond(b, cpu)
}

func benchmarkLibrary(b *testing.B) {
	account := newKey(b)
	signer, err := nkeys.FromSeed(account.Seed())
	if err != nil {
		b.Fatal(err)
	}
	cpu := processorTime(b)
	for b.Loop() {
		user, err := nkeys.CreateUser()
		if err != nil {
			b.Fatal(err)
		}
		public, _ := user.PublicKey()
		seed, _ := user.Seed()
		uc := jwt.NewUserClaims(public)
		uc.Name, uc.IssuerAccount, uc.Expires = "sensor-1", account.PublicKey(), time.Now().Unix()+3600
		uc.SetScoped(true)
		token, err := uc.Encode(signer)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := jwt.FormatUserConfig(token, seed); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, cpu)
}

// BenchmarkRawEd25519 is what nobody can do without: a key, and a signature of
// as many bytes.
func BenchmarkRawEd25519(b *testing.B) {
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	msg, seed := make([]byte, 500), make([]byte, ed25519.SeedSize)
	cpu := processorTime(b)
	for b.Loop() {
		_, _ = rand.Read(seed)
		ed25519.NewKeyFromSeed(seed)
		ed25519.Sign(signer, msg)
	}
	perSecond(b, cpu)
}

func perSecond(b *testing.B, before time.Duration) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "devices/s")
	b.ReportMetric(float64(b.N)/(processorTime(b)-before).Seconds(), "cpu-devices/s")
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
