// Package cli is the program nsc: one thin command a file, over the library
// packages.
//
// # How to add a verb
//
// Write a file named after the verb (edit_account.go) with a function that
// makes its command, and add that to its group (edit.go, or newRoot in
// root.go). The command reads its flags into a small struct of its own and
// calls a method of app, which does the work and returns a receipt:
//
//	func newEditThing(a *app) *cobra.Command {
//		var o thingOptions
//		cmd := &cobra.Command{
//			Use: "thing <name>", Short: "…", Long: `…`,
//			Example: `  nsc edit thing app --size 3`,   // three to six; a test parses them
//			Args: args(0, 1, "the thing's name"),
//			RunE: func(cmd *cobra.Command, given []string) error {
//				return a.finish(a.editThing(cmd.Context(), o))
//			},
//		}
//		…
//	}
//
//	func (a *app) editThing(ctx context.Context, o thingOptions) (*receipt, error) {
//		s, r, err := a.operator(ctx)          // folders, context, one now; the current operator
//		ac, err := s.account(r, o.account)    // by name or public key, "" is the current one
//		return s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
//			c.Limits.Conn = o.conns           // pure: it runs again after a conflict
//			return nil                        // or errUnchanged
//		}})
//	}
//
// Check everything that can be checked without the store before operator; return
// fault errors with a hint; print nothing: the result goes into the receipt
// (Title, Lines, Warnings, Undo), which finish prints for people or as JSON.
// Reading verbs print to a.env.Stdout themselves and have no receipt. Global
// flags are in a.flags. Keys that sign come from s.accountSigner and
// s.userSigner, which know -K and wipe what they return. Flags that several
// verbs share: nameFlag, accountFlag, durationValue, pastFlag. A command that
// has an official --json/-J of its own defines it as a local flag, which hides
// the global one.
//
// # What the local store holds after a mutation
//
//	committed    the new version, published; then the wait for the proof, exit 8 if it does not come
//	local        the new version, marked unpublished: --no-push, or no account server
//	refused      what it held before; a new account and its seed are gone again
//	conflict     if the local version had no edits of its own: accountd's version with the edit redone
//	             on it, up to five times; else what it held before, exit 5
//	unreachable  the new version, marked unpublished, exit 6; a later change or nsc push publishes it
//	waiting      of a tenant's store: the new version, signed by the account alone, exit 8, 4 or 7; see managed.go
//	dry run      what it held before; no key is made
package cli
