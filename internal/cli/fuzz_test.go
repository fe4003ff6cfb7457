package cli

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/keys"
)

// signedUser is the JWT of a user, for the corpus.
func signedUser(f *testing.F) string {
	f.Helper()
	account, err := nkeys.CreateAccount()
	if err != nil {
		f.Fatal(err)
	}
	user, err := keys.NewUser()
	if err != nil {
		f.Fatal(err)
	}
	token, err := jwt.NewUserClaims(user.PublicKey()).Encode(account)
	if err != nil {
		f.Fatal(err)
	}
	return token
}

// FuzzArmour: what is read from an armoured file is the JWT in it.
func FuzzArmour(f *testing.F) {
	token := signedUser(f)
	f.Add([]byte(token))
	f.Add([]byte("-----BEGIN NATS USER JWT-----\n" + token + "\n------END NATS USER JWT------\n"))
	f.Add([]byte("-----BEGIN NATS USER JWT-----\r\n" + token))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := decodeJWT("file", data)
		if err == nil && !bytes.Contains(data, []byte(doc.Token)) {
			t.Errorf("%q holds %q", data, doc.Token)
		}
	})
}

// FuzzPackLine: a line of a pack is about whom it is listed as.
func FuzzPackLine(f *testing.F) {
	token := signedUser(f)
	f.Add(token)
	f.Add("UA|" + token)
	f.Fuzz(func(t *testing.T, line string) {
		h := decodeLine(line)
		if (h.err == nil) == (h.doc == nil) {
			t.Fatalf("%q: %+v", line, h)
		}
		if key, _, packed := strings.Cut(line, "|"); h.err == nil && packed && key != h.doc.Subject {
			t.Errorf("%q is about %s", line, h.doc.Subject)
		}
	})
}

// FuzzProfileURL: names that a profile's URL takes come back from the URL that
// is made of them.
func FuzzProfileURL(f *testing.F) {
	f.Add("nsc://acme/app/device1?names&userSeed&store=/a%20b")
	f.Add("NSC://a%2Fb/..")
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parseProfile(text)
		if err != nil {
			return
		}
		again, err := parseProfile(profileURL(slices.Clone(q.names)...))
		if err != nil || !slices.Equal(q.names, again.names) {
			t.Errorf("%q names %q, and then %q: %v", text, q.names, again.names, err)
		}
	})
}

// FuzzFlagValues: what flags take is in range, and means the same when it is
// printed and read again.
func FuzzFlagValues(f *testing.F) {
	for _, s := range []string{"10s", "1.5", "500ms", "-1", "1e300", "nan", "0x10", "2026-01-31T10:00:00Z", "1767225600", "9999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d, again durationValue
		if d.Set(s) == nil && (d <= 0 || again.Set(d.String()) != nil || again != d) {
			t.Errorf("duration %q: %s, again %s", s, d.String(), again.String())
		}
		if seconds, err := strconv.ParseFloat(s, 64); err == nil && d > 0 && math.Abs(time.Duration(d).Seconds()-seconds) > 1e-6*seconds+1e-9 {
			t.Errorf("duration %q: %s", s, d.String())
		}
		var at, same int64
		now := time.Unix(1767225600, 0).UTC()
		if (timeValue{&at, now}).Set(s) == nil && (at < 0 || (timeValue{&same, now}).Set(strconv.FormatInt(at, 10)) != nil || same != at) {
			t.Errorf("time %q: %d, again %d", s, at, same)
		}
		if n, err := parsePosition(s); err == nil && n > math.MaxInt32 {
			t.Errorf("position %q: %d", s, n)
		}
	})
}

// FuzzFlows: every flow that is read is a line with what a flow needs.
func FuzzFlows(f *testing.F) {
	f.Add([]byte(`{"from": "a", "subject": "x", "to": "b:u", "pattern": ">", "place": "same"}` + "\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		flows, err := readFlows(bytes.NewReader(data), isolation.Anywhere)
		if err == nil && len(flows) > bytes.Count(data, []byte("\n"))+1 {
			t.Errorf("%d flows in %q", len(flows), data)
		}
		for _, flow := range flows {
			if flow.From == "" || flow.Subject == "" || flow.To == "" {
				t.Errorf("%q has the flow %+v", data, flow)
			}
		}
	})
}
