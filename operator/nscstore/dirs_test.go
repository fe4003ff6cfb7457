package nscstore

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/accountd/accountd/fault"
)

func TestResolveDirs(t *testing.T) {
	t.Parallel()
	const config, data = "/home/u/.config/nats/nsc", "/home/u/.local/share/nats/nsc"
	for _, c := range []struct {
		name   string
		opts   DirOptions
		env    map[string]string
		exists []string
		want   Dirs
	}{
		{name: "defaults", want: Dirs{Config: config, Stores: data + "/stores", Keys: data + "/keys"}},
		{
			name: "xdg", env: map[string]string{"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"},
			want: Dirs{Config: "/c/nats/nsc", Stores: "/d/nats/nsc/stores", Keys: "/d/nats/nsc/keys"},
		},
		{
			name: "variables", env: map[string]string{"NSC_HOME": "/n", "NKEYS_PATH": "/k", "NSC_NO_GIT_IGNORE": "1"},
			want: Dirs{Config: "/n", Stores: data + "/stores", Keys: "/k", NoGitIgnore: true},
		},
		{
			name: "flags over variables", env: map[string]string{"NSC_HOME": "/n", "NKEYS_PATH": "/k"},
			opts: DirOptions{ConfigDir: "/fc", DataDir: "/fd", KeystoreDir: "/fk"},
			want: Dirs{Config: "/fc", Stores: "/fd", Keys: "/fk"},
		},
		{
			name: "all over flags", opts: DirOptions{AllDirs: "/h", ConfigDir: "/fc", DataDir: "/fd", KeystoreDir: "/fk"},
			want: Dirs{Config: "/h", Stores: "/h", Keys: "/h"},
		},
		{
			name: "legacy", exists: []string{"/home/u/.nsc/nsc.json", "/home/u/.nsc/nats", "/home/u/.nkeys"},
			want: Dirs{Config: "/home/u/.nsc", Stores: "/home/u/.nsc/nats", Keys: "/home/u/.nkeys"},
		},
		{
			name:   "new over legacy",
			exists: []string{"/home/u/.nsc/nsc.json", "/home/u/.nsc/nats", "/home/u/.nkeys", config + "/nsc.json", data + "/stores", data + "/keys"},
			want:   Dirs{Config: config, Stores: data + "/stores", Keys: data + "/keys"},
		},
		{
			name: "new without nsc.json", exists: []string{"/home/u/.nsc/nsc.json", config},
			want: Dirs{Config: "/home/u/.nsc", Stores: data + "/stores", Keys: data + "/keys"},
		},
		{
			name: "legacy without nsc.json", exists: []string{"/home/u/.nsc"},
			want: Dirs{Config: config, Stores: data + "/stores", Keys: data + "/keys"},
		},
	} {
		c.opts.Home = "/home/u"
		c.opts.Getenv = func(k string) string { return c.env[k] }
		c.opts.Exists = func(name string) bool { return slices.Contains(c.exists, name) }
		got, err := ResolveDirs(c.opts)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	_, err := ResolveDirs(DirOptions{ConfigDir: "/c", DataDir: "/d"})
	wantFault(t, err, fault.Invalid, "")
	if _, err := ResolveDirs(DirOptions{AllDirs: "/h"}); err != nil {
		t.Error(err)
	}
}

// fakeTree maps the folder of an operator to its accounts.
type fakeTree map[string][]string

func (f fakeTree) IsOperator(dir string) bool { _, ok := f[dir]; return ok }

func (f fakeTree) Operators(root string) []string {
	var names []string
	for _, dir := range slices.Sorted(maps.Keys(f)) {
		if filepath.Dir(dir) == root {
			names = append(names, filepath.Base(dir))
		}
	}
	return names
}

func (f fakeTree) Accounts(root, operator string) []string { return f[filepath.Join(root, operator)] }

func TestResolveContext(t *testing.T) {
	t.Parallel()
	tree := fakeTree{"/s/O": {"A", "B"}, "/s/P": {"C"}, "/one/Q": {"A"}, "/copy/O": {"A", "B"}, "/copy/P": {"C", "D"}, "/empty/R": nil}
	remembered := Config{StoreRoot: "/s", Operator: "O", Account: "B"}
	for _, c := range []struct {
		name string
		opts ContextOptions
		want Context
	}{
		{"remembered", ContextOptions{Config: remembered, Cwd: "/x"}, Context{StoreRoot: "/s", Operator: "O", Account: "B"}},
		{"default root", ContextOptions{Stores: "/one"}, Context{StoreRoot: "/one", Operator: "Q", Account: "A"}},
		{"vanished account", ContextOptions{Config: Config{StoreRoot: "/s", Operator: "O", Account: "Z"}}, Context{StoreRoot: "/s", Operator: "O"}},
		{"vanished operator", ContextOptions{Config: Config{StoreRoot: "/s", Operator: "Z", Account: "A"}}, Context{StoreRoot: "/s"}},
		{"only account", ContextOptions{Config: Config{StoreRoot: "/s", Operator: "P", Account: "Z"}}, Context{StoreRoot: "/s", Operator: "P", Account: "C"}},
		{"in operator", ContextOptions{Config: remembered, Cwd: "/s/P"}, Context{StoreRoot: "/s", Operator: "P", Account: "C"}},
		{"in another operator", ContextOptions{Config: Config{StoreRoot: "/s", Operator: "P", Account: "A"}, Cwd: "/s/O"}, Context{StoreRoot: "/s", Operator: "O"}},
		{"in store root", ContextOptions{Config: remembered, Cwd: "/s"}, Context{StoreRoot: "/s", Operator: "O", Account: "B"}},
		{"in another store", ContextOptions{Config: remembered, Cwd: "/copy"}, Context{StoreRoot: "/copy", Operator: "O", Elsewhere: true}},
		{"in an account", ContextOptions{Config: remembered, Cwd: "/s/O/accounts/A/users"}, Context{StoreRoot: "/s", Operator: "O", Account: "A"}},
		{"in an account of another store", ContextOptions{Config: remembered, Cwd: "/copy/O/accounts/A"}, Context{StoreRoot: "/copy", Operator: "O", Account: "A", Elsewhere: true}},
		{"in accounts", ContextOptions{Config: remembered, Cwd: "/s/O/accounts"}, Context{StoreRoot: "/s", Operator: "O", Account: "B"}},
		{"in operator without accounts", ContextOptions{Config: remembered, Cwd: "/empty/R"}, Context{StoreRoot: "/empty", Operator: "R", Elsewhere: true}},
		{"in a store, nothing remembered", ContextOptions{Stores: "/d", Cwd: "/s/O"}, Context{StoreRoot: "/s", Operator: "O"}},
		{"in a store beside the usual one", ContextOptions{Stores: "/one", Cwd: "/s/P"}, Context{StoreRoot: "/s", Operator: "P", Account: "C", Elsewhere: true}},
		{"data dir", ContextOptions{Config: remembered, Cwd: "/s/O", DataDir: "/one"}, Context{StoreRoot: "/one", Operator: "Q", Account: "A", Elsewhere: true}},
		{"data dir of another store", ContextOptions{Config: remembered, DataDir: "/copy"}, Context{StoreRoot: "/copy", Operator: "O", Elsewhere: true}},
		{"data dir that is remembered", ContextOptions{Config: remembered, Cwd: "/one/Q", DataDir: "/s"}, Context{StoreRoot: "/s", Operator: "O", Account: "B"}},
		{"data dir, nothing remembered", ContextOptions{Stores: "/d", DataDir: "/s"}, Context{StoreRoot: "/s"}},
		{"cwd only", ContextOptions{Config: remembered, Stores: "/d", CwdOnly: true, Cwd: "/x"}, Context{StoreRoot: "/x", Elsewhere: true}},
		{"cwd only, in account", ContextOptions{Config: remembered, Stores: "/d", CwdOnly: true, Cwd: "/s/O/accounts/A"}, Context{StoreRoot: "/s", Operator: "O", Account: "A", Elsewhere: true}},
	} {
		if diff := cmp.Diff(c.want, ResolveContext(c.opts, tree)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestDiskTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := ResolveContext(ContextOptions{Cwd: filepath.Join(w.dirs.Stores, "O", "accounts", "A")}, DiskTree{})
	if want := (Context{StoreRoot: w.dirs.Stores, Operator: "O", Account: "A"}); got != want {
		t.Errorf("context %+v, want %+v", got, want)
	}
	if got := ResolveContext(ContextOptions{Stores: "/nowhere"}, DiskTree{}); got != (Context{StoreRoot: "/nowhere"}) {
		t.Errorf("context of nothing: %+v", got)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "nats", "nsc")
	file := filepath.Join(dir, "nsc.json")
	if cfg, err := LoadConfig(dir); err != nil || cfg.Operator != "" {
		t.Errorf("without a file: %+v %v", cfg, err)
	}
	set := func(operator string) {
		t.Helper()
		err := UpdateConfig(t.Context(), dir, time.Unix(1700000000, 0), func(c *Config) error {
			c.StoreRoot, c.Operator = "/s <&>", operator
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	set("O")
	const fresh = `{"store_root":"/s \u003c\u0026\u003e","operator":"O","account":"","github_updates":"nats-io/nsc","last_update":1700000000}`
	if got, mode := readFile(t, file); got != fresh || mode != 0o600 {
		t.Errorf("nsc.json is %s, mode %o", got, mode)
	}
	writeFile(t, file, `{ "new" : {"b":1, "a":1.50}, "operator":"X","store_root":"/", "last_update": 12345678901234567890 }`)
	set("P")
	const kept = `{"new":{"b":1,"a":1.50},"operator":"P","store_root":"/s \u003c\u0026\u003e","last_update":12345678901234567890,"account":""}`
	if got, _ := readFile(t, file); got != kept {
		t.Errorf("nsc.json is\n%s, want\n%s", got, kept)
	}
	for _, content := range []string{"", "{", "[]", `{"operator":1}`, `{"operator":"O"}}`, `{"a" 1}`} {
		writeFile(t, file, content)
		_, err := LoadConfig(dir)
		wantFault(t, err, fault.Invalid, "file-damaged")
		if err != nil && !strings.Contains(err.Error(), file) {
			t.Errorf("%v does not name the file", err)
		}
		err = UpdateConfig(context.Background(), dir, time.Unix(0, 0), func(*Config) error { return nil })
		wantFault(t, err, fault.Invalid, "file-damaged")
	}
}
