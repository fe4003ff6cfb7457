package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"golang.org/x/sync/errgroup"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// session is what a verb works with: the store, the current operator and
// account, and one now for everything that is signed.
type session struct {
	*app
	store   *nscstore.Store
	context nscstore.Context
	now     int64                      // Unix seconds
	link    *link                      // to accountd, nil until dialled
	waited  time.Duration              // for accountd, since it last answered
	pushed  map[string][]api.NodeProof // answers of servers without accountd, by account key
	named   map[string]signer          // what -K resolved to, by whose key it is

	server  *api.AccountServer // of a managed operator, nil until it is needed
	answers map[string]answer  // of that server, by account key
}

// root is the current operator, read once.
type root struct {
	*nscstore.Operator
	doc    *claims.Document
	claims *jwt.OperatorClaims
	trust  operator.Trust
	tenant bool // accounts sign themselves; see managed.go

	names map[string]string // of accounts, by key, as far as they were met
}

// Account returns the name of an account of the store. A public key is a key
// and never a name, whatever accounts are called; fault.NotFound without one.
func (r *root) Account(nameOrKey string) (string, error) {
	if _, err := keys.ParseAccount(nameOrKey); err != nil {
		return r.Operator.Account(nameOrKey)
	}
	if name, ok, err := r.nameOf(nameOrKey); ok || err != nil {
		return name, err
	}
	return "", fault.New(fault.NotFound, "no account with the key %s in operator %s", keys.Short(nameOrKey), r.Name()).About("account", nameOrKey)
}

// nameOf returns the name of the account with a public key. The store is read
// for a key that was not there when it was last read.
func (r *root) nameOf(key string) (name string, ok bool, err error) {
	if name, ok = r.names[key]; ok {
		return name, true, nil
	}
	all, err := r.AccountNames()
	if err == nil {
		r.names = all
	}
	name, ok = all[key]
	return name, ok, err
}

// User is Account for the users of an account.
func (r *root) User(account, nameOrKey string) (string, error) {
	if _, err := keys.ParseUser(nameOrKey); err != nil {
		return r.Operator.User(account, nameOrKey)
	}
	names, err := r.Users(account)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		var uc jwt.ClaimsData
		token, err := r.UserJWT(account, name)
		if err == nil && claims.Peek(token, &uc) == nil && uc.Subject == nameOrKey {
			return name, nil
		}
	}
	return "", fault.New(fault.NotFound, "no user with the key %s in account %s", keys.Short(nameOrKey), account).About("user", nameOrKey)
}

// account is one account of the local store.
type account struct {
	name   string
	key    string // public key
	doc    *claims.Document
	claims *jwt.AccountClaims // a copy: changes to it change nothing
}

// dirs finds the folders and the context. It reads nsc.json and names of
// folders, nothing else.
func (a *app) dirs() (nscstore.Dirs, nscstore.Context, error) {
	g := &a.flags
	dirs, err := nscstore.ResolveDirs(nscstore.DirOptions{
		Getenv: a.env.Getenv, Home: a.env.Home,
		AllDirs: a.path(g.allDirs), ConfigDir: a.path(g.configDir), DataDir: a.path(g.dataDir), KeystoreDir: a.path(g.keysDir),
	})
	if err != nil {
		return dirs, nscstore.Context{}, err
	}
	config, err := nscstore.LoadConfig(dirs.Config)
	if err != nil {
		return dirs, nscstore.Context{}, err
	}
	dataDir := g.dataDir
	if g.allDirs != "" {
		dataDir = g.allDirs
	}
	where := nscstore.ResolveContext(nscstore.ContextOptions{
		Config: config, Stores: dirs.Stores, DataDir: a.path(dataDir),
		Cwd: a.env.Dir, CwdOnly: a.cwdOnly(),
	}, nscstore.DiskTree{})
	dirs.Stores = where.StoreRoot
	return dirs, where, nil
}

// cwdOnly reports whether nsc.json is neither read nor written.
func (a *app) cwdOnly() bool { return a.env.Getenv("NSC_CWD_ONLY") != "" }

// session opens the store that the command works on.
func (a *app) session() (*session, error) {
	dirs, where, err := a.dirs()
	if err != nil {
		return nil, err
	}
	store, err := nscstore.Open(dirs)
	if err != nil {
		return nil, err
	}
	store.Keystore().Unlock(func() ([]string, error) { return a.unlock(store.Keystore()) })
	return &session{app: a, store: store, context: where, now: a.started.Unix(), named: map[string]signer{}, pushed: map[string][]api.NodeProof{}, answers: map[string]answer{}}, nil
}

// operator opens the store and its current operator.
func (a *app) operator(ctx context.Context) (*session, *root, error) {
	return a.operatorAt(ctx, "")
}

// operatorAt is operator for the operator that a command names; "" is the
// current one.
func (a *app) operatorAt(ctx context.Context, name string) (*session, *root, error) {
	s, err := a.session()
	if err != nil {
		return nil, nil, err
	}
	r, err := s.at(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	return s, r, nil
}

// open is operator with an account, which is what most verbs begin with.
func (a *app) open(ctx context.Context, accountName string) (*session, *root, *account, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	ac, err := s.account(r, accountName)
	return s, r, ac, err
}

// path makes a path of the command line absolute; "" stays.
func (a *app) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(a.env.Dir, name)
}

// root opens the current operator.
func (s *session) root(ctx context.Context) (*root, error) {
	name := s.context.Operator
	if name == "" {
		return nil, s.noOperator()
	}
	op, err := s.store.Operator(ctx, name)
	if err != nil {
		return nil, err
	}
	token, err := op.JWT()
	if err != nil {
		return nil, err
	}
	r := &root{Operator: op, names: map[string]string{}}
	if r.doc, err = claims.Decode(token); err != nil {
		return nil, within(err, "operator "+name).About("operator", name)
	}
	if r.claims, err = claims.As[jwt.OperatorClaims](r.doc); err != nil {
		return nil, err
	}
	if r.trust, err = operator.TrustOf(r.doc); err != nil {
		return nil, err
	}
	r.tenant, err = s.isTenant(r)
	return r, err
}

func (s *session) noOperator() error {
	if names, err := s.store.Operators(); err == nil && len(names) > 1 {
		return usage("%d operators in %s and none is selected", len(names), s.context.StoreRoot).
			WithHint("choose one with: nsc select operator %s", names[0])
	}
	return fault.New(fault.NotFound, "no operator in %s", s.context.StoreRoot).About("operator", "").
		WithHint("create one with: nsc add operator <name>")
}

// account returns an account by name or public key; "" is the current one.
func (s *session) account(r *root, nameOrKey string) (*account, error) {
	if nameOrKey == "" && s.context.Account == "" {
		return nil, s.noAccount(r)
	}
	if nameOrKey == "" {
		return r.load(s.context.Account)
	}
	name, err := r.Account(nameOrKey)
	if err != nil {
		return nil, err
	}
	return r.load(name)
}

func (s *session) noAccount(r *root) error {
	names, err := r.Accounts()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fault.New(fault.NotFound, "operator %q has no account", r.Name()).About("account", "").
			WithHint("create one with: nsc add account <name>")
	}
	return usage("operator %q has %d accounts and none is selected", r.Name(), len(names)).
		WithHint("name one with -a, such as -a %s, or select it with: nsc select account %s", names[0], names[0])
}

// load reads the account of a name.
func (r *root) load(name string) (*account, error) {
	ac, err := r.read(name)
	if err == nil && r.names != nil {
		r.names[ac.key] = name
	}
	return ac, err
}

// read is load for several goroutines.
func (r *root) read(name string) (*account, error) {
	token, err := r.AccountJWT(name)
	if err != nil {
		return nil, err
	}
	return decodeAccount(name, token)
}

// loadChunk is how many accounts one goroutine reads at a time.
const loadChunk = 64

// loadAll is load for many, several at a time, in their order.
func (r *root) loadAll(names []string) ([]*account, error) {
	out := make([]*account, len(names))
	return out, inChunks(len(names), func(begin, end int) error {
		tokens, err := r.AccountJWTs(names[begin:end], nil)
		for i := 0; i < len(tokens) && err == nil; i++ {
			out[begin+i], err = decodeAccount(names[begin+i], tokens[i])
		}
		return err
	})
}

// inChunks does what is to be done for n things, chunks of them on all processors.
func inChunks(n int, do func(begin, end int) error) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for begin := 0; begin < n; begin += loadChunk {
		g.Go(func() error { return do(begin, min(begin+loadChunk, n)) })
	}
	return g.Wait()
}

// reload reads accounts that were read before.
func (r *root) reload(accounts []*account) ([]*account, error) {
	names, tokens := make([]string, len(accounts)), make([]string, len(accounts))
	for i, ac := range accounts {
		names[i], tokens[i] = ac.name, ac.doc.Token
	}
	tokens, err := r.AccountJWTs(names, tokens)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(accounts)
	for i, ac := range accounts {
		if tokens[i] == ac.doc.Token {
			continue
		}
		if out[i], err = decodeAccount(ac.name, tokens[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func decodeAccount(name, token string) (*account, error) {
	doc, err := claims.Decode(token)
	if err != nil {
		f := within(err, "account "+name).About("account", name)
		if f.Hint == "" {
			f = f.WithHint("take the version in force with: nsc pull -a %s -F", name)
		}
		return nil, f
	}
	ac, err := claims.As[jwt.AccountClaims](doc)
	if err != nil {
		return nil, err
	}
	return &account{name: name, key: doc.Subject, doc: doc, claims: ac}, nil
}

// within is err of what is named, with its hint.
func within(err error, what string) *fault.Error {
	f := fault.New(fault.CodeOf(err), "%s: %w", what, err)
	if in := fault.As(err); in != nil {
		f.Hint = in.Hint
	}
	return f
}

// user reads the claims of a user.
func (r *root) user(account, name string) (*claims.Document, error) {
	token, err := r.UserJWT(account, name)
	if err != nil {
		return nil, err
	}
	doc, err := claims.Decode(token)
	if err != nil {
		return nil, within(err, "user "+name+" in "+account).About("user", name)
	}
	return doc, nil
}

// eachUser hands over the users of an account, in order of their names. It ends
// with the first that cannot be read, or that do returns an error for.
func (r *root) eachUser(account string, do func(name string, doc *claims.Document) error) error {
	names, err := r.Users(account)
	if err != nil {
		return err
	}
	for _, name := range names {
		doc, err := r.user(account, name)
		if err != nil {
			return err
		}
		if err := do(name, doc); err != nil {
			return err
		}
	}
	return nil
}

// judge says what servers do with a user of the local store that connects now.
func (s *session) judge(r *root, ac *account, doc *claims.Document) (*jwt.UserClaims, accounts.Verdict, error) {
	uc, err := claims.As[jwt.UserClaims](doc)
	if err != nil {
		return nil, accounts.Verdict{}, err
	}
	return uc, accounts.Judge(accounts.Login{Trust: r.trust, Account: ac.claims, User: uc}, s.env.Now()), nil
}

// remember makes an operator and account the current ones, unless the current
// folder or --data-dir chose another store than the one of nsc.json.
func (s *session) remember(ctx context.Context, operatorName, accountName string) error {
	if s.context.Elsewhere {
		if !s.cwdOnly() {
			fmt.Fprintf(s.env.Stderr, "nsc: warning: what is current stays as it is, since %s is not the current store; make it that with: nsc env --store %s\n",
				s.context.StoreRoot, shellWords([]string{s.context.StoreRoot}))
		}
		return nil
	}
	return nscstore.UpdateConfig(ctx, s.store.Dirs().Config, s.started, func(c *nscstore.Config) error {
		c.StoreRoot, c.Operator, c.Account = s.context.StoreRoot, operatorName, accountName
		return nil
	})
}
