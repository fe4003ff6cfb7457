package cli

import (
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/accounts"
)

// completer proposes words for an argument or flag of cmd. r is nil where no
// operator can be read.
type completer func(s *session, r *root, cmd *cobra.Command) []string

// complete lets the shell propose real names: for every command by what it is
// about, and for every flag by what it is called.
func (a *app) complete(cmd *cobra.Command) {
	if cmd.Name() == "backup" || cmd.Name() == "identity" || cmd.CommandPath() == "nsc restore operator" {
		// files, as the shell proposes them
	} else if about := nounOf(cmd); about != nil && !cmd.HasSubCommands() {
		propose := a.proposals(about, cmd.Name() != "why")
		cmd.ValidArgsFunction = func(cmd *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(given) > 0 && !strings.HasSuffix(cmd.Use, "...") {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return propose(cmd, given, begun)
		}
	} else if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if propose := flagWords(cmd, f); propose != nil {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, a.proposals(propose, f.Name != "private-key")) // fails where it is done
		}
	})
	for _, c := range cmd.Commands() {
		a.complete(c)
	}
}

// nounOf returns the completer of the things that cmd takes by name, nil for
// none. New things have no names yet.
func nounOf(cmd *cobra.Command) completer {
	verb := ""
	if cmd.HasParent() {
		verb = cmd.Parent().Name()
	}
	if slices.Contains([]string{"add", "import", "restore"}, verb) || cmd.Name() == "init" {
		return nil
	}
	switch cmd.Name() {
	case "operator":
		return operatorNames
	case "account", "authcallout", "status", "compact":
		return accountNames
	case "user", "creds", "context", "why", "add-user", "delete-user":
		return userNames
	case "signing-key", "role":
		return roleNames
	case "fleet":
		return fleetNames
	case "plan":
		return planNames
	}
	return nil
}

// flagWords returns the completer of a flag by its name, nil for none.
func flagWords(cmd *cobra.Command, f *pflag.Flag) completer {
	if f.Value.Type() == "bool" {
		return nil
	}
	switch f.Name {
	case "operator":
		return operatorNames
	case "account", "src-account", "target-account", "system-account", "sys-account", "allowed-account", "rm-allowed-account", "account-removal":
		return accountNames
	case "user", "user-public-key", "auth-user", "rm-auth-user":
		return userNames
	case "sys-user", "system-user":
		return systemUsers
	case "role":
		return roleNames
	case "fleet":
		return fleetNames
	case "plan":
		return planNames
	case "template":
		return words(templateNames()...)
	case "private-key":
		return signerNames
	case "name":
		return nounOf(cmd)
	case "subject", "remote-subject", "from", "rm", "allow-pub", "allow-sub", "allow-pubsub", "deny-pub", "deny-sub", "deny-pubsub":
		return subjects
	case "conn-type", "rm-conn-type":
		return words(accounts.ConnectionTypes()...)
	case "output":
		return words("table", "wide", "json", "yaml", "name")
	}
	return nil
}

func words(list ...string) completer {
	return func(*session, *root, *cobra.Command) []string { return list }
}

// proposals runs a completer on the store that the command line names. only
// says that nothing else makes sense there, such as a file.
func (a *app) proposals(propose completer, only bool) cobra.CompletionFunc {
	directive := cobra.ShellCompDirectiveDefault
	if only {
		directive = cobra.ShellCompDirectiveNoFileComp
	}
	return func(cmd *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
		s, err := a.session()
		if err != nil {
			return nil, directive
		}
		r, err := s.at(cmd.Context(), flagText(cmd, "operator"))
		if err != nil {
			r = nil
		}
		before, last := "", begun
		if i := strings.LastIndexByte(begun, ','); i >= 0 {
			before, last = begun[:i+1], begun[i+1:]
		}
		var out []string
		for _, w := range propose(s, r, cmd) {
			if strings.HasPrefix(w, last) && !slices.Contains(given, w) {
				out = append(out, before+w)
			}
		}
		slices.Sort(out)
		return slices.Compact(out), directive
	}
}

func flagText(cmd *cobra.Command, name string) string {
	f := cmd.Flag(name)
	if f == nil || f.Value.Type() != "string" {
		return ""
	}
	return f.Value.String()
}

func operatorNames(s *session, _ *root, _ *cobra.Command) []string {
	names, _ := s.store.Operators()
	return names
}

func accountNames(_ *session, r *root, _ *cobra.Command) []string {
	if r == nil {
		return nil
	}
	names, _ := r.Accounts()
	return names
}

// accountOf returns the account that the command line names, else the current
// one; nil without one.
func accountOf(s *session, r *root, cmd *cobra.Command) *account {
	if r == nil {
		return nil
	}
	name := flagText(cmd, "account")
	if name == "" && cmd.Name() == kindAccount {
		name = first(flagText(cmd, "name"), cmd.Flags().Arg(0))
	}
	ac, err := s.account(r, name)
	if err != nil {
		return nil
	}
	return ac
}

func planNames(s *session, r *root, _ *cobra.Command) []string {
	if r == nil {
		return nil
	}
	var out []string
	if sys, err := s.planKeeper(r); err == nil {
		all, _ := accounts.Plans(sys.claims)
		for _, p := range all {
			out = append(out, p.Name)
		}
	}
	return out
}

func userNames(s *session, r *root, cmd *cobra.Command) []string {
	ac := accountOf(s, r, cmd)
	if ac == nil {
		return nil
	}
	names, _ := r.Users(ac.name)
	return names
}

func systemUsers(s *session, r *root, _ *cobra.Command) []string {
	if r == nil {
		return nil
	}
	ac, err := s.systemAccount(r)
	if err != nil {
		return nil
	}
	names, _ := r.Users(ac.name)
	return names
}

func roleNames(s *session, r *root, cmd *cobra.Command) []string {
	ac := accountOf(s, r, cmd)
	if ac == nil {
		return nil
	}
	_, roles := signingKeys(ac.claims)
	var names []string
	for _, x := range roles {
		names = append(names, first(x.role, x.key))
	}
	return names
}

// signerNames are the keys that may sign what the command is about: users are
// signed by roles and keys of the account, the rest by keys of the operator.
func signerNames(s *session, r *root, cmd *cobra.Command) []string {
	if r == nil {
		return nil
	}
	if cmd.Name() != kindUser {
		return append([]string{r.doc.Subject}, r.claims.SigningKeys...)
	}
	names := roleNames(s, r, cmd)
	if ac := accountOf(s, r, cmd); ac != nil {
		plain, _ := signingKeys(ac.claims)
		for _, x := range plain {
			names = append(names, x.key)
		}
	}
	return names
}

// subjects are the subjects that the account uses anywhere.
func subjects(s *session, r *root, cmd *cobra.Command) []string {
	ac := accountOf(s, r, cmd)
	if ac == nil {
		return nil
	}
	var out []string
	permissions := func(p jwt.Permissions) {
		out = slices.Concat(out, p.Pub.Allow, p.Pub.Deny, p.Sub.Allow, p.Sub.Deny)
	}
	permissions(ac.claims.DefaultPermissions)
	for _, scope := range ac.claims.SigningKeys {
		if role, ok := scope.(*jwt.UserScope); ok && role != nil {
			permissions(role.Template.Permissions)
		}
	}
	for _, e := range ac.claims.Exports {
		out = append(out, string(e.Subject))
	}
	for _, im := range ac.claims.Imports {
		out = append(out, string(im.Subject))
	}
	for from := range ac.claims.Mappings {
		out = append(out, string(from))
	}
	return out
}
