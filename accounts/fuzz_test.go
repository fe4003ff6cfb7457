package accounts

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

func accountKey(f *testing.F) string {
	f.Helper()
	kp, err := nkeys.CreateAccount()
	if err != nil {
		f.Fatal(err)
	}
	key, err := kp.PublicKey()
	if err != nil {
		f.Fatal(err)
	}
	return key
}

// FuzzSubjects: what exports and mappings take for a subject, servers do.
func FuzzSubjects(f *testing.F) {
	for _, s := range [][2]string{{"orders.>", "a.*"}, {"dev.*.*", "dev.$2.$1"}, {"a..b", "x"}, {"a b", "{{wildcard(1)}}"}, {"a.*", "{{partition(3,1)}}"}} {
		f.Add(s[0], s[1])
	}
	key := accountKey(f)
	f.Fuzz(func(t *testing.T, from, to string) {
		if (ExportEdit{}).Add(jwt.NewAccountClaims(key), from) == nil && !server.IsValidSubject(from) {
			t.Errorf("export %q, which servers refuse", from)
		}
		ac := jwt.NewAccountClaims(key)
		if AddMapping(ac, from, jwt.WeightedMapping{Subject: jwt.Subject(to)}) != nil {
			return
		}
		if !server.IsValidSubject(from) || !server.IsValidSubject(to) || len(ac.Mappings) != 1 {
			t.Errorf("mapping of %q to %q, which servers refuse", from, to)
		}
	})
}

// FuzzTemplate: a template expands to subjects, to a bounded number of them, and
// without any function left.
func FuzzTemplate(f *testing.F) {
	f.Add("data.{{name()}}.{{tag(site)}}", "dev", "site:a", true)
	f.Add("{{account-tag(x)}}.{{subject()}}", "a.b", "x:{{name()}}", false)
	f.Add("{{ tag(a) }}{{tag(a)}}", "*", "a:>", false)
	key := accountKey(f)
	f.Fuzz(func(t *testing.T, subject, name, tag string, deny bool) {
		user, account := jwt.NewUserClaims("U"), jwt.NewAccountClaims(key)
		user.Name, user.IssuerAccount = name, key
		user.Tags.Add(strings.Split(tag, ",")...)
		account.Tags.Add(tag)
		list, err := expandList(jwt.StringList{subject}, deny, user, account)
		if err != nil {
			return
		}
		if len(list) > maxExpansions {
			t.Fatalf("%d subjects", len(list))
		}
		for _, s := range list {
			if s != subject && !server.IsValidSubject(s) {
				t.Errorf("%q stands for %q", subject, s)
			}
		}
	})
}

// FuzzSpan: a span is not negative, and from now it is about as long.
func FuzzSpan(f *testing.F) {
	for _, s := range []string{"7d", "1w2d3h", "168h", "90m", "10", "1.5h", "-7d", "292y", "1M", "1y1M", "nan", "0x1p5", "999999y"} {
		f.Add(s)
	}
	now := time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseSpan(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Errorf("span %q: %s", s, d)
		}
		if at, err := ParseTime(s, now); err == nil && at != 0 {
			off := time.Unix(at, 0).Sub(now) - d
			if off.Abs() > d/10+4*day { // months and years follow the calendar there
				t.Errorf("%q: a span of %s, %s from now", s, d, time.Unix(at, 0).Sub(now))
			}
		}
	})
}
