// Package bulk issues credentials of devices by the million: fast, in the order
// of their ids, with nothing kept of any. Where they are written is the
// caller's business.
package bulk

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// Device is one device to issue credentials to.
type Device struct {
	ID  string
	Key string // its public key, "" to make one
}

// Credential is what was issued to a device. Its fields are overwritten by the
// next one that is made in its place.
type Credential struct {
	ID      string
	Public  []byte
	Seed    []byte // empty for a key of the device's own
	JWT     []byte
	Expires int64 // Unix seconds
	Leaf    tlog.Hash
}

// Options say what an Issuer issues.
type Options struct {
	Account string // public key
	Fleet   fleet.Fleet
	Signers []claims.Signer // one a cohort, or a single one, of a station
	TTL     time.Duration   // 0 for the fleet's; never longer
	Tags    []string        // of every device
	Now     time.Time       // from when on they live
	Issued  time.Time       // what they say of it; zero for Now
}

// Issuer issues credentials. Several goroutines may use it.
type Issuer struct {
	o       Options
	signers []signer
	ttl     int64 // seconds
}

// signer is a signing key with the parts of a JWT that follow from it alone.
type signer struct {
	key  claims.Signer
	head []byte // from the issue time to the jti
	tail []byte // from the name to the subject
}

// spread is how much the lifetimes of credentials differ, so that a fleet does
// not renew all at once: they live 85 to 100 % of the longest.
const spread = 0.15

// New checks o and makes an issuer.
func New(o Options) (*Issuer, error) {
	if o.TTL == 0 {
		o.TTL = o.Fleet.TTL
	}
	if o.Issued.IsZero() {
		o.Issued = o.Now
	}
	if len(o.Signers) != 1 && len(o.Signers) != o.Fleet.Cohorts {
		return nil, fault.New(fault.Internal, "%d signers for %d cohorts", len(o.Signers), o.Fleet.Cohorts)
	}
	if o.TTL < fleet.MinTTL || o.TTL > o.Fleet.TTL {
		return nil, fault.New(fault.Invalid, "credentials of fleet %q live between %s and %s, not %s", o.Fleet.Name,
			fleet.Span(fleet.MinTTL), fleet.Span(o.Fleet.TTL), fleet.Span(o.TTL)).ByRule("ttl")
	}
	is := &Issuer{o: o, ttl: int64(o.TTL / time.Second)}
	for _, key := range o.Signers {
		s, err := newSigner(key, o)
		if err != nil {
			return nil, err
		}
		is.signers = append(is.signers, s)
	}
	return is, nil
}

// newSigner renders what is the same in all JWTs of a key. The payload has the
// form and the order that package claims writes; a test compares them.
func newSigner(key claims.Signer, o Options) (signer, error) {
	nats := map[string]any{"issuer_account": o.Account, "pub": struct{}{}, "sub": struct{}{}, "type": claims.TypeUser, "version": 2}
	if len(o.Tags) > 0 {
		nats["tags"] = o.Tags
	}
	data, err := json.Marshal(nats)
	if err != nil {
		return signer{}, fault.New(fault.Internal, "encode claims: %w", err)
	}
	return signer{
		key:  key,
		head: []byte(`,"iat":` + strconv.FormatInt(o.Issued.Unix(), 10) + `,"iss":"` + key.PublicKey() + `"`),
		tail: []byte(`","nats":` + string(data) + `,"sub":"`),
	}, nil
}

// One issues the credentials of one device.
func (is *Issuer) One(d Device) (Credential, error) {
	m, c := maker{Issuer: is}, Credential{}
	if err := m.refill(1); err != nil {
		return c, err
	}
	return c, m.make(&c, d, 0)
}

// entropy is how many random bytes a device takes: its key and its lifetime.
const entropy = 32 + 8

// maker makes credentials in buffers of its own.
type maker struct {
	*Issuer
	random  []byte
	key     keys.UserText
	payload []byte
}

// refill takes randomness for n devices.
func (m *maker) refill(n int) error {
	if cap(m.random) < n*entropy {
		m.random = make([]byte, n*entropy)
	}
	m.random = m.random[:n*entropy]
	if _, err := rand.Read(m.random); err != nil {
		return fault.New(fault.Internal, "read randomness: %w", err)
	}
	return nil
}

// make issues the credentials of d into c, by the i-th part of the randomness.
func (m *maker) make(c *Credential, d Device, i int) error {
	random := m.random[i*entropy:][:entropy]
	defer clear(random)
	c.ID, c.Seed = d.ID, c.Seed[:0]
	c.Public = append(c.Public[:0], d.Key...)
	if d.Key == "" {
		m.key.Make((*[32]byte)(random))
		c.Public, c.Seed = append(c.Public, m.key.Public[:]...), append(c.Seed, m.key.Seed[:]...)
		m.key.Wipe()
	}
	short := int64(float64(binary.LittleEndian.Uint64(random[32:])>>11) / (1 << 53) * spread * float64(m.ttl))
	c.Expires = m.o.Now.Unix() + m.ttl - short
	s := &m.signers[0]
	if len(m.signers) > 1 {
		s = &m.signers[m.o.Fleet.Cohort(d.ID)]
	}
	return m.sign(c, s)
}

// b32 is the encoding of a jti; jtiSize is its length.
var b32 = base32.StdEncoding.WithPadding(base32.NoPadding)

const jtiSize = 52

// header is the first part of every JWT, with its dot.
const header = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ."

// sign makes the JWT of c. The jti is the hash of the payload without it, as
// in package claims.
func (m *maker) sign(c *Credential, s *signer) error {
	p := append(m.payload[:0], `{"exp":`...)
	p = strconv.AppendInt(p, c.Expires, 10)
	p = append(p, s.head...)
	at := len(p)
	p = append(p, `,"name":"`...)
	p = append(p, c.ID...)
	p = append(p, s.tail...)
	p = append(p, c.Public...)
	p = append(p, `"}`...)
	id := sha512.Sum512_256(p)

	const before, after = `,"jti":"`, `"`
	n := len(before) + jtiSize + len(after)
	p = append(p, make([]byte, n)...)
	copy(p[at+n:], p[at:])
	copy(p[at:], before)
	b32.Encode(p[at+len(before):][:jtiSize], id[:])
	copy(p[at+len(before)+jtiSize:], after)
	m.payload = p

	enc := base64.RawURLEncoding
	c.JWT = enc.AppendEncode(append(c.JWT[:0], header...), p)
	sig, err := s.key.Sign(c.JWT)
	if err != nil {
		return err
	}
	c.JWT = enc.AppendEncode(append(c.JWT, '.'), sig)
	c.Leaf = tlog.RecordHash(c.JWT)
	return nil
}
