package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

func newImportKeys(a *app) *cobra.Command {
	var dir string
	var recurse bool
	cmd := &cobra.Command{
		Use: "keys", Short: "Take the seeds in a folder into the keystore",
		Long: `Take the seeds in the .nk files of a folder into the keystore. If one of the files
holds no seed, none is taken. The files stay where they are.`,
		Example: `  nsc import keys --dir ./keys
  nsc import keys --dir ./backup --recurse
  nsc import keys --dir ./keys --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usage("the folder is missing").WithHint("nsc import keys --dir <folder>")
			}
			return a.importKeys(cmd.Context(), dir, recurse)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&dir, "dir", "d", "", "folder with .nk files")
	f.BoolVarP(&recurse, "recurse", "R", false, "also the folders in it")
	return cmd
}

func (a *app) importKeys(ctx context.Context, dir string, recurse bool) error {
	s, err := a.session()
	if err != nil {
		return err
	}
	seeds, err := a.findSeeds(dir, recurse)
	defer func() {
		for _, seed := range seeds {
			nscstore.Wipe(seed)
		}
	}()
	if err != nil {
		return err
	}
	ks := s.store.Keystore()
	res := &keysResult{Outcome: "imported", Dir: ks.Dir()}
	var missing [][]byte
	for _, seed := range seeds {
		key, err := nscstore.PublicKey(seed)
		if err != nil {
			return err
		}
		if slices.Contains(res.Keys, key) || slices.Contains(res.Same, key) {
			continue
		}
		if s.checkSeed(key) == nil && ks.HasSeed(key) {
			res.Same = append(res.Same, key)
			continue
		}
		missing = append(missing, seed)
		res.Keys = append(res.Keys, key)
	}
	if !a.flags.dryRun {
		if err := ks.AddSeeds(ctx, missing...); err != nil {
			return err
		}
	}
	if len(res.Keys) == 0 {
		res.Outcome = outcomeSame
	}
	return a.finishKeys(res, "imported")
}

// findSeeds reads the seeds in the .nk files of a folder. The error names every
// file that holds none.
func (a *app) findSeeds(dir string, recurse bool) (seeds [][]byte, err error) {
	top := a.path(dir)
	var bad []string
	err = filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != top && !recurse:
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".nk":
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		defer nscstore.Wipe(data)
		seed := bytes.Clone(bytes.TrimSpace(data))
		if _, err := nscstore.PublicKey(seed); err != nil {
			bad = append(bad, a.shown(name))
			return nil
		}
		seeds = append(seeds, seed)
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return seeds, fault.New(fault.NotFound, "no folder %s", dir).About("folder", dir)
	case err != nil:
		return seeds, fault.New(fault.Denied, "read keys: %w", err).About("folder", dir)
	case len(bad) > 0:
		return seeds, fault.New(fault.Invalid, "no seed in %s", strings.Join(bad, ", ")).About("folder", dir).ByRule("seed-malformed").
			WithHint("nothing was imported; move the files away that hold no seed, then repeat the command")
	case len(seeds) == 0 && recurse:
		return seeds, fault.New(fault.NotFound, "no .nk file in %s", dir).About("folder", dir)
	case len(seeds) == 0:
		return seeds, fault.New(fault.NotFound, "no .nk file in %s", dir).About("folder", dir).WithHint("look into its folders too, with: nsc import keys --dir %s --recurse", shellWords([]string{dir}))
	}
	return seeds, nil
}
