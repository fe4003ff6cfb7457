package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// editOperatorOptions are the flags of edit operator.
type editOperatorOptions struct {
	edit          operator.Edit
	addSK, rmSK   []string
	systemAccount *string // name or public key
	rmURL         bool
}

func newEditOperator(a *app) *cobra.Command {
	var o editOperatorOptions
	cmd := &cobra.Command{
		Use:   "operator",
		Short: "Change the current operator, with its root key",
		Long: `Change the current operator. Its root key signs the change, and accountd takes it
if no account is still issued by a key that goes. Servers trust the keys that
they started with: new ones, and the loss of old ones, need a restart of them.
Until then the exit code is 8, nsc status names them, and accountd takes no
account signed by a key that one of them does not trust yet.
accountd's own signing key goes only with --yes.`,
		Example: `  nsc edit operator --sk generate
  nsc edit operator --account-jwt-server-url nats://127.0.0.1:4222
  nsc edit operator --service-url nats://127.0.0.1:4222 --tag env:test
  nsc edit operator --require-signing-keys --dry-run`,
		Args: args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := nothingGiven(cmd, "account", "name"); err != nil {
				return err
			}
			rec, err := a.editOperator(cmd.Context(), o)
			if rec != nil && !a.flags.json {
				rec.Revision = 0 // it is in the title; its proof is not asked for
			}
			return a.finish(rec, err)
		},
	}
	f := cmd.Flags()
	e := &o.edit
	a.timeFlags(f, &e.Starts, &e.Expires)
	tagFlags(f, &e.AddTags, &e.RemoveTags)
	listFlag(f, &o.addSK, "sk", "add a signing key: generate, a public key, or a file with its seed")
	listFlag(f, &o.rmSK, "rm-sk", "remove and retire a signing key, by its public key")
	textFlagP(f, &e.AccountServerURL, "account-jwt-server-url", "u", "where accounts are published: nats, tls, ws, wss, http or https")
	f.BoolVar(&o.rmURL, "rm-account-jwt-server-url", false, "accounts are published nowhere")
	textFlag(f, &o.systemAccount, "system-account", "the system account, by name or public key")
	f.VarP(list{to: []*[]string{&e.AddServiceURLs}}, "service-url", "n", "add URLs where clients connect: nats, tls, ws or wss")
	listFlag(f, &e.RemoveServiceURLs, "rm-service-url", "remove such URLs")
	switchFlag(f, &e.RequireSigningKeys, "require-signing-keys", "root and account keys sign no accounts and users, only signing keys do")
	return cmd
}

func plain(s string) (string, error) { return s, nil }

func (a *app) editOperator(ctx context.Context, o editOperatorOptions) (*receipt, error) {
	if o.rmURL && o.edit.AccountServerURL != nil {
		return nil, usage("the account server's URL is both set and removed")
	}
	if o.rmURL {
		o.edit.AccountServerURL = new(string)
	}
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	if err := o.resolve(r); err != nil {
		return nil, err
	}
	fresh, err := s.operatorSigningKeys(o.addSK)
	if err != nil {
		return nil, err
	}
	o.edit.AddKeys = publicKeys(fresh)
	named := func(key string) bool {
		now, err := s.root(ctx)
		return err != nil || slices.Contains(now.claims.SigningKeys, key)
	}
	rec, err := s.withSeeds(ctx, fresh, named, func() (*receipt, error) { return s.changeOperator(ctx, r, o.edit) })
	if rec == nil || rec.Outcome == outcomeSame {
		return rec, err
	}
	rec.Lines = append(rec.Lines, madeLines("signing key", fresh)...)
	for _, key := range o.edit.RemoveKeys {
		rec.Lines = append(rec.Lines, "signing key "+keys.Short(key)+" "+retirement(rec)+": no account is admitted by it any more")
	}
	if err != nil || len(fresh)+len(o.edit.RemoveKeys) == 0 && o.edit.RequireSigningKeys == nil {
		return rec, err
	}
	if rec.Outcome == api.OutcomePut {
		rec.Sent = true
		if await := s.proof(ctx, r, api.Result{Key: rec.Key, Revision: rec.Revision}); await != nil {
			return rec, await(rec)
		}
	}
	rec.Lines = append(rec.Lines, "running servers trust the keys that they started with, until they restart")
	return rec, nil
}

// resolve turns names into keys and refuses what the local store shows to be
// wrong.
func (o *editOperatorOptions) resolve(r *root) error {
	for _, name := range o.rmSK {
		if looksSecret(name) {
			return usage("a seed does not belong on the command line, where others can read it").WithHint("name the key by its public key")
		}
		if !slices.Contains(r.claims.SigningKeys, name) {
			err := fault.New(fault.NotFound, "operator %q has no signing key %q", r.Name(), keys.Short(name)).About("key", name).
				WithHint("list its keys with: nsc describe operator")
			return withNearest(err, name, r.claims.SigningKeys)
		}
		o.edit.RemoveKeys = append(o.edit.RemoveKeys, name)
	}
	if o.systemAccount != nil {
		key, err := r.newSystemAccount(*o.systemAccount)
		if err != nil {
			return err
		}
		o.edit.SystemAccount = &key
	}
	strict := r.claims.StrictSigningKeyUsage
	if o.edit.RequireSigningKeys != nil {
		strict = *o.edit.RequireSigningKeys
	}
	return r.checkIssuers(o.edit.RemoveKeys, strict)
}

// newSystemAccount returns the key of an account that may become the system
// account: one without JetStream.
func (r *root) newSystemAccount(nameOrKey string) (string, error) {
	name, err := r.Account(nameOrKey)
	if err != nil {
		if _, perr := keys.ParseAccount(nameOrKey); perr == nil && fault.Is(err, fault.NotFound) {
			return nameOrKey, nil // one that the local store does not know
		}
		return "", err
	}
	ac, err := r.load(name)
	if err != nil {
		return "", err
	}
	if ac.claims.Limits.IsJSEnabled() {
		return "", fault.New(fault.Denied, "account %q has JetStream, which the system account may not have", name).About("account", name).
			ByRule("system account").WithHint("nsc edit account %s --js-disable", shellWords([]string{name}))
	}
	return ac.key, nil
}

// checkIssuers refuses a change after which accounts, or in strict mode users,
// of the local store are signed by a key that may not sign them.
func (r *root) checkIssuers(gone []string, strict bool) error {
	if len(gone) == 0 && strict == r.claims.StrictSigningKeyUsage {
		return nil
	}
	names, err := r.Accounts()
	if err != nil {
		return err
	}
	var bad []string
	for _, name := range names {
		ac, err := r.load(name)
		if err != nil {
			return err
		}
		if slices.Contains(gone, ac.doc.Issuer) || strict && ac.doc.Issuer == string(r.trust.Key) {
			bad = append(bad, "account "+name)
		}
		if !strict {
			continue
		}
		users, err := r.signedBy(name, func(issuer string) bool { return issuer == ac.key })
		if err != nil {
			return err
		}
		for _, u := range users {
			bad = append(bad, "user "+u+" in "+name)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	if more := len(bad) - 10; more > 0 {
		bad = append(bad[:10], fmt.Sprintf("%d more", more))
	}
	which := ""
	if len(gone) == 1 {
		which = " --signed-by " + gone[0]
	}
	return fault.New(fault.Denied, "still signed by a key that may not sign them afterwards: %s", strings.Join(bad, ", ")).ByRule("issued").
		WithHint("sign accounts anew with another key first: nsc reissue accounts%s; users: nsc add user <name> --reissue -K <key>", which)
}

func (s *session) operatorSigningKeys(values []string) ([]newKey, error) {
	return s.newKeys(values, keyFlag{
		name: "--sk", kind: kindOperator,
		generate: func() (pair, error) { return keys.NewOperator() },
		valid: func(key string) error {
			_, err := keys.ParseOperator(key)
			return err
		},
		parse: func(seed []byte) (pair, error) { return keys.OperatorFromSeed(seed) },
	})
}

// rootSigner returns the operator's root key, which alone signs the operator's
// JWT.
func (s *session) rootSigner(r *root) (signer, error) {
	return s.choose(choice{
		what: "the root of operator " + quote(r.Name()), candidates: []candidate{{key: string(r.trust.Key)}}, hint: "nsc describe operator",
		parse: func(seed []byte) (signer, error) { return keys.OperatorFromSeed(seed) },
	})
}

// changeOperator signs the operator's next version, stores it and publishes it.
func (s *session) changeOperator(ctx context.Context, r *root, edit operator.Edit) (*receipt, error) {
	var done edited
	draft, err := claims.Edit(r.doc, func(oc *jwt.OperatorClaims) error { return apply(&done, oc, edit.Apply) })
	rec := &receipt{Kind: "operator", Name: r.Name(), Key: r.doc.Subject, ID: r.doc.ID, Outcome: outcomeSame}
	title := "operator " + r.Name() + "  " + keys.Short(r.doc.Subject)
	if errors.Is(err, errUnchanged) {
		s.describe(&done, rec, title)
		return rec, nil
	}
	if err != nil {
		return nil, err
	}
	pair, err := s.rootSigner(r)
	if err != nil {
		return nil, err
	}
	online, why := s.online(r)
	floor := r.doc.IssuedAt
	if !online {
		floor++ // so that a later put knows this version as the newer one: see ahead
	}
	next, err := draft.Sign(pair, max(s.now, floor))
	if err != nil {
		return nil, err
	}
	rec.ID, rec.Outcome = next.ID, outcomeLocal
	switch {
	case s.flags.dryRun:
		rec.ID, rec.Outcome = "", outcomeDry
	case !online:
		rec.Note = why
		err = s.swapOperator(ctx, r, r.doc, next)
	default:
		err = s.publishOperator(ctx, r, pair, next, rec)
	}
	s.describe(&done, rec, title)
	return rec, err
}

func (s *session) swapOperator(ctx context.Context, r *root, from, to *claims.Document) error {
	return s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		if err := tx.ExpectOperator(from.Token); err != nil {
			return err
		}
		return tx.PutOperator(to.Token)
	})
}

// publishOperator writes next and puts it. When it is refused, or nobody
// answers, the local operator is what it was: repeating the command is safe.
func (s *session) publishOperator(ctx context.Context, r *root, pair signer, next *claims.Document, rec *receipt) error {
	c, err := s.client(ctx, r)
	if err != nil {
		rec.Outcome = outcomeRefused
		return err
	}
	if err := s.swapOperator(ctx, r, r.doc, next); err != nil {
		rec.Outcome = outcomeRefused
		return err
	}
	res, err := s.putOperator(ctx, c, pair, next, r.doc.ID)
	if fault.Is(err, fault.Conflict) && s.ahead(ctx, c, r, res) {
		res, err = s.putOperator(ctx, c, pair, next, res.Current.ID)
	}
	if err == nil {
		rec.Outcome, rec.Revision = res.Outcome, res.Revision
		return nil
	}
	rec.Outcome = outcomeRefused
	if res.Outcome == "" {
		rec.Outcome = outcomeUnknown
	}
	if berr := s.swapOperator(ctx, r, next, r.doc); berr != nil {
		return fault.New(fault.CodeOf(err), "%w; and the local operator could not be put back: %v", err, berr)
	}
	f := fault.As(err)
	if f != nil && f.Code == fault.Expired {
		return f.WithHint("give it other times: nsc edit operator --start 0 --expiry 0")
	}
	if f != nil && f.Code == fault.Conflict && f.Hint == "" {
		return f.WithHint("fetch the one in force, from /jwt/v1/operator of accountd, import it with: nsc add operator --url <file> --force, and repeat the command")
	}
	return err
}

func (s *session) putOperator(ctx context.Context, c *api.Client, pair signer, next *claims.Document, base string) (api.Result, error) {
	ctx, end := s.patience(ctx)
	defer end()
	reply, err := c.PutOperator(ctx, pair, api.OperatorPutRequest{
		JWT: next.Token, Base: base, Host: s.env.Host, Request: keys.Nonce(), Undelegate: s.flags.yes,
	})
	switch {
	case err != nil:
		return api.Result{}, err
	case reply.Error != nil:
		return api.Result{Outcome: api.OutcomeRefused}, reply.Error.Fault()
	case len(reply.Results) != 1:
		return api.Result{}, fault.New(fault.Unavailable, "accountd answered %d of 1 changes", len(reply.Results))
	}
	return reply.Results[0], reply.Results[0].Error.Fault()
}

// ahead reports whether the local operator only lacks publishing: it is newer
// than the one in force and keeps all its signing keys.
func (s *session) ahead(ctx context.Context, c *api.Client, r *root, res api.Result) bool {
	if res.Current == nil || res.Current.IssuedAt >= r.doc.IssuedAt {
		return false
	}
	ctx, end := s.patience(ctx)
	defer end()
	got, err := c.Get(ctx, api.GetRequest{})
	if err != nil || got.Version == nil || got.Version.ID != res.Current.ID {
		return false
	}
	doc, err := claims.Decode(got.Version.JWT)
	if err != nil || doc.Subject != r.doc.Subject {
		return false
	}
	theirs, err := operator.TrustOf(doc)
	return err == nil && !slices.ContainsFunc(theirs.SigningKeys, func(k string) bool { return !slices.Contains(r.trust.SigningKeys, k) })
}
