package bulk

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/accountd/accountd/accounts/fleet"
)

// AppendLine appends c as one line of NDJSON. Nothing in it needs an escape.
func AppendLine(dst []byte, c *Credential) []byte {
	dst = append(append(dst, `{"id":"`...), c.ID...)
	dst = append(append(dst, `","public_key":"`...), c.Public...)
	if len(c.Seed) > 0 {
		dst = append(append(dst, `","seed":"`...), c.Seed...)
	}
	dst = append(append(dst, `","jwt":"`...), c.JWT...)
	dst = append(dst, `","expires":`...)
	return append(strconv.AppendInt(dst, c.Expires, 10), "}\n"...)
}

// ParseLine reads a line that [AppendLine] wrote, with its line break, and
// refers to its bytes. It is false for anything else. It leaves Leaf open.
func ParseLine(line []byte) (Credential, bool) {
	var c Credential
	rest, ok := bytes.CutPrefix(line, []byte(`{"id":"`))
	id, rest, ok2 := bytes.Cut(rest, []byte(`","public_key":"`))
	public, rest, ok3 := bytes.Cut(rest, []byte(`","`))
	if !ok || !ok2 || !ok3 {
		return c, false
	}
	c.ID, c.Public = string(id), public
	if seed, has := bytes.CutPrefix(rest, []byte(`seed":"`)); has {
		if c.Seed, rest, ok = bytes.Cut(seed, []byte(`","`)); !ok {
			return c, false
		}
	}
	token, expires, ok := bytes.Cut(rest, []byte(`","expires":`))
	token, ok2 = bytes.CutPrefix(token, []byte(`jwt":"`))
	at, err := strconv.ParseInt(string(bytes.TrimSuffix(expires, []byte("}\n"))), 10, 64)
	c.JWT, c.Expires = token, at
	if !ok || !ok2 || err != nil || fleet.CheckID(c.ID) != nil {
		return c, false
	}
	return c, bytes.Equal(AppendLine(nil, &c), line)
}

// Issued is what the JWT of a credential says.
type Issued struct {
	Account, Issuer, Subject string // public keys
	Name                     string
	IssuedAt, Expires        int64 // Unix seconds
	Tags                     []string
}

// natsTail ends the part of a payload that may hold tags.
const natsTail = `"type":"user","version":2},"sub":"`

// escaped reports whether r may stand for something else in JSON.
func escaped(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }

// ReadJWT reads a JWT that an [Issuer] made, without checking its signature. It
// is false for any other form, which need not be wrong.
func ReadJWT(token []byte) (Issued, bool) {
	text, ok := bytes.CutPrefix(token, []byte(header))
	text, _, ok2 := bytes.Cut(text, []byte("."))
	p, err := base64.RawURLEncoding.AppendDecode(make([]byte, 0, 1024), text)
	if !ok || !ok2 || err != nil {
		return Issued{}, false
	}
	until := func(mark string) string {
		part, rest, found := bytes.Cut(p, []byte(mark))
		p, ok = rest, ok && found && (mark == natsTail || !bytes.ContainsFunc(part, escaped))
		return string(part)
	}
	var is Issued
	ok = until(`{"exp":`) == "" && ok
	exp, iat := until(`,"iat":`), until(`,"iss":"`)
	is.Issuer = until(`","jti":"`)
	until(`","name":"`)
	is.Name = until(`","nats":{"issuer_account":"`)
	is.Account = until(`","pub":{},"sub":{},`)
	rest := until(natsTail)
	is.Subject = until(`"}`)
	is.Expires, err = strconv.ParseInt(exp, 10, 64)
	var err2, err3 error
	is.IssuedAt, err2 = strconv.ParseInt(iat, 10, 64)
	if tags, has := strings.CutPrefix(rest, `"tags":`); has {
		err3 = json.Unmarshal([]byte(strings.TrimSuffix(tags, ",")), &is.Tags)
	} else {
		ok = ok && rest == ""
	}
	return is, ok && len(p) == 0 && errors.Join(err, err2, err3) == nil
}

// The official form of a credentials file, around the JWT and the seed.
const (
	credsHead = "-----BEGIN NATS USER JWT-----\n"
	credsBody = `
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
`
	credsTail = `
------END USER NKEY SEED------

*************************************************************
`
)

// AppendCreds appends c as a credentials file. Without a seed it is the JWT
// alone, as the device that has the key needs it.
func AppendCreds(dst []byte, c *Credential) []byte {
	if len(c.Seed) == 0 {
		return append(append(dst, c.JWT...), '\n')
	}
	dst = append(append(dst, credsHead...), c.JWT...)
	dst = append(append(dst, credsBody...), c.Seed...)
	return append(dst, credsTail...)
}

// CredsJWT returns the JWT in a file that [AppendCreds] wrote, false for
// anything else.
func CredsJWT(data []byte) ([]byte, bool) {
	rest, full := bytes.CutPrefix(data, []byte(credsHead))
	if !full {
		token, ok := bytes.CutSuffix(data, []byte("\n"))
		return token, ok && bytes.Count(token, []byte(".")) == 2
	}
	token, rest, ok := bytes.Cut(rest, []byte(credsBody))
	seed, whole := bytes.CutSuffix(rest, []byte(credsTail))
	return token, ok && whole && len(seed) > 0
}
