package stock

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/revocation"
)

// Subjects of the servers (nats-server, events.go).
const (
	subjectUpdate    = "$SYS.REQ.CLAIMS.UPDATE"
	subjectUpdateOf  = "$SYS.REQ.ACCOUNT.%s.CLAIMS.UPDATE"
	subjectUpdateOld = "$SYS.ACCOUNT.%s.CLAIMS.UPDATE"
	subjectLookup    = "$SYS.REQ.ACCOUNT.%s.CLAIMS.LOOKUP"
	subjectDelete    = "$SYS.REQ.CLAIMS.DELETE"
	subjectList      = "$SYS.REQ.CLAIMS.LIST"
	subjectPack      = "$SYS.REQ.CLAIMS.PACK"
	subjectPing      = "$SYS.REQ.SERVER.PING.%s"
	subjectServer    = "$SYS.REQ.SERVER.%s.%s"
	subjectStats     = "$SYS.SERVER.*.STATSZ"
	subjectShutdown  = "$SYS.SERVER.*.SHUTDOWN"
	subjectClosed    = "$SYS.ACCOUNT.*.DISCONNECT"
)

// answer is how servers answer on the system account.
type answer[T any] struct {
	Server info         `json:"server"`
	Data   T            `json:"data"`
	Error  *answerError `json:"error"`
}

// info is how a server names itself. Answers of accountd's own doors have no ID.
type info struct {
	Name    string `json:"name"`
	ID      string `json:"id"` // of this run of the server
	Cluster string `json:"cluster"`
	Host    string `json:"host"`
}

type answerError struct {
	Code int    `json:"code"`
	Text string `json:"description"`
}

// vars is what VARZ tells and the fleet needs.
type vars struct {
	Host    string `json:"host"`
	Port    int    `json:"port"`
	System  string `json:"system_account"`
	Gateway struct {
		Name string `json:"name"`
	} `json:"gateway"`
	Operators []struct {
		Subject string `json:"sub"`
		NATS    struct {
			SigningKeys []string `json:"signing_keys"`
			Strict      bool     `json:"strict_signing_key_usage"`
		} `json:"nats"`
	} `json:"trusted_operators_claim"`
}

// trusts returns the keys whose accounts the server accepts.
func (v vars) trusts() []string {
	var out []string
	for _, op := range v.Operators {
		if !op.NATS.Strict {
			out = append(out, op.Subject)
		}
		out = append(out, op.NATS.SigningKeys...)
	}
	return out
}

// accountz is what ACCOUNTZ tells of a loaded account.
type accountz struct {
	Account *struct {
		Expired  bool                 `json:"expired"`
		Complete bool                 `json:"complete"`
		Clients  int                  `json:"client_connections"`
		Leafs    int                  `json:"leafnode_connections"`
		JWT      string               `json:"jwt"`
		Revoked  map[string]time.Time `json:"revoked_user"`
	} `json:"account_detail"`
	Accounts []string `json:"accounts"`
}

// connz is what CONNZ tells of the connections of an account.
type connz struct {
	Total int    `json:"total"`
	Conns []conn `json:"connections"`
}

type conn struct {
	CID  uint64 `json:"cid"`
	Kind string `json:"kind"`
	Type string `json:"type"`
	Name string `json:"name"`
	User string `json:"authorized_user"`
	JWT  string `json:"jwt"`
}

// status is the data of an answer to an update or a deletion.
type status struct {
	Code int    `json:"code"`
	Text string `json:"message"`
}

func decode[T any](m *nats.Msg) (answer[T], error) {
	var a answer[T]
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return a, fmt.Errorf("answer on %s: %w", m.Subject, err)
	}
	return a, nil
}

// claim is what the delivery needs of a JWT. It is read without a check of the
// signature: the store holds admitted claims, and servers checked their users'.
type claim struct {
	ID       string `json:"jti"`
	Subject  string `json:"sub"`
	Issuer   string `json:"iss"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	NATS     struct {
		Imports []struct {
			Account string `json:"account"`
		} `json:"imports"`
		Limits struct {
			Conns int64 `json:"conn"`
			Leafs int64 `json:"leaf"`
		} `json:"limits"`
		Revocations   revocation.List   `json:"revocations"`
		SigningKeys   []json.RawMessage `json:"signing_keys"`
		SystemAccount string            `json:"system_account"`
		Accounts      []string          `json:"accounts"`
	} `json:"nats"`
}

func parse(token string) (claim, error) {
	var c claim
	return c, claims.Peek(token, &c)
}

// expired reports whether c no longer holds at now.
func (c claim) expired(now time.Time) bool { return c.Expires != 0 && c.Expires <= now.Unix() }

// nobody reports whether c lets no user connect.
func (c claim) nobody() bool { return c.NATS.Limits.Conns == 0 && c.NATS.Limits.Leafs == 0 }

// imports returns the accounts that c imports from.
func (c claim) imports() []string {
	var out []string
	for _, im := range c.NATS.Imports {
		if im.Account != c.Subject {
			out = append(out, im.Account)
		}
	}
	return out
}

// signers returns the keys that may sign users of account c, its own included.
func (c claim) signers() map[string]bool {
	out := map[string]bool{c.Subject: true}
	for _, raw := range c.NATS.SigningKeys {
		var scoped struct {
			Key string `json:"key"`
		}
		var plain string
		if json.Unmarshal(raw, &plain) == nil {
			out[plain] = true
		} else if json.Unmarshal(raw, &scoped) == nil {
			out[scoped.Key] = true
		}
	}
	return out
}
