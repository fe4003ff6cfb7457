package accounts

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

func TestParseNumber(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{
		"0": 0, "-1": -1, "100": 100, "1k": 1000, "64K": 64000, "1kib": 1024, "1.5k": 1500, "1G": 1e9, "1GiB": 1 << 30, "2 MiB": 2 << 20,
	} {
		if got, err := ParseNumber(in); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-", "-5", "-1k", "x", "1x", "1k2", "--1", "9999999TiB", "1e400"} {
		if got, err := ParseNumber(in); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %d, %v, want it refused", in, got, err)
		}
	}
}

func TestParseSpan(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "90m": 90 * time.Minute, "168h": 168 * time.Hour, "7d": 7 * day, "1w": 7 * day, "2M": 60 * day, "1y": 365 * day,
		"1w12h": 180 * time.Hour, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "500ms": 500 * time.Millisecond, "10": 10 * time.Second, "0": 0, "0.5": time.Second / 2,
	} {
		if got, err := ParseSpan(in); err != nil || got != want {
			t.Errorf("%q: %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "d", "7d ", "10days", "-7d", "-5", "-1s", "1.5d", "7d-1h", "300y", "299y999999d", "9999999d", "nan", "1e300", "2027-01-31"} {
		if got, err := ParseSpan(in); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %s, %v, want it refused", in, got, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"2027-03-01":              time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC),
		"2027-03-01 10:20:30 UTC": time.Date(2027, 3, 1, 10, 20, 30, 0, time.UTC),
		"2027-03-01T10:20:30Z":    time.Date(2027, 3, 1, 10, 20, 30, 0, time.UTC),
		"90s":                     now.Add(90 * time.Second),
		"168h":                    now.Add(168 * time.Hour),
		"30m":                     now.Add(30 * time.Minute),
		"90d":                     now.AddDate(0, 0, 90),
		"2w":                      now.AddDate(0, 0, 14),
		"1M":                      time.Date(2027, 3, 3, 10, 0, 0, 0, time.UTC),
		"1y":                      now.AddDate(1, 0, 0),
		"3d12h":                   now.AddDate(0, 0, 3).Add(12 * time.Hour),
		"1h30m":                   now.Add(90 * time.Minute),
		"-1d":                     now.AddDate(0, 0, -1),
	} {
		if got, err := ParseTime(in, now); err != nil || got != want.Unix() {
			t.Errorf("%q: %v, %v, want %v", in, time.Unix(got, 0).UTC(), err, want)
		}
	}
	if got, err := ParseTime("0", now); got != 0 || err != nil {
		t.Errorf("0: %d, %v", got, err)
	}
	for _, in := range []string{
		"", "foo3d", "10days", "3d x", " 3d", "3", "1795508695", "3d-12h", "--3d", "1.5d", "0d", "9999999d", "2027-13-01", "2027-02-30", "-900y", "3x",
	} {
		if got, err := ParseTime(in, now); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %d, %v, want it refused", in, got, err)
		}
	}
}

func TestParseTheRest(t *testing.T) {
	t.Parallel()
	if got, err := ParseNetwork(" 2001:DB8::/32 "); got != "2001:db8::/32" || err != nil {
		t.Errorf("network: %q, %v", got, err)
	}
	if got, err := ParseConnectionType("leafnode_ws"); got != "LEAFNODE_WS" || err != nil {
		t.Errorf("connection type: %q, %v", got, err)
	}
	if got, err := ParseTimeRange("08:00:00-17:30:00"); got.Start != "08:00:00" || got.End != "17:30:00" || err != nil {
		t.Errorf("time range: %v, %v", got, err)
	}
	if got, err := ParseLocale("UTC"); got != "UTC" || err != nil {
		t.Errorf("locale: %q, %v", got, err)
	}
	refused := map[string]func(string) error{
		"1.2.3":             func(s string) error { _, err := ParseNetwork(s); return err },
		"10.0.0.1":          func(s string) error { _, err := ParseNetwork(s); return err },
		"10.0.0.0/33":       func(s string) error { _, err := ParseNetwork(s); return err },
		"LEAF":              func(s string) error { _, err := ParseConnectionType(s); return err },
		"8:00:00-9:00:00":   func(s string) error { _, err := ParseTimeRange(s); return err },
		"08:00-09:00":       func(s string) error { _, err := ParseTimeRange(s); return err },
		"08:00:00":          func(s string) error { _, err := ParseTimeRange(s); return err },
		"Middle/Of/Nowhere": func(s string) error { _, err := ParseLocale(s); return err },
	}
	for in, parse := range refused {
		if err := parse(in); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), in) {
			t.Errorf("%q: %v, want a refusal that quotes it", in, err)
		}
	}
}

// FuzzParse: no text makes a parser panic, and what they accept fits a claim.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"1k", "-1", "3d12h", "2027-01-31", "10.0.0.0/8", "08:00:00-17:30:00", "999999M999999y", "1EiB"} {
		f.Add(s)
	}
	now := time.Unix(1795508695, 0).UTC()
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseNumber(s); err == nil && n < Unlimited {
			t.Errorf("number %q: %d", s, n)
		}
		if at, err := ParseTime(s, now); err == nil && at < 0 {
			t.Errorf("time %q: %d", s, at)
		}
		if network, err := ParseNetwork(s); err == nil {
			if _, _, err := net.ParseCIDR(network); err != nil {
				t.Errorf("network %q: %v", s, err)
			}
		}
		if r, err := ParseTimeRange(s); err == nil {
			var vr jwt.ValidationResults
			if r.Validate(&vr); len(vr.Issues) > 0 {
				t.Errorf("range %q: %v", s, vr.Issues[0])
			}
		}
		if name, err := ParseLocale(s); err == nil {
			if _, err := time.LoadLocation(name); err != nil {
				t.Errorf("locale %q: %v", s, err)
			}
		}
		if kind, err := ParseConnectionType(s); err == nil && !slices.Contains(ConnectionTypes(), kind) {
			t.Errorf("connection type %q: %s", s, kind)
		}
		if n, err := ParseSampling(s); err == nil && (n < 0 || n > 100) {
			t.Errorf("sampling %q: %d", s, n)
		}
		_, _ = ParseResponseType(s)
	})
}
