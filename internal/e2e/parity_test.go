package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/internal/natstest"
)

// parityBase are the commands before every story, run by the official nsc.
const parityBase = `nsc add operator O
nsc add account B
nsc add user v -a B
nsc add account A
nsc add user u -a A`

// TestParity runs every story in testdata/parity with the official nsc and with
// ours, each on its copy of one store, and compares the decoded claims of all
// JWTs after every line that is for both. A story is a file of command lines for a shell:
//
//	nsc add account C        both tools, and both succeed
//	! nsc add account A      both refuse it, and ours changes no file
//	ours: LINE               ours alone
//	official: LINE           the official one alone
//	asked: LINE              both, and ours asks and is answered with --yes
//	differs A PATH           a deliberate difference, described in
//	                         docs/differences.md: the claim at PATH of account
//	                         A (user A/u, operator O, file x.jwt) is not
//	                         compared, and differs at the end
//	# TEXT                   a comment
//
// The store begins with operator O, accounts A and B, and their users A/u and
// B/v; A is the current account. {A} stands for a public key, {A.sk} for the
// only signing key of A or O. Ours runs with --no-push. Files named *.jwt in the
// working folder are compared, too.
func TestParity(t *testing.T) {
	t.Parallel()
	base := officialSide(t)
	stories, err := filepath.Glob("testdata/parity/*.txt")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range stories {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &parity{t: t, official: base.copy(t, base.nsc), ours: base.copy(t, filepath.Join(binDir(t), "nsc"))}
			p.ours.flags = " --no-push"
			p.tell(string(text))
		})
	}
}

// officialSide is the official tool after the commands of parityBase.
func officialSide(t *testing.T) *side {
	t.Helper()
	s := &side{t: t, home: t.TempDir(), nsc: natstest.OfficialNSC(t)}
	for line := range strings.Lines(parityBase) {
		s.must(strings.TrimSpace(line))
	}
	return s
}

// parity is one story as it is told.
type parity struct {
	t              *testing.T
	official, ours *side
	differs        [][2]string // the claims and the path of each deliberate difference
}

func (p *parity) tell(story string) {
	var lines []string
	for line := range strings.Lines(story) {
		line = strings.TrimSpace(line)
		where, difference := strings.CutPrefix(line, "differs ")
		if of, path, ok := strings.Cut(where, " "); difference && ok {
			p.differs = append(p.differs, [2]string{of, path})
		} else if line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		p.t.Fatal("a story without command lines")
	}
	for _, line := range lines {
		if both := p.run(line); both {
			p.compare(line)
		}
	}
	p.compare(lines[len(lines)-1])
	official, ours := p.official.claims(), p.ours.claims()
	for _, d := range p.differs {
		if was, is := cut(official[d[0]], d[1]), cut(ours[d[0]], d[1]); cmp.Equal(was, is) {
			p.t.Errorf("%s of %s is a deliberate difference, and both have %v", d[1], d[0], is)
		}
	}
}

// run runs a line and reports whether it was for both tools.
func (p *parity) run(line string) bool {
	p.t.Helper()
	sides := []*side{p.official, p.ours}
	if rest, only := strings.CutPrefix(line, "ours: "); only {
		line, sides = rest, sides[1:]
	} else if rest, only := strings.CutPrefix(line, "official: "); only {
		line, sides = rest, sides[:1]
	}
	line, asked := strings.CutPrefix(line, "asked: ")
	line, refused := strings.CutPrefix(line, "! ")
	for _, s := range sides {
		if asked && s == p.ours {
			line = strings.Replace(line, "nsc ", "nsc --yes ", 1)
		}
		if !refused {
			s.must(line)
			continue
		}
		before := s.files()
		if out, err := s.run(line); err == nil {
			p.t.Fatalf("%s takes: %s\n%s", s.nsc, line, out)
		}
		if s == p.ours && !cmp.Equal(before, s.files()) {
			p.t.Fatalf("refused, and yet it changed files: %s", line)
		}
	}
	return len(sides) == 2
}

func (p *parity) compare(line string) {
	p.t.Helper()
	official, ours := p.official.claims(), p.ours.claims()
	for _, d := range p.differs {
		cut(official[d[0]], d[1])
		cut(ours[d[0]], d[1])
	}
	if diff := cmp.Diff(official, ours); diff != "" {
		p.t.Fatalf("after: %s\n- official, + ours:\n%s", line, diff)
	}
}

// side is one tool with its home.
type side struct {
	t                *testing.T
	home, nsc, flags string
}

// copy returns another side that begins with the files of s.
func (s *side) copy(t *testing.T, nsc string) *side {
	t.Helper()
	to := &side{t: t, home: t.TempDir(), nsc: nsc}
	for name, data := range s.files() {
		path := filepath.Join(to.home, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, bytes.ReplaceAll(data, []byte(s.home), []byte(to.home)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// files returns all files of the side by name, locks excepted.
func (s *side) files() map[string][]byte {
	s.t.Helper()
	out := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(s.home), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) == ".lock" {
			return err
		}
		out[name], err = os.ReadFile(filepath.Join(s.home, name))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *side) must(line string) {
	s.t.Helper()
	if out, err := s.run(line); err != nil {
		s.t.Fatalf("%s: %s: %v\n%s", s.nsc, line, err, out)
	}
}

var keyName = regexp.MustCompile(`\{[\w./-]+\}`)

// run runs a line in a shell.
func (s *side) run(line string) ([]byte, error) {
	s.t.Helper()
	line = keyName.ReplaceAllStringFunc(line, func(name string) string { return s.key(strings.Trim(name, "{}")) })
	cmd := exec.Command("sh", "-c", strings.Replace(line, "nsc ", "nsc"+s.flags+" ", 1))
	cmd.Dir = s.home
	cmd.Env = []string{"HOME=" + s.home, "PATH=" + filepath.Dir(s.nsc) + string(os.PathListSeparator) + os.Getenv("PATH")}
	return cmd.CombinedOutput()
}

// key returns the public key that a name in a story stands for.
func (s *side) key(name string) string {
	s.t.Helper()
	of, signing := strings.CutSuffix(name, ".sk")
	c := s.decoded()[of]
	if c == nil {
		s.t.Fatalf("{%s} names no claim", name)
	}
	keys := []string{c.Claims().Subject}
	if signing {
		switch c := c.(type) {
		case *jwt.AccountClaims:
			keys = c.SigningKeys.Keys()
		case *jwt.OperatorClaims:
			keys = c.SigningKeys
		}
	}
	if len(keys) != 1 {
		s.t.Fatalf("{%s} may be any of %v", name, keys)
	}
	return keys[0]
}

// decoded returns the claims of all JWTs of the side: an operator as O, or as
// "operator O" if an account has its name, an account as A, a user as A/u, what
// is in its credentials as A/u.creds, and files in the working folder by their
// name.
func (s *side) decoded() map[string]jwt.Claims {
	s.t.Helper()
	out := map[string]jwt.Claims{}
	files := s.files()
	for _, name := range slices.Sorted(maps.Keys(files)) { // of two of one name, always the same
		data, kind := files[name], filepath.Ext(name)
		if kind != ".jwt" && kind != ".creds" || strings.Contains(name, "/.accountd/") { // what is there is ours alone
			continue
		}
		token, err := jwt.ParseDecoratedJWT(data)
		if err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		c, err := jwt.Decode(token)
		if err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		if kind == ".creds" {
			name = filepath.Base(filepath.Dir(name)) + "/" + filepath.Base(name)
		} else if strings.Contains(name, "/") {
			dir, file := filepath.Split(strings.TrimSuffix(name, ".jwt"))
			name = file
			if parent, ok := strings.CutSuffix(dir, "/users/"); ok {
				name = filepath.Base(parent) + "/" + file
			}
		}
		_, operator := c.(*jwt.OperatorClaims)
		if _, taken := out[name].(*jwt.AccountClaims); operator && taken {
			name = "operator " + name
		}
		out[name] = c
	}
	return out
}

// claims is decoded as trees that can be compared: without what every signature
// changes and with names for keys.
func (s *side) claims() map[string]any {
	s.t.Helper()
	all := s.decoded()
	names := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c := all[name]
		if names[c.Claims().Subject] == "" || filepath.Ext(name) != ".jwt" && filepath.Ext(name) != ".creds" {
			names[c.Claims().Subject] = "key of " + name
		}
	}
	out := map[string]any{}
	for name, c := range all {
		tree, err := treeOf(c, names)
		if err != nil {
			s.t.Fatal(err)
		}
		out[name] = tree
	}
	return out
}

// publicKey is the form of a public key.
var publicKey = regexp.MustCompile(`\b[AOUX][A-Z2-7]{55}\b`)

func treeOf(c jwt.Claims, names map[string]string) (any, error) {
	if ac, ok := c.(*jwt.AccountClaims); ok {
		withoutLeftovers(&ac.Limits)
	}
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	data = publicKey.ReplaceAllFunc(data, func(key []byte) []byte {
		if name := names[string(key)]; name != "" {
			return []byte(name)
		}
		return fmt.Appendf(nil, "new key %c", key[0])
	})
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, err
	}
	delete(tree, "iat")
	delete(tree, "jti")
	nats, _ := tree["nats"].(map[string]any)
	if list, ok := nats["signing_keys"].([]any); ok { // they are sorted by keys that differ
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	imports, _ := nats["imports"].([]any)
	for _, im := range imports {
		if im, ok := im.(map[string]any); ok && im["token"] != nil {
			act, err := jwt.DecodeActivationClaims(im["token"].(string))
			if err == nil {
				im["token"], err = treeOf(act, names)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return tree, nil
}

// withoutLeftovers removes the limits of -1 that the official tool leaves in
// accounts without JetStream, and global limits beside tiers, which the library
// does not honour either.
func withoutLeftovers(l *jwt.OperatorLimits) {
	js := &l.JetStreamLimits
	if len(l.JetStreamTieredLimits) > 0 {
		*js = jwt.JetStreamLimits{}
	}
	if l.IsJSEnabled() {
		return
	}
	for _, n := range []*int64{&js.Streams, &js.Consumer, &js.MaxAckPending, &js.MemoryMaxStreamBytes, &js.DiskMaxStreamBytes} {
		if *n == jwt.NoLimit {
			*n = 0
		}
	}
}

// cut removes the value at a path of names and positions and returns it.
func cut(tree any, path string) any {
	name, rest, more := strings.Cut(path, ".")
	switch node := tree.(type) {
	case map[string]any:
		if more {
			return cut(node[name], rest)
		}
		v := node[name]
		delete(node, name)
		return v
	case []any:
		if i, err := strconv.Atoi(name); err == nil && i < len(node) && more {
			return cut(node[i], rest)
		}
	}
	return nil
}

// TestParityFindsDifferences: the comparison sees one field that differs, in a
// claim, in an activation within it, and in whose key it is.
func TestParityFindsDifferences(t *testing.T) {
	t.Parallel()
	names := map[string]string{}
	one := func(change func(*jwt.AccountClaims)) any {
		ac := jwt.NewAccountClaims(strings.Repeat("A", 56))
		ac.Imports.Add(&jwt.Import{Subject: "x", Account: strings.Repeat("A", 56)})
		change(ac)
		tree, err := treeOf(ac, names)
		if err != nil {
			t.Fatal(err)
		}
		return tree
	}
	same := one(func(*jwt.AccountClaims) {})
	for _, change := range []func(*jwt.AccountClaims){
		func(ac *jwt.AccountClaims) { ac.Limits.Conn = 1 },
		func(ac *jwt.AccountClaims) { ac.Imports[0].Account = "U" + strings.Repeat("A", 55) },
		func(ac *jwt.AccountClaims) { ac.Imports[0].Share = true },
	} {
		if cmp.Equal(same, one(change)) {
			t.Error("a difference is not seen")
		}
	}
	if v := cut(maps.Clone(same.(map[string]any)), "nats.imports.0.subject"); v != "x" {
		t.Errorf("cut %v", v)
	}
}
