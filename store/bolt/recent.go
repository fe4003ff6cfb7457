package bolt

import (
	"maps"
	"slices"
	"sync"

	"github.com/accountd/accountd/store"
)

// Bounds of what recent holds.
const (
	recentChanges = 4096
	recentBytes   = 32 << 20 // of JWTs
)

// recent holds the last changes that this process committed, and the records
// that they wrote, so that the followers of the store do not each decode the
// same pages. What it does not hold is read from the file.
type recent struct {
	mu    sync.RWMutex
	list  []written // consecutive changes, the newest last
	bytes int
	now   map[recordID]store.Record // current versions only
}

type recordID struct {
	kind store.Kind
	key  string
}

// written is what one Put wrote.
type written struct {
	rec store.Record
	ch  store.Change
}

func (w written) id() recordID { return recordID{w.rec.Kind, w.rec.Key} }

// replacing gives up the version of a record that a transaction is about to
// replace, before anybody can see that it did.
func (c *recent) replacing(kind store.Kind, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.now, recordID{kind, key})
}

// add takes what a transaction wrote, once it is committed, in its order.
func (c *recent) add(list []written) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.list); n > 0 && c.list[n-1].ch.Seq+1 != list[0].ch.Seq {
		c.list, c.bytes = nil, 0 // the commit between them was not known to be one
		clear(c.now)
	}
	if c.now == nil {
		c.now = map[recordID]store.Record{}
	}
	for _, w := range list {
		w = written{cloneRecord(w.rec), cloneChange(w.ch)}
		c.list = append(c.list, w)
		c.bytes += len(w.rec.JWT)
		c.now[w.id()] = w.rec
	}
	for len(c.list) > recentChanges || c.bytes > recentBytes {
		oldest := c.list[0]
		c.list[0], c.list = written{}, c.list[1:]
		c.bytes -= len(oldest.rec.JWT)
		if c.now[oldest.id()].Seq == oldest.ch.Seq {
			delete(c.now, oldest.id())
		}
	}
}

// record returns the current version of a record. A reader of a state before
// its change must not take it.
func (c *recent) record(kind store.Kind, key string) (store.Record, bool) {
	c.mu.RLock()
	rec, ok := c.now[recordID{kind, key}]
	c.mu.RUnlock()
	return cloneRecord(rec), ok
}

// changes returns up to limit of the changes after one that follow it until
// head, and whether it holds them.
func (c *recent) changes(after, head uint64, limit int) ([]store.Change, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.list) == 0 || after >= head {
		return nil, false
	}
	first, last := c.list[0].ch.Seq, min(head, after+uint64(max(limit, 0)))
	if after+1 < first || c.list[len(c.list)-1].ch.Seq < last {
		return nil, false
	}
	var out []store.Change
	for _, w := range c.list[after+1-first : last+1-first] {
		out = append(out, cloneChange(w.ch))
	}
	return out, true
}

// cloneRecord is rec as it is read from the file, and shares nothing with it that
// can be changed.
func cloneRecord(rec store.Record) store.Record {
	rec.Dropped, rec.Findings = cloneList(rec.Dropped), cloneList(rec.Findings)
	rec.Retired, rec.Born = cloneMap(rec.Retired), cloneMap(rec.Born)
	rec.Exports = cloneList(rec.Exports)
	for i := range rec.Exports {
		rec.Exports[i].Revoked = maps.Clone(rec.Exports[i].Revoked)
	}
	return rec
}

func cloneChange(ch store.Change) store.Change {
	ch.Time = ch.Time.Round(0) // without its monotonic part
	ch.Summary = cloneList(ch.Summary)
	return ch
}

// cloneList returns nil for an empty list, which the file does not tell apart.
func cloneList[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list)
}

// cloneMap is cloneList for maps.
func cloneMap[V any](m map[string]V) map[string]V {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}
