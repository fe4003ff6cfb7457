package resolver

import (
	"sync"

	"github.com/accountd/accountd/store"
)

// index is how something is known of all stored accounts: by one scan when it is
// first asked, and by the changes of the store from then on. Who uses it holds mu.
type index struct {
	mu    sync.Mutex
	seq   uint64 // last change that it has seen
	ready bool   // the scan was made
}

// update gives set the newest version of every account that has changed, of all
// after reset. It must be called before r writes: what it has seen it takes for
// committed.
func (x *index) update(r store.Reader, reset func(), set func(store.Record)) error {
	head, err := r.Head()
	if err != nil {
		return err
	}
	if !x.ready || head < x.seq {
		reset()
		err = r.Scan(store.Account, "", func(rec store.Record) bool {
			set(rec)
			return true
		})
	} else {
		err = x.follow(r, set)
	}
	x.ready, x.seq = err == nil, head
	return err
}

func (x *index) follow(r store.Reader, set func(store.Record)) error {
	for {
		changes, err := r.Changes(x.seq, maxPage)
		if err != nil || len(changes) == 0 {
			return err
		}
		for _, ch := range changes {
			x.seq = ch.Seq
			if ch.Kind != store.Account {
				continue
			}
			rec, err := r.Get(store.Account, ch.Key)
			if err != nil {
				return err
			}
			set(rec)
		}
	}
}
