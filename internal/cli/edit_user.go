package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/revocation"
)

// editUserOptions are the flags of edit user.
type editUserOptions struct {
	name, account string
	reissue       bool // although it is revoked
	edit          accounts.UserEdit
}

func newEditUser(a *app) *cobra.Command {
	var o editUserOptions
	cmd := &cobra.Command{
		Use:   "user [name]",
		Short: "Change what a user may do, and write its credentials anew",
		Long: `Change a user, the only one of the account if none is named, keep its signer, and
write its credentials anew. Flags that are not given leave what they name as it
is. Servers learn of the change when the user connects with the new credentials;
earlier ones stay valid until the user is revoked. A user that is revoked is not
changed, since that would issue it anew: --reissue says that this is meant. What
users of a role may do is decided by the role: see nsc edit signing-key.`,
		Example: `  nsc edit user device1 -a app --allow-pub 'device1.>' --expiry 90d
  nsc edit user device1 -a app --source-network 10.0.0.0/8 --conn-type LEAFNODE
  nsc edit user device1 -a app --bearer=false --subs 20
  nsc edit user device1 -a app --subs 20 --reissue
  nsc edit user device1 -a app --rm 'device1.>' --dry-run`,
		Args: args(0, 1, "the user's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = optionalName(o.name, given, "the user's name"); err != nil {
				return err
			}
			if err := nothingGiven(cmd, "account", "name"); err != nil {
				return err
			}
			return a.finish(a.editUser(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "user name (default the only one)")
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.BoolVar(&o.reissue, "reissue", false, "issue the user anew although it is revoked")
	a.timeFlags(f, &o.edit.Starts, &o.edit.Expires)
	tagFlags(f, &o.edit.AddTags, &o.edit.RemoveTags)
	limitFlags(f, &o.edit.Limits, "the user")
	return cmd
}

func (a *app) editUser(ctx context.Context, o editUserOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	name, err := r.oneUser(ac, o.name)
	if err != nil {
		return nil, err
	}
	unlock, err := s.lock(ctx, r, ac.key) // two edits of one user follow each other
	if err != nil {
		return nil, err
	}
	defer unlock()
	if ac, err = r.load(ac.name); err != nil {
		return nil, err
	}
	old, err := r.user(ac.name, name)
	if err != nil {
		return nil, err
	}
	return s.reissue(ctx, r, ac, old, o)
}

// oneUser resolves the name or public key of a user, or finds the only one.
func (r *root) oneUser(ac *account, nameOrKey string) (string, error) {
	if nameOrKey != "" {
		return r.User(ac.name, nameOrKey)
	}
	names, err := r.Users(ac.name)
	switch {
	case err != nil:
		return "", err
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", fault.New(fault.NotFound, "account %q has no user", ac.name).About("user", "").
			WithHint("add one with: nsc add user <name> -a %s", shellWords([]string{ac.name}))
	}
	return "", usage("account %q has %d users and none is named", ac.name, len(names)).
		WithHint("name one, such as %s", shellWords(names[:1]))
}

// reissue signs a user anew with the edit of o applied and stores it with its
// credentials. A user that is revoked stays so unless o says otherwise.
func (s *session) reissue(ctx context.Context, r *root, ac *account, old *claims.Document, o editUserOptions) (*receipt, error) {
	revoked := revocation.List(ac.claims.Revocations).Covers(old.Subject, old.IssuedAt)
	if revoked && !o.reissue {
		return nil, editOfRevoked(ac, old)
	}
	pair, _, err := s.userSigner(r, ac, old.Issuer)
	if err != nil {
		return nil, err
	}
	var done edited
	draft, err := claims.Edit(old, func(uc *jwt.UserClaims) error {
		return apply(&done, uc, func(uc *jwt.UserClaims) error { return o.edit.Apply(uc, ac.claims, pair.PublicKey()) })
	})
	rec := &receipt{Kind: "user", Name: old.Name, Account: ac.name, Key: old.Subject, ID: old.ID, Expires: old.Expires, Outcome: outcomeSame}
	title := "user " + old.Name + " in " + ac.name + "  " + keys.Short(old.Subject)
	if errors.Is(err, errUnchanged) && pair.PublicKey() == old.Issuer && !o.reissue {
		s.describe(&done, rec, title)
		return rec, nil
	}
	if errors.Is(err, errUnchanged) { // only the signer or the time changes
		draft, err = claims.Redo(old), nil
	}
	if err != nil {
		return nil, err
	}
	at, err := s.issueTime(ac, old.Name, old.Subject)
	if err != nil {
		return nil, err
	}
	doc, err := draft.Sign(pair, max(at, old.IssuedAt))
	if err == nil {
		err = fleet.CheckUser(ac.claims, doc.Name, doc.IssuedAt, doc.Expires)
	}
	if err != nil {
		return nil, err
	}
	rec.ID, rec.Expires, rec.Outcome, rec.Warnings = doc.ID, doc.Expires, "issued", userWarnings(s, ac, doc, o.edit)
	if revoked {
		rec.Warnings = append(rec.Warnings, old.Name+" was revoked; this issues it anew")
	}
	s.describe(&done, rec, title+"  "+until(doc.Expires))
	if s.flags.dryRun {
		rec.ID, rec.Outcome = "", outcomeDry
		return rec, nil
	}
	seed, err := s.seedIfHere(old.Subject)
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(seed)
	if err := s.storeUser(ctx, r, ac, doc, old, seed, false, rec); err != nil {
		return nil, err
	}
	rec.Lines = append(rec.Lines, reissuedLines(seed != nil, revoked, ac, old)...)
	return rec, nil
}

// editOfRevoked is the error of an edit that would issue a revoked user anew.
func editOfRevoked(ac *account, old *claims.Document) error {
	user, in := shellWords([]string{old.Name}), shellWords([]string{ac.name})
	with, lift := "", user
	if own, ok := ac.claims.Revocations[old.Subject]; !ok || own < old.IssuedAt {
		with, lift = " with all users (*)", "'*'"
	}
	return fault.New(fault.Denied, "user %q of account %q is revoked%s, and an edit would issue it anew", old.Name, ac.name, with).
		About("user", old.Name).ByRule("revoked").
		WithHint("nsc unrevoke user %s -a %s, or issue it anew on purpose with: nsc add user %s -a %s --reissue", lift, in, user, in)
}

func reissuedLines(withCreds, revoked bool, ac *account, old *claims.Document) []string {
	var lines []string
	if !withCreds {
		lines = append(lines, "the seed of the user is not here: hand it the new JWT with: nsc describe user "+old.Name+" -a "+ac.name+" --raw")
	}
	if revoked {
		return append(lines, "credentials issued before stay refused")
	}
	words := shellWords([]string{old.Name}) + " -a " + shellWords([]string{ac.name})
	return append(lines, "credentials issued before stay valid; to refuse them: nsc revoke user "+words+", then nsc add user "+words+" --reissue")
}

// neverValid warns of what ends before it starts.
func neverValid(what string, starts, expires int64) []string {
	if expires == 0 || starts < expires {
		return nil
	}
	return []string{"the " + what + " is never valid: it ends at " + clock(expires) + " and starts at " + clock(starts)}
}

// userWarnings says what will not work although it is well-formed.
func userWarnings(s *session, ac *account, doc *claims.Document, edit accounts.UserEdit) []string {
	var out []string
	if e := edit.Expires; e != nil && *e != 0 && *e <= s.now {
		out = append(out, "the user has expired already: "+clock(*e))
	}
	out = append(out, neverValid("user", doc.Starts, doc.Expires)...)
	mqtt := slices.ContainsFunc(edit.Limits.AddConnTypes, func(t string) bool { return strings.HasPrefix(t, jwt.ConnectionTypeMqtt) })
	if mqtt && !ac.claims.Limits.IsJSEnabled() {
		out = append(out, "MQTT needs JetStream in the account; enable it with: nsc edit account "+shellWords([]string{ac.name})+" --js-enable 0")
	}
	return out
}
