package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
)

// TestScripts runs the scripts in testdata, each on a cluster of its own. Beside
// the usual commands they have:
//
//	cloud [flags]            start accountd dev on $WORK/D and take its environment
//	daemon kill|term|start   end it at once, end it with SIGTERM (exit 0 within 10 s), or start it again
//	node stop|start NAME     stop or start one server
//	exits CODE PROGRAM ...   run a program that exits with CODE
//	[!] connect NODE CREDS   connect with credentials to a server, or to each (all); ! it refuses them
//	until PATTERN CMD ...    run a program until its standard output matches
//	raw-push FILE            as sys, push an account JWT past accountd, on every subject and server
func TestScripts(t *testing.T) {
	t.Parallel()
	binDir(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin.dir+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Values[worldKey{}] = &script{tb: env.T().(testing.TB)}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cloud":    scriptCloud,
			"daemon":   scriptDaemon,
			"node":     scriptNode,
			"exits":    scriptExits,
			"connect":  scriptConnect,
			"until":    scriptUntil,
			"raw-push": scriptRawPush,
		},
	})
}

type worldKey struct{}

// script is the state of one script.
type script struct {
	tb    testing.TB
	cloud *cloud
}

func world(ts *testscript.TestScript) *cloud {
	c := ts.Value(worldKey{}).(*script).cloud
	if c == nil {
		ts.Fatalf("no cloud yet")
	}
	return c
}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

func scriptCloud(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg, "cloud [flags]")
	s := ts.Value(worldKey{}).(*script)
	s.cloud = cloudAt(s.tb, ts.MkAbs("D"), ts.MkAbs("home"), args...)
	for _, kv := range s.cloud.env {
		name, value, _ := strings.Cut(kv, "=")
		if name != "PWD" && name != "HOME" {
			ts.Setenv(name, value)
		}
	}
}

func scriptDaemon(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "daemon kill|term|start")
	c := world(ts)
	switch args[0] {
	case "kill":
		c.daemon.Kill()
	case "term":
		c.terminate()
	case "start":
		c.start()
	default:
		ts.Fatalf("unknown: daemon %s", args[0])
	}
}

// terminate ends the daemon with SIGTERM and requires exit code 0 within 10 s.
func (c *cloud) terminate() {
	c.t.Helper()
	begin := time.Now()
	code := c.daemon.Stop()
	if took := time.Since(begin); code != 0 || took > 10*time.Second {
		c.t.Fatalf("SIGTERM: exit code %d after %v", code, took)
	}
}

func scriptNode(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "node stop|start NAME")
	c := world(ts)
	ts.Check(ts.Exec("accountd", "dev", "node", args[0], args[1], "--dir", c.dir))
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "exits CODE PROGRAM ...")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, expected %d", code, want)
	}
}

func scriptConnect(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2, "connect NODE|all CREDS")
	tried := 0
	for _, n := range world(ts).ready.Nodes {
		if args[0] != "all" && args[0] != n.Name {
			continue
		}
		tried++
		if neg {
			ts.Check(refused(n.URL, ts.MkAbs(args[1])))
			continue
		}
		nc, err := tryDial(n.URL, ts.MkAbs(args[1]))
		if err != nil {
			ts.Fatalf("%s refuses %s: %v", n.Name, args[1], err)
		}
		nc.Close()
	}
	if tried == 0 {
		ts.Fatalf("no server %s", args[0])
	}
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "until PATTERN PROGRAM ...")
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	c := world(ts)
	natstest.Eventually(c.t, patience, func() error {
		r := c.run(args[1], args[2:]...)
		if r.code == 0 && pattern.MatchString(r.out) {
			return nil
		}
		return fmt.Errorf("no match for %s in %s", args[0], r)
	})
}

func scriptRawPush(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "raw-push FILE")
	ts.Check(world(ts).rawPush(strings.TrimSpace(ts.ReadFile(args[0])), ts.Logf))
}

// rawPush sends an account JWT to every server on each of the subjects on which
// servers with stock resolvers take one, with the rights of sys. Whether
// anything answers is not its business: what counts is what is in force then.
func (c *cloud) rawPush(jwt string, log func(string, ...any)) error {
	doc, err := claims.Decode(jwt)
	if err != nil {
		return err
	}
	requests := []string{"$SYS.REQ.ACCOUNT." + doc.Subject + ".CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.UPDATE"}
	for _, url := range slices.Clone(c.urls()) {
		sys, err := tryDial(url, c.creds("SYS", "sys"))
		if err != nil {
			return err
		}
		defer sys.Close()
		for _, subject := range requests {
			answer, err := sys.Request(subject, []byte(jwt), 2*time.Second)
			if err != nil && !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, nats.ErrTimeout) {
				return fmt.Errorf("%s: %w", subject, err)
			}
			if err == nil {
				log("%s at %s answers %s", subject, filepath.Base(url), answer.Data)
			}
		}
		if err := sys.Publish("$SYS.ACCOUNT."+doc.Subject+".CLAIMS.UPDATE", []byte(jwt)); err != nil {
			return err
		}
		if err := sys.Flush(); err != nil {
			return err
		}
	}
	return nil
}
