package cli

import (
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
)

// completer proposes words for an argument or flag of cmd. r is nil where no
// operator can be read.
type completer func(s *session, r *root, cmd *cobra.Command) []string

// complete lets the shell propose real names: for every command by what it is
// about, and for every flag by what it is called.
func (a *app) complete(cmd *cobra.Command) {
	if slices.Contains([]string{"nsc backup", "nsc keys identity", "nsc restore operator", "nsc describe jwt", "nsc token revoke"}, cmd.CommandPath()) {
		// files, as the shell proposes them
	} else if about := nounOf(cmd); about != nil && !cmd.HasSubCommands() {
		propose := a.proposals(about, cmd.Name() != "why" && cmd.Name() != "accept")
		cmd.ValidArgsFunction = func(cmd *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(given) > 0 && !strings.HasSuffix(cmd.Use, "...") && len(given) >= strings.Count(cmd.Use, strings.Fields(cmd.Use + " ?")[1]) {
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
	if about, ok := map[string]completer{
		"describe export": exportSubjects, "describe import": importSubjects, "describe mapping": mappedSubjects,
		"contracts show": contractIDs, "contracts renew": contractIDs, "contracts close": contractIDs, "nsc accept": contractIDs,
		"verify isolation": accountNames, "proposals accept": accountNames, "proposals reject": accountNames, "sign proposals": accountNames,
		"allow account": nil, // keys of others
	}[verb+" "+cmd.Name()]; ok {
		return about
	}
	return map[string]completer{
		"operator": operatorNames, "fleet": fleetNames, "plan": planNames, groupWord: groupNames, "signing-key": roleNames, "role": roleNames,
		"account": accountNames, "accounts": accountNames, "authcallout": accountNames, "status": accountNames, "compact": accountNames,
		"user": userNames, "creds": userNames, "context": userNames, "why": userNames, "add-user": userNames, "delete-user": userNames,
	}[cmd.Name()]
}

// flagWords returns the completer of a flag by its name, nil for none.
func flagWords(cmd *cobra.Command, f *pflag.Flag) completer {
	if f.Value.Type() == "bool" {
		return nil
	}
	if propose, ok := map[string]completer{
		"offer --from": accountNames, "offer --to": accountNames, "flow --from": accountNames, "flow --to": accountNames,
		"export --subject": exportSubjects, "import --subject": importSubjects, "mapping --from": mappedSubjects,
		"account --rm-sk": signingKeyNames, "device --station": stationsOf, "import --remote-subject": sourceSubjects,
	}[cmd.Name()+" --"+f.Name]; ok {
		return propose
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
	case "group":
		return groupNames
	case "plan":
		return planNames
	case "template":
		return words(templateNames()...)
	case "private-key":
		return signerNames
	case "name":
		return nounOf(cmd)
	case "subject", "remote-subject", "rm", "allow-pub", "allow-sub", "allow-pubsub", "deny-pub", "deny-sub", "deny-pubsub":
		return subjects
	case "conn-type", "rm-conn-type":
		return words(accounts.ConnectionTypes()...)
	case "response-type":
		return words(jwt.ResponseTypeSingleton, jwt.ResponseTypeStream, jwt.ResponseTypeChunked)
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
	return signingKeyNames(s, r, cmd)
}

// signingKeyNames are the signing keys of the account, by role if they have one.
func signingKeyNames(s *session, r *root, cmd *cobra.Command) []string {
	names := roleNames(s, r, cmd)
	if ac := accountOf(s, r, cmd); ac != nil {
		plain, _ := signingKeys(ac.claims)
		for _, x := range plain {
			names = append(names, x.key)
		}
	}
	return names
}

func groupNames(s *session, r *root, cmd *cobra.Command) []string {
	return namesIn(s, r, cmd, func(ac *account, add func(string)) {
		for _, g := range fleet.Groups(ac.claims) {
			add(g.Name)
		}
	})
}

func stationsOf(s *session, r *root, cmd *cobra.Command) []string {
	return namesIn(s, r, cmd, func(ac *account, add func(string)) {
		for _, f := range fleet.All(ac.claims) {
			for _, k := range f.Keys(ac.claims) {
				add(k.Station)
			}
		}
	})
}

func exportSubjects(s *session, r *root, cmd *cobra.Command) []string {
	return namesIn(s, r, cmd, func(ac *account, add func(string)) {
		for _, ex := range ac.claims.Exports {
			if ex != nil {
				add(string(ex.Subject))
			}
		}
	})
}

// sourceSubjects are what the account exports from which is to be imported.
func sourceSubjects(s *session, r *root, cmd *cobra.Command) []string {
	if r == nil {
		return nil
	}
	ac, err := s.account(r, flagText(cmd, "src-account"))
	if err != nil {
		return nil
	}
	var out []string
	for _, ex := range ac.claims.Exports {
		if ex != nil {
			out = append(out, string(ex.Subject))
		}
	}
	return out
}

func importSubjects(s *session, r *root, cmd *cobra.Command) []string {
	return namesIn(s, r, cmd, func(ac *account, add func(string)) {
		for _, im := range ac.claims.Imports {
			if im != nil {
				add(string(im.Subject))
			}
		}
	})
}

func mappedSubjects(s *session, r *root, cmd *cobra.Command) []string {
	return namesIn(s, r, cmd, func(ac *account, add func(string)) {
		for from := range ac.claims.Mappings {
			add(string(from))
		}
	})
}

// namesIn are names of things in the account that the command line means.
func namesIn(s *session, r *root, cmd *cobra.Command, each func(ac *account, add func(string))) []string {
	var out []string
	if ac := accountOf(s, r, cmd); ac != nil {
		each(ac, func(name string) {
			if name != "" {
				out = append(out, name)
			}
		})
	}
	return out
}

func contractIDs(s *session, r *root, _ *cobra.Command) []string {
	if r == nil {
		return nil
	}
	all, _ := r.contracts(s.now)
	var out []string
	for _, c := range all.all {
		out = append(out, c.ID())
	}
	return out
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
	return slices.Concat(out, exportSubjects(s, r, cmd), importSubjects(s, r, cmd), mappedSubjects(s, r, cmd))
}
