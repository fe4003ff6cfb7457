package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

func Example() {
	dir, err := os.MkdirTemp("", "accountd-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	ctx := context.Background()
	put := func(base uint64) error {
		return s.Update(ctx, func(tx store.Tx) error {
			rec, err := tx.Put(base, store.Record{Kind: store.Account, Key: "AQCON", Name: "qcon"}, store.Change{Action: "put"})
			if err == nil {
				fmt.Println("revision", rec.Revision, "change", rec.Seq)
			}
			return err
		})
	}
	if err := errors.Join(put(0), put(1)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(put(1), store.ErrConflict))
	// Output:
	// revision 1 change 1
	// revision 2 change 2
	// true
}
