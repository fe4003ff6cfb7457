package nscstore

import (
	"testing"

	"github.com/nats-io/nkeys"
)

// An offer has one file a contract, which a later one replaces.
func TestOffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, other := publicOf(w.account), publicOf(must(nkeys.CreateAccount()))
	offers := func(want ...string) {
		t.Helper()
		got, err := w.read().Offers()
		if err != nil || len(got) != len(want) {
			t.Fatalf("offers %v, want %v: %v", got, want, err)
		}
		for _, token := range want {
			if got[0] != token && got[len(got)-1] != token {
				t.Errorf("offers %v, want %v", got, want)
			}
		}
	}
	offers()
	w.update(func(tx *Tx) error { return tx.PutOffer(key, "aa", "one") })
	w.update(func(tx *Tx) error { return tx.PutOffer(other, "bb", "two") })
	offers("one", "two")
	w.update(func(tx *Tx) error { return tx.PutOffer(key, "aa", "three") })
	offers("two", "three")
	w.update(func(tx *Tx) error { return tx.RemoveOffer(other, "bb") })
	w.update(func(tx *Tx) error { return tx.RemoveOffer(other, "bb") })
	offers("three")
	for _, bad := range [][2]string{{"../A", "aa"}, {key, "../aa"}, {key, ""}} {
		err := w.store.Update(t.Context(), "O", func(tx *Tx) error { return tx.PutOffer(bad[0], bad[1], "x") })
		if err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}
