package fleet

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/accountd/accountd/fault"
)

// Mark stands for the id or the key of a device: the first 8 bytes of a SHA-256.
type Mark uint64

// MaxDenied bounds how many marks are kept for an account.
const MaxDenied = 1_000_000

// MarkKey is the mark of a device's public key.
func MarkKey(key string) Mark { return mark(key) }

// MarkID is the mark of the id of a device of f.
func (f Fleet) MarkID(id string) Mark { return mark(f.Name + "/" + id) }

func mark(s string) Mark {
	sum := sha256.Sum256([]byte(s))
	return Mark(binary.BigEndian.Uint64(sum[:8]))
}

// Marks are those of a suspect, by its id and by its key as far as they are known.
func (f Fleet) Marks(s Suspect) []Mark {
	var out []Mark
	if s.ID != "" {
		out = append(out, f.MarkID(s.ID))
	}
	if s.Key != "" {
		out = append(out, MarkKey(s.Key))
	}
	return out
}

// Denied are the devices that get no new credentials, and until when, Unix
// seconds: those that cannot be listed and can connect until a key is retired.
type Denied map[Mark]int64

// Has reports whether one of the marks is denied at now.
func (d Denied) Has(now int64, marks ...Mark) bool {
	return slices.ContainsFunc(marks, func(m Mark) bool { return d[m] > now })
}

// deniedSize is a mark and its time: 8 and 4 bytes.
const deniedSize = 12

// Encode writes d as text, in the order of the marks.
func (d Denied) Encode() string {
	raw := make([]byte, 0, len(d)*deniedSize)
	for _, m := range slices.Sorted(maps.Keys(d)) {
		raw = binary.BigEndian.AppendUint64(raw, uint64(m))
		raw = binary.BigEndian.AppendUint32(raw, uint32(min(max(d[m], 0), 1<<32-1)))
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// DecodeDenied reads what Encode wrote. "" is none.
func DecodeDenied(text string) (Denied, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw)%deniedSize != 0 {
		return nil, invalid("malformed", "the denied devices are not of the expected form")
	}
	d := make(Denied, len(raw)/deniedSize)
	for ; len(raw) > 0; raw = raw[deniedSize:] {
		d[Mark(binary.BigEndian.Uint64(raw))] = int64(binary.BigEndian.Uint32(raw[8:]))
	}
	return d, nil
}

// Extend denies those that are denied at least until a time.
func (d Denied) Extend(until int64) {
	for m, at := range d {
		d[m] = max(at, until)
	}
}

// Change adds marks until a time, or lifts them, and forgets those whose time has
// passed. It returns how many were not denied, or were, and is fault.Denied if
// they are too many.
func (d Denied) Change(marks []Mark, until, now int64, lift bool) (changed int, err error) {
	maps.DeleteFunc(d, func(_ Mark, at int64) bool { return at <= now })
	before := len(d)
	for _, m := range marks {
		if lift {
			delete(d, m)
			continue
		}
		d[m] = max(d[m], until)
	}
	if len(d) > MaxDenied {
		return 0, fault.New(fault.Denied, "%d ids and keys are denied, at most %d can be", len(d), MaxDenied).ByRule("denied")
	}
	return max(len(d)-before, before-len(d)), nil
}
