package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/operator/serverconfig"
)

// configOptions are the flags of generate config.
type configOptions struct {
	memory, full, cache, nkey bool
	leaf                      []string // URLs of the hub
	accounts                  []string
	user, creds               string
	shared                    bool // only what the accounts share crosses
	domain                    string
	tags                      []string
	file, dir                 string
	allowDelete, force        bool
	system                    string
}

func newGenerateConfig(a *app) *cobra.Command {
	var o configOptions
	cmd := &cobra.Command{
		Use: "config", Short: "Write the configuration of a nats-server that serves the operator",
		Long: `Write what a nats-server needs to know of the operator: whom it trusts, and where
it finds accounts. The memory form holds the accounts themselves; servers of the
resolver forms are given them later, by accountd or nsc push. The leaf form is for
a server at the edge: it holds the accounts named with -a and links each to the
hub with the credentials of one of its users. With --shared-only the user may do at
the hub no more than what the account exports and imports needs, or nothing is
written: the hub decides that, whatever runs at the edge. nsc add role --template
edge makes such a user's role.`,
		Example: `  nsc generate config --nats-resolver --config-file resolver.conf
  nsc generate config --nats-resolver-cache --server-tag dedicated:app --config-file cache.conf --force
  nsc generate config --mem-resolver
  nsc generate config --mem-resolver --sys-account SYS --config-file server.conf
  nsc generate config --leaf nats://hub.example.com:7422 -a app -u edge --config-file leaf.conf
  nsc generate config --leaf nats://hub.example.com:7422 -a app -u edge --shared-only --domain edge`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return a.generateConfig(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.memory, "mem-resolver", false, "a server with the accounts in its configuration")
	f.BoolVar(&o.full, "nats-resolver", false, "a server that keeps every account in a folder")
	f.BoolVar(&o.cache, "nats-resolver-cache", false, "a server that keeps the accounts it is asked for in a folder")
	f.BoolVar(&o.nkey, "nkey", false, "a server without operator, with the accounts and users as configuration")
	f.StringSliceVar(&o.leaf, "leaf", nil, "a leaf node; URLs of the hub's leaf-node listeners")
	f.StringSliceVarP(&o.accounts, "account", "a", nil, "with --leaf: account names or public keys (default the current account)")
	f.StringVarP(&o.user, "user", "u", "", "with --leaf: whose credentials link the accounts (default the only user)")
	f.StringVar(&o.creds, "creds", "", "with --leaf: path of the credentials file on the leaf's machine (default the one here)")
	f.BoolVar(&o.shared, "shared-only", false, "with --leaf: only what the accounts export and import may cross")
	f.StringVar(&o.domain, "domain", "", "with --leaf: JetStream on the leaf node, with this domain")
	f.StringSliceVar(&o.tags, "server-tag", nil, "tag of the server, by which JetStream places streams")
	f.StringVar(&o.file, "config-file", stdoutName, "write to this file, -- for stdout")
	f.StringVar(&o.dir, "dir", "", "with --mem-resolver: write resolver.conf and a file a claim into this folder")
	f.BoolVar(&o.allowDelete, "allow-delete", false, "with --nats-resolver: take deletions of accounts")
	f.BoolVarP(&o.force, "force", "F", false, "replace files that exist")
	f.StringVar(&o.system, "sys-account", "", "system account, name or public key (default the operator's)")
	for _, hidden := range []string{"nkey", "dir"} {
		_ = f.MarkHidden(hidden)
	}
	return cmd
}

// check refuses flags that contradict each other.
func (o configOptions) check() error {
	forms := 0
	for _, given := range []bool{o.memory || o.dir != "" && !o.full && !o.cache && !o.nkey && o.leaf == nil, o.full, o.cache, o.nkey, o.leaf != nil} {
		if given {
			forms++
		}
	}
	switch {
	case forms == 0:
		return usage("the kind of configuration is missing").
			WithHint("name one: --nats-resolver, --nats-resolver-cache, --mem-resolver or --leaf URL")
	case forms > 1:
		return usage("only one kind of configuration can be generated at a time")
	case o.dir != "" && (o.full || o.cache || o.nkey || o.leaf != nil):
		return usage("--dir is for --mem-resolver")
	case o.dir != "" && o.file != stdoutName:
		return usage("--dir and --config-file exclude each other")
	case len(o.tags) > 0 && (o.nkey || o.dir != ""):
		return usage("--server-tag is for one file of a server with an operator")
	case o.allowDelete && !o.full:
		return usage("--allow-delete is for --nats-resolver")
	}
	return o.checkLeaf()
}

func (o configOptions) checkLeaf() error {
	switch {
	case o.leaf == nil && (len(o.accounts) > 0 || o.user != "" || o.creds != "" || o.shared || o.domain != ""):
		return usage("--account, --user, --creds, --shared-only and --domain are for --leaf")
	case o.domain != "" && !accounts.IsToken(o.domain):
		return usage("%q is no domain: letters, digits and - _", o.domain)
	}
	for _, u := range o.leaf {
		if !hasScheme(u, "nats", "nats-leaf", "tls", "ws", "wss") {
			return usage("%q is no URL of a leaf-node listener", u).WithHint("such as nats://hub.example.com:7422")
		}
	}
	return nil
}

func (a *app) generateConfig(ctx context.Context, o configOptions) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	trust := serverconfig.Trust{Name: r.Name(), JWT: r.doc.Token}
	if trust.System, err = r.configSystem(o.system); err != nil {
		return err
	}
	files := map[string]string{}
	switch {
	case o.full, o.cache:
		files[o.file], err = serverconfig.Resolver(trust, serverconfig.Directory{Cache: o.cache, AllowDelete: o.allowDelete})
	case o.leaf != nil:
		files[o.file], err = s.leafConfig(r, trust, o)
	case o.nkey:
		files[o.file], err = s.staticConfig(r, trust.System)
	default:
		var all []serverconfig.Account
		if all, err = r.configAccounts(); err != nil {
			break
		}
		if o.dir == "" {
			files[o.file] = serverconfig.Memory(trust, all)
			break
		}
		for name, text := range serverconfig.Files(trust, all) {
			files[filepath.Join(o.dir, name)] = text
		}
	}
	if err != nil {
		return err
	}
	if len(o.tags) > 0 {
		files[o.file] += serverconfig.Tags(o.tags)
	}
	return a.writeNew(files, o.force)
}

// writeNew writes files that hold no secret, or one on stdout. None is touched
// if one of them exists and is not to be replaced.
func (a *app) writeNew(files map[string]string, force bool) error {
	names := sortedNames(files)
	for _, name := range names {
		if _, err := os.Lstat(a.path(name)); name != stdoutName && !force && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Conflict, "%s exists already", a.shown(a.path(name))).About("file", name).ByRule("exists").
				WithHint("replace it with --force, or name another file")
		}
	}
	done := written{Schema: api.Schema, Outcome: outcomeWritten}
	for _, name := range names {
		if name == stdoutName {
			fmt.Fprint(a.env.Stdout, files[name])
			continue
		}
		path := a.path(name)
		done.Files = append(done.Files, path)
		if a.flags.dryRun {
			if done.Outcome = outcomeDry; !a.flags.json {
				fmt.Fprintf(a.env.Stdout, "would write %s\n", a.shown(path))
			}
			continue
		}
		err := durable.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = durable.WriteFile(path, []byte(files[name]), 0o644)
		}
		if err != nil {
			return fault.New(fault.Denied, "write %s: %w", name, err).About("file", name).WithHint("name a file in a folder that is yours")
		}
		fmt.Fprintf(a.env.Stderr, "wrote %s\n", a.shown(path))
	}
	if a.flags.json && len(done.Files) > 0 {
		return a.printStructured(done)
	}
	return nil
}

// configSystem returns the system account that a name or key says, else the
// operator's, nil if it has none.
func (r *root) configSystem(nameOrKey string) (*serverconfig.Account, error) {
	if nameOrKey == "" && r.claims.SystemAccount == "" {
		return nil, nil
	}
	name, err := r.Account(first(nameOrKey, r.claims.SystemAccount))
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "system account: %w", err).
			WithHint("list the accounts with: nsc list accounts")
	}
	ac, err := r.load(name)
	if err != nil {
		return nil, err
	}
	if !r.sysOf(ac) && r.claims.SystemAccount != "" {
		return nil, fault.New(fault.Invalid, "servers take only the system account that operator %q names", r.Name()).About("account", name).
			ByRule("system-account").WithHint("leave out --sys-account, or change it with: nsc edit operator --system-account %s", shellWords([]string{name}))
	}
	out := configAccount(ac)
	return &out, nil
}

func configAccount(ac *account) serverconfig.Account {
	return serverconfig.Account{Name: ac.name, Key: ac.key, JWT: ac.doc.Token}
}

func (r *root) configAccounts() ([]serverconfig.Account, error) {
	names, err := r.Accounts()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fault.New(fault.NotFound, "operator %q has no account", r.Name()).About("account", "").
			WithHint("create one with: nsc add account <name>")
	}
	var out []serverconfig.Account
	for _, name := range names {
		ac, err := r.load(name)
		if err != nil {
			return nil, err
		}
		out = append(out, configAccount(ac))
	}
	return out, nil
}
