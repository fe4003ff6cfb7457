package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

// listKeysOptions are the flags of list keys.
type listKeysOptions struct {
	json, seeds, foreign              bool
	operator, accounts, users, curves bool
	all                               bool
	account, user, filter             string
}

// keyEntry is one key. Its JSON has the official form; a JWT is in base64.
type keyEntry struct {
	Name    string `json:"name"`
	Pub     string `json:"pub"`
	Parent  string `json:"parent,omitempty"`
	Signing bool   `json:"signing"`
	Curve   bool   `json:"curve"`
	Path    string `json:"key_path"`
	Invalid bool   `json:"invalid"`
	JWT     []byte `json:"jwt,omitempty"`
	Kind    string `json:"expected_kind"`
	Seed    string `json:"seed,omitempty"`

	role   string
	fleet  string // whose key it is
	sealed bool
}

// Kinds of keys, as the official tool names them.
const (
	kindOperator = "operator"
	kindAccount  = "account"
	kindUser     = "user"
	kindCurve    = "curve"
	kindX25519   = "x25519" // a curve key, in lists of keys
)

func newListKeys(a *app) *cobra.Command {
	var o listKeysOptions
	cmd := &cobra.Command{
		Use: "keys", Aliases: []string{"key"}, Short: "List keys, and which of them have their seed here",
		Long: `List the keys of the current operator, of an account and of its users, and say
whether the keystore holds their seeds. Without a flag that selects a kind, all
kinds are listed. The keys of a fleet are one row, but with --all, --filter, and
in JSON.`,
		Example: `  nsc list keys
  nsc list keys --all
  nsc list keys --accounts --account app
  nsc list keys --all --filter VSVM
  nsc list keys --all --not-referenced`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listKeys(cmd.Context(), o) },
	}
	f := cmd.Flags()
	officialJSON(cmd, &o.json)
	a.longOutput(cmd)
	f.BoolVarP(&o.operator, "operator", "o", false, "keys of the operator")
	f.BoolVarP(&o.accounts, "accounts", "a", false, "keys of accounts")
	f.BoolVarP(&o.users, "users", "u", false, "keys of users")
	f.BoolVarP(&o.curves, "curve", "x", false, "curve keys, which encrypt authentication callouts")
	f.BoolVarP(&o.all, "all", "A", false, "all kinds, of all accounts")
	f.StringVar(&o.account, "account", "", "this account alone (default the current one)")
	f.StringVar(&o.user, "user", "", "this user alone")
	f.StringVarP(&o.filter, "filter", "f", "", "keys whose text holds these letters")
	f.BoolVar(&o.foreign, "not-referenced", false, "keys of the keystore that nothing here refers to")
	f.BoolVarP(&o.seeds, "show-seeds", "S", false, "show the seeds, which are secrets")
	return cmd
}

func (a *app) listKeys(ctx context.Context, o listKeysOptions) error {
	if o.seeds && o.foreign {
		return usage("--show-seeds and --not-referenced exclude each other")
	}
	if o.seeds && a.env.Terminal && !a.flags.yes {
		return usage("seeds are secrets, and this is a terminal").WithHint("redirect them to a file, or show them with --yes")
	}
	s, err := a.session()
	if err != nil {
		return err
	}
	list, err := s.selectKeys(ctx, o)
	if err != nil {
		return err
	}
	for i := range list {
		if err := s.resolveKey(&list[i], o.seeds); err != nil {
			return err
		}
	}
	return a.printKeys(list, o)
}

// selectKeys returns the keys that the flags select.
func (s *session) selectKeys(ctx context.Context, o listKeysOptions) ([]keyEntry, error) {
	list, err := s.collectKeys(ctx, o)
	if err == nil && o.foreign {
		list, err = s.unreferenced(list)
	}
	return slices.DeleteFunc(list, func(k keyEntry) bool { return !o.wants(k) }), err
}

// wants reports whether the flags select k.
func (o listKeysOptions) wants(k keyEntry) bool {
	if !strings.Contains(k.Pub, strings.ToUpper(o.filter)) {
		return false
	}
	if o.all || !o.operator && !o.accounts && !o.users && !o.curves {
		return true
	}
	switch k.Kind {
	case kindOperator:
		return o.operator
	case kindAccount:
		return o.accounts
	case kindUser:
		return o.users
	}
	return o.curves
}

// collectKeys returns what the claims of the operator refer to: of the account
// that is named, of all if the flags say so, else of the current one.
func (s *session) collectKeys(ctx context.Context, o listKeysOptions) ([]keyEntry, error) {
	if s.context.Operator == "" && o.foreign {
		return nil, nil
	}
	r, err := s.root(ctx)
	if err != nil {
		return nil, err
	}
	name := r.doc.Name
	list := []keyEntry{{Name: name, Pub: r.doc.Subject, Kind: kindOperator, JWT: []byte(r.doc.Token)}}
	for _, k := range r.claims.SigningKeys {
		list = append(list, keyEntry{Name: name, Pub: k, Signing: true, Kind: kindOperator})
	}
	accounts, err := s.accountsOf(r, o)
	if err != nil {
		return nil, err
	}
	for _, name := range accounts {
		keys, err := r.accountKeys(name, o.user)
		if err != nil {
			return nil, err
		}
		list = append(list, keys...)
	}
	if o.user != "" && !slices.ContainsFunc(list, func(k keyEntry) bool { return k.Kind == kindUser }) {
		return nil, fault.New(fault.NotFound, "no user %q", o.user).About("user", o.user).WithHint("list the users with: nsc list users -a <account>")
	}
	return list, nil
}

func (s *session) accountsOf(r *root, o listKeysOptions) ([]string, error) {
	names, err := r.Accounts()
	switch {
	case err != nil:
		return nil, err
	case o.account != "":
		name, err := r.Account(o.account)
		return []string{name}, err
	case o.all || o.foreign || o.operator || o.accounts || o.users || o.curves || s.context.Account == "":
		return names, nil
	}
	return []string{s.context.Account}, nil
}

// accountKeys returns the keys of an account and of its users, or of one user.
func (r *root) accountKeys(name, user string) ([]keyEntry, error) {
	ac, err := r.load(name)
	if err != nil {
		return nil, err
	}
	list := []keyEntry{{Name: name, Pub: ac.key, Parent: r.doc.Subject, Kind: kindAccount, JWT: []byte(ac.doc.Token)}}
	plain, roles := signingKeys(ac.claims)
	fleets := fleetsByKey(ac)
	for _, k := range append(plain, roles...) {
		list = append(list, keyEntry{Name: name, Pub: k.key, Signing: true, Kind: kindAccount, role: k.role, fleet: fleets[k.key]})
	}
	if x := ac.claims.Authorization.XKey; x != "" {
		list = append(list, keyEntry{Name: name, Pub: x, Curve: true, Kind: kindX25519})
	}
	err = r.eachUser(name, func(u string, doc *claims.Document) error {
		if user == "" || user == u || user == doc.Subject {
			list = append(list, keyEntry{Name: u, Pub: doc.Subject, Parent: ac.key, Kind: kindUser, JWT: []byte(doc.Token)})
		}
		return nil
	})
	return list, err
}

// unreferenced returns the keys of the keystore that are not in known.
func (s *session) unreferenced(known []keyEntry) ([]keyEntry, error) {
	seeds, err := s.store.Keystore().Seeds()
	if err != nil {
		return nil, err
	}
	kinds := map[byte]string{'O': kindOperator, 'A': kindAccount, 'U': kindUser, 'X': kindX25519}
	var out []keyEntry
	for _, key := range seeds {
		if !slices.ContainsFunc(known, func(k keyEntry) bool { return k.Pub == key }) {
			out = append(out, keyEntry{Name: "?", Pub: key, Kind: kinds[key[0]]})
		}
	}
	return out, nil
}

// resolveKey looks for the seed of k.
func (s *session) resolveKey(k *keyEntry, show bool) error {
	ks := s.store.Keystore()
	if !ks.HasSeed(k.Pub) {
		return nil
	}
	path, err := ks.SeedPath(k.Pub)
	if err != nil {
		return err
	}
	k.Path = path
	if k.sealed = ks.IsSealed(k.Pub); k.sealed && !show {
		return nil
	}
	seed, err := ks.Seed(k.Pub)
	if fault.Is(err, fault.Invalid) {
		k.Invalid = true
		return nil
	}
	if err != nil {
		return err
	}
	defer nscstore.Wipe(seed)
	if show {
		k.Seed = string(seed)
	}
	return nil
}

func (a *app) printKeys(list []keyEntry, o listKeysOptions) error {
	if list == nil {
		list = []keyEntry{}
	}
	if done, err := a.structured(list, o.json); done {
		return err
	}
	if a.flags.output == "name" {
		for _, k := range list {
			fmt.Fprintln(a.env.Stdout, k.Pub)
		}
		return nil
	}
	if len(list) == 0 {
		fmt.Fprintln(a.env.Stderr, "no such key")
		return nil
	}
	rows := [][]string{{"NAME", "KIND", "PUBLIC KEY", "SEED"}}
	whole := o.all || o.seeds || o.filter != "" || a.flags.output == "wide"
	for i, k := range list {
		if k.fleet == "" || whole {
			rows = append(rows, []string{k.Name, k.kind(), k.Pub, k.seed()})
			continue
		}
		same := func(x keyEntry) bool { return x.Name == k.Name && x.fleet == k.fleet }
		if slices.IndexFunc(list, same) == i {
			rows = append(rows, fleetRow(slices.DeleteFunc(slices.Clone(list[i:]), func(x keyEntry) bool { return !same(x) })))
		}
	}
	return printTable(a.env.Stdout, rows)
}

func (k keyEntry) seed() string {
	switch {
	case k.Invalid:
		return "damaged"
	case k.Seed != "":
		return k.Seed
	case k.sealed:
		return "sealed"
	case k.Path != "":
		return "stored"
	}
	return "not here"
}

func (k keyEntry) kind() string {
	switch {
	case k.role != "":
		return k.Kind + " role " + k.role
	case k.Signing:
		return k.Kind + " signing"
	case k.Kind == kindX25519:
		return kindCurve
	}
	return k.Kind
}

// fleetRow is one row for the keys of a fleet, which are many and alike.
func fleetRow(list []keyEntry) []string {
	numbers := map[string]int{}
	for _, k := range list {
		numbers[k.seed()]++
	}
	var seeds []string
	for _, where := range sortedNames(numbers) {
		text := where
		if len(numbers) > 1 {
			text = fmt.Sprintf("%d %s", numbers[where], where)
		}
		seeds = append(seeds, text)
	}
	return []string{list[0].Name, list[0].Kind + " fleet " + list[0].fleet, count(len(list), "key") + "; see them with --all", strings.Join(seeds, ", ")}
}
