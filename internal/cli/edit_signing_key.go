package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// editRoleOptions are the flags of edit signing-key.
type editRoleOptions struct {
	account string
	keys    []string // --sk
	named   string   // positional: a public key or a role
	edit    accounts.RoleEdit
}

func newEditSigningKey(a *app) *cobra.Command {
	var o editRoleOptions
	cmd := &cobra.Command{
		Use:   "signing-key [key or role]",
		Short: "Make or change a role: a signing key and what its users may do",
		Long: `Make a role of a signing key, or change one. Users that the key signs carry no
permissions of their own: the role decides, and a change of it is in force for
all of them at once. Subjects may hold {{name()}}, {{subject()}}, {{tag(x)}},
{{account-name()}} and {{account-subject()}}, which servers fill in. A signing
key that is new to the account is added.`,
		Example: `  nsc edit signing-key --sk generate --role sensor -a app --allow-pub 'data.{{name()}}.>' --allow-sub 'cmd.{{name()}}'
  nsc edit signing-key sensor -a app --subs 20
  nsc edit signing-key --role sensor -a app --description 'sensors in the field'
  nsc edit signing-key sensor -a app --rm 'cmd.{{name()}}' --dry-run`,
		Args: args(0, 1, "the signing key or role"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) == 1 {
				o.named = given[0]
			}
			return a.finish(a.editRole(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	listFlag(f, &o.keys, "sk", "the signing key: generate, a public key, a role, or a file with its seed")
	textFlag(f, &o.edit.Role, "role", "name of the role; alone it names the one to change")
	textFlag(f, &o.edit.Description, "description", "what the role is for")
	limitFlags(f, &o.edit.Limits, "users of the role")
	return cmd
}

func (a *app) editRole(ctx context.Context, o editRoleOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	k, err := s.roleKey(ac, o)
	if err != nil {
		return nil, err
	}
	if err := notOfFleet(ac, k.public); err != nil {
		return nil, err
	}
	o.edit.Key = k.public
	after := copyOf(ac)
	if err := o.edit.Apply(after); err != nil {
		return nil, err
	}
	if err := notOfFleet(&account{name: ac.name, claims: after}, k.public); err != nil { // by its new name
		return nil, err
	}
	return s.runEditRole(ctx, r, ac, o, k)
}

// roleKey finds the signing key that is meant: the argument, --sk, or the role
// alone.
func (s *session) roleKey(ac *account, o editRoleOptions) (newKey, error) {
	var names []string
	names = append(names, o.keys...)
	if o.named != "" {
		names = append(names, o.named)
	}
	switch {
	case len(names) > 1:
		return newKey{}, usage("one signing key at a time")
	case len(names) == 0 && o.edit.Role == nil:
		return newKey{}, usage("the signing key is missing").
			WithHint("name a key or a role, or make a key with: --sk generate --role <name>")
	case len(names) == 0:
		names = []string{*o.edit.Role}
	}
	name := names[0]
	key, among, err := accounts.KeyNamed(ac.claims, name)
	switch {
	case err == nil:
		return newKey{public: key}, nil
	case !fault.Is(err, fault.NotFound):
		return newKey{}, err
	}
	fresh, ferr := s.accountSigningKeys([]string{name})
	if ferr == nil {
		return fresh[0], nil
	}
	if fault.Is(ferr, fault.Usage) {
		return newKey{}, ferr
	}
	return newKey{}, withNearest(fault.New(fault.NotFound, "account %q has no signing key or role %q", ac.name, name).About("key", name).
		WithHint("make one with: nsc edit signing-key --sk generate --role %s -a %s", shellWords([]string{name}), shellWords([]string{ac.name})), name, among)
}

func (s *session) runEditRole(ctx context.Context, r *root, ac *account, o editRoleOptions, k newKey) (*receipt, error) {
	if err := r.fitsUsers(ac, o.edit); err != nil {
		return nil, err
	}
	var done edited
	rec, err := s.withSeeds(ctx, []newKey{k}, r.accountNames(ac.name), func() (*receipt, error) {
		return s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
			return apply(&done, c, o.edit.Apply)
		}})
	})
	if rec == nil {
		return nil, err
	}
	role := roleOf(ac.claims, o)
	title := "signing key " + keys.Short(k.public) + " of " + ac.name
	if role != "" {
		title = "role " + role + " in " + ac.name + "  " + keys.Short(k.public)
	}
	s.describe(&done, rec, title)
	rec.Lines = append(rec.Lines, madeLines("signing key", []newKey{k})...)
	if role != "" && rec.Outcome != outcomeSame {
		rec.Lines = append(rec.Lines, "issue users of it with: nsc add user <name> -a "+shellWords([]string{ac.name})+" -K "+shellWords([]string{role}))
	}
	rec.Warnings = append(rec.Warnings, r.plainUsers(ac, k.public)...)
	return rec, err
}

// fitsUsers refuses a change of a role that users of the store, by their names and
// tags, would widen.
func (r *root) fitsUsers(ac *account, edit accounts.RoleEdit) error {
	after := copyOf(ac)
	if err := edit.Apply(after); err != nil {
		return err
	}
	role := accounts.RoleOf(after, edit.Key)
	return r.eachUser(ac.name, func(_ string, doc *claims.Document) error {
		if doc.Issuer != edit.Key {
			return nil
		}
		uc, err := claims.As[jwt.UserClaims](doc)
		if err != nil {
			return err
		}
		return accounts.CheckLiteral(uc, after, role)
	})
}

func roleOf(ac *jwt.AccountClaims, o editRoleOptions) string {
	if o.edit.Role != nil {
		return *o.edit.Role
	}
	if scope, ok := ac.SigningKeys[o.edit.Key].(*jwt.UserScope); ok && scope != nil {
		return scope.Role
	}
	return ""
}

// plainUsers warns of users that a plain signing key issued and that servers
// refuse once it is a role, since they have limits of their own.
func (r *root) plainUsers(ac *account, key string) []string {
	if scope, ok := ac.claims.SigningKeys[key]; !ok || scope != nil {
		return nil
	}
	users, err := r.signedBy(ac.name, func(issuer string) bool { return issuer == key })
	if err != nil || len(users) == 0 {
		return nil
	}
	return []string{"users that the key signed before it was a role are refused until they are issued anew: " + shellWords(users)}
}
