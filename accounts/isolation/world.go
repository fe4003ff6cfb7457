// Package isolation predicts which messages flow between the accounts of an
// operator, from their claims alone, by the rules of nats-server 2.15. It is
// pure: nothing is asked of a server, and the clock is a parameter.
//
// The order of things on a server: an account whose claims are invalid does not
// exist. A user logs in, with permissions of his own, of his role, or by
// default of his account. A subscription is admitted by the text of its
// pattern. A message is renamed by the publisher's account, then judged by his
// permissions, then delivered in his account, to accounts that import it as a
// stream, and through service imports to others, there and onwards.
package isolation

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
)

// Config is what a World is made of. Claims are not changed, and must not be
// as long as the World is used.
type Config struct {
	Operator *jwt.OperatorClaims // nil: accounts of any issuer are trusted
	Accounts []*jwt.AccountClaims
	Users    []*jwt.UserClaims
	Source   Source // in place of Accounts, for questions about a few of many; not for Reaches
	Admitted bool   // the accounts were looked through for what makes servers refuse them whole

	System    string // public key of the system account; the operator's if empty
	Now       time.Time
	Cluster   string // name of the servers' cluster, for mappings bound to one
	JetStream bool   // the servers run JetStream
	Domain    string // JetStream domain of the servers
	Cautious  bool   // what may come to hold counts: activations before their time, mappings of whichever cluster
}

// Source gives accounts one by one, and the same ones as long as a World asks it.
type Source interface {
	// Account returns the claims of a name or key, nil if there are none.
	Account(nameOrKey string) *jwt.AccountClaims
	// Importers returns the keys of all accounts that may import from one; too
	// many do no harm.
	Importers(key string) []string
}

// World is a set of accounts and users. Its methods may run at the same time.
type World struct {
	cfg     Config
	strict  bool // the operator lets account keys sign no users
	signers []string
	users   map[string]map[string]*jwt.UserClaims

	mu     sync.Mutex // of what a Source gives little by little
	byKey  map[string]*tenant
	byName map[string]*tenant // the first one of a name

	importsOnce sync.Once
}

// tenant is one account.
type tenant struct {
	claims *jwt.AccountClaims

	once     sync.Once
	dead     string // why servers refuse the account
	defaults *perms
	exports  []*jwt.Export
	imports  map[string][]*jwt.Import // by exporter
	mappings []mapping
	offers   table[*jwt.Export]
	wants    map[jwt.ExportType]*table[wanted] // what is imported, by which cycles come round

	linksOnce sync.Once
	taken     map[*tenant][]*link // by exporter
	streams   []*link
	services  []*link
	asked     table[*link] // services, by what is asked
	dropped   []refused

	importsOnce sync.Once     // with a Source
	importing   table[*group] // streams that others import
	byRemote    map[string]*group
	reading     []*link // services by which others reach its JetStream
}

// New makes a World. It costs little: accounts are compiled when they are first
// part of a question.
func New(cfg Config) *World {
	w := &World{
		cfg: cfg, byKey: map[string]*tenant{}, byName: map[string]*tenant{},
		users: map[string]map[string]*jwt.UserClaims{},
	}
	if op := cfg.Operator; op != nil {
		w.strict, w.signers = op.StrictSigningKeyUsage, slices.Clone(op.SigningKeys)
		if !w.strict {
			w.signers = append(w.signers, op.Subject)
		}
		if cfg.System == "" {
			w.cfg.System = op.SystemAccount
		}
	}
	for _, ac := range cfg.Accounts {
		t := &tenant{claims: ac}
		w.byKey[ac.Subject] = t
		if w.byName[ac.Name] == nil {
			w.byName[ac.Name] = t
		}
	}
	for _, uc := range cfg.Users {
		key := accounts.IssuerAccount(uc)
		if w.users[key] == nil {
			w.users[key] = map[string]*jwt.UserClaims{}
		}
		for _, name := range []string{uc.Subject, uc.Name} {
			if w.users[key][name] == nil {
				w.users[key][name] = uc
			}
		}
	}
	return w
}

// Account returns the public key of the account that "account" or "account:user"
// names, by name or key, "" if there is none.
func (w *World) Account(who string) string {
	if t, _ := w.endpoint(who); t != nil {
		return t.claims.Subject
	}
	return ""
}

func (w *World) find(nameOrKey string) *tenant {
	if w.cfg.Source != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	if t := w.byKey[nameOrKey]; t != nil {
		return t
	}
	if t := w.byName[nameOrKey]; t != nil || w.cfg.Source == nil {
		return t
	}
	ac := w.cfg.Source.Account(nameOrKey)
	if ac == nil {
		return nil
	}
	t := w.byKey[ac.Subject]
	if t == nil {
		t = &tenant{claims: ac}
		w.byKey[ac.Subject] = t
	}
	if nameOrKey != ac.Subject {
		w.byName[nameOrKey] = t
	}
	return t
}

// tenant returns the account of a key, nil if there is none.
func (w *World) tenant(key string) *tenant {
	if t := w.find(key); t != nil && t.claims.Subject == key {
		return t
	}
	return nil
}

// compiled returns the account of a key, ready for use; nil if there is none.
func (w *World) compiled(key string) *tenant {
	t := w.tenant(key)
	if t != nil {
		t.once.Do(func() { w.compile(t) })
	}
	return t
}

func (w *World) compile(t *tenant) {
	ac := t.claims
	t.dead = w.gate(ac)
	t.defaults = compile(ac.DefaultPermissions)
	for _, e := range ac.Exports {
		if e != nil {
			t.exports = append(t.exports, e)
		}
	}
	if ac.Subject == w.cfg.System {
		t.exports = append(t.exports, w.systemExports(t.exports)...)
	}
	for _, e := range t.exports {
		t.offers.add(split(string(e.Subject)), e)
	}
	t.wants = map[jwt.ExportType]*table[wanted]{jwt.Stream: {}, jwt.Service: {}}
	t.imports = map[string][]*jwt.Import{}
	for i, im := range ac.Imports {
		if im != nil {
			t.imports[im.Account] = append(t.imports[im.Account], im)
		}
		if im == nil || t.wants[im.Type] == nil {
			continue
		}
		remote, local := accounts.Sides(im)
		if im.IsStream() {
			remote = local // by which messages of streams would come round
		}
		pattern := split(remote)
		for i, tok := range pattern {
			if strings.HasPrefix(tok, "$") || strings.HasPrefix(tok, "{") {
				pattern[i] = anyToken // a reference, perhaps
			}
		}
		t.wants[im.Type].add(pattern, wanted{i, im})
	}
	t.mappings = w.mappingsOf(ac)
}

// gate returns why servers refuse an account and all of its users.
func (w *World) gate(ac *jwt.AccountClaims) string {
	if w.signers != nil && !slices.Contains(w.signers, ac.Issuer) {
		return "it is not signed by a key of the operator"
	}
	if w.cfg.Admitted {
		return w.outside(ac.ClaimsData)
	}
	if issues := accounts.Blocking(ac); len(issues) > 0 {
		return strings.TrimSuffix(issues[0], ".")
	}
	return w.outside(ac.ClaimsData)
}

// outside says why claims are not valid now, "" if they are.
func (w *World) outside(c jwt.ClaimsData) string {
	now := w.cfg.Now.Unix()
	switch {
	case c.Expires > 0 && now >= c.Expires:
		return "it has expired"
	case c.NotBefore > now && !w.cfg.Cautious:
		return "it is not valid yet"
	}
	return ""
}

// label names an account for people.
func (t *tenant) label() string {
	if t.claims.Name != "" {
		return t.claims.Name
	}
	return t.claims.Subject
}
