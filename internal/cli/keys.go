package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/operator/nscstore"
)

func newKeys(a *app) *cobra.Command {
	cmd := group("keys", "Manage the keystore")
	cmd.AddCommand(newKeysMigrate(a), newKeysIdentity(a), newKeysSeal(a), newKeysUnseal(a), newKeysRotate(a))
	return cmd
}

// keysResult is the result of a command about many keys. Its JSON is documented
// in docs/json-output.md.
type keysResult struct {
	Schema      int      `json:"schema"`
	Outcome     string   `json:"outcome"` // exported, imported, migrated …, unchanged or dry-run
	Dir         string   `json:"dir"`     // where they are now
	Keys        []string `json:"keys"`    // public keys
	Same        []string `json:"unchanged,omitempty"`
	Missing     []string `json:"missing,omitempty"` // keys whose seeds are not here
	JWTs        []string `json:"jwts,omitempty"`    // names of the files
	Credentials int      `json:"credentials,omitempty"`
	Old         string   `json:"old,omitempty"` // the folder that keeps what was there before
	Removed     bool     `json:"removed,omitempty"`

	lines []string // more facts for people
}

// finishKeys prints res. did says in the past tense what happened to the keys.
func (a *app) finishKeys(res *keysResult, did string) error {
	res.Schema = api.Schema
	if res.Keys == nil {
		res.Keys = []string{}
	}
	if a.flags.dryRun {
		res.Outcome, did = outcomeDry, "would have "+did
	}
	if a.flags.json {
		return a.printStructured(res)
	}
	out := a.env.Stdout
	for _, key := range res.Keys {
		fmt.Fprintln(out, key)
	}
	if a.flags.output == "name" {
		return nil
	}
	for _, name := range res.JWTs {
		fmt.Fprintln(out, name)
	}
	fmt.Fprintf(out, "%s %s\n", did, count(len(res.Keys), "key"))
	if len(res.Same) > 0 {
		fmt.Fprintf(out, "%s as wanted already\n", count(len(res.Same), "key"))
	}
	for _, key := range res.Missing {
		fmt.Fprintf(a.env.Stderr, "nsc: warning: the seed of %s is not in the keystore\n", key)
	}
	for _, line := range res.lines {
		fmt.Fprintln(out, line)
	}
	if a.flags.dryRun {
		fmt.Fprintln(out, "dry run: nothing was changed")
	}
	return nil
}

func newKeysMigrate(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Bring a keystore of an old release to the current layout",
		Long: `Bring the keystore to the current layout: seeds by their public key, credentials by
operator, account and user. The old files are kept in a folder beside it.`,
		Example: `  nsc keys migrate
  nsc keys migrate --keystore-dir ~/.nkeys
  nsc keys migrate --json`,
		Args: cobra.ArbitraryArgs, // as the official tool
		RunE: func(cmd *cobra.Command, _ []string) error { return a.migrateKeys(cmd.Context()) },
	}
}

func (a *app) migrateKeys(ctx context.Context) error {
	dirs, _, err := a.dirs()
	if err != nil {
		return err
	}
	res := &keysResult{Outcome: "migrated", Dir: dirs.Keys}
	do := nscstore.MigrateKeystore
	if a.flags.dryRun {
		do = nscstore.PlanKeystoreMigration
	}
	m, err := do(ctx, dirs)
	if err != nil {
		return err
	}
	res.Keys, res.Credentials, res.Old = m.Keys, m.Creds, m.Old
	if m.Old == "" {
		res.Outcome = outcomeSame
		res.lines = append(res.lines, "the keystore has the current layout")
	} else {
		res.lines = append(res.lines, count(m.Creds, "credentials file"), "the old files are kept in "+a.shown(m.Old))
	}
	return a.finishKeys(res, "migrated")
}
