package bolt_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

const killWriters = 4

// writeForEver puts records of all sizes from several goroutines, and prints
// each write after it is acknowledged.
func writeForEver(s *bolt.Store) error {
	var print sync.Mutex
	failed := make(chan error)
	for w := range killWriters {
		go func() {
			for {
				rec, err := writeOne(s, w)
				if err != nil {
					failed <- err
					return
				}
				print.Lock()
				fmt.Fprintf(os.Stdout, "%s %d %d\n", rec.Key, rec.Revision, rec.Seq)
				print.Unlock()
			}
		}()
	}
	return <-failed
}

// writeOne replaces one of writer w's records; a value and a nonce change in
// the same transaction.
func writeOne(s *bolt.Store, w int) (got store.Record, err error) {
	key := fmt.Sprintf("A%d.%d", w, rand.IntN(5))
	err = s.Update(context.Background(), func(tx store.Tx) error {
		cur, err := tx.Get(store.Account, key)
		if err != nil && cur.Revision != 0 {
			return err
		}
		rec := store.Record{Kind: store.Account, Key: key, JWT: content(key, cur.Revision+1)}
		if got, err = tx.Put(cur.Revision, rec, store.Change{Summary: []string{"kill"}}); err != nil {
			return err
		}
		if err := tx.SetMeta("last", strconv.FormatUint(got.Seq, 10)); err != nil {
			return err
		}
		at := time.Unix(int64(got.Seq), 0)
		return tx.UseNonce(strconv.FormatUint(got.Seq, 10), at, at.Add(100*time.Second))
	})
	return got, err
}

// content is what the given revision of key holds: 20 bytes to 300 KB.
func content(key string, revision uint64) string {
	h := fnv.New64a()
	fmt.Fprint(h, key, revision)
	word := fmt.Sprintf("%s/%d/%x ", key, revision, h.Sum64())
	times := 1 + int(h.Sum64()%50)
	if h.Sum64()%8 == 0 {
		times *= 200
	}
	return strings.Repeat(word, times)
}

// TestKill kills a writing process at random moments and looks for every write
// that it acknowledged. ACCOUNTD_KILL_ROUNDS sets the rounds.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 20
	if text := os.Getenv("ACCOUNTD_KILL_ROUNDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("ACCOUNTD_KILL_ROUNDS=%q is not a number of rounds", text)
		}
		rounds = n
	}
	path := temp(t)
	total := 0
	for range rounds {
		acked := killOne(t, path)
		total += len(acked)
		verify(t, path, acked)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d acknowledged writes in %d rounds, all there", total, rounds)
}

type ack struct {
	key           string
	revision, seq uint64
}

// killOne lets a child acknowledge a random number of writes, kills it at a
// random moment after the last of them, and returns all that it acknowledged.
func killOne(t *testing.T, path string) (acked []ack) {
	t.Helper()
	c := startChild(t, "write", path)
	var timer *time.Timer
	last := 1 + rand.IntN(40)
	for c.lines.Scan() {
		var a ack
		if n, _ := fmt.Sscanf(c.lines.Text(), "%s %d %d", &a.key, &a.revision, &a.seq); n == 3 {
			acked = append(acked, a)
		}
		if len(acked) == last {
			timer = time.AfterFunc(time.Duration(rand.IntN(4000))*time.Microsecond, func() {
				_ = c.cmd.Process.Kill() // fails only when it has ended
			})
		}
	}
	c.kill(t)
	if timer == nil {
		t.Fatalf("the child ended by itself after %d writes", len(acked))
	}
	return acked
}

// verify opens the store after a kill.
func verify(t *testing.T, path string, acked []ack) {
	t.Helper()
	ctx := context.Background()
	s := open(t, path)
	defer s.Close()
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
	err := s.View(ctx, func(r store.Reader) error {
		head, err := r.Head()
		if err != nil {
			return err
		}
		if last, err := r.Meta("last"); err != nil || last != strconv.FormatUint(head, 10) {
			t.Errorf("value %q at head %d, %v", last, head, err)
		}
		for _, a := range acked {
			ch, err := r.Changes(a.seq-1, 1)
			if err != nil || len(ch) != 1 || ch[0].Key != a.key || ch[0].Revision != a.revision {
				t.Errorf("acknowledged %+v; the log has %+v, %v", a, ch, err)
			}
			rec, err := r.Get(store.Account, a.key)
			if err != nil || rec.Revision < a.revision {
				t.Errorf("acknowledged %+v; the record has revision %d, %v", a, rec.Revision, err)
			}
		}
		return r.Scan(store.Account, "", func(rec store.Record) bool {
			if rec.JWT != content(rec.Key, rec.Revision) {
				t.Errorf("%s, revision %d: not what was written", rec.Key, rec.Revision)
			}
			return true
		})
	})
	if err != nil {
		t.Error(err)
	}
}
