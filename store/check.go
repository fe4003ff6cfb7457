package store

import (
	"strings"
	"unicode/utf8"

	"github.com/accountd/accountd/fault"
)

// MaxName bounds keys, nonces and names of values, in bytes.
const MaxName = 1024

// CheckName refuses what no implementation stores as a key, nonce or name.
func CheckName(what, name string) error {
	if name == "" || len(name) > MaxName || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return fault.New(fault.Invalid, "%s of %d bytes: must be UTF-8 text of 1 to %d bytes, none of them zero", what, len(name), MaxName)
	}
	return nil
}

// CheckPut refuses a record that cannot be stored, and a change of another
// record. The Kind and Key of the change may be left empty.
func CheckPut(rec Record, ch Change) error {
	if err := CheckName("key", rec.Key); err != nil {
		return err
	}
	if err := CheckName("kind", string(rec.Kind)); err != nil {
		return err
	}
	if ch.Kind != "" && ch.Kind != rec.Kind || ch.Key != "" && ch.Key != rec.Key {
		return fault.New(fault.Internal, "put %s %q with the change of %s %q", rec.Kind, rec.Key, ch.Kind, ch.Key)
	}
	return nil
}

// CheckBase refuses to replace another revision than the stored one, 0 for none.
func CheckBase(base, stored uint64, kind Kind, key string) error {
	if stored == base {
		return nil
	}
	return fault.New(fault.Conflict, "put %s %q: built on revision %d, stored is %d: %w",
		kind, key, base, stored, ErrConflict).About(string(kind), key)
}

// Stamp returns the record that replaces revision base as the change after
// head, and that change, as they are stored.
func Stamp(base, head uint64, rec Record, ch Change) (Record, Change) {
	rec.Revision, rec.Seq = base+1, head+1
	ch.Kind, ch.Key = rec.Kind, rec.Key
	ch.Revision, ch.Seq = rec.Revision, rec.Seq
	ch.Time = ch.Time.UTC()
	return rec, ch
}

// NotFound is the error of Get for a record that is not there.
func NotFound(kind Kind, key string) error {
	return fault.New(fault.NotFound, "get %s %q: %w", kind, key, ErrNotFound).About(string(kind), key)
}

// Replayed is the error of UseNonce for a nonce that is remembered.
func Replayed(nonce string) error {
	return fault.New(fault.Denied, "use nonce %q: %w", nonce, ErrReplay)
}

// CheckEnrolment refuses what no implementation stores.
func CheckEnrolment(e Enrolment) error {
	for what, name := range map[string]string{"token": e.Token, "device": e.Device, "key": e.Key} {
		if err := CheckName(what, name); err != nil {
			return err
		}
	}
	if e.Uses < 1 {
		return fault.New(fault.Invalid, "a token for %d devices", e.Uses)
	}
	return nil
}

// DecideEnrolment says whether a token that used devices took may be used once
// more. taken is the key that took the device with it, "" for none.
func DecideEnrolment(e Enrolment, taken string, used int) (fresh bool, err error) {
	switch {
	case taken == e.Key:
		return false, nil
	case taken != "":
		return false, fault.New(fault.Conflict, "enroll %q: %w", e.Device, ErrTaken).About("device", e.Device)
	case used >= e.Uses:
		return false, fault.New(fault.Denied, "enroll %q: %w", e.Device, ErrSpent).About("device", e.Device)
	}
	return true, nil
}
