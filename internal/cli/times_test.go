package cli_test

import (
	"testing"
	"time"
)

// TestTimesAndSpans: wherever a time or a span is taken, all forms are, and what
// is none of them names them.
func TestTimesAndSpans(t *testing.T) {
	t.Parallel()
	p := local(t)
	for _, ttl := range []string{"7d", "1w", "168h", "604800", "6d24h"} {
		p.ok("add", "account", "iot"+ttl, "--fleet-only", "--ttl", ttl)
		p.ok("describe", "account", "iot"+ttl).says("fleet-only:168h")
	}
	p.ok("add", "fleet", "sensors", "-a", "app", "--cohorts", "2", "--ttl", "2d").says("live at most 48h")
	p.ok("edit", "fleet", "sensors", "-a", "app", "--ttl", "1w", "--dry-run")
	p.run("add", "fleet", "x", "-a", "app", "--ttl", "soon").exits(2).complains(`--ttl: "soon" is no span of time such as 30s`, "7d")
	p.run("add", "fleet", "x", "-a", "app", "--ttl", "0").exits(2)
	p.run("status", "--timeout", "-1s").exits(2).complains("--timeout")

	now := p.now().Unix()
	for _, at := range []struct {
		text string
		unix int64
	}{{"2026-01-31", time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC).Unix()}, {"2026-01-31T10:00:00Z", time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC).Unix()}, {"1767225600", 1767225600}, {"-12h", now - 12*3600}} {
		p.ok("add", "user", "u"+at.text, "-a", "app")
		var rec struct{ Revoked map[string]int64 }
		p.ok("revoke", "user", "u"+at.text, "-a", "app", "--at", at.text, "--json").json(&rec)
		for _, unix := range rec.Revoked {
			if unix < at.unix || unix > at.unix+60 {
				t.Errorf("--at %s: %d, want %d", at.text, unix, at.unix)
			}
		}
		if len(rec.Revoked) != 1 {
			t.Errorf("--at %s: %+v", at.text, rec)
		}
	}
	p.run("revoke", "user", "x", "--at", "yesterday").exits(2).complains(`--at: "yesterday" is not a time such as 2027-01-31`)
	p.run("revoke", "user", "x", "--at", "7d").exits(2).complains("in the future")

	p.ok("edit", "operator", "--service-url", "nats://127.0.0.1:4222")
	p.ok("add", "enrollment-group", "phones", "-a", "app", "--no-push")
	for _, c := range []struct {
		text string
		life time.Duration
	}{{"7d", 7 * 24 * time.Hour}, {"36h", 36 * time.Hour}, {"600", 10 * time.Minute}, {time.Unix(now, 0).UTC().AddDate(0, 0, 3).Format(time.DateOnly), 0}} {
		var made struct{ Expires int64 }
		p.ok("token", "create", "--group", "phones", "-a", "app", "--expires", c.text, "--out", "t"+c.text, "--json").json(&made)
		if life := time.Duration(made.Expires-now) * time.Second; c.life > 0 && (life < c.life || life > c.life+time.Minute) || life < 0 {
			t.Errorf("--expires %s: %s", c.text, life)
		}
	}
	p.run("token", "create", "--group", "phones", "-a", "app", "--expires", "never").exits(2).complains("--expires")
	p.run("add", "account", "x", "--expiry", "10days").exits(2).complains(`error: --expiry: "10days" is not a time such as`)
}
