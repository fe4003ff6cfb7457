package archtest_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/accountd/accountd/internal/archtest"
)

// load parses a module made of the given files.
func load(t *testing.T, files map[string]string) *archtest.Module {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, src := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(src)}
	}
	m, err := archtest.Load(fsys, modulePath)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// rules returns the module's rules without its exceptions, which speak of files
// that the small modules of the tests do not have.
func rules() archtest.Rules {
	r := archtest.ModuleRules()
	r.Exceptions = nil
	return r
}

// broken returns "file:line rule name" of each violation.
func broken(found []archtest.Violation) []string {
	var out []string
	for _, v := range found {
		out = append(out, fmt.Sprintf("%s:%d %s %s", v.File, v.Line, v.Rule, v.Name))
	}
	return out
}

// check asserts which rules the one file breaks.
func check(t *testing.T, file, src string, want ...string) {
	t.Helper()
	found := broken(archtest.Check(load(t, map[string]string{file: src}), rules()))
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestImportRulesCatch(t *testing.T) {
	t.Parallel()
	const ours = modulePath + "/"
	cases := []struct{ file, imported string }{
		{"operator/x.go", "net/http"},
		{"accounts/x.go", "github.com/nats-io/nats.go"},
		{"accounts/isolation/x.go", "github.com/nats-io/nats-server/v2/server"},
		{"revocation/x.go", "go.etcd.io/bbolt"},
		{"claims/x.go", "github.com/jackc/pgx/v5"},
		{"keys/x.go", "github.com/spf13/cobra"},
		{"fault/x.go", "net/http/httptest"},
		{"store/x.go", "net/http"},
		{"operator/nscstore/x.go", "net/http"},
		{"resolver/x.go", "go.etcd.io/bbolt"},
		{"resolver/x.go", "github.com/jackc/pgx/v5/pgxpool"},
		{"server/x.go", "github.com/spf13/cobra"},
		{"server/x.go", "github.com/nats-io/nats-server/v2/server"},
		{"internal/cli/x.go", "github.com/nats-io/nats-server/v2/server"},
		{"server/x.go", "go.etcd.io/bbolt"},
		{"server/x.go", "testing"},
		{"server/x.go", ours + "internal/natstest"},
		{"server/x.go", ours + "store/storetest"},
		{"fault/x.go", ours + "keys"},
		{"revocation/x.go", ours + "keys"},
		{"claims/x.go", ours + "store"},
		{"keys/x.go", ours + "operator"},
		{"operator/x.go", ours + "accounts"},
		{"accounts/x.go", ours + "store"},
		{"store/x.go", ours + "accounts"},
		{"store/bolt/x.go", ours + "resolver"},
		{"api/x.go", ours + "resolver"},
		{"api/x.go", ours + "server/node"},
		{"resolver/x.go", ours + "server"},
		{"server/node/x.go", ours + "internal/cli"},
	}
	for _, c := range cases {
		src := fmt.Sprintf("package x\n\nimport _ %q\n", c.imported)
		m := load(t, map[string]string{c.file: src})
		found := archtest.Check(m, rules())
		if !slices.Contains(broken(found), c.file+":3 import "+c.imported) {
			t.Errorf("%s may import %s: %v", c.file, c.imported, found)
		}
		inTest := strings.TrimSuffix(c.file, ".go") + "_test.go"
		if found := archtest.Check(load(t, map[string]string{inTest: src}), rules()); len(found) != 0 {
			t.Errorf("a test may import what it needs: %v", found)
		}
	}
}

func TestImportRulesAllow(t *testing.T) {
	t.Parallel()
	const ours = modulePath + "/"
	for _, c := range []struct{ file, imported string }{
		{"cmd/nsc/x.go", "github.com/spf13/cobra"},
		{"internal/cli/nsc/x.go", "github.com/spf13/cobra"},
		{"server/node/x.go", "github.com/nats-io/nats-server/v2/server"},
		{"server/node/x.go", "go.etcd.io/bbolt"},
		{"internal/natstest/x.go", "testing"},
		{"store/storetest/x.go", "testing"},
		{"store/bolt/x.go", "go.etcd.io/bbolt"},
		{"store/bolt/x.go", ours + "store"},
		{"accounts/x.go", ours + "operator"},
		{"resolver/x.go", ours + "store"},
		{"operator/nscstore/x.go", ours + "internal/durable"},
	} {
		check(t, c.file, fmt.Sprintf("package x\n\nimport _ %q\n", c.imported))
	}
}

// What nsc links counts, not only what it names.
func TestImportRulesFollowWhatNscLinks(t *testing.T) {
	t.Parallel()
	link := func(path string) string { return fmt.Sprintf("package x\n\nimport _ %q\n", path) }
	files := map[string]string{
		"cmd/nsc/main.go":      link(modulePath + "/internal/cli"),
		"internal/cli/x.go":    link(modulePath + "/server/node"),
		"server/node/x.go":     link("github.com/nats-io/nats-server/v2/server"),
		"cmd/accountd/main.go": link(modulePath + "/server/node"),
	}
	want := []string{"cmd/nsc/main.go:3 import " + modulePath + "/internal/cli"}
	if diff := cmp.Diff(want, broken(archtest.Check(load(t, files), rules()))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// A test file of a package is not linked with it.
	files["internal/cli/x_test.go"] = files["internal/cli/x.go"]
	delete(files, "internal/cli/x.go")
	if found := archtest.Check(load(t, files), rules()); len(found) != 0 {
		t.Errorf("test imports were followed: %v", found)
	}
}

func TestBudgetsCatch(t *testing.T) {
	t.Parallel()
	// function returns a function of n lines whose comment does not count.
	function := func(n int) string {
		return "package x\n\n// Long is.\nfunc Long() {\n" + strings.Repeat("\t_ = 1\n", n-2) + "}\n"
	}
	check(t, "a/x.go", function(100))
	check(t, "a/x.go", function(101), "a/x.go:4 function-length Long")
	check(t, "a/x_test.go", function(120))
	check(t, "a/x_test.go", function(121), "a/x_test.go:4 function-length Long")

	// decisions returns a method whose complexity is n+8.
	decisions := func(n int) string {
		return `package x

func (r *T[K]) Twist(a, b bool, c chan int) {
	for range 3 {
		func() { _ = a && b || a }()
	}
	for a {
	}
	switch { case a: case b: default: }
	select { case <-c: default: }
` + strings.Repeat("\tif a {}\n", n) + "}\n"
	}
	check(t, "a/x.go", decisions(17))
	check(t, "a/x.go", decisions(18), "a/x.go:3 cyclomatic T.Twist")

	lines := func(n int) string { return "package x\n" + strings.Repeat("// x\n", n-1) }
	check(t, "a/x.go", lines(500))
	check(t, "a/x.go", lines(501), "a/x.go:1 file-length x")
	check(t, "a/x_test.go", lines(501), "a/x_test.go:1 file-length x")

	check(t, "a/x.go", "package x\n\ntype I interface { A(); B(); C(); D(); E(); F(); G() }\n")
	check(t, "a/x.go", "package x\n\ntype I interface { A(); B(); C(); D(); E(); F(); G(); H() }\n",
		"a/x.go:3 interface-size I")
	check(t, "a/x.go", "package x\n\ntype (\n\tI interface { A(); B(); C(); D() }\n\tJ interface { I; E(); F(); G(); H() }\n)\n",
		"a/x.go:5 interface-size J")
}

func TestStateCatches(t *testing.T) {
	t.Parallel()
	check(t, "a/x.go", "package x\n\nfunc init() {}\n", "a/x.go:3 init init")
	check(t, "a/x_test.go", "package x\n\nvar n int\n\nfunc init() {}\n")
	check(t, "a/x.go", `package x

import (
	"encoding/base32"
	"errors"
	"regexp"
)

var ErrGone = errors.New("gone")
var word = regexp.MustCompile("[a-z]+")
var b32 = base32.StdEncoding.WithPadding(base32.NoPadding)
var bucket = []byte("records")
var _ error = T{}

//go:embed help.txt
var help string
`)
	check(t, "a/x.go", `package x

var count int
var table = map[string]int{"a": 1}
var (
	a, b = two()
	c    = []byte{1}
	d    = make(chan int)
)
`,
		"a/x.go:3 package-state count", "a/x.go:4 package-state table",
		"a/x.go:6 package-state a", "a/x.go:6 package-state b",
		"a/x.go:7 package-state c", "a/x.go:8 package-state d")
}

func TestCallsCatch(t *testing.T) {
	t.Parallel()
	environment := `package x

import (
	"fmt"
	sys "os"
)

func run() {
	_ = sys.Getenv("HOME")
	_ = sys.Args
	fmt.Println("x")
	fmt.Fprintln(sys.Stderr, "x")
	sys.Exit(1)
}
`
	check(t, "a/x.go", environment,
		"a/x.go:9 environment run", "a/x.go:10 environment run", "a/x.go:11 environment run",
		"a/x.go:12 environment run", "a/x.go:13 environment run")
	check(t, "cmd/nsc/main.go", environment)
	check(t, "a/x_test.go", environment)
	check(t, "a/x.go", "package x\n\nimport \"os\"\n\nvar _ = os.Stdin\n", "a/x.go:5 environment _")

	check(t, "a/x_test.go", `package x

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestX(t *testing.T) {
	t.Skip("later")
	time.Sleep(1)
	synctest.Test(t, func(t *testing.T) { time.Sleep(1) })
}
`, "a/x_test.go:10 skip TestX", "a/x_test.go:11 sleep TestX")
}

func TestExceptionsExcuseOnlyWhatTheyName(t *testing.T) {
	t.Parallel()
	m := load(t, map[string]string{"a/x.go": "package x\n\nvar n int\n\nvar m int\n"})
	r := rules()
	r.Exceptions = []archtest.Exception{
		{Rule: "package-state", File: "a/x.go", Name: "n", Reason: "a test"},
		{Rule: "package-state", File: "a/x.go", Name: "gone", Reason: "a test"},
	}
	want := []string{"a/x.go:0 exception package-state gone", "a/x.go:5 package-state m"}
	if diff := cmp.Diff(want, broken(archtest.Check(m, r))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.Exceptions = []archtest.Exception{
		{Rule: "package-state", File: "a/x.go", Name: "n"},
		{Rule: "package-state", File: "a/x.go", Name: "m", Reason: "a test"},
	}
	want = []string{"a/x.go:0 exception package-state n"}
	if diff := cmp.Diff(want, broken(archtest.Check(m, r))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadLeavesOutWhatIsNoPartOfTheModule(t *testing.T) {
	t.Parallel()
	m := load(t, map[string]string{
		"go.mod":              "module " + modulePath,
		"a/x.go":              "package x\n",
		"a/testdata/broken":   "",
		"a/testdata/x.go":     "not go",
		".git/x.go":           "not go",
		"_old/x.go":           "not go",
		"tools/go.mod":        "module tools",
		"tools/sub/x.go":      "not go",
		"a/readme.md":         "",
		"internal/deep/er.go": "package er\n",
	})
	got := map[string]bool{}
	for _, f := range m.Files {
		got[f.Path] = true
	}
	want := map[string]bool{"a/x.go": true, "internal/deep/er.go": true}
	if !maps.Equal(got, want) {
		t.Errorf("loaded %v, want %v", got, want)
	}
}

func TestViolationNamesPlaceRuleAndLimit(t *testing.T) {
	t.Parallel()
	m := load(t, map[string]string{"api/x.go": "package api\n\nimport _ \"" + modulePath + "/server\"\n"})
	found := archtest.Check(m, rules())
	if len(found) != 1 {
		t.Fatalf("found %v", found)
	}
	got := found[0].String()
	for _, part := range []string{"api/x.go:3: [import]", "may not be imported here"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q lacks %q", got, part)
		}
	}
}
