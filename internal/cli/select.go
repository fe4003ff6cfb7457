package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
)

func newSelect(a *app) *cobra.Command {
	cmd := group("select", "Choose the current operator or account")
	cmd.AddCommand(
		&cobra.Command{
			Use: "operator <name>", Short: "Choose the current operator",
			Example: `  nsc select operator acme
  nsc select operator acme --data-dir ./stores
  nsc select operator ODKUCEWOC25NFGUVWRXVI34Q5SO5QXIMRKP2ECTCMI5IGGTJT2AFEBXK`,
			Args: args(1, 1, "the operator's name"),
			RunE: func(cmd *cobra.Command, given []string) error { return a.use(cmd.Context(), "", given[0], "") },
		},
		&cobra.Command{
			Use: "account <name>", Short: "Choose the current account",
			Example: `  nsc select account app
  nsc select account ABTTTGEGLLUEGKFY7U24BN2TBQQOMK5LSOD5RVW76OBA6WY37DT2ZGPD
  nsc select account billing --json`,
			Args: args(1, 1, "the account's name"),
			RunE: func(cmd *cobra.Command, given []string) error { return a.use(cmd.Context(), "", "", given[0]) },
		},
	)
	return cmd
}

func newEnv(a *app) *cobra.Command {
	var storeDir, operatorName, accountName string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Show or set the folders, the current operator and account",
		Example: `  nsc env
  nsc env -o acme -a app
  nsc env --store ./stores`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.use(cmd.Context(), storeDir, operatorName, accountName)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&storeDir, "store", "s", "", "folder of the stores")
	f.StringVarP(&operatorName, "operator", "o", "", "operator name")
	f.StringVarP(&accountName, "account", "a", "", "account name")
	return cmd
}

// environment is the result of env and select.
type environment struct {
	Schema   int    `json:"schema"`
	Config   string `json:"config_dir"`
	Stores   string `json:"store_root"`
	Keys     string `json:"keystore_dir"`
	Operator string `json:"operator"`
	Account  string `json:"account"`
	Server   string `json:"account_server_url,omitempty"`
}

// use makes what is not empty the current store root, operator and account,
// remembers it, and shows where the command stands.
func (a *app) use(ctx context.Context, storeDir, operatorName, accountName string) error {
	if storeDir != "" {
		a.flags.dataDir = storeDir
	}
	s, err := a.session()
	if err != nil {
		return err
	}
	set := storeDir != "" || operatorName != "" || accountName != ""
	if set && a.cwdOnly() {
		return usage("NSC_CWD_ONLY is set: the current folder decides the operator and account")
	}
	if operatorName != "" {
		op, err := s.store.Operator(ctx, operatorName)
		if err != nil {
			return err
		}
		if op.Name() != s.context.Operator {
			s.context.Operator, s.context.Account = op.Name(), ""
		}
	}
	if accountName != "" {
		r, err := s.root(ctx)
		if err != nil {
			return err
		}
		if s.context.Account, err = r.Account(accountName); err != nil {
			return err
		}
	}
	if set && !a.flags.dryRun {
		s.context.Elsewhere = false
		if err := s.remember(ctx, s.context.Operator, s.context.Account); err != nil {
			return err
		}
	}
	return a.showEnvironment(ctx, s)
}

func (a *app) showEnvironment(ctx context.Context, s *session) error {
	d := s.store.Dirs()
	e := environment{
		Schema: api.Schema, Config: d.Config, Stores: d.Stores, Keys: d.Keys,
		Operator: s.context.Operator, Account: s.context.Account,
	}
	var rerr error
	if e.Operator != "" {
		var r *root
		if r, rerr = s.root(ctx); rerr == nil {
			e.Server = r.claims.AccountServerURL
		}
	}
	if a.flags.json {
		return errors.Join(rerr, a.printStructured(e))
	}
	for _, line := range [][2]string{
		{"config", e.Config}, {"stores", e.Stores}, {"keystore", e.Keys},
		{"operator", first(e.Operator, "none")}, {"account", first(e.Account, "none")},
		{"account server", first(e.Server, "none")},
	} {
		fmt.Fprintf(a.env.Stdout, "%-15s %s\n", line[0], line[1])
	}
	return rerr
}
