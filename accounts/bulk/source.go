package bulk

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"io"
	"slices"
	"strconv"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// Counted are devices that are numbered.
type Counted struct {
	Prefix      string
	Next, After int // the numbers from Next on, without After
}

// Read implements Source.
func (c *Counted) Read(dst []Device) (int, error) {
	n := min(len(dst), c.After-c.Next)
	for i := range n {
		dst[i] = Device{ID: c.Prefix + strconv.Itoa(c.Next+i)}
	}
	if c.Next += n; c.Next == c.After {
		return n, io.EOF
	}
	return n, nil
}

// List are devices that a text lists: an id a line or, where devices have keys
// of their own, an id and a public key, or a public key that is the id too.
// Empty lines and lines that begin with # are passed by.
type List struct {
	lines *bufio.Scanner
	keyed bool
	line  int
}

// maxLine bounds a line of a list.
const maxLine = 1024

// NewList reads the list of r. keyed says that it names public keys.
func NewList(r io.Reader, keyed bool) *List {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, maxLine), maxLine)
	return &List{lines: s, keyed: keyed}
}

// Read implements Source. It is fault.Invalid, and names the line, for what is
// no device.
func (l *List) Read(dst []Device) (int, error) {
	for n := range dst {
		d, err := l.next()
		if err != nil {
			return n, err
		}
		dst[n] = d
	}
	return len(dst), nil
}

func (l *List) next() (Device, error) {
	for l.lines.Scan() {
		l.line++
		text := bytes.TrimSpace(l.lines.Bytes())
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		d, err := parseDevice(text, l.keyed)
		if f := fault.As(err); f != nil {
			f.Msg = "line " + strconv.Itoa(l.line) + ": " + f.Msg
		}
		return d, err
	}
	if err := l.lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return Device{}, fault.New(fault.Invalid, "line %d is longer than %d bytes", l.line+1, maxLine).ByRule("device-id")
		}
		return Device{}, fault.New(fault.Invalid, "read the list: %w", err)
	}
	return Device{}, io.EOF
}

func parseDevice(text []byte, keyed bool) (Device, error) {
	words := bytes.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	if len(words) != 1 && (!keyed || len(words) != 2) {
		return Device{}, fault.New(fault.Invalid, "%d words in place of an id", len(words)).ByRule("device-id")
	}
	d := Device{ID: string(words[0])}
	if keyed {
		key, err := keys.ParseUser(string(words[len(words)-1]))
		if err != nil {
			return d, err
		}
		d.Key = string(key)
	}
	if err := fleet.CheckID(d.ID); err != nil {
		return d, err
	}
	if d.ID != d.Key && nkeys.IsValidPublicKey(d.ID) {
		return d, fault.New(fault.Invalid, "the id %s is a public key", keys.Short(d.ID)).ByRule("device-id")
	}
	return d, nil
}

// Listed is what a list was found to be.
type Listed struct {
	Count  int
	Digest string // of its devices, in their order
}

// Check reads a whole list, before anything is issued by it: it is
// fault.Invalid for what is no device, and for an id that comes twice. allow,
// which may be nil, has a word on each device. It takes 8 bytes of memory a
// device.
func Check(open func() (io.ReadCloser, error), keyed bool, allow func(Device) error) (Listed, error) {
	seed := maphash.MakeSeed()
	var sums []uint64
	digest := sha256.New()
	err := each(open, keyed, func(d Device) error {
		if allow != nil {
			if err := allow(d); err != nil {
				return err
			}
		}
		sums = append(sums, maphash.String(seed, d.ID))
		_, err := io.WriteString(digest, d.ID+" "+d.Key+"\n")
		return err
	})
	if err != nil {
		return Listed{}, err
	}
	found := Listed{Count: len(sums), Digest: hex.EncodeToString(digest.Sum(nil))}
	slices.Sort(sums)
	suspects := map[uint64]bool{}
	for i := 1; i < len(sums); i++ {
		if sums[i] == sums[i-1] {
			suspects[sums[i]] = true
		}
	}
	if len(suspects) == 0 {
		return found, nil
	}
	seen := map[string]bool{}
	return found, each(open, keyed, func(d Device) error {
		if seen[d.ID] {
			return fault.New(fault.Invalid, "the id %q is listed twice", d.ID).ByRule("device-id")
		}
		if suspects[maphash.String(seed, d.ID)] {
			seen[d.ID] = true
		}
		return nil
	})
}

// each calls f with every device of a list.
func each(open func() (io.ReadCloser, error), keyed bool, f func(Device) error) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	list := NewList(r, keyed)
	for {
		d, err := list.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(d); err != nil {
			return err
		}
	}
}

// Skip passes n devices of a source by.
func Skip(s Source, n int) error {
	if c, ok := s.(*Counted); ok {
		c.Next += n
		return nil
	}
	buf := make([]Device, batchSize)
	for n > 0 {
		got, err := s.Read(buf[:min(n, len(buf))])
		n -= got
		if err != nil && n > 0 {
			return fault.New(fault.Internal, "the list ends before what was issued by it")
		}
	}
	return nil
}
