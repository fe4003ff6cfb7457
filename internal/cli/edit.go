package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"sync"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

func newEdit(a *app) *cobra.Command {
	cmd := group("edit", "Change operators, accounts, users, roles, fleets, plans and exports")
	cmd.AddCommand(newEditOperator(a), newEditAccount(a), newEditUser(a), newEditSigningKey(a), newEditExport(a), newEditAuthCallout(a),
		newEditFleet(a), newEditRole(a), newEditPlan(a))
	return cmd
}

// edited is the effect of an edit on claims, as it was applied last.
type edited struct {
	lines []string
	name  func(key string) string // of an account, "" if it is not known; nil knows none
}

// apply runs change on c and notes what it changed. It is errUnchanged if the
// claims say afterwards what they said before.
func apply[T claims.Typed](e *edited, c *T, change func(*T) error) error {
	before, err := tree(c)
	if err != nil {
		return err
	}
	if err := change(c); err != nil {
		return err
	}
	after, err := tree(c)
	if err != nil {
		return err
	}
	if reflect.DeepEqual(before, after) {
		return errUnchanged
	}
	e.lines = diffClaims(before, after)
	return nil
}

// tree is the generic form of the JSON of claims.
func tree(v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode claims: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var out map[string]any
	if err := dec.Decode(&out); err != nil {
		return nil, fault.New(fault.Internal, "encode claims: %w", err)
	}
	return out, nil
}

// byKey shows the signing keys, exports and imports of an account each on its
// own, so that a change of one reads as that.
func byKey(claims map[string]any) map[string]any {
	nats, _ := claims["nats"].(map[string]any)
	for field, of := range map[string]func(entry map[string]any) string{
		"signing_keys": func(k map[string]any) string {
			delete(k, "kind")
			return taken(k, "key")
		},
		"exports": func(e map[string]any) string { return taken(e, "type") + " " + taken(e, "subject") },
		"imports": func(e map[string]any) string {
			if token := taken(e, "token"); token != "" {
				e["activation"] = token[max(0, len(token)-8):] // the end of the signature tells one from another
			}
			return taken(e, "type") + " " + taken(e, "subject") + " from " + taken(e, "account")
		},
	} {
		list, _ := nats[field].([]any)
		if len(list) == 0 {
			continue
		}
		keyed := map[string]any{}
		for _, e := range list {
			switch e := e.(type) {
			case string:
				keyed[e] = "no role"
			case map[string]any:
				keyed[of(e)] = e
			}
		}
		nats[field] = keyed
	}
	return claims
}

// taken removes a text from a tree and returns it.
func taken(tree map[string]any, name string) string {
	text, _ := tree[name].(string)
	delete(tree, name)
	return text
}

// forPeople puts names for the public keys in the lines, as far as they are known.
func (e *edited) forPeople() []string {
	if e.name == nil {
		return e.lines
	}
	out := slices.Clone(e.lines)
	for i, line := range out {
		out[i] = keyForm.ReplaceAllStringFunc(line, func(key string) string { return first(e.name(key), key) })
	}
	return out
}

// keyForm is the form of a public key.
var keyForm = regexp.MustCompile(`\b[AOUX][A-Z2-7]{55}\b`)

// newKey is a signing key that a command makes; its seed is stored before the
// claims that name it.
type newKey struct {
	public string
	seed   []byte // nil in a dry run, and for keys that were given
}

// dryKey stands for a key that a dry run does not make.
const dryKey = "new key"

// withSeeds stores the seeds of new keys, runs do, and removes them again if
// the stored claims do not name the keys after all.
func (s *session) withSeeds(ctx context.Context, fresh []newKey, named func(key string) bool, do func() (*receipt, error)) (*receipt, error) {
	ks := s.store.Keystore()
	var seeds [][]byte
	clean := func() {
		for _, k := range fresh {
			if k.seed != nil && !named(k.public) {
				_ = ks.RemoveSeed(context.WithoutCancel(ctx), k.public) // an unused seed harms nobody
			}
		}
	}
	for _, k := range fresh {
		if k.seed != nil {
			seeds = append(seeds, k.seed)
			defer nscstore.Wipe(k.seed)
		}
	}
	if err := ks.AddSeeds(ctx, seeds...); err != nil {
		clean()
		return nil, err
	}
	rec, err := do()
	clean()
	return rec, err
}

// pair is a key pair whose seed can be stored.
type pair interface {
	PublicKey() string
	Wipe()
	seeded
}

// keyFlag is a flag that takes keys to put into claims.
type keyFlag struct {
	name, kind string // --sk, account
	generate   func() (pair, error)
	valid      func(string) error
	parse      func(seed []byte) (pair, error)
}

// newKeys resolves the values of a flag: generate, a public key, or a file with
// a seed, which is not stored.
func (s *session) newKeys(values []string, flag keyFlag) ([]newKey, error) {
	var out []newKey
	for _, v := range values {
		switch {
		case v == "generate" && s.flags.dryRun:
			out = append(out, newKey{public: dryKey})
		case v == "generate":
			p, err := flag.generate()
			if err != nil {
				return nil, err
			}
			out = append(out, newKey{p.PublicKey(), p.Seed()})
			p.Wipe()
		default:
			key, err := s.givenPublicKey(v, flag)
			if err != nil {
				return nil, err
			}
			out = append(out, newKey{public: key})
		}
	}
	return out, nil
}

func (s *session) givenPublicKey(v string, flag keyFlag) (string, error) {
	if looksSecret(v) {
		return "", usage("a seed does not belong on the command line, where others can read it").
			WithHint("name a file that holds it, or use %s generate", flag.name)
	}
	if flag.valid(v) == nil {
		return v, nil
	}
	seed, err := s.readSeed(v)
	if err != nil {
		return "", fault.New(fault.Invalid, "%s %s is neither generate, nor a public key of the kind %s, nor a readable file with its seed", flag.name, v, flag.kind).
			WithHint("make a new key with: %s generate", flag.name)
	}
	defer nscstore.Wipe(seed)
	p, err := flag.parse(trim(seed))
	if err != nil {
		return "", fault.New(fault.Invalid, "%s %s: %w", flag.name, v, err)
	}
	defer p.Wipe()
	return p.PublicKey(), nil
}

func publicKeys(list []newKey) []string {
	var out []string
	for _, k := range list {
		out = append(out, k.public)
	}
	return out
}

// accountNames reports whether the account, as it is stored when that is first
// asked, has a signing key.
func (r *root) accountNames(name string) func(key string) bool {
	load := sync.OnceValues(func() (*account, error) { return r.load(name) })
	return func(key string) bool {
		ac, err := load()
		return err != nil || ac.claims.SigningKeys.Contains(key)
	}
}

// describe completes the receipt of an edit.
func (a *app) describe(e *edited, rec *receipt, title string) {
	rec.Title = title
	if rec.Revision > 0 {
		rec.Title += "  " + revision(rec.Revision)
	}
	if rec.Outcome == outcomeSame {
		rec.Title = title + "  nothing to change"
		return
	}
	rec.Changes = e.lines
	if !a.flags.json {
		rec.Changes = e.forPeople()
	}
}

// sysOf reports whether an account is the operator's system account.
func (r *root) sysOf(ac *account) bool { return r.claims.SystemAccount == ac.key }

// bearers returns the users of an account whose JWT alone authenticates.
func (r *root) bearers(ac *account) ([]string, error) {
	var out []string
	err := r.eachUser(ac.name, func(name string, doc *claims.Document) error {
		uc, err := claims.As[jwt.UserClaims](doc)
		if err == nil && uc.BearerToken {
			out = append(out, name)
		}
		return err
	})
	return out, err
}

// signedBy returns the users of an account whose JWTs are issued by a
// key that match accepts.
func (r *root) signedBy(account string, match func(issuer string) bool) ([]string, error) {
	var out []string
	err := r.eachUser(account, func(name string, doc *claims.Document) error {
		if match(doc.Issuer) {
			out = append(out, name)
		}
		return nil
	})
	return out, err
}
