package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

// profileScheme begins the name of an operator, account or user in a profile.
const profileScheme = "nsc://"

func newGenerateProfile(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "profile <nsc://operator[/account[/user]][?what]>", Short: "Print what a tool needs to connect as a user, as JSON",
		Long: `Print where to connect and with which credentials, as JSON for other tools. After
the question mark, joined by &: names, keys and seeds for all that the URL names;
name, key and seed for the last; operatorName, accountKey, userSeed and the like
for one. accountSeed=KEY is the seed of a signing key. store=DIR and keystore=DIR
name other folders.`,
		Example: `  nsc generate profile nsc://acme/app/device1
  nsc generate profile 'nsc://acme/app/device1?names&keys'
  nsc generate profile 'nsc://acme/app/device1?userSeed' -o device1.json
  nsc generate profile 'nsc://acme?store=./stores&keystore=./keys'`,
		Args: args(1, 1, "the URL, such as nsc://acme/app/device1,"),
		RunE: func(cmd *cobra.Command, given []string) error {
			q, err := parseProfile(given[0])
			if err != nil {
				return err
			}
			return a.generateProfile(cmd.Context(), q, output)
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// profileQuery is the URL of a profile: up to three names, and what is wanted.
type profileQuery struct {
	names []string          // operator, account, user
	want  map[string]string // by words in lower case
}

func profileURL(names ...string) string {
	for i, n := range names {
		names[i] = url.PathEscape(n)
	}
	return profileScheme + strings.Join(names, "/")
}

func parseProfile(text string) (profileQuery, error) {
	bad := usage("%q names no profile", text).WithHint("such as nsc://acme/app/device1")
	if len(text) < len(profileScheme) || !strings.EqualFold(text[:len(profileScheme)], profileScheme) {
		return profileQuery{}, bad
	}
	path, query, _ := strings.Cut(text[len(profileScheme):], "?")
	q := profileQuery{want: map[string]string{}}
	for _, name := range strings.Split(strings.TrimSuffix(path, "/"), "/") {
		name, err := url.PathUnescape(name)
		if err != nil || name == "" {
			return profileQuery{}, bad
		}
		q.names = append(q.names, name)
	}
	if len(q.names) > len(profileKinds()) {
		return profileQuery{}, bad
	}
	for _, word := range strings.FieldsFunc(query, func(c rune) bool { return c == '&' }) {
		word, value, _ := strings.Cut(word, "=")
		value, err := url.QueryUnescape(value)
		if err != nil || !slices.Contains(profileWords(), strings.ToLower(word)) {
			return profileQuery{}, usage("a profile has no %q", word).WithHint("nsc generate profile --help lists what it has")
		}
		q.want[strings.ToLower(word)] = value
	}
	return q, nil
}

func profileKinds() []string { return []string{kindOperator, kindAccount, kindUser} }

func profileWords() []string {
	words := []string{"store", "keystore"}
	for _, what := range []string{"name", "key", "seed"} {
		words = append(words, what, what+"s")
		for _, kind := range profileKinds() {
			words = append(words, kind+what)
		}
	}
	return words
}

// wants reports whether what, of the i-th name, was asked for, and the value
// that was given with it.
func (q profileQuery) wants(i int, what string) (string, bool) {
	if value, ok := q.want[profileKinds()[i]+what]; ok {
		return value, true
	}
	if value, ok := q.want[what]; ok && i == len(q.names)-1 {
		return value, true
	}
	_, ok := q.want[what+"s"]
	return "", ok
}

// profileEntry is the official JSON of one name.
type profileEntry struct {
	Service []string `json:"service,omitempty"`
	Name    string   `json:"name,omitempty"`
	Seed    string   `json:"seed,omitempty"`
	Key     string   `json:"id,omitempty"`
}

// profile is the official JSON of generate profile.
type profile struct {
	Creds    string        `json:"user_creds,omitempty"`
	Operator *profileEntry `json:"operator,omitempty"`
	Account  *profileEntry `json:"account,omitempty"`
	User     *profileEntry `json:"user,omitempty"`
}

// holder is what a name of a profile stands for.
type holder struct {
	name, key string
	signing   []string // its signing keys
}

func (a *app) generateProfile(ctx context.Context, q profileQuery, output string) error {
	a.flags.dataDir = first(q.want["store"], a.flags.dataDir)
	a.flags.keysDir = first(q.want["keystore"], a.flags.keysDir)
	s, err := a.session()
	if err != nil {
		return err
	}
	r, err := s.profileOperator(ctx, q.names[0])
	if err != nil {
		return err
	}
	holders := []holder{{r.Name(), r.doc.Subject, r.claims.SigningKeys}}
	p := profile{}
	if len(q.names) > 1 {
		ac, err := s.account(r, q.names[1])
		if err != nil {
			return err
		}
		holders = append(holders, holder{ac.name, ac.key, ac.claims.SigningKeys.Keys()})
		if len(q.names) > 2 {
			user, err := s.profileUser(r, ac, q.names[2], &p)
			if err != nil {
				return err
			}
			holders = append(holders, user)
		}
	}
	var secret bool
	for i, to := range []**profileEntry{&p.Operator, &p.Account, &p.User}[:len(holders)] {
		e, err := s.profileEntry(q, i, holders[i])
		if err != nil {
			return err
		}
		secret = secret || e.Seed != ""
		if i == 0 {
			e.Service = r.claims.OperatorServiceURLs
		}
		if i == 0 || e.Name+e.Key+e.Seed != "" {
			*to = &e
		}
	}
	if secret && output == stdoutName && a.env.Terminal && !a.flags.yes {
		return usage("seeds are secrets, and this is a terminal").WithHint("write them to a file with -o, or show them with --yes")
	}
	if _, err := os.Lstat(a.path(output)); output != stdoutName && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Conflict, "%s exists already", a.shown(a.path(output))).About("file", output).ByRule("exists").
			WithHint("name another file, or remove it first")
	}
	var out bytes.Buffer
	if err := printJSON(&out, p); err != nil {
		return err
	}
	return a.writeResult(output, out.Bytes())
}

// profileOperator opens the operator of a folder's name, a claim's name or a
// public key, whichever is current.
func (s *session) profileOperator(ctx context.Context, name string) (*root, error) {
	names, err := s.store.Operators()
	if err != nil {
		return nil, err
	}
	if slices.Contains(names, name) {
		return s.at(ctx, name)
	}
	for _, n := range names {
		r, err := s.at(ctx, n)
		if err == nil && (r.doc.Subject == name || strings.EqualFold(r.doc.Name, name) || strings.EqualFold(n, name)) {
			return r, nil
		}
	}
	return nil, withNearest(fault.New(fault.NotFound, "no operator %q in %s", name, s.context.StoreRoot).About("operator", name), name, names)
}

func (s *session) profileUser(r *root, ac *account, name string, p *profile) (holder, error) {
	name, err := r.User(ac.name, name)
	if err != nil {
		return holder{}, err
	}
	doc, err := r.user(ac.name, name)
	if err != nil {
		return holder{}, err
	}
	path, err := s.store.Keystore().CredsPath(r.Name(), ac.name, name)
	if err != nil {
		return holder{}, err
	}
	if s.hasCreds(r, ac, name, path) == nil {
		p.Creds = path
	}
	return holder{name: name, key: doc.Subject}, nil
}

// profileEntry is what was asked for of the i-th name.
func (s *session) profileEntry(q profileQuery, i int, h holder) (profileEntry, error) {
	var e profileEntry
	if _, ok := q.wants(i, "name"); ok {
		e.Name = h.name
	}
	if _, ok := q.wants(i, "key"); ok {
		e.Key = h.key
	}
	key, ok := q.wants(i, "seed")
	if !ok {
		return e, nil
	}
	candidates := append([]string{h.key}, h.signing...)
	if key = strings.ToUpper(key); key != "" {
		if !slices.Contains(candidates, key) {
			return e, fault.New(fault.NotFound, "%s is no key of %s %q", key, profileKinds()[i], h.name).About("key", key)
		}
		candidates = []string{key}
	}
	for _, key := range candidates {
		seed, err := s.store.Keystore().Seed(key)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		e.Seed = string(seed)
		nscstore.Wipe(seed)
		return e, err
	}
	return e, fault.New(fault.NotFound, "the keystore holds no seed of %s %q", profileKinds()[i], h.name).About("key", h.key)
}
