package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// fixOptions are the flags of fix.
type fixOptions struct {
	in    []string
	out   string
	creds bool
}

func newFix(a *app) *cobra.Command {
	var o fixOptions
	cmd := &cobra.Command{
		Use: "fix", Short: "Make a store of the JWTs and keys in folders", Hidden: true,
		Long: `Make a store and a keystore of the .jwt and .nk files in folders, with --creds also
of .creds files, such as nsc export keys --include-jwts writes them. Of several
versions of a claim the newest counts. The folders stay as they are; what finds no
place is named.`,
		Example: `  nsc fix --in ./backup --out ./fixed
  nsc fix --in ./backup --in ./more --out ./fixed --creds
  nsc fix --in ./backup,./more --json`,
		Args: cobra.ArbitraryArgs, // as the official tool
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(o.in) == 0 {
				return usage("the folders are missing").WithHint("nsc fix --in <folder>")
			}
			return a.fix(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.in, "in", nil, "folders to read")
	f.StringVar(&o.out, "out", "", "folder to make (default ./fix_ and the time)")
	f.BoolVar(&o.creds, "creds", false, "also read credentials files")
	return cmd
}

// fixed is the result of fix.
type fixed struct {
	Schema    int      `json:"schema"`
	Outcome   string   `json:"outcome"` // created or dry-run
	Stores    string   `json:"store_root"`
	Keys      string   `json:"keystore_dir"`
	Operators []string `json:"operators"`
	Accounts  int      `json:"accounts"`
	Users     int      `json:"users"`
	Seeds     int      `json:"keys"`
	Skipped   []string `json:"skipped,omitempty"` // what found no place, and why
}

func (f *fixed) skip(what, format string, args ...any) {
	f.Skipped = append(f.Skipped, what+": "+fmt.Sprintf(format, args...))
}

// heap is what was found in folders: the newest version of each claim by its
// subject, and seeds by their public key.
type heap struct {
	newest map[string]*claims.Document
	seeds  map[string][]byte
}

func (a *app) fix(ctx context.Context, o fixOptions) error {
	out := a.path(first(o.out, "fix_"+a.started.UTC().Format("20060102-150405")))
	if names, err := os.ReadDir(out); err == nil && len(names) > 0 {
		return fault.New(fault.Conflict, "the folder %s is not empty", a.shown(out)).About("folder", out).ByRule("file-exists").
			WithHint("name a new one with --out")
	}
	res := &fixed{Schema: api.Schema, Outcome: "created", Stores: filepath.Join(out, "operators"), Keys: filepath.Join(out, "keys")}
	h := &heap{map[string]*claims.Document{}, map[string][]byte{}}
	defer func() {
		for _, seed := range h.seeds {
			nscstore.Wipe(seed)
		}
	}()
	for _, dir := range o.in {
		if err := h.read(a.path(dir), o.creds, res); err != nil {
			return fault.New(fault.NotFound, "read %s: %w", dir, err).About("folder", dir)
		}
	}
	below := h.children(res)
	if len(below[""]) == 0 {
		return fault.New(fault.NotFound, "there is no operator in %s", strings.Join(o.in, ", ")).
			WithHint("put the operator's JWT into one of the folders as a .jwt file")
	}
	res.count(h, below)
	if a.flags.dryRun {
		res.Outcome = outcomeDry
		return a.printFixed(res)
	}
	dirs, _, err := a.dirs()
	if err != nil {
		return err
	}
	store, err := nscstore.Open(nscstore.Dirs{Config: dirs.Config, Stores: res.Stores, Keys: res.Keys, NoGitIgnore: dirs.NoGitIgnore})
	if err != nil {
		return err
	}
	for _, op := range below[""] {
		if err := store.Create(ctx, op.Name, false, func(tx *nscstore.Tx) error { return h.stage(tx, op, below) }); err != nil {
			return err
		}
	}
	for _, seed := range h.seeds {
		if _, err := store.Keystore().AddSeed(ctx, seed); err != nil {
			return err
		}
	}
	return a.printFixed(res)
}

// count notes what the store will have.
func (f *fixed) count(h *heap, below map[string][]*claims.Document) {
	f.Seeds = len(h.seeds)
	for _, op := range below[""] {
		f.Operators = append(f.Operators, op.Name)
		f.Accounts += len(below[op.Subject])
		for _, ac := range below[op.Subject] {
			f.Users += len(below[ac.Subject])
		}
	}
}

// read takes in the files of a folder.
func (h *heap) read(dir string, creds bool, res *fixed) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		ext := filepath.Ext(name)
		if err != nil || d.IsDir() || ext != ".jwt" && ext != ".nk" && (ext != ".creds" || !creds) {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		defer nscstore.Wipe(data)
		if ext == ".nk" {
			h.addSeed(name, data, res)
			return nil
		}
		if ext == ".creds" {
			_, seed, err := nscstore.ParseCreds(data)
			if err != nil {
				res.skip(name, "%s", message(err))
				return nil
			}
			defer nscstore.Wipe(seed)
			h.addSeed(name, seed, res)
		}
		h.addJWT(name, data, res)
		return nil
	})
}

func (h *heap) addSeed(name string, data []byte, res *fixed) {
	seed := bytes.TrimSpace(data)
	key, err := nscstore.PublicKey(seed)
	if err != nil {
		res.skip(name, "it holds no seed")
		return
	}
	h.seeds[key] = bytes.Clone(seed)
}

func (h *heap) addJWT(name string, data []byte, res *fixed) {
	doc, err := decodeJWT(name, data)
	if err != nil {
		res.skip(name, "%s", message(err))
		return
	}
	if old := h.newest[doc.Subject]; old == nil || old.IssuedAt < doc.IssuedAt {
		h.newest[doc.Subject] = doc
	}
}

// children puts every claim below the one that it belongs to, by the subject of
// that; operators lie below "". Of two that would share a name there the newer
// one stays.
func (h *heap) children(res *fixed) map[string][]*claims.Document {
	type place struct{ kind, above, name string }
	docs := slices.SortedFunc(maps.Values(h.newest), func(a, b *claims.Document) int {
		return cmp.Or(cmp.Compare(b.IssuedAt, a.IssuedAt), strings.Compare(a.Subject, b.Subject))
	})
	taken := map[place]bool{}
	below := map[string][]*claims.Document{}
	for _, doc := range docs {
		what := doc.Type + " " + doc.Name
		above, err := h.above(doc)
		p := place{doc.Type, above, doc.Name}
		switch {
		case err != nil:
			res.skip(what, "%s", message(err))
		case taken[p]:
			res.skip(what, "another %s of that name, issued later, was found; this one is %s", doc.Type, doc.Subject)
		default:
			taken[p] = true
			below[above] = append(below[above], doc)
		}
	}
	return below
}

// above returns the subject of the claim that doc belongs to, "" for operators.
func (h *heap) above(doc *claims.Document) (string, error) {
	if err := claims.CheckName(doc.Type, doc.Name); err != nil {
		return "", err
	}
	switch doc.Type {
	case claims.TypeOperator:
		return "", nil
	case claims.TypeAccount:
		for key, op := range h.newest {
			if op.Type != claims.TypeOperator {
				continue
			}
			if trust, err := operator.TrustOf(op); err == nil && trust.Speaks(doc.Issuer) {
				return key, nil
			}
		}
		return "", fault.New(fault.Untrusted, "it is issued by %s, which is no key of an operator that was found", keys.Short(doc.Issuer))
	case claims.TypeUser:
		key := accounts.Of(doc)
		if ac := h.newest[key]; ac != nil && ac.Type == claims.TypeAccount {
			return key, nil
		}
		return "", fault.New(fault.NotFound, "its account %s was not found", keys.Short(key))
	}
	return "", fault.New(fault.Invalid, "a store has no place for it")
}

// stage writes an operator with all that belongs to it. A user whose seed is
// here gets credentials.
func (h *heap) stage(tx *nscstore.Tx, op *claims.Document, below map[string][]*claims.Document) error {
	if err := tx.PutOperator(op.Token); err != nil {
		return err
	}
	for _, ac := range below[op.Subject] {
		if err := tx.PutAccount(ac.Name, ac.Token); err != nil {
			return err
		}
		for _, user := range below[ac.Subject] {
			if err := tx.PutUser(ac.Name, user.Name, user.Token); err != nil {
				return err
			}
			if seed := h.seeds[user.Subject]; seed != nil {
				if err := stageCreds(tx, ac.Name, user, seed); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (a *app) printFixed(res *fixed) error {
	slices.Sort(res.Skipped)
	if a.flags.json {
		return a.printStructured(res)
	}
	if a.flags.output == "name" {
		for _, name := range res.Operators {
			fmt.Fprintln(a.env.Stdout, name)
		}
		return nil
	}
	for _, line := range res.Skipped {
		fmt.Fprintf(a.env.Stderr, "nsc: warning: left out: %s\n", line)
	}
	fmt.Fprintf(a.env.Stdout, "%s, %s, %s, %s\n", count(len(res.Operators), "operator"), count(res.Accounts, "account"),
		count(res.Users, "user"), count(res.Seeds, "key"))
	if a.flags.dryRun {
		fmt.Fprintln(a.env.Stdout, "dry run: nothing was changed")
		return nil
	}
	fmt.Fprintf(a.env.Stdout, "use it with: export NKEYS_PATH=%s; nsc env --store %s\n", shellWords([]string{res.Keys}), shellWords([]string{res.Stores}))
	return nil
}
