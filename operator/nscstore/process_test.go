package nscstore

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"golang.org/x/sys/unix"

	"github.com/accountd/accountd/fault"
)

// The test binary starts itself as a child that runs one command on the store.
const (
	childEnv = "NSCSTORE_TEST_CHILD" // name of the command
	dirsEnv  = "NSCSTORE_TEST_DIRS"
	argEnv   = "NSCSTORE_TEST_ARG"
)

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := runChild(name, os.Getenv(argEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(fault.ExitCode(err))
	}
}

func runChild(name, arg string) error {
	var dirs Dirs
	if err := json.Unmarshal([]byte(os.Getenv(dirsEnv)), &dirs); err != nil {
		return err
	}
	store, err := Open(dirs)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	w, err := childWorld(ctx, store)
	if err != nil {
		return err
	}
	switch name {
	case "add-user":
		return store.Update(ctx, "O", func(tx *Tx) error { return w.addUser(tx, arg) })
	case "tag-account":
		return store.Update(ctx, "O", func(tx *Tx) error { return w.tagAccount(tx, arg) })
	case "churn":
		return w.churn(ctx)
	case "set-config":
		return UpdateConfig(ctx, dirs.Config, time.Unix(1, 0), func(c *Config) error {
			return c.doc.set(arg, true)
		})
	case "limited":
		return w.limited(ctx, arg)
	}
	return fmt.Errorf("unknown command %q", name)
}

// childWorld is the world of a store that another process made.
func childWorld(ctx context.Context, store *Store) (*world, error) {
	o, err := store.Operator(ctx, "O")
	if err != nil {
		return nil, err
	}
	w := &world{store: store, dirs: store.Dirs()}
	for _, k := range []struct {
		kp    *nkeys.KeyPair
		token string
	}{{&w.operator, must(o.JWT())}, {&w.account, must(o.AccountJWT("A"))}} {
		id := must(identify(k.token))
		*k.kp = must(nkeys.FromSeed(must(store.Keystore().Seed(id.Subject))))
	}
	return w, nil
}

// tagAccount is an edit that depends on what it reads.
func (w *world) tagAccount(tx *Tx, tag string) error {
	token, err := tx.AccountJWT("A")
	if err != nil {
		return err
	}
	c, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return err
	}
	c.Tags.Add(tag)
	return tx.PutAccount("A", must(c.Encode(w.operator)))
}

// churn commits generation after generation and prints each once it is
// committed, until the process is killed.
func (w *world) churn(ctx context.Context) error {
	for {
		gen := 0
		err := w.store.Update(ctx, "O", func(tx *Tx) error {
			p, _, err := tx.Published(publicOf(w.account))
			if err != nil {
				return err
			}
			gen = int(p.Revision) + 1
			return w.putGeneration(tx, gen)
		})
		if err != nil {
			return err
		}
		fmt.Println(gen)
	}
}

// putGeneration stages files that all tell the generation: an account's tag,
// two users' names with seeds and credentials, a publication. Users of the
// generation before go.
func (w *world) putGeneration(tx *Tx, gen int) error {
	if err := tx.PutAccount("A", w.accountJWT("A", w.account, "gen-"+strconv.Itoa(gen))); err != nil {
		return err
	}
	users, err := tx.Users("A")
	if err != nil {
		return err
	}
	for _, u := range users {
		if err := tx.DeleteUser("A", u); err != nil {
			return err
		}
		if err := tx.RemoveCreds("A", u); err != nil {
			return err
		}
	}
	for _, n := range []string{"one", "two"} {
		if err := w.addUser(tx, fmt.Sprintf("%s-%d", n, gen)); err != nil {
			return err
		}
	}
	return tx.SetPublished(publicOf(w.account), Publication{ID: "X", Revision: uint64(gen)})
}

// checkGeneration returns the generation of the store, whose files must agree.
func (w *world) checkGeneration() int {
	w.t.Helper()
	o := w.read()
	p, _, err := o.Published(publicOf(w.account))
	if err != nil {
		w.t.Fatal(err)
	}
	gen := strconv.FormatUint(p.Revision, 10)
	c := must(jwt.DecodeAccountClaims(must(o.AccountJWT("A"))))
	if p.Revision > 0 && !c.Tags.Contains("gen-"+gen) {
		w.t.Fatalf("published generation %s, account tags %q", gen, c.Tags)
	}
	var want []string
	if p.Revision > 0 {
		want = []string{"one-" + gen, "two-" + gen}
	}
	users := must(o.Users("A"))
	if strings.Join(users, " ") != strings.Join(want, " ") {
		w.t.Fatalf("generation %s has users %q", gen, users)
	}
	for _, u := range users {
		token, seed, err := ParseCreds(must(w.store.Keystore().Creds("O", "A", u)))
		if err != nil || token != must(o.UserJWT("A", u)) {
			w.t.Fatalf("credentials of %s: %v", u, err)
		}
		if !w.store.Keystore().HasSeed(publicOf(must(nkeys.FromSeed(seed)))) {
			w.t.Fatalf("no seed of %s", u)
		}
	}
	creds, err := disk{dir: w.dirs.Keys}.list("creds/O/A")
	if err != nil || len(creds) != len(want) {
		w.t.Fatalf("credentials of generation %s: %q %v", gen, creds, err)
	}
	return int(p.Revision)
}

// limited fails to write files larger than arg bytes, as a full disk would.
func (w *world) limited(ctx context.Context, arg string) error {
	limit, err := strconv.ParseUint(arg, 10, 64)
	if err != nil {
		return err
	}
	// Go programs survive the signal of this limit and see the error.
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	return w.store.Update(ctx, "O", func(tx *Tx) error { return w.putGeneration(tx, 7) })
}

func (w *world) command(name, arg string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	dirs, err := json.Marshal(w.dirs)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), childEnv+"="+name, dirsEnv+"="+string(dirs), argEnv+"="+arg,
		"GORACE=atexit_sleep_ms=0") // the race detector waits a second otherwise
	return cmd
}

// parallel starts n processes at once and waits for all.
func (w *world) parallel(n int, name string, arg func(int) string) {
	w.t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if out, err := w.command(name, arg(i)).CombinedOutput(); err != nil {
				w.t.Errorf("%s %d: %v: %s", name, i, err, out)
			}
		})
	}
	wg.Wait()
}

func TestParallelProcessesAddUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 100
	w.parallel(n, "add-user", func(i int) string { return fmt.Sprintf("u%03d", i) })
	users := must(w.read().Users("A"))
	if len(users) != n {
		t.Fatalf("%d users, want %d", len(users), n)
	}
	for _, u := range users {
		if _, _, err := ParseCreds(must(w.store.Keystore().Creds("O", "A", u))); err != nil {
			t.Errorf("credentials of %s: %v", u, err)
		}
	}
	if seeds := must(w.store.Keystore().Seeds()); len(seeds) != n+2 {
		t.Errorf("%d seeds, want %d", len(seeds), n+2)
	}
	w.requireNoTemps()
}

func TestParallelProcessesEditOneAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 40
	w.parallel(n, "tag-account", func(i int) string { return fmt.Sprintf("t%d", i) })
	c := must(jwt.DecodeAccountClaims(must(w.read().AccountJWT("A"))))
	if len(c.Tags) != n {
		t.Fatalf("%d tags of %d edits: %q", len(c.Tags), n, c.Tags)
	}
	w.requireNoTemps()
}

func TestParallelProcessesEditConfig(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 20
	w.parallel(n, "set-config", func(i int) string { return fmt.Sprintf("f%d", i) })
	cfg := must(LoadConfig(w.dirs.Config))
	if len(cfg.doc) != n+5 {
		t.Errorf("%d fields, want %d", len(cfg.doc), n+5)
	}
}

// requireNoTemps fails if a temporary file is left anywhere.
func (w *world) requireNoTemps() {
	w.t.Helper()
	for _, pattern := range []string{
		filepath.Join(w.dirs.Stores, "O", ".accountd", "tx", "*"),
		filepath.Join(w.dirs.Keys, ".accountd", "*.tmp"),
		filepath.Join(w.dirs.Keys, "*tmp"),
	} {
		if names := must(filepath.Glob(pattern)); len(names) > 0 {
			w.t.Errorf("left behind: %q", names)
		}
	}
}

// A process that is killed at a random moment of a transaction leaves the
// store, for whoever opens it next, before or after that transaction, and never
// before one that it acknowledged.
func TestKilledTransactionsAreWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	last := 0
	for round := range 20 {
		acked := w.churnAndKill(time.Duration(rand.IntN(40)) * time.Millisecond)
		last = max(last, acked)
		gen := w.checkGeneration()
		if gen != last && gen != last+1 {
			t.Fatalf("round %d: generation %d, acknowledged %d", round, gen, last)
		}
		last = gen
	}
	if last < 20 {
		t.Errorf("only %d transactions in all rounds", last)
	}
	w.update(func(*Tx) error { return nil }) // the lock cleans
	w.requireNoTemps()
}

// churnAndKill runs transactions in a child, kills it after the first
// acknowledgement and the delay, and returns the last acknowledged generation.
func (w *world) churnAndKill(delay time.Duration) int {
	w.t.Helper()
	cmd := w.command("churn", "")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	acked := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if acked == 0 {
			kill := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
			defer kill.Stop()
		}
		acked, err = strconv.Atoi(lines.Text())
		if err != nil {
			w.t.Fatalf("child says %q", lines.Text())
		}
	}
	_ = cmd.Wait() // killed
	return acked
}

func TestFailedWriteLeavesStoreIntact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.update(func(tx *Tx) error { return w.putGeneration(tx, 1) })
	before := must(w.read().AccountJWT("A"))
	// Nothing fits; only seeds fit; all but credentials fit; all but the journal.
	for _, limit := range []string{"0", "64", "700", "900"} {
		out, err := w.command("limited", limit).CombinedOutput()
		if err == nil {
			t.Fatalf("limit %s: no error", limit)
		}
		if code := err.(*exec.ExitError).ExitCode(); code != 6 || !strings.Contains(string(out), "file too large") {
			t.Errorf("limit %s: exit %d: %s", limit, code, out)
		}
		if gen := w.checkGeneration(); gen != 1 {
			t.Errorf("limit %s: generation %d", limit, gen)
		}
		if got := must(w.read().AccountJWT("A")); got != before {
			t.Errorf("limit %s: account changed", limit)
		}
		w.requireNoTemps()
	}
}
