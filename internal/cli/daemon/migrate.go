package daemon

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/server"
)

func newMigrate(env Env) *cobra.Command {
	var spec string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the schema of a PostgreSQL store up to this version",
		Long: `accountd migrate shows and makes the steps of the schema of a PostgreSQL store.
Steps only go forward, under a lock: several may run at once. A database that a
newer version of accountd has migrated is refused. The password comes from
PGPASSWORD or a password file, never from the command line.

Exit codes: 2 the command line is wrong; 6 the database cannot be reached;
7 its schema is newer than this version.`,
		Example: `  accountd migrate status --store postgres://accountd@db/accountd
  accountd migrate up --store postgres://accountd@db/accountd
  accountd migrate up --store 'postgres://accountd@/accountd?host=/run/postgresql'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return needsCommand(cmd) },
	}
	cmd.PersistentFlags().StringVar(&spec, "store", "", "postgres://user@host/database")
	verb := func(name, short string, run func(context.Context, string) error) *cobra.Command {
		return &cobra.Command{
			Use: name, Short: short, Args: noArgs,
			Example: fmt.Sprintf(`  accountd migrate %[1]s --store postgres://accountd@db/accountd
  accountd migrate %[1]s --store postgres://accountd@127.0.0.1:5432/accountd
  accountd migrate %[1]s --store 'postgres://accountd@/accountd?host=/run/postgresql'`, name),
			RunE: func(cmd *cobra.Command, _ []string) error {
				if spec == "" {
					return fault.New(fault.Usage, "--store is missing").WithHint("accountd migrate %s --store postgres://user@host/database", name)
				}
				return run(cmd.Context(), spec)
			},
		}
	}
	cmd.AddCommand(
		verb("up", "Make the steps that the database lacks", env.migrateUp),
		verb("status", "Show all steps, and which the database has", env.migrateStatus),
	)
	return cmd
}

func (e Env) migrateUp(ctx context.Context, spec string) error {
	made, err := server.MigrateStore(ctx, spec)
	if err != nil {
		return err
	}
	for _, m := range made {
		if _, err := fmt.Fprintf(e.Stdout, "%d  made     %s\n", m.Version, filepath.Base(m.Name)); err != nil {
			return err
		}
	}
	if len(made) == 0 {
		_, err = fmt.Fprintln(e.Stdout, "the schema is up to date")
	}
	return err
}

func (e Env) migrateStatus(ctx context.Context, spec string) error {
	steps, err := server.StoreStatus(ctx, spec)
	if err != nil {
		return err
	}
	for _, m := range steps {
		state := "missing"
		if m.Applied {
			state = "made"
		}
		if _, err := fmt.Fprintf(e.Stdout, "%d  %-7s  %s\n", m.Version, state, filepath.Base(m.Name)); err != nil {
			return err
		}
	}
	return nil
}
