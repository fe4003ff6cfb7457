package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// A stored value is a CRC-32C (Castagnoli) of what follows, a number, and JSON.
// The number of a record is its revision, that of a change its sequence number.
// The sum is there since the pages of bbolt have none, and a flipped bit in a
// remembered revocation would go unnoticed. Behind the JSON of a record stand a
// newline and its JWT, which is most of it and is thus not read as JSON.
const (
	sumSize    = 4
	headerSize = sumSize + 8
)

func encodeRecord(rec store.Record) ([]byte, error) {
	token := rec.JWT
	rec.JWT = ""
	return encode(rec.Revision, rec, "\n"+token)
}

func encodeChange(ch store.Change) ([]byte, error) { return encode(ch.Seq, ch, "") }

func encode(number uint64, v any, behind string) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fault.New(fault.Invalid, "encode: %w", err)
	}
	data := make([]byte, sumSize, headerSize+len(text)+len(behind))
	data = binary.BigEndian.AppendUint64(data, number)
	data = append(append(data, text...), behind...)
	binary.BigEndian.PutUint32(data, sum(data[sumSize:]))
	return data, nil
}

// numberOf checks the sum of a stored value and returns its number.
func numberOf(data []byte) (uint64, error) {
	if len(data) < headerSize {
		return 0, damaged("a value of %d bytes", len(data))
	}
	if binary.BigEndian.Uint32(data) != sum(data[sumSize:]) {
		return 0, damaged("wrong checksum of a value")
	}
	return binary.BigEndian.Uint64(data[sumSize:]), nil
}

func decodeRecord(kind store.Kind, key string, data []byte) (store.Record, error) {
	var rec store.Record
	n, err := numberOf(data)
	if err != nil {
		return store.Record{}, fmt.Errorf("%s %q: %w", kind, key, err)
	}
	text, token, whole := bytes.Cut(data[headerSize:], []byte{'\n'})
	if err := json.Unmarshal(text, &rec); err != nil || !whole {
		return store.Record{}, damaged("%s %q: decode: %v", kind, key, err)
	}
	rec.JWT = string(token)
	if rec.Kind != kind || rec.Key != key || rec.Revision != n || n == 0 {
		return store.Record{}, damaged("record %s %q under the key of %s %q", rec.Kind, rec.Key, kind, key)
	}
	return rec, nil
}

func decodeChange(seq uint64, data []byte) (store.Change, error) {
	var ch store.Change
	n, err := numberOf(data)
	if err != nil {
		return store.Change{}, fmt.Errorf("change %d: %w", seq, err)
	}
	if err := json.Unmarshal(data[headerSize:], &ch); err != nil {
		return store.Change{}, damaged("change %d: decode: %v", seq, err)
	}
	if n != seq || ch.Seq != seq {
		return store.Change{}, damaged("change %d where %d belongs", ch.Seq, seq)
	}
	return ch, nil
}

func sum(data []byte) uint32 {
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
}

// key8 is n as a key that sorts by value.
func key8(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// number8 is the reverse of key8.
func number8(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, damaged("a number of %d bytes", len(key))
	}
	return binary.BigEndian.Uint64(key), nil
}
