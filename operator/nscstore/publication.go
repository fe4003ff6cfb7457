package nscstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// stateDir holds what this package keeps beside the official files: the lock,
// transactions, account locks, publications, offers and users of deleted
// accounts. The official tool looks for accounts below accounts/ and for operators one level up, and passes it by.
const stateDir = ".accountd"

// publishedDir holds the publications: files of lines, each the public key of
// an account, a space, and JSON. The accounts of a store are spread over them
// by their keys, so that one account reads little, and many that follow each
// other in the order of their keys write few files.
const publishedDir = stateDir + "/published"

// Publication says how the local JWT of an account stands to the service.
type Publication struct {
	ID          string `json:"jti"`                   // jti of the last JWT the service took
	Revision    uint64 `json:"revision"`              // its revision there, 0 if not known
	Unpublished bool   `json:"unpublished,omitempty"` // the local JWT has edits that the service lacks

	// Of an unpublished one: the last JWT that the service took, "" if it is not
	// known, in a file of its own; and the jtis of local versions since, of which
	// this one is an edit, with spaces between.
	Base string `json:"-"`
	Own  string `json:"own,omitempty"`
}

// maxOwn is how many local versions a publication remembers.
const maxOwn = 16

// Edited is p once the local JWT, of the jti id, is edited. token is that JWT if
// the service has it, else "".
func (p Publication) Edited(id, token string) Publication {
	if p.Unpublished = true; token != "" {
		p.Base, p.Own = token, ""
		return p
	}
	own := append(strings.Fields(p.Own), id)
	p.Own = strings.Join(own[max(0, len(own)-maxOwn):], " ")
	return p
}

// Owns reports whether the local JWT is an edit of the one of this jti.
func (p Publication) Owns(id string) bool { return slices.Contains(strings.Fields(p.Own), id) }

// Published returns what is known of the publication of an account, by its
// public key; ok is false if nothing is. A damaged file is fault.Invalid.
func (v view) Published(accountKey string) (p Publication, ok bool, err error) {
	all, err := v.Publications(accountKey)
	p, ok = all[accountKey]
	return p, ok, err
}

// Publications is Published for several accounts. Those of which nothing is
// known are not in it.
func (v view) Publications(accountKeys ...string) (map[string]Publication, error) {
	out := make(map[string]Publication, len(accountKeys))
	files := map[string][]byte{}
	for _, key := range accountKeys {
		name, err := publicationFile(key)
		if err != nil {
			return nil, err
		}
		data, ok := files[name]
		if !ok {
			if data, err = v.publications(name); err != nil {
				return nil, err
			}
			files[name] = data
		}
		begin, end := lineOf(data, key)
		if begin == end {
			continue
		}
		if out[key], err = decodePublication(data[begin+len(key)+1 : end]); err != nil {
			return nil, damaged(v.path(name), err).
				WithHint("remove %s, then compare with the service: nsc pull", v.path(name))
		}
		if p := out[key]; p.Unpublished {
			base, err := v.publications(baseFile(key))
			if err != nil {
				return nil, err
			}
			p.Base = string(base)
			out[key] = p
		}
	}
	return out, nil
}

// Unpublished returns the public keys of the accounts that are recorded to have
// edits which the service lacks. A damaged line counts as one that has none.
func (v view) Unpublished() (map[string]bool, error) {
	files, err := v.tree.list(publishedDir)
	if err != nil {
		return nil, ioFault("list publications", err)
	}
	out := map[string]bool{}
	for _, f := range files {
		if path.Ext(f) != publishedSuffix {
			continue
		}
		data, err := v.publications(publishedDir + "/" + f)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(data) {
			key, record, _ := bytes.Cut(line, []byte{' '})
			if p, err := decodePublication(record); err == nil && p.Unpublished {
				out[string(key)] = true
			}
		}
	}
	return out, nil
}

// publications reads a file of publications; one that is missing is empty.
func (v view) publications(name string) ([]byte, error) {
	data, err := v.tree.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, ioFault("read publication", err)
}

// lineOf returns where the line of an account begins and ends; they are equal
// without one.
func lineOf(data []byte, accountKey string) (begin, end int) {
	for start := accountKey + " "; !bytes.HasPrefix(data[begin:], []byte(start)); {
		n := bytes.Index(data[begin:], []byte("\n"+start))
		if n < 0 {
			return 0, 0
		}
		begin += n + 1
	}
	if n := bytes.IndexByte(data[begin:], '\n'); n >= 0 {
		return begin, begin + n + 1
	}
	return begin, len(data)
}

// SetPublished records how the JWT of an account stands to the service.
func (tx *Tx) SetPublished(accountKey string, p Publication) error {
	data, err := encodePublication(p)
	if err != nil {
		return fault.New(fault.Invalid, "publication: %w", err).About("account", accountKey).ByRule("publication")
	}
	old, err := tx.setPublication(accountKey, slices.Concat([]byte(accountKey+" "), data, []byte{'\n'}))
	if err != nil {
		return err
	}
	was, err := decodePublication(old)
	hadBase := len(old) > 0 && (err != nil || was.Unpublished)
	switch name := baseFile(accountKey); {
	case p.Base != "":
		tx.put(name, []byte(p.Base))
	case (hadBase || p.Unpublished) && tx.tree.has(name):
		tx.remove(name)
	}
	return nil
}

// baseFile is the name of the file with the Base of a publication.
func baseFile(accountKey string) string { return publishedDir + "/" + accountKey + jwtSuffix }

// ForgetPublished removes what SetPublished recorded.
func (tx *Tx) ForgetPublished(accountKey string) error {
	if name := baseFile(accountKey); tx.tree.has(name) {
		tx.remove(name)
	}
	_, err := tx.setPublication(accountKey, nil)
	return err
}

// setPublication stages the line of an account, or that it has none, and returns
// what stood behind the key in the one before, nil if there was none.
func (tx *Tx) setPublication(accountKey string, line []byte) (old []byte, err error) {
	name, err := publicationFile(accountKey)
	if err != nil {
		return nil, err
	}
	data, err := tx.publications(name)
	if err != nil {
		return nil, err
	}
	begin, end := lineOf(data, accountKey)
	if begin == end { // a line that a damaged file leaves open must not swallow it
		if begin = len(data); begin > 0 && len(line) > 0 && data[begin-1] != '\n' {
			line = slices.Concat([]byte{'\n'}, line)
		}
		end = begin
	} else {
		old = data[begin+len(accountKey)+1 : end]
	}
	switch next := slices.Concat(data[:begin], line, data[end:]); {
	case len(next) > 0:
		tx.put(name, next)
	case len(data) > 0:
		tx.remove(name)
	}
	return old, nil
}

func encodePublication(p Publication) ([]byte, error) {
	data, err := json.Marshal(p)
	if err == nil {
		_, err = decodePublication(data)
	}
	return data, err
}

// decodePublication reads what is recorded of an account.
func decodePublication(data []byte) (Publication, error) {
	var p Publication
	if err := json.Unmarshal(data, &p); err != nil {
		return Publication{}, err
	}
	if p.ID == "" && !p.Unpublished {
		return Publication{}, errors.New("it names no JWT")
	}
	return p, nil
}

// publicationFile is the name of the file that an account's publication is in,
// below the operator's folder.
func publicationFile(accountKey string) (string, error) {
	part, err := partOf(accountKey)
	return publishedDir + "/" + part + publishedSuffix, err
}

const publishedSuffix = ".lines"

// partOf returns to which of the 128 parts of a store an account belongs. Keys
// in order are in parts in order.
func partOf(accountKey string) (string, error) {
	if err := requireAccountKey(accountKey); err != nil {
		return "", err
	}
	return accountKey[1:3], nil
}

func requireAccountKey(key string) error {
	if nkeys.IsValidPublicAccountKey(key) {
		return nil
	}
	return fault.New(fault.Invalid, "%q is no public key of an account", key).About("account", key).ByRule("account-key")
}
