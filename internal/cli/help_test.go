package cli

import (
	"context"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/operator/nscstore"
)

// TestExamplesParse: every example in a help text names a command and flags
// that exist, and there are three to six of them.
func TestExamplesParse(t *testing.T) {
	t.Parallel()
	root := newRoot(&app{env: Env{Stdout: io.Discard, Stderr: io.Discard, Now: time.Now}, started: time.Now()})
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			walk(c)
		}
		if cmd.HasSubCommands() && cmd.HasParent() {
			return
		}
		lines := strings.Split(strings.TrimSpace(cmd.Example), "\n")
		if len(lines) < 3 || len(lines) > 6 {
			t.Errorf("%s has %d examples", cmd.CommandPath(), len(lines))
		}
		for _, line := range lines {
			checkExample(t, strings.TrimSpace(line))
		}
	}
	walk(root)
}

func checkExample(t *testing.T, line string) {
	t.Helper()
	words := shellSplit(line)
	if len(words) < 2 || words[0] != "nsc" {
		t.Errorf("example %q does not begin with nsc", line)
		return
	}
	root := newRoot(&app{env: Env{Stdout: io.Discard, Stderr: io.Discard, Now: time.Now}, started: time.Now()})
	cmd, rest, err := root.Find(words[1:])
	if err != nil {
		t.Errorf("example %q: %v", line, err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("example %q: %v", line, err)
		return
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil || cmd.HasSubCommands() {
		t.Errorf("example %q: %v", line, err)
	}
}

// shellSplit splits a line as a shell does, as far as single quotes go.
func shellSplit(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		switch fields := strings.Fields(part); {
		case i%2 == 1:
			words = append(words, part)
		default:
			words = append(words, fields...)
		}
	}
	return words
}

// TestRunsAreIndependent: one run leaves nothing to the next.
func TestRunsAreIndependent(t *testing.T) {
	t.Parallel()
	env := Env{
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
		Getenv: func(string) string { return "" }, Version: "1", Now: time.Now, Dir: t.TempDir(), Home: t.TempDir(),
	}
	if code := Run(context.Background(), []string{"add", "account", "x", "--timeout", "nonsense"}, env); code != 2 {
		t.Errorf("exit %d", code)
	}
	if code := Run(context.Background(), []string{"--version"}, env); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// TestJSONIsDocumented: docs/json-output.md names every field of the output.
func TestJSONIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/json-output.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{receipt{}, results{}, environment{}, problem{}, validation{}, expiration{}, expirationReport{}, keysResult{}, fixed{}, madeIdentity{}, confirmation{}, written{}, backupResult{}, nscstore.Contents{}, revokedKey{}, revokedList{}, api.NodeProof{}, api.Closed{}, api.Error{}, api.Version{}, api.StatusReply{}, api.NodeStatus{}, api.AccountStatus{},
		accountDiff{}, accountDiffs{}, toolMessage{}, roundTrip{},
		fleetView{}, fleetKey{}, fleetList{}, roleView{}, roleList{}, planView{}, planList{}, exportView{}, exportList{}, importView{}, importList{}, mappingView{}, mappingGoal{}, mappingList{}, signingKeyList{}, groupView{}, contract{},
		accounts.Reach{}, issued{}, deviceCut{},
		explanation{}, chainLink{}, whyNode{}, accounts.Refusal{}, accounts.Door{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" || name == "jwt" { // JWTs travel in replies to get alone
				continue
			}
			if !strings.Contains(string(page), "`"+name+"`") && !strings.Contains(string(page), `"`+name+`"`) {
				t.Errorf("the field %s of %T is not documented", name, v)
			}
		}
	}
}
