package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

func newEdit(a *app) *cobra.Command {
	cmd := group("edit", "Change operators, accounts, users and roles")
	cmd.AddCommand(newEditOperator(a), newEditAccount(a), newEditUser(a), newEditSigningKey(a))
	return cmd
}

// edited is the effect of an edit on claims, as it was applied last.
type edited struct{ lines []string }

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
	e.lines = diffClaims(byKey(before), byKey(after))
	if len(e.lines) == 0 {
		return errUnchanged
	}
	unescape := strings.NewReplacer(`\u003e`, ">", `\u003c`, "<", `\u0026`, "&")
	for i, line := range e.lines {
		e.lines[i] = unescape.Replace(line)
	}
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

// byKey shows the signing keys of an account each on its own, so that a change
// of one role reads as that.
func byKey(claims map[string]any) map[string]any {
	nats, _ := claims["nats"].(map[string]any)
	list, _ := nats["signing_keys"].([]any)
	if len(list) == 0 {
		return claims
	}
	keyed := map[string]any{}
	for _, e := range list {
		switch k := e.(type) {
		case string:
			keyed[k] = "no role"
		case map[string]any:
			key, _ := k["key"].(string)
			delete(k, "key")
			delete(k, "kind")
			keyed[key] = k
		}
	}
	nats["signing_keys"] = keyed
	return claims
}

// forPeople shortens the public keys in lines.
func forPeople(lines []string) []string {
	out := slices.Clone(lines)
	for i, line := range out {
		out[i] = keyForm.ReplaceAllStringFunc(line, keys.Short)
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
	stored := make([]string, 0, len(fresh))
	clean := func() {
		for _, key := range stored {
			if !named(key) {
				_ = ks.RemoveSeed(context.WithoutCancel(ctx), key) // an unused seed harms nobody
			}
		}
	}
	for _, k := range fresh {
		if k.seed == nil {
			continue
		}
		_, err := ks.AddSeed(ctx, k.seed)
		nscstore.Wipe(k.seed)
		if err != nil {
			clean()
			return nil, err
		}
		stored = append(stored, k.public)
	}
	rec, err := do()
	clean()
	return rec, err
}

// signingKeys resolves the values of --sk: generate, a public key, or a file
// with a seed, which is not stored.
func (s *session) signingKeys(values []string, kind string, generate func() (pair, error), valid func(string) error,
	parse func([]byte) (signer, error)) ([]newKey, error) {
	var out []newKey
	for _, v := range values {
		switch {
		case v == "generate" && s.flags.dryRun:
			out = append(out, newKey{public: dryKey})
		case v == "generate":
			p, err := generate()
			if err != nil {
				return nil, err
			}
			out = append(out, newKey{p.PublicKey(), p.Seed()})
			p.Wipe()
		default:
			key, err := s.givenSigningKey(v, kind, valid, parse)
			if err != nil {
				return nil, err
			}
			out = append(out, newKey{public: key})
		}
	}
	return out, nil
}

// pair is a key pair whose seed can be stored.
type pair interface {
	signer
	seeded
}

func (s *session) givenSigningKey(v, kind string, valid func(string) error, parse func([]byte) (signer, error)) (string, error) {
	if looksSecret(v) {
		return "", usage("a seed does not belong on the command line, where others can read it").
			WithHint("name a file that holds it, or use --sk generate")
	}
	if valid(v) == nil {
		return v, nil
	}
	seed, err := s.readSeed(v)
	if err != nil {
		return "", fault.New(fault.Invalid, "--sk %s is neither generate, nor the public key of an %s, nor a readable file with its seed", v, kind).
			WithHint("make a new key with: --sk generate")
	}
	defer nscstore.Wipe(seed)
	p, err := parse(trim(seed))
	if err != nil {
		return "", fault.New(fault.Invalid, "--sk %s: %w", v, err)
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

// accountNames reports whether the account, as it is stored now, has a signing
// key.
func (r *root) accountNames(name string) func(key string) bool {
	return func(key string) bool {
		ac, err := r.load(name)
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
		rec.Changes = forPeople(e.lines)
	}
}

// sysOf reports whether an account is the operator's system account.
func (r *root) sysOf(ac *account) bool { return r.claims.SystemAccount == ac.key }

// bearers returns the users of an account whose JWT alone authenticates.
func (r *root) bearers(ac *account) ([]string, error) {
	names, err := r.Users(ac.name)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		doc, err := r.user(ac.name, name)
		if err != nil {
			return nil, err
		}
		uc, err := claims.As[jwt.UserClaims](doc)
		if err != nil {
			return nil, err
		}
		if uc.BearerToken {
			out = append(out, name)
		}
	}
	return out, nil
}

// signedBy returns the users of an account whose JWTs are issued by a
// key that match accepts.
func (r *root) signedBy(account string, match func(issuer string) bool) ([]string, error) {
	names, err := r.Users(account)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		doc, err := r.user(account, name)
		if err != nil {
			return nil, err
		}
		if match(doc.Issuer) {
			out = append(out, name)
		}
	}
	return out, nil
}
