package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
)

// target is one user to revoke or un-revoke.
type target struct {
	name, key string
	iat       int64 // latest JWT known, Unix seconds, 0 for none
}

// revokeOptions are the flags of revoke user and of revocations add-user.
type revokeOptions struct {
	account string
	users   []string // names, public keys or *
	at      int64    // Unix seconds, 0 for now
	force   bool     // also the user that carries the requests
}

func newRevoke(a *app) *cobra.Command {
	cmd := group("revoke", "Revoke users and devices, and cut them at once")
	cmd.AddCommand(newRevokeUser(a), newRevokeDevice(a))
	return cmd
}

func newRevokeUser(a *app) *cobra.Command {
	var o revokeOptions
	cmd := &cobra.Command{
		Use:   "user <name>...",
		Short: "Refuse the credentials of users from now on, and cut their connections",
		Long: `Revoke what was issued to a user until now, by name, public key, or '*' for every
user of the account. Servers close its connections at once; the receipt says
which. Credentials issued later are not affected. --at may be a time in the past.
The user that carries the requests to accountd is revoked with --force only.`,
		Example: `  nsc revoke user device1 -a app
  nsc revoke user '*' -a app
  nsc revoke user device1 -a app --at 2026-01-31
  nsc revoke user device1 -a app --at -12h
  nsc revoke user device1 -a app --json`,
		Args: args(1, 1000, "the user's name"),
		RunE: func(cmd *cobra.Command, given []string) error {
			o.users = given
			return a.finish(a.revokeUsers(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	a.revokeFlags(cmd, &o)
	return cmd
}

// revokeFlags adds the flags that revoke user and revocations add-user share.
func (a *app) revokeFlags(cmd *cobra.Command, o *revokeOptions) {
	f := cmd.Flags()
	a.pastFlag(f, &o.at, "at", "revoke what was issued until this time")
	f.BoolVarP(&o.force, "force", "F", false, "revoke also the user that carries the requests to accountd")
}

func (a *app) revokeUsers(ctx context.Context, o revokeOptions) (*receipt, error) {
	if o.at > a.started.Unix()+maxAhead {
		return nil, usage("--at %s is in the future: what is issued until then would be refused, too", clock(o.at)).
			WithHint("leave --at out to refuse what was issued until now")
	}
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	targets, err := r.targets(ac, o.users)
	if err != nil {
		return nil, err
	}
	if !o.force {
		if err := s.notOwn(r, ac, targets, o.at); err != nil {
			return nil, err
		}
	}
	return s.revoke(ctx, r, ac, targets, o.at)
}

// targets resolves names, public keys and * to users of an account.
func (r *root) targets(ac *account, users []string) ([]target, error) {
	var out []target
	for _, u := range users {
		t, err := r.target(ac, u)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// target resolves one name, public key or *. A public key need not be one that
// the local store knows.
func (r *root) target(ac *account, nameOrKey string) (target, error) {
	if nameOrKey == revocation.All {
		t := target{name: revocation.All, key: revocation.All}
		names, err := r.Users(ac.name)
		if err != nil {
			return t, err
		}
		for _, n := range names {
			if doc, err := r.user(ac.name, n); err == nil {
				t.iat = max(t.iat, doc.IssuedAt)
			}
		}
		return t, nil
	}
	name, err := r.User(ac.name, nameOrKey)
	if err != nil {
		if _, perr := keys.ParseUser(nameOrKey); perr == nil && fault.Is(err, fault.NotFound) {
			return target{name: nameOrKey, key: nameOrKey}, nil
		}
		return target{}, err
	}
	return r.namedTarget(ac, name)
}

// namedTarget is the user of the local store that has this very name, be it
// one that means something else elsewhere.
func (r *root) namedTarget(ac *account, name string) (target, error) {
	doc, err := r.user(ac.name, name)
	if err != nil {
		return target{}, err
	}
	return target{name: name, key: doc.Subject, iat: doc.IssuedAt}, nil
}

// word is what names t and nobody else on a command line and in a text: its
// name, or its key if the name reads as another's key or as all users.
func (t target) word() string {
	if _, err := keys.ParseUser(t.name); err == nil || t.name == revocation.All {
		return t.key
	}
	return t.name
}

// revoke publishes revocations of targets. Their time is at, or else the
// latest of now and the times of the JWTs known from the store and from live
// connections.
func (s *session) revoke(ctx context.Context, r *root, ac *account, targets []target, at int64) (*receipt, error) {
	var warnings []string
	sure := true // no credential of the targets can be one that nobody has seen
	times, stands := revocation.List{}, revocation.List{}
	for _, t := range targets {
		known, err := s.seen(ctx, r, ac, t)
		if err != nil {
			return nil, err
		}
		times[t.key] = max(s.now, known)
		if at != 0 {
			times[t.key] = at
		}
		sure = sure && known > 0 && t.key != revocation.All
		switch {
		case known == 0 && t.key != revocation.All:
			warnings = append(warnings, fmt.Sprintf("no credential of %s is known here or connected; check that it is the right one. One that was issued after %s, as by a clock that is ahead, still connects",
				keys.Short(t.word()), clock(times[t.key])))
		case known > times[t.key]:
			warnings = append(warnings, fmt.Sprintf("%s holds a credential issued at %s, after the time of the revocation", keys.Short(t.word()), clock(known)))
		}
	}
	rec, err := s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
		err := addRevocations(c, times)
		for key := range times {
			stands[key] = c.Revocations[key]
		}
		return err
	}})
	if rec == nil {
		return nil, err
	}
	rec.Cuts, rec.Warnings = true, append(rec.Warnings, warnings...)
	rec.did(ac, targets, "revoked", "would revoke", "wrote the revocation of")
	rec.Proved = "refused everywhere, " + sweepText(rec.Nodes)
	if !sure {
		rec.Proved = "refused everywhere if issued until " + clock(slices.Min(slices.Collect(maps.Values(stands)))) + ", " + sweepText(rec.Nodes)
	}
	rec.Undo = onTargets("nsc unrevoke user", ac, targets)
	rec.Users = stands
	if at != 0 {
		for _, t := range targets {
			rec.Lines = append(rec.Lines, fmt.Sprintf("%s: refused is what was issued until %s", keys.Short(t.word()), clock(stands[t.key])))
		}
	}
	return rec, err
}

// seen returns the latest time at which a JWT of t was issued, as far as the
// local store and the live connections know; 0 for none. Without an answer the
// local store alone decides.
func (s *session) seen(ctx context.Context, r *root, ac *account, t target) (int64, error) {
	if ok, _ := s.online(r); !ok || r.tenant || s.flags.dryRun {
		return t.iat, nil
	}
	reply, err := s.askSeen(ctx, r, api.SeenRequest{Account: ac.key, User: t.key})
	return max(t.iat, reply.IssuedAt), err
}

// addRevocations adds times to the list; a later time that is there stays.
func addRevocations(c *jwt.AccountClaims, times revocation.List) error {
	merged := revocation.List(c.Revocations).Merge(times)
	if maps.Equal(merged, revocation.List(c.Revocations)) {
		return errUnchanged
	}
	c.Revocations = jwt.RevocationList(merged)
	return nil
}

// sweepText says whether every server that has the account looked at all its
// connections after the change.
func sweepText(nodes []api.NodeProof) string {
	if slices.ContainsFunc(nodes, func(n api.NodeProof) bool { return n.Loaded && !n.Swept }) {
		return "sweep not complete"
	}
	return "sweep clean"
}

// did titles the receipt of a change to targets: done, only planned, or in the
// local store, when servers know nothing of it yet.
func (r *receipt) did(ac *account, targets []target, done, planned, local string) {
	verb := done
	switch r.Outcome {
	case outcomeDry:
		verb = planned
	case outcomeLocal:
		verb = local
	}
	r.Title = fmt.Sprintf("%s %s in %s%s", verb, shortNames(targets), ac.name, targetKey(targets))
	if r.Revision > 0 {
		r.Title += fmt.Sprintf(", revision %d", r.Revision)
	}
}

// onTargets is a command line about targets.
func onTargets(command string, ac *account, targets []target) string {
	var names []string
	for _, t := range targets {
		names = append(names, t.word())
	}
	return command + " " + shellWords(names) + " -a " + shellWords([]string{ac.name})
}

// shortNames is the list of targets as people read it, with the keys that are
// acted upon if there are several; see targetKey.
func shortNames(targets []target) string {
	var names []string
	for _, t := range targets {
		name := keys.Short(t.word())
		if len(targets) > 1 {
			name += targetKey([]target{t})
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// targetKey is the key of the only target, unless it is its name.
func targetKey(targets []target) string {
	if len(targets) != 1 || targets[0].word() == targets[0].key {
		return ""
	}
	return " (" + keys.Short(targets[0].key) + ")"
}

// shellWords is [fault.Words].
func shellWords(words []string) string { return fault.Words(words...) }
