package bolt_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

// FuzzDecode decodes values whose checksum is right, and any others as they
// come: damage is an error, and what is admitted survives another round.
func FuzzDecode(f *testing.F) {
	rec, err := bolt.EncodeRecord(store.Record{Kind: store.Account, Key: "A1", Revision: 1, JWT: "j"})
	if err != nil {
		f.Fatal(err)
	}
	ch, err := bolt.EncodeChange(store.Change{Seq: 1, Key: "A1"})
	if err != nil {
		f.Fatal(err)
	}
	for _, data := range [][]byte{nil, {1, 2, 3}, rec, ch, rec[:20], rec[:12]} {
		f.Add(data, true)
		f.Add(data, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, sum bool) {
		data = append([]byte(nil), data...)
		if sum && len(data) >= 4 {
			binary.BigEndian.PutUint32(data, crc32.Checksum(data[4:], crc32.MakeTable(crc32.Castagnoli)))
		}
		rec, err := bolt.DecodeRecord(store.Account, "A1", data)
		roundTrip(t, rec, err, bolt.EncodeRecord, func(data []byte) (store.Record, error) {
			return bolt.DecodeRecord(store.Account, "A1", data)
		})
		ch, err := bolt.DecodeChange(1, data)
		roundTrip(t, ch, err, bolt.EncodeChange, func(data []byte) (store.Change, error) { return bolt.DecodeChange(1, data) })
	})
}

func roundTrip[T any](t *testing.T, v T, err error, encode func(T) ([]byte, error), decode func([]byte) (T, error)) {
	t.Helper()
	if err != nil {
		if !errors.Is(err, bolt.ErrDamaged) {
			t.Errorf("an error of another kind: %v", err)
		}
		return
	}
	data, err := encode(v)
	if err != nil {
		t.Fatalf("encode what was decoded: %v", err)
	}
	again, err := decode(data)
	if d := cmp.Diff(v, again, cmpopts.EquateEmpty()); err != nil || d != "" {
		t.Errorf("second round: %v (-first +second):\n%s", err, d)
	}
}
