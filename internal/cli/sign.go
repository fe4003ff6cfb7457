package cli

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/suggest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// maxSeedFile bounds a file that is said to hold a seed, in bytes.
const maxSeedFile = 64 << 10

// signer signs claims and is wiped when the command ends.
type signer interface {
	claims.Signer
	Wipe()
}

// candidate is a key that may sign, and the role that names it, "" for none.
type candidate struct{ key, role string }

// choice is the search for a signing key.
type choice struct {
	what       string      // whose keys: operator "acme", account "app"
	candidates []candidate // in the order of preference
	prefer     string      // the key to keep if it is possible
	parse      func(seed []byte) (signer, error)
	hint       string // how to list the candidates
}

// accountSigner returns the operator's key that signs an account. Without -K
// it is prefer, the current issuer, if its seed is here, else the first of the
// operator's signing keys whose seed is here, else the root key unless the
// operator is strict.
func (s *session) accountSigner(r *root, prefer string) (signer, error) {
	return s.choose(operatorKeys(r, prefer))
}

// readSigner returns a key of the operator that signs requests to read: one
// whose seed is here, else what -K names, which may be meant for something else.
func (s *session) readSigner(r *root) (signer, error) {
	pair, err := s.findStored(operatorKeys(r, ""))
	if err != nil && s.flags.privateKey != "" {
		return s.accountSigner(r, "")
	}
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "accountd at %s answers other machines only what the operator signs: %w", r.claims.AccountServerURL, err).
			ByRule("signed request").WithHint("name a file with the seed of an operator key: -K <file>, or - for stdin")
	}
	s.closers = append(s.closers, pair.Wipe)
	return pair, nil
}

func operatorKeys(r *root, prefer string) choice {
	c := choice{
		what: "operator " + quote(r.Name()), prefer: prefer, hint: "nsc describe operator",
		parse: func(seed []byte) (signer, error) { return keys.OperatorFromSeed(seed) },
	}
	for _, key := range r.trust.SigningKeys {
		c.candidates = append(c.candidates, candidate{key: key})
	}
	if root := string(r.trust.Key); r.trust.Signs(root) {
		c.candidates = append(c.candidates, candidate{key: root})
	}
	return c
}

// userSigner returns the account's key that signs a user and, if it is that of
// a role, its scope. Without -K it is the account's key, else its first plain
// signing key; in strict mode the account's key signs nothing. A role is never
// chosen unasked, unless it is the only key that may sign. A user that was
// signed before, by prefer, keeps its role.
func (s *session) userSigner(r *root, ac *account, prefer string) (signer, jwt.Scope, error) {
	c := choice{
		what: "account " + quote(ac.name), prefer: prefer, hint: "nsc list signing-keys -a " + shellWords([]string{ac.name}),
		parse: func(seed []byte) (signer, error) { return keys.AccountFromSeed(seed) },
	}
	if !r.trust.Strict {
		c.candidates = append(c.candidates, candidate{key: ac.key})
	}
	plain, roles := signingKeys(ac.claims)
	c.candidates = append(c.candidates, plain...)
	role := slices.IndexFunc(roles, func(x candidate) bool { return x.key == prefer })
	switch {
	case s.flags.privateKey != "":
		c.candidates = append(c.candidates, roles...)
	case role >= 0:
		c.candidates = roles[role : role+1]
	case prefer != "" && prefer != ac.key && !slices.ContainsFunc(plain, func(x candidate) bool { return x.key == prefer }):
		return nil, nil, fault.New(fault.Denied, "account %q no longer has the key %s that signed the user", ac.name, keys.Short(prefer)).
			ByRule("signer").WithHint("choose the new signer with -K; its role decides what the user may do")
	case len(c.candidates) == 0 && len(roles) == 1:
		c.candidates = roles
	case len(c.candidates) == 0 && len(roles) > 1:
		return nil, nil, usage("account %q has several roles and the operator requires signing keys", ac.name).
			WithHint("choose one with -K, such as -K %s", first(roles[0].role, roles[0].key))
	}
	if len(c.candidates) == 0 {
		return nil, nil, fault.New(fault.Denied, "operator %q requires signing keys and account %q has none", r.Name(), ac.name).
			ByRule("strict").WithHint("nsc edit account %s --sk generate", ac.name)
	}
	pair, err := s.choose(c)
	if err != nil {
		return nil, nil, err
	}
	return pair, ac.claims.SigningKeys[pair.PublicKey()], nil
}

// signingKeys returns the plain and the scoped signing keys of an account,
// each sorted by role and key.
func signingKeys(ac *jwt.AccountClaims) (plain, roles []candidate) {
	for _, key := range slices.Sorted(slices.Values(ac.SigningKeys.Keys())) {
		if scope, ok := ac.SigningKeys[key].(*jwt.UserScope); ok && scope != nil {
			roles = append(roles, candidate{key, scope.Role})
			continue
		}
		plain = append(plain, candidate{key: key})
	}
	slices.SortStableFunc(roles, func(a, b candidate) int { return strings.Compare(a.role, b.role) })
	return plain, roles
}

// choose finds the key of c and wipes it when the command ends. What -K names
// is read once, since it may be stdin.
func (s *session) choose(c choice) (signer, error) {
	if pair, ok := s.named[c.what]; ok {
		return pair, nil
	}
	var pair signer
	var err error
	if name := s.flags.privateKey; name != "" {
		pair, err = s.findNamed(c, name)
	} else {
		pair, err = s.findStored(c)
	}
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, pair.Wipe)
	if s.flags.privateKey != "" {
		s.named[c.what] = pair
	}
	return pair, nil
}

// findStored takes the first key whose seed is in the keystore.
func (s *session) findStored(c choice) (signer, error) {
	order := slices.Clone(c.candidates)
	slices.SortStableFunc(order, func(a, b candidate) int {
		return boolToInt(b.key == c.prefer) - boolToInt(a.key == c.prefer)
	})
	for _, x := range order {
		pair, err := s.fromKeystore(c, x.key)
		if err == nil || !fault.Is(err, fault.NotFound) {
			return pair, err
		}
	}
	return nil, fault.New(fault.Denied, "the keystore holds no key of %s that may sign", c.what).ByRule("signer").
		WithHint("name a file with its seed: -K <file>, or - for stdin")
}

// findNamed resolves what -K names: a role, a public key, a file, - for stdin.
// A name that resolves to nothing, or to a key that may not sign, is an error,
// never a reason to take another key.
func (s *session) findNamed(c choice, name string) (signer, error) {
	for _, x := range c.candidates {
		if x.key == name || x.role == name && name != "" {
			return s.fromKeystore(c, x.key)
		}
	}
	if nkeys.IsValidPublicKey(name) {
		return nil, fault.New(fault.Denied, "%s is no key of %s that may sign", keys.Short(name), c.what).
			ByRule("signer").WithHint("list its keys with: %s", c.hint)
	}
	seed, err := s.readSeed(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, c.unknown(name)
	}
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(seed)
	pair, err := c.parse(bytes.TrimSpace(seed))
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "-K %s: %w", name, err)
	}
	if !slices.ContainsFunc(c.candidates, func(x candidate) bool { return x.key == pair.PublicKey() }) {
		pair.Wipe()
		return nil, fault.New(fault.Denied, "-K %s: %s is no key of %s that may sign", name, keys.Short(pair.PublicKey()), c.what).
			ByRule("signer").WithHint("list its keys with: %s", c.hint)
	}
	return pair, nil
}

func (c choice) unknown(name string) error {
	var roles []string
	for _, x := range c.candidates {
		if x.role != "" {
			roles = append(roles, x.role)
		}
	}
	near := ""
	if n := suggest.Nearest(name, roles); n != "" {
		near = " (did you mean " + quote(n) + "?)"
	}
	return fault.New(fault.NotFound, "%s has no role or signing key %q%s, and no such file exists", c.what, name, near).
		About("key", name).WithHint("list its keys with: %s", c.hint)
}

func (s *session) fromKeystore(c choice, key string) (signer, error) {
	seed, err := s.store.Keystore().Seed(key)
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(seed)
	return c.parse(seed)
}

// readSeed reads the seed in the file of a name, or on stdin for -.
func (a *app) readSeed(name string) ([]byte, error) {
	if name == "-" {
		seed, err := io.ReadAll(io.LimitReader(a.env.Stdin, maxSeedFile))
		if err != nil {
			return nil, fault.New(fault.Invalid, "read the seed on stdin: %w", err)
		}
		return seed, nil
	}
	f, err := os.Open(a.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.NotFound, "no file %s to read a seed from: %w", name, fs.ErrNotExist).About("file", name)
	case err != nil:
		return nil, fault.New(fault.Denied, "read the seed in %s: %w", name, err).About("file", name)
	}
	defer f.Close()
	seed, err := io.ReadAll(io.LimitReader(f, maxSeedFile))
	if err != nil {
		return nil, fault.New(fault.Invalid, "read the seed in %s: %w", name, err)
	}
	return seed, nil
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func quote(s string) string { return `"` + s + `"` }
