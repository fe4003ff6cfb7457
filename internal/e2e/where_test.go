package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/accountd/accountd/internal/natstest"
)

// places are the ways to say where things lie. The same lines run with the
// official nsc and with ours, in homes of their own; then the same files must
// lie in the same places, and nsc.json remember the same. ~ is the home, also
// at the beginning of a value; what a case begins with is a line for a shell
// without nsc. Operators O and P, accounts A and B of O, and C of P exist where
// "official:" put them.
var places = []struct {
	name    string
	vars    []string
	cwd     string // below home
	begin   string // lines that only the official nsc runs, on both sides
	lines   string
	differs string // why nsc.json is another here, see docs/differences.md
}{
	{name: "defaults", lines: newStore},
	{name: "NSC_HOME", vars: []string{"NSC_HOME=~/cfg"}, lines: newStore},
	{name: "NKEYS_PATH", vars: []string{"NKEYS_PATH=~/k"}, lines: newStore},
	{name: "XDG_CONFIG_HOME", vars: []string{"XDG_CONFIG_HOME=~/xc"}, lines: newStore},
	{name: "XDG_DATA_HOME", vars: []string{"XDG_DATA_HOME=~/xd"}, lines: newStore},
	{name: "all variables", vars: []string{"NSC_HOME=~/cfg", "NKEYS_PATH=~/k", "XDG_CONFIG_HOME=~/xc", "XDG_DATA_HOME=~/xd"}, lines: newStore},
	{name: "NSC_NO_GIT_IGNORE", vars: []string{"NSC_NO_GIT_IGNORE=1"}, lines: newStore},
	{name: "folders of old releases", begin: twoOperators + `
		mkdir ~/.nsc; mv ~/.config/nats/nsc/nsc.json ~/.nsc/; rm -r ~/.config/nats
		mv ~/.local/share/nats/nsc/stores ~/.nsc/nats; mv ~/.local/share/nats/nsc/keys ~/.nkeys; rm -r ~/.local/share/nats
		sed -i 's,/.local/share/nats/nsc/stores,/.nsc/nats,' ~/.nsc/nsc.json`, lines: "nsc add user x"},
	{name: "old folders beside new ones", begin: twoOperators + `
		mkdir -p ~/.nsc/nats ~/.nkeys; echo '{}' > ~/.nsc/nsc.json`, lines: "nsc add user x"},
	{name: "old folders without nsc.json", begin: `mkdir -p ~/.nsc/nats ~/.nkeys`, lines: newStore},
	{name: "flags", lines: strings.ReplaceAll(newStore, "nsc ", "nsc --config-dir ~/c --data-dir ~/d --keystore-dir ~/k ")},
	{name: "all-dirs", lines: strings.ReplaceAll(newStore, "nsc ", "nsc --all-dirs ~/all ")},
	{name: "all-dirs before flags", lines: strings.ReplaceAll(newStore, "nsc ", "nsc -H ~/all --data-dir ~/d --keystore-dir ~/k ")},
	{name: "flags before variables", vars: []string{"NSC_HOME=~/cfg", "NKEYS_PATH=~/k"},
		lines: strings.ReplaceAll(newStore, "nsc ", "nsc --config-dir ~/c --keystore-dir ~/kk ")},
	{name: "store and keystore in one folder", vars: []string{"NKEYS_PATH=~/one"}, lines: "nsc env -s ~/one\n" + newStore},
	{name: "env --store", begin: twoOperators, lines: "nsc env --store ~/other\n" + newStore},
	{name: "select", begin: twoOperators, lines: "nsc select operator O\nnsc select account B\nnsc add user x"},
	{name: "env --operator --account", begin: twoOperators, lines: "nsc env -o O -a B\nnsc add user x"},
	{name: "in a folder of operators", begin: twoOperators, cwd: stores, lines: newStore},
	{name: "in an operator", begin: twoOperators, cwd: stores + "/P", lines: "nsc add account D\nnsc add user x"},
	{name: "in another operator", begin: twoOperators, cwd: stores + "/O", lines: "nsc add account D\nnsc add user x"},
	{name: "in an account", begin: twoOperators, cwd: stores + "/O/accounts/B", lines: "nsc add user x"},
	{name: "among users", begin: twoOperators + "\nnsc add user u -a C", cwd: stores + "/P/accounts/C/users", lines: "nsc add user x"},
	{name: "in a store that is not remembered", begin: twoOperators + "\ncp -r ~/" + stores + " ~/copy", cwd: "copy/P", lines: "nsc add user x"},
	{name: "NSC_CWD_ONLY in an account", vars: cwdOnly, begin: twoOperators, cwd: stores + "/O/accounts/B", lines: "nsc add user x"},
	{name: "NSC_CWD_ONLY in an operator", vars: cwdOnly, begin: twoOperators, cwd: stores + "/O", lines: "! nsc add user x\nnsc add user x -a A\nnsc add account D\n! nsc add user y"},
	{name: "NSC_CWD_ONLY in an empty folder", vars: cwdOnly, begin: "mkdir ~/w", cwd: "w", lines: "nsc add operator O\nnsc add account A\nnsc add user x"},
	{name: "NSC_CWD_ONLY elsewhere", vars: cwdOnly, begin: "nsc add operator O\nnsc add account A\nmkdir ~/w", cwd: "w", lines: "! nsc add user x -a A\n! nsc add account D\n! nsc env -o O\n! nsc env -a A\n! nsc env -s ~/s"},
	{name: "an operator that is gone", begin: twoOperators + "\nrm -r ~/" + stores + "/P", lines: "nsc add user x -a A"},
	{name: "an account that is gone", begin: twoOperators + "\nnsc select operator O\nnsc select account A\nrm -r ~/" + stores + "/O/accounts/A", lines: "nsc add user x"},
	{name: "a store that is gone", begin: twoOperators + "\nrm -r ~/" + stores, lines: "! nsc add account D\nnsc add operator Q\nnsc add account D"},
	{name: "data-dir of another store", begin: twoOperators + "\ncp -r ~/" + stores + " ~/copy", lines: "nsc --data-dir ~/copy add account D",
		differs: "another store is not remembered"},
	{name: "an account in another store", begin: twoOperators + "\ncp -r ~/" + stores + " ~/copy", cwd: "copy/O", lines: "nsc add account D",
		differs: "another store is not remembered"},
}

var cwdOnly = []string{"NSC_CWD_ONLY=1"}

const (
	stores       = ".local/share/nats/nsc/stores"
	newStore     = "nsc add operator N\nnsc add account E\nnsc add user x"
	twoOperators = "nsc add operator O\nnsc add account A\nnsc add account B\nnsc add operator P\nnsc add account C"
)

func TestWhereThingsLie(t *testing.T) {
	t.Parallel()
	official := natstest.OfficialNSC(t)
	for _, c := range places {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var saw [2]map[string]string
			for i, nsc := range []string{official, filepath.Join(binDir(t), "nsc")} {
				p := &placed{t: t, home: t.TempDir()}
				p.run(official, nil, "", c.begin)
				p.run(nsc, c.vars, c.cwd, c.lines)
				saw[i] = p.saw()
			}
			if c.differs != "" && !cmp.Equal(saw[0], saw[1]) {
				delete(saw[0], ".config/nats/nsc/nsc.json")
				delete(saw[1], ".config/nats/nsc/nsc.json")
			} else if c.differs != "" {
				t.Errorf("nothing differs")
			}
			if diff := cmp.Diff(saw[0], saw[1]); diff != "" {
				t.Errorf("- official, + ours:\n%s", diff)
			}
		})
	}
}

// placed is a home in which one tool works.
type placed struct {
	t    *testing.T
	home string
}

func (p *placed) run(nsc string, vars []string, cwd, lines string) {
	p.t.Helper()
	for line := range strings.Lines(lines) {
		line, refused := strings.CutPrefix(strings.TrimSpace(line), "! ")
		if line == "" {
			continue
		}
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = filepath.Join(p.home, cwd)
		cmd.Env = []string{"HOME=" + p.home, "PATH=" + filepath.Dir(nsc) + string(os.PathListSeparator) + os.Getenv("PATH")}
		for _, v := range vars {
			cmd.Env = append(cmd.Env, strings.Replace(v, "=~", "="+p.home, 1))
		}
		if out, err := cmd.CombinedOutput(); err != nil != refused {
			p.t.Fatalf("%s: %s: %v\n%s", nsc, line, err, out)
		}
	}
}

// keyFile is the place of a key or of one that leads to it.
var keyFile = regexp.MustCompile(`keys/([AOU])/[A-Z2-7]{2}/[AOU][A-Z2-7]{55}\.nk$`)

// saw returns where the files are, with the kind of a key for the key, and what
// nsc.json says.
func (p *placed) saw() map[string]string {
	p.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(p.home, func(name string, d os.DirEntry, err error) error {
		if err != nil || strings.Contains(name, ".accountd") || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(p.home, name)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel = keyFile.ReplaceAllString(rel, "keys/$1")
		out[rel] += info.Mode().String()
		if filepath.Base(rel) == "nsc.json" {
			out[rel] += p.remembers(name)
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

func (p *placed) remembers(file string) string {
	p.t.Helper()
	var c map[string]any
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	delete(c, "last_update")
	var fields []string
	for name, v := range c {
		if s, ok := v.(string); ok {
			fields = append(fields, name+"="+strings.ReplaceAll(s, p.home, "~"))
		}
	}
	slices.Sort(fields)
	return " " + strings.Join(fields, " ")
}
