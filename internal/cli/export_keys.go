package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/operator/nscstore"
)

func newExport(a *app) *cobra.Command {
	cmd := group("export", "Write keys out of the keystore")
	cmd.AddCommand(newExportKeys(a))
	return cmd
}

// exportKeysOptions are the flags of export keys: what to select, as for list
// keys, and where to put it.
type exportKeysOptions struct {
	listKeysOptions
	dir, curve          string
	force, remove, jwts bool
}

func newExportKeys(a *app) *cobra.Command {
	var o exportKeysOptions
	cmd := &cobra.Command{
		Use: "keys", Short: "Write seeds, which are secrets, into a folder",
		Long: `Write the seeds of the current operator, account and users into a folder, one file
a key, readable by its owner alone and not sealed. Flags select other kinds and
accounts. With --include-jwts the claims are written too.`,
		Example: `  nsc export keys --dir ./keys
  nsc export keys --dir ./keys --all --include-jwts
  nsc export keys --dir ./keys --accounts --account app
  nsc export keys --dir ./root --operator --remove
  nsc export keys --dir ./old --not-referenced --all`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.dir == "" {
				return usage("the folder is missing").WithHint("nsc export keys --dir <folder>")
			}
			return a.exportKeys(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	a.longOutput(cmd)
	f.StringVarP(&o.dir, "dir", "d", "", "folder to write to")
	f.BoolVarP(&o.operator, "operator", "o", false, "keys of the operator")
	f.BoolVarP(&o.accounts, "accounts", "a", false, "keys of accounts")
	f.BoolVarP(&o.users, "users", "u", false, "keys of users")
	f.BoolVar(&o.curves, "curves", false, "curve keys, which encrypt authentication callouts")
	f.BoolVarP(&o.all, "all", "A", false, "all kinds, of all accounts")
	f.StringVar(&o.account, "account", "", "this account alone (default the current one)")
	f.StringVar(&o.user, "user", "", "this user alone")
	f.StringVar(&o.curve, "curve", "", "this curve key alone")
	f.StringVarP(&o.filter, "filter", "f", "", "keys whose text holds these letters")
	f.BoolVar(&o.foreign, "not-referenced", false, "keys of the keystore that nothing here refers to")
	f.BoolVar(&o.jwts, "include-jwts", false, "also write the claims")
	f.BoolVarP(&o.force, "force", "F", false, "replace files that exist")
	f.BoolVarP(&o.remove, "remove", "R", false, "remove the keys from the keystore once they are written")
	return cmd
}

func (a *app) exportKeys(ctx context.Context, o exportKeysOptions) error {
	s, err := a.session()
	if err != nil {
		return err
	}
	list, err := s.selectKeys(ctx, o.listKeysOptions)
	if err != nil {
		return err
	}
	if o.curve != "" {
		list = slices.DeleteFunc(list, func(k keyEntry) bool { return k.Pub != o.curve })
	}
	dir := a.path(o.dir)
	res := &keysResult{Outcome: "exported", Dir: dir}
	files := map[string][]byte{} // by their names
	defer func() {
		for _, data := range files {
			nscstore.Wipe(data)
		}
	}()
	for _, k := range list {
		seed, err := s.store.Keystore().Seed(k.Pub)
		switch {
		case fault.Is(err, fault.NotFound):
			res.Missing = append(res.Missing, k.Pub)
		case err != nil:
			return err
		default:
			files[k.Pub+".nk"] = seed
			res.Keys = append(res.Keys, k.Pub)
		}
		if o.jwts && len(k.JWT) > 0 {
			name := k.Pub + ".jwt"
			files[name] = slices.Clone(k.JWT)
			res.JWTs = append(res.JWTs, name)
		}
	}
	if len(files) == 0 {
		return fault.New(fault.NotFound, "no such key is in the keystore").WithHint("look at them with: nsc list keys --all")
	}
	if err := a.checkExport(dir, files, o.force); err != nil || a.flags.dryRun {
		return firstErr(err, a.finishKeys(res, "exported"))
	}
	if err := writeExport(dir, files); err != nil {
		return fault.New(fault.Denied, "export keys: %w", err).About("folder", o.dir).WithHint("name a folder that is yours, on a disk with room")
	}
	if res.Removed = o.remove; o.remove {
		for _, key := range res.Keys {
			if err := s.store.Keystore().RemoveSeed(ctx, key); err != nil {
				return err
			}
		}
		res.lines = append(res.lines, "the keystore no longer has them")
	}
	return a.finishKeys(res, "exported")
}

// checkExport refuses to replace files, before any is written.
func (a *app) checkExport(dir string, files map[string][]byte, force bool) error {
	var there []string
	for name := range files {
		_, err := os.Lstat(filepath.Join(dir, name))
		switch {
		case err == nil:
			there = append(there, a.shown(filepath.Join(dir, name)))
		case !errors.Is(err, fs.ErrNotExist):
			return fault.New(fault.Denied, "look at the folder: %w", err).About("folder", dir)
		}
	}
	if len(there) == 0 || force {
		return nil
	}
	slices.Sort(there)
	return fault.New(fault.Conflict, "the files exist already: %s", strings.Join(there, ", ")).About("folder", dir).ByRule("file-exists").
		WithHint("name another folder, or replace them with --force")
}

func writeExport(dir string, files map[string][]byte) error {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, data := range files {
		if err := durable.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
