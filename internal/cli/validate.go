package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// validateOptions are the flags of validate.
type validateOptions struct {
	account, file string
	all           bool
}

func newValidate(a *app) *cobra.Command {
	var o validateOptions
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check the claims, keys and credentials of the local store",
		Long: `Check the operator, an account and its users: their form, times and names, the
chain of signatures, strict mode, what servers refuse and what they pass over, and
whether the keys and credentials in the keystore belong to them. With --file the
JWTs in a file are checked, one a line or as lines of a resolver's pack. The exit
code is 9 if something is wrong; warnings leave it 0.`,
		Example: `  nsc validate
  nsc validate -a app
  nsc validate --all-accounts
  nsc validate --all-accounts --json
  nsc validate --file ./jwts.txt`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if boolToInt(o.all)+boolToInt(o.account != "")+boolToInt(o.file != "") > 1 {
				return usage("--account, --all-accounts and --file exclude each other")
			}
			if o.file != "" {
				return a.validateFile(o.file)
			}
			return a.validate(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	accountFlag(cmd, &o.account)
	f.BoolVarP(&o.all, "all-accounts", "A", false, "all accounts of the operator")
	f.StringVarP(&o.file, "file", "f", "", "check the JWTs in this file, one a line, instead of the store")
	return cmd
}

// problem is one thing that validate found. Its JSON is documented in
// docs/json-output.md.
type problem struct {
	Kind     string `json:"kind"`
	Account  string `json:"account,omitempty"` // of a user
	Name     string `json:"name"`
	Key      string `json:"key,omitempty"`
	Severity string `json:"severity"` // error or warning
	Rule     string `json:"rule,omitempty"`
	Message  string `json:"message"`
}

// validation is the result of validate.
type validation struct {
	Schema   int       `json:"schema"`
	Valid    bool      `json:"valid"`
	Checked  int       `json:"checked"` // claims that were looked at
	Problems []problem `json:"problems"`
}

const (
	severityError   = "error"
	severityWarning = "warning"
)

func (v *validation) add(h held, found ...accounts.Problem) {
	for _, p := range found {
		one := problem{Kind: h.kind, Account: h.account, Name: h.name, Severity: severityError, Rule: p.Rule, Message: p.Text}
		if h.doc != nil {
			one.Key = h.doc.Subject
		}
		if p.Warning {
			one.Severity = severityWarning
		}
		v.Problems = append(v.Problems, one)
	}
}

func (v *validation) fail(h held, err error) {
	if err != nil {
		v.add(h, accounts.Problem{Rule: fault.RuleOf(err), Text: message(err)})
	}
}

// message is the text of an error without its rule.
func message(err error) string {
	if f := fault.As(err); f != nil {
		return f.Msg
	}
	return err.Error()
}

func (a *app) validate(ctx context.Context, o validateOptions) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	names, err := r.Accounts()
	if err != nil {
		return err
	}
	if !o.all && len(names) > 0 {
		ac, err := s.account(r, o.account)
		if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Untrusted) {
			names = []string{first(o.account, s.context.Account)} // damaged, which is the result
		} else if err != nil {
			return err
		} else {
			names = []string{ac.name}
		}
	}
	all, err := r.held(ctx, names)
	if err != nil {
		return err
	}
	lookup := r.lookup()
	v := &validation{}
	for _, h := range all {
		v.Checked++
		if h.err != nil {
			v.fail(h, h.err)
			continue
		}
		s.validateHeld(r, h, lookup, v)
	}
	return a.finishValidation(v)
}

// validateHeld checks one claim of the store, and what the keystore has for it.
func (s *session) validateHeld(r *root, h held, lookup accounts.Lookup, v *validation) {
	if h.doc.Name != h.name && h.kind != kindOperator { // the folder of a managed operator may differ
		v.add(h, accounts.Problem{Rule: "jwt-name", Text: fmt.Sprintf("its name is %q, not that of its file", h.doc.Name)})
	}
	signing := r.claims.SigningKeys
	switch h.kind {
	case kindOperator:
		v.add(h, accounts.OperatorProblems(h.doc, s.now)...)
		if key := r.claims.SystemAccount; key != "" && lookup(key) == nil {
			v.add(h, accounts.Problem{Rule: "system account", Text: "its system account " + keys.Short(key) + " is not in the store", Warning: true})
		}
	case kindAccount:
		signing = h.of.claims.SigningKeys.Keys()
		trust := &r.trust
		if r.tenant && h.doc.Issuer == h.doc.Subject {
			trust = nil
			v.add(h, accounts.Problem{Rule: "chain", Text: "it is signed by its own key alone, and servers refuse it until the operator signs", Warning: true})
		}
		v.add(h, accounts.AccountProblems(h.doc, trust, lookup, s.now)...)
	case kindUser:
		signing = nil
		if h.of != nil {
			v.add(h, accounts.UserProblems(h.doc, h.of.claims, &r.trust, s.now)...)
		}
		s.checkCreds(r, h, v)
	}
	for _, key := range append([]string{h.doc.Subject}, signing...) {
		v.fail(h, s.checkSeed(key))
	}
}

// lookup finds the claims of the accounts of the store, each read once.
func (r *root) lookup() accounts.Lookup {
	known := map[string]*jwt.AccountClaims{}
	names, err := r.Accounts()
	if err != nil {
		return func(string) *jwt.AccountClaims { return nil }
	}
	for _, name := range names {
		if ac, err := r.load(name); err == nil {
			known[ac.key] = ac.claims
		}
	}
	return func(key string) *jwt.AccountClaims { return known[key] }
}

// checkSeed is the error of a damaged seed; one that is not here, or is sealed
// while nothing that opens it is configured, is none.
func (s *session) checkSeed(key string) error {
	seed, err := s.store.Keystore().Seed(key)
	nscstore.Wipe(seed)
	if fault.Is(err, fault.NotFound) || s.configured().empty() && fault.Is(err, fault.Denied) && s.store.Keystore().IsSealed(key) {
		return nil
	}
	return err
}

// checkCreds looks whether the credentials file of a user, if there is one,
// belongs to it.
func (s *session) checkCreds(r *root, h held, v *validation) {
	data, err := s.store.Keystore().Creds(r.Name(), h.account, h.name)
	if fault.Is(err, fault.NotFound) {
		return
	}
	defer nscstore.Wipe(data)
	var token string
	if err == nil {
		var seed []byte
		token, seed, err = nscstore.ParseCreds(data)
		nscstore.Wipe(seed)
	}
	if err != nil {
		v.fail(h, err)
		return
	}
	switch doc, err := claims.Decode(token); {
	case token == h.doc.Token:
	case err != nil:
		v.add(h, accounts.Problem{Rule: "creds", Text: "the JWT in its credentials file: " + message(err)})
	case doc.Subject != h.doc.Subject:
		v.add(h, accounts.Problem{Rule: "creds", Text: "its credentials file is of another key, " + keys.Short(doc.Subject)})
	default:
		v.add(h, accounts.Problem{Rule: "creds", Text: "its credentials file holds another version of its JWT", Warning: true})
	}
}

// finishValidation prints what was found, and is fault.No if that is an error.
func (a *app) finishValidation(v *validation) error {
	bad := 0
	for _, p := range v.Problems {
		bad += boolToInt(p.Severity == severityError)
	}
	v.Schema, v.Valid = api.Schema, bad == 0
	var err error
	if bad > 0 {
		err = fault.New(fault.No, "validation found errors: %d, in %s", bad, count(v.Checked, "claim"))
	}
	if v.Problems == nil {
		v.Problems = []problem{}
	}
	if a.flags.json {
		return firstErr(a.printStructured(v), err)
	}
	for _, p := range v.Problems {
		if a.flags.output == "name" {
			fmt.Fprintln(a.env.Stdout, p.Name)
			continue
		}
		where := p.Kind + " " + p.Name
		if p.Account != "" {
			where += " in " + p.Account
		}
		rule := ""
		if p.Rule != "" {
			rule = " (" + p.Rule + ")"
		}
		fmt.Fprintf(a.env.Stdout, "%s: %s: %s%s\n", where, p.Severity, p.Message, rule)
	}
	if bad == 0 && a.flags.output != "name" {
		fmt.Fprintf(a.env.Stdout, "%s checked, no error\n", count(v.Checked, "claim"))
	}
	return err
}

// validateFile checks the JWTs of a file. The chain is checked as far as the
// file has the issuers: an operator for accounts, an account for its users.
func (a *app) validateFile(name string) error {
	data, err := os.ReadFile(a.path(name))
	if err != nil {
		return fault.New(fault.NotFound, "read JWTs: %w", err).About("file", name)
	}
	v := &validation{}
	var all []held
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "--") {
			continue
		}
		v.Checked++
		h := decodeLine(line)
		if h.err != nil {
			h.name = fmt.Sprintf("line %d", i+1)
			v.fail(h, h.err)
			continue
		}
		all = append(all, h)
	}
	if v.Checked == 0 {
		return fault.New(fault.Invalid, "there is no JWT in %s", name).About("file", name).ByRule("malformed")
	}
	a.validateSet(all, v)
	return a.finishValidation(v)
}

// decodeLine reads a JWT, or a line of a resolver's pack: an account's key, a
// bar and its JWT.
func decodeLine(line string) held {
	key, token, packed := strings.Cut(line, "|")
	if !packed {
		token = line
	}
	doc, err := claims.Decode(token)
	if err == nil && packed && key != doc.Subject {
		err = fault.New(fault.Invalid, "it is about %s, and listed as %s", keys.Short(doc.Subject), keys.Short(key)).ByRule("subject")
	}
	if err != nil {
		return held{kind: "jwt", err: err}
	}
	return held{kind: doc.Type, name: first(doc.Name, doc.Subject), doc: doc}
}

// validateSet checks claims that came together.
func (a *app) validateSet(all []held, v *validation) {
	now := a.started.Unix()
	var trusts []operator.Trust
	known := map[string]*jwt.AccountClaims{}
	for _, h := range all {
		switch h.kind {
		case claims.TypeOperator:
			if t, err := operator.TrustOf(h.doc); err == nil {
				trusts = append(trusts, t)
			}
		case claims.TypeAccount:
			if ac, err := claims.As[jwt.AccountClaims](h.doc); err == nil {
				known[ac.Subject] = ac
			}
		}
	}
	trustOf := func(issuer string) *operator.Trust {
		if len(trusts) == 0 {
			return nil
		}
		return &trusts[max(0, slices.IndexFunc(trusts, func(t operator.Trust) bool { return t.Speaks(issuer) }))]
	}
	for _, h := range all {
		switch h.kind {
		case claims.TypeOperator:
			v.add(h, accounts.OperatorProblems(h.doc, now)...)
		case claims.TypeAccount:
			v.add(h, accounts.AccountProblems(h.doc, trustOf(h.doc.Issuer), nil, now)...)
		case claims.TypeUser:
			v.add(h, accounts.UserProblems(h.doc, known[accounts.Of(h.doc)], nil, now)...)
		default:
			v.add(h, accounts.TimeProblems(h.doc, now)...)
		}
	}
}
