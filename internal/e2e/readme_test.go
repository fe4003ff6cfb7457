package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/accountd/accountd/internal/natstest"
)

// block is one fenced block of a page.
type block struct {
	line int // of its first line of text
	info string
	text string
}

// TestREADME does what the README says, in a fresh copy of the sources and in
// the order of its blocks: "sh terminal=1" in a terminal of its own, "sh" in
// another one. Each line of a "text" block must appear in what the block before
// it prints, in that order and apart from keys, numbers and times.
func TestREADME(t *testing.T) {
	t.Parallel()
	dir := copySources(t)
	blocks := fenced(t, filepath.Join(dir, "README.md"))
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOTOOLCHAIN"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	first := slices.IndexFunc(blocks, func(b block) bool { return b.info == "sh terminal=1" })
	if first < 0 {
		t.Fatal("the README starts nothing")
	}
	daemon := startREADME(t, env, dir, blocks[first])
	natstest.Eventually(t, 4*patience, func() error { return promised(daemon.Output(), blocks[first+1]) })
	follow(t, env, dir, "README.md", blocks)
	if code := daemon.Stop(); code != 0 {
		t.Errorf("accountd dev ends with exit code %d", code)
	}
}

// follow runs the "sh" blocks of a page in one shell and holds what they print
// against the "text" blocks. What the shell leaves running is ended.
func follow(t *testing.T, env []string, dir, page string, blocks []block) {
	t.Helper()
	mark := func(b block) string { return fmt.Sprintf("== %s:%d", page, b.line) }
	var script strings.Builder
	script.WriteString("set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n")
	for _, b := range blocks {
		if b.info == "sh" {
			fmt.Fprintf(&script, "echo '%s'\n%s", mark(b), b.text)
		}
	}
	out := shell(t, env, dir, script.String())
	for i, b := range blocks {
		if b.info != "text" || blocks[i-1].info != "sh" {
			continue
		}
		_, after, _ := strings.Cut(out, mark(blocks[i-1])+"\n")
		printed, _, _ := strings.Cut(after, "== "+page+":")
		if err := promised(printed, b); err != nil {
			t.Errorf("%s:%d: %v", page, b.line, err)
		}
	}
}

// startREADME runs the command of the first terminal, with free ports instead
// of the usual ones, which something else on the machine may have.
func startREADME(t *testing.T, env []string, dir string, b block) *natstest.Process {
	t.Helper()
	command := "cd '" + dir + "' && exec " + strings.TrimSpace(b.text) + " --port 0 --http 127.0.0.1:0"
	return natstest.StartProcess(t, env, "/bin/sh", "-c", command)
}

// shell runs a script and returns what it prints; it must succeed.
func shell(t *testing.T, env []string, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh")
	cmd.Dir, cmd.Env, cmd.Stdin = dir, env, strings.NewReader(script)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	return out.String()
}

// promised returns an error if a line of the text block does not appear, or not
// after the one before it.
func promised(printed string, want block) error {
	rest := strings.Split(printed, "\n")
	for i, line := range strings.Split(strings.TrimRight(want.text, "\n"), "\n") {
		at := slices.IndexFunc(rest, func(l string) bool { return loosely(l) == loosely(line) })
		if at < 0 {
			return fmt.Errorf("line %d promises %q, which is not printed:\n%s", want.line+i, line, printed)
		}
		rest = rest[at+1:]
	}
	return nil
}

var (
	anyKey    = regexp.MustCompile(`\b[A-Z0-9]{4}…[A-Z0-9]{4}\b`)
	anyNumber = regexp.MustCompile(`\d+(\.\d+)?( m?s\b)?`)
	anyNode   = regexp.MustCompile(`^(  nats-N  in force)   (none connected|closed .*)$`)
	anySpace  = regexp.MustCompile(` +$`)
)

// loosely is a line of output without what differs from run to run: keys,
// numbers, durations, and which of the servers a client had chosen.
func loosely(line string) string {
	line = anyNumber.ReplaceAllString(anyKey.ReplaceAllString(line, "KEY"), "N")
	return anySpace.ReplaceAllString(anyNode.ReplaceAllString(line, "$1"), "")
}

// TestREADMEComparesLoosely pins that loosely forgives no more than it
// should.
func TestREADMEComparesLoosely(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"account qcon  ADJ4…K7QX  revision 1", "account qcon  AAAA…2222  revision 17", true},
		{"in force on 3 of 3 nodes, 38 ms", "in force on 3 of 3 nodes, 1.2 s", true},
		{"  nats-0  in force   none connected", `  nats-1  in force   closed 1 connection (leaf "laptop", 3.1 ms)`, true},
		{"  nats-0  in force", "  nats-0  pending", false},
		{"account qcon  ADJ4…K7QX  revision 1", "account coke  ADJ4…K7QX  revision 1", false},
	} {
		if same := loosely(c.a) == loosely(c.b); same != c.same {
			t.Errorf("%q and %q: same %v", c.a, c.b, same)
		}
	}
}

// TestREADMELinks requires what the README links to in the repository to exist.
func TestREADMELinks(t *testing.T) {
	t.Parallel()
	root := natstest.ModuleRoot(t)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(link[1], "://") {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, link[1])); err != nil {
			t.Error(err)
		}
	}
}

// fenced returns the fenced blocks of a Markdown file.
func fenced(t *testing.T, file string) []block {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	var open *block
	for i, line := range strings.SplitAfter(string(data), "\n") {
		info, fence := strings.CutPrefix(strings.TrimRight(line, "\n"), "```")
		switch {
		case fence && open == nil:
			open = &block{line: i + 2, info: info}
		case fence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block is not closed", file, open.line)
	}
	return blocks
}

// copySources copies the module as a clone has it: without what was built or
// made by running it.
func copySources(t *testing.T) string {
	t.Helper()
	root, dir := natstest.ModuleRoot(t), filepath.Join(t.TempDir(), "accountd")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, rel)
		switch {
		case d.IsDir() && (rel == ".git" || rel == "bin" || strings.HasPrefix(rel, "accountd-dev")):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if info, err := d.Info(); err == nil && info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		return os.WriteFile(to, data, mode)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
