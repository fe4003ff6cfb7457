package cli

import (
	"context"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// roleOptions are the flags of add role and edit role beside those that they
// share with edit signing-key.
type roleOptions struct {
	name, template, by string
	editRoleOptions
}

func newAddRole(a *app) *cobra.Command {
	var o roleOptions
	cmd := &cobra.Command{
		Use:   "role <name>",
		Short: "Add a role: what its users may do, decided in one place",
		Long: `Add a role to an account: a signing key and what users may do that it signs, who
carry no permissions of their own. ` + templateHelp() + `
NS is the namespace of the account, written into the role as it is now, and OWN
what tells a user from others: its name, or with --by key its public key. A name is
easy to read, but who steals the key of the role issues users of any name; a public
key stands for nobody else, unless users of the role are bearers. Replies come to
_INBOX.<public key> of the user alone: clients need that inbox prefix, such as nats
--inbox-prefix. No template lets a user answer to any subject that a request names,
as --allow-pub-response does. With --confine nobody in the account can do what no
role, and no permission of a user's own, grants.`,
		Example: `  nsc add role device -a app --template device
  nsc add role meter -a app --template device --by key --confine
  nsc add role edge -a app --template leaf --allow-pubsub '$JS.hub.API.>'
  nsc add role wall -a app --template dashboard --conn-type WEBSOCKET --dry-run
  nsc add role counter -a app --allow-pub 'count.{{name()}}' --deny-sub '>'`,
		Args: args(0, 1, "the role's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = newNameOf(o.name, given, "the role's name"); err != nil {
				return err
			}
			return a.finish(a.addRole(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "name of the role")
	roleFlags(cmd, &o)
	listFlag(cmd.Flags(), &o.keys, "sk", "its signing key: generate (the default), a public key, or a file with its seed")
	hide(cmd.Flags(), "rm", "rm-response-perms", "rm-conn-type", "rm-source-network", "rm-time") // there is nothing to remove yet
	return cmd
}

// templateHelp tells the ready-made roles.
func templateHelp() string {
	var b strings.Builder
	b.WriteString("Ready-made roles are the least that is needed:\n")
	for _, r := range accounts.ReadyRoles() {
		b.WriteString("\n  " + r.Name + strings.Repeat(" ", 11-len(r.Name)) + r.About)
		for _, line := range r.Lines() {
			b.WriteString("\n             " + line)
		}
	}
	return b.String() + "\n"
}

// roleFlags adds what add role and edit role have in common.
func roleFlags(cmd *cobra.Command, o *roleOptions) {
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.StringVar(&o.template, "template", "", "ready-made permissions: "+strings.Join(templateNames(), ", "))
	f.StringVar(&o.by, "by", "name", "what tells users apart in a template: their name, or their key")
	f.BoolVar(&o.edit.Confine, "confine", false, "in this account nobody can do what no role grants")
	textFlag(f, &o.edit.Description, "description", "what the role is for")
	limitFlags(f, &o.edit.Limits, "users of the role")
}

func templateNames() []string {
	var out []string
	for _, r := range accounts.ReadyRoles() {
		out = append(out, r.Name)
	}
	return out
}

// resolve finds the ready-made role that is named.
func (o *roleOptions) resolve() error {
	switch {
	case o.by != "name" && o.by != "key":
		return usage("users are told apart by name or by key, not by %q", o.by)
	case o.template == "" && o.by == "key":
		return usage("--by is for --template")
	case o.template == "":
		return nil
	}
	ready, err := accounts.ReadyRoleNamed(o.template)
	o.edit.Ready, o.edit.ByKey = &ready, o.by == "key"
	return withNearest(err, o.template, templateNames())
}

func (a *app) addRole(ctx context.Context, o roleOptions) (*receipt, error) {
	if err := o.resolve(); err != nil {
		return nil, err
	}
	if err := accounts.CheckRoleName(o.name); err != nil {
		return nil, err
	}
	if o.edit.Ready == nil && o.edit.Limits.Permissions.Empty() {
		return nil, usage("nothing says what users of the role may do").
			WithHint("take a template, such as --template device, or name subjects, such as --allow-pub")
	}
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	_, _, err = accounts.KeyNamed(ac.claims, o.name)
	if !fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Conflict, "account %q has a role %q already", ac.name, o.name).About("role", o.name).ByRule("role-exists").
			WithHint("change it with: nsc edit role %s", shellWords([]string{o.name, "-a", ac.name}))
	}
	o.edit.Role = &o.name
	if len(o.keys) == 0 {
		o.keys = []string{"generate"}
	}
	probe := o.edit // shows whether the account takes the role before any key is made
	probe.Key = dryKey
	if err := probe.Apply(copyOf(ac)); err != nil {
		return nil, err
	}
	k, err := s.roleKey(ac, o.editRoleOptions)
	if err != nil {
		return nil, err
	}
	o.edit.Key = k.public
	return s.changeRole(ctx, r, ac, o, k)
}

// changeRole is runEditRole, and says what the role comes to.
func (s *session) changeRole(ctx context.Context, r *root, ac *account, o roleOptions, k newKey) (*receipt, error) {
	if o.edit.Confine && r.sysOf(ac) {
		return nil, accounts.SystemConfined(ac.name)
	}
	rec, err := s.runEditRole(ctx, r, ac, o.editRoleOptions, k)
	if rec == nil || rec.Outcome == outcomeSame {
		return rec, err
	}
	after := copyOf(ac)
	if perr := o.edit.Apply(after); perr != nil {
		return rec, firstErr(err, perr)
	}
	scope := accounts.RoleOf(after, o.edit.Key)
	rec.Lines = append(rec.Lines, reachLines(accounts.ReachOf(after, scope.Template))...)
	for _, verb := range accounts.Open(scope.Template.Permissions) {
		rec.Warnings = append(rec.Warnings, "users of the role may "+verb+" to everything in the account, since no permission says otherwise; close that with --confine")
	}
	if !o.edit.Confine {
		return rec, err
	}
	names, uerr := r.unrestricted(ac)
	if len(names) > 0 {
		rec.Warnings = append(rec.Warnings, confinedUsers(names))
	}
	return rec, firstErr(err, uerr)
}

// reachLines says what stands between the users of a role, and what a thief of
// its key could do.
func reachLines(r accounts.Reach) []string {
	var told []string
	for _, fn := range r.Functions {
		told = append(told, "{{"+fn+"}}")
	}
	lines := []string{
		"its users are told apart by " + first(strings.Join(told, " and "), "nothing: each may do what the others may"),
		"who steals its key could publish to " + first(strings.Join(r.Publish, ", "), "nothing") +
			" and subscribe to " + first(strings.Join(r.Subscribe, ", "), "nothing"),
	}
	if strings.Contains(strings.Join(append(r.Publish, r.Subscribe...), " "), "{{subject()}}") {
		lines = append(lines, "where {{subject()}} stands, of users of its own making, and of no other")
	}
	if r.Answers {
		lines = append(lines, "who sends to a user of it chooses a subject that it may publish to, denied ones too")
	}
	return lines
}

func confinedUsers(names []string) string {
	return "no role and no permission of their own grants anything to these users: " + shellWords(names)
}

// unrestricted returns the users of an account to whom its default permissions
// apply.
func (r *root) unrestricted(ac *account) ([]string, error) {
	var out []string
	err := r.eachUser(ac.name, func(name string, doc *claims.Document) error {
		uc, err := claims.As[jwt.UserClaims](doc)
		if err != nil {
			return err
		}
		p := uc.Permissions
		if role := accounts.RoleOf(ac.claims, doc.Issuer); role != nil {
			p = role.Template.Permissions
		}
		if p.Pub.Empty() && p.Sub.Empty() && p.Resp == nil {
			out = append(out, name)
		}
		return nil
	})
	return out, err
}
