package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

func newRevocations(a *app) *cobra.Command {
	cmd := group("revocations", "Manage the revocation lists of an account and its exports")
	cmd.AddCommand(newRevocationsAddUser(a), newRevocationsDeleteUser(a), newRevocationsListUsers(a),
		newRevocationsAddActivation(a), newRevocationsDeleteActivation(a), newRevocationsListActivations(a))
	return cmd
}

// userFlags adds the two official ways to name a user.
func userFlags(cmd *cobra.Command, name, key *string) {
	nameFlag(cmd, name, "user name")
	cmd.Flags().StringVarP(key, "user-public-key", "u", "", "user name or public key, or '*' for all users")
}

// oneUser returns the user that userFlags name.
func oneUser(name, key string) ([]string, error) {
	switch {
	case name == "" && key == "":
		return nil, usage("the user is missing").WithHint("name it with --name, or with --user-public-key, '*' for all users")
	case name != "" && key != "" && name != key:
		return nil, usage("the user is given twice: --name %q and --user-public-key %q", name, key)
	}
	return []string{first(name, key)}, nil
}

func newRevocationsAddUser(a *app) *cobra.Command {
	var o revokeOptions
	var name, key string
	cmd := &cobra.Command{
		Use: "add-user", Aliases: []string{"add_user"},
		Short: "Revoke a user, as nsc revoke user does",
		Example: `  nsc revocations add-user -a app -n device1
  nsc revocations add-user -a app -u '*'
  nsc revocations add-user -a app -n device1 --at 1767225600`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.users, err = oneUser(name, key); err != nil {
				return err
			}
			return a.finish(a.revokeUsers(cmd.Context(), o))
		},
	}
	userFlags(cmd, &name, &key)
	accountFlag(cmd, &o.account)
	a.revokeFlags(cmd, &o)
	return cmd
}

func newRevocationsDeleteUser(a *app) *cobra.Command {
	var account, name, key string
	cmd := &cobra.Command{
		Use: "delete-user", Aliases: []string{"delete_user"},
		Short: "Take the revocation of a user back, as nsc unrevoke user does",
		Example: `  nsc revocations delete-user -a app -n device1
  nsc revocations delete-user -a app -u '*'
  nsc revocations delete-user -a app -n device1 --no-push`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			users, err := oneUser(name, key)
			if err != nil {
				return err
			}
			return a.finish(a.unrevokeUsers(cmd.Context(), account, users))
		},
	}
	userFlags(cmd, &name, &key)
	accountFlag(cmd, &account)
	return cmd
}

func newRevocationsListUsers(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "list-users", Aliases: []string{"list_users"},
		Short: "List the revoked users of an account",
		Example: `  nsc revocations list-users
  nsc revocations list-users -a app
  nsc revocations list-users -a app --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listRevoked(cmd.Context(), account) },
	}
	accountFlag(cmd, &account)
	return cmd
}

// revokedKey is one entry of a revocation list.
type revokedKey struct {
	Name string `json:"name,omitempty"` // "" for one that the local store does not know
	Key  string `json:"key"`
	At   int64  `json:"at"` // Unix seconds

	Unpublished bool `json:"unpublished,omitempty"` // the servers do not know of it yet
}

// revokedList is the output of revocations list-users and list_activations.
type revokedList struct {
	Schema  int          `json:"schema"`
	Account string       `json:"account"`
	Key     string       `json:"key"`
	Export  string       `json:"export,omitempty"` // of activations: subject and type
	Type    string       `json:"type,omitempty"`
	Revoked []revokedKey `json:"revoked"`
}

func (a *app) listRevoked(ctx context.Context, accountName string) error {
	_, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return err
	}
	list := revokedList{Account: ac.name, Key: ac.key}
	names, w := r.userNames(ac.name), r.unpublished(ac)
	for _, e := range revocation.List(ac.claims.Revocations).Added(nil) {
		list.Revoked = append(list.Revoked, revokedKey{
			Name: names[e.Key], Key: e.Key, At: e.At, Unpublished: w != nil && !w.refused(e.Key, e.At),
		})
	}
	if len(list.Revoked) == 0 && !a.flags.json {
		return fault.New(fault.NotFound, "account %q has no revoked users", ac.name).About("account", ac.name).
			WithHint("revoke one with: nsc revoke user <name> -a %s", shellWords([]string{ac.name}))
	}
	return a.printRevoked(list, "all users")
}

// printRevoked prints a list, the oldest revocation first; all is what its *
// stands for.
func (a *app) printRevoked(list revokedList, all string) error {
	if a.flags.json {
		list.Schema = api.Schema
		if list.Revoked == nil {
			list.Revoked = []revokedKey{}
		}
		return a.printStructured(list)
	}
	slices.SortStableFunc(list.Revoked, func(x, y revokedKey) int { return cmp.Compare(x.At, y.At) })
	for _, e := range list.Revoked {
		name := e.Name
		if e.Key == revocation.All {
			name = all
		}
		note := ""
		if e.Unpublished {
			note = "  " + notPublished
		}
		fmt.Fprintf(a.env.Stdout, "%s  %s  issued until %s%s\n", first(name, "?"), e.Key, clock(e.At), note)
	}
	return nil
}

// userNames maps the public keys of an account's users to their names.
func (r *root) userNames(account string) map[string]string {
	out := map[string]string{}
	names, err := r.Users(account)
	if err != nil {
		return out
	}
	for _, n := range names {
		if doc, err := r.user(account, n); err == nil {
			out[doc.Subject] = n
		}
	}
	return out
}
