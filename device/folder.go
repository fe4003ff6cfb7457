package device

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// folder is what a device knows.
type folder struct {
	dir        string
	clients    string   // folder for what clients read, "" for none
	identities []string // that open what is sealed; the first seals, none leaves it plain

	write func(name string, data []byte) error // replaces a file, durably, as a whole or not at all
}

func (f folder) key() string   { return filepath.Join(f.dir, "device.nk") }
func (f folder) creds() string { return filepath.Join(f.dir, credsName) }
func (f folder) token() string { return filepath.Join(f.dir, "token") }
func (f folder) state() string { return filepath.Join(f.dir, "device.json") }
func (f folder) lock() string  { return filepath.Join(f.dir, ".lock") }

// Files that clients read.
const (
	credsName = "device.creds"
	jwtName   = "device.jwt"
)

// State is what is known of a device's credentials.
type State struct {
	Schema  int      `json:"schema"`
	ID      string   `json:"id"`
	Key     string   `json:"key"`     // public key of the device
	Account string   `json:"account"` // public key
	Issued  int64    `json:"iat"`     // Unix seconds
	Expires int64    `json:"expires"` // Unix seconds
	Renew   int64    `json:"renew"`   // when to ask for new ones, Unix seconds
	Servers []string `json:"urls"`
	Pin     string   `json:"pin,omitempty"`
	Creds   string   `json:"credentials"` // file for clients, "" for none

	types []string // how servers let it connect, none for any way
	next  string   // nonce for the renewal, "" for none
}

// note is what stands in device.json: where to ask, and when.
type note struct {
	Schema  int      `json:"schema"`
	Servers []string `json:"urls"`
	Pin     string   `json:"pin,omitempty"`
	JWT     string   `json:"jti,omitempty"`   // of the credentials that the rest is about
	Renew   int64    `json:"renew,omitempty"` // Unix seconds
	Next    string   `json:"next_nonce,omitempty"`
	Types   []string `json:"connection_types,omitempty"`
	Pass    string   `json:"pass,omitempty"` // JWT by which the device may ask when servers refuse it
}

const schema = 1

// pair returns the device's key, and makes it if there is none.
func (f folder) pair() (keys.UserPair, error) {
	pair, err := f.readPair()
	if !errors.Is(err, fs.ErrNotExist) {
		return pair, err
	}
	if pair, err = keys.NewUser(); err != nil {
		return pair, err
	}
	seed := pair.Seed()
	defer nscstore.Wipe(seed)
	return pair, f.keep(f.key(), append(seed, '\n'))
}

func (f folder) readPair() (pair keys.UserPair, err error) {
	data, err := f.secret(f.key())
	if err != nil {
		return pair, err
	}
	defer nscstore.Wipe(data)
	pair, err = keys.UserFromSeed([]byte(strings.TrimSpace(string(data))))
	if err != nil {
		return pair, fault.New(fault.Invalid, "%s: %w", f.key(), err).About("file", f.key())
	}
	return pair, nil
}

// read returns the credentials that the device has, fault.NotFound without any.
func (f folder) read() (st State, doc *claims.Document, err error) {
	data, err := f.secret(f.creds())
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil, fault.New(fault.NotFound, "the device in %s is not enrolled", f.dir).About("folder", f.dir).
			WithHint("enrol it with: nsc device enroll --dir %s --token FILE", fault.Words(f.dir))
	}
	if err != nil {
		return st, nil, err
	}
	defer nscstore.Wipe(data)
	token, seed, err := nscstore.ParseCreds(data)
	if err != nil {
		return st, nil, fault.New(fault.Invalid, "%s is damaged: %w", f.creds(), err).About("file", f.creds()).
			WithHint("remove it and enrol the device again; the key stays, so that the same token does")
	}
	nscstore.Wipe(seed)
	if doc, err = claims.Decode(token); err != nil {
		return st, nil, err
	}
	n, err := f.note()
	if err != nil {
		return st, nil, err
	}
	st = State{
		Schema: schema, ID: doc.Name, Key: doc.Subject, Account: doc.Field("issuer_account"), Issued: doc.IssuedAt, Expires: doc.Expires,
		Renew: doc.IssuedAt + (doc.Expires-doc.IssuedAt)/2, Servers: n.Servers, Pin: n.Pin,
	}
	if f.clients != "" {
		st.Creds = filepath.Join(f.clients, credsName)
	}
	if n.JWT == doc.ID {
		st.types = n.Types
		if n.Renew > doc.IssuedAt {
			st.Renew, st.next = n.Renew, n.Next
		}
	}
	return st, doc, nil
}

func (f folder) note() (n note, err error) {
	data, err := os.ReadFile(f.state())
	if err != nil {
		return n, fault.New(fault.Invalid, "read where to ask for credentials: %w", err).About("file", f.state())
	}
	if err := json.Unmarshal(data, &n); err != nil || n.Schema != schema {
		return n, fault.New(fault.Invalid, "%s is damaged, or of a newer version", f.state()).About("file", f.state())
	}
	return n, nil
}

func (f folder) writeNote(n note) error {
	n.Schema = schema
	data, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return fault.New(fault.Internal, "encode what is known of the device: %w", err)
	}
	return writeFault(f.state(), f.write(f.state(), append(data, '\n')))
}

// claim returns the token that the device keeps, if it is still worth anything.
func (a *Agent) claim() (t fleet.Token, doc *claims.Document, pair keys.UserPair, ok bool) {
	data, err := a.secret(a.token())
	if err != nil {
		return t, nil, pair, false
	}
	defer nscstore.Wipe(data)
	if t, doc, pair, err = fleet.ParseToken(strings.TrimSpace(string(data))); err != nil {
		return t, nil, pair, false
	}
	if a.passed(t.Expires) {
		if !t.Bound {
			pair.Wipe()
		}
		return t, nil, pair, false
	}
	return t, doc, pair, true
}

// keeps reports whether token is the one that the device enrolled by.
func (f folder) keeps(token string) bool {
	data, err := f.secret(f.token())
	defer nscstore.Wipe(data)
	return err == nil && strings.TrimSpace(string(data)) == token
}

func writeFault(file string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Denied, "write %s: %w", file, err).About("file", file).WithHint("name a folder that may be written to, with room on its disk")
}
