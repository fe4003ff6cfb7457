package nscstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// Limits of a journal; a transaction beyond them is refused before it writes.
const (
	maxSteps       = 100_000
	journalVersion = 1
)

// tempSuffix ends the names of staged files, which lie in the staging folder.
const tempSuffix = ".tmp"

// step is one move of a transaction. Doing it twice does no harm.
type step struct {
	Keys bool   `json:"keys,omitempty"` // in the keystore, else in the operator's folder
	From string `json:"from,omitempty"` // staged file that becomes To; "" removes To
	To   string `json:"to"`             // relative, with slashes
	Dir  bool   `json:"dir,omitempty"`  // To is a folder, removed if it is empty
}

// journal lists the moves of a transaction whose files are all staged. Once it
// is on the disk the transaction is committed, and whoever holds the lock next
// makes the moves that are left.
type journal struct {
	Version  int    `json:"version"`
	Keystore string `json:"keystore,omitempty"` // the keystore of steps with Keys
	Steps    []step `json:"steps"`
}

// decodeJournal reads a journal and accepts only moves that a transaction can
// make: a store that comes from elsewhere must not reach other files.
func decodeJournal(data []byte) (journal, error) {
	var j journal
	if err := json.Unmarshal(data, &j); err != nil {
		return journal{}, err
	}
	if j.Version != journalVersion {
		return journal{}, fmt.Errorf("its version is %d, this program knows %d", j.Version, journalVersion)
	}
	if len(j.Steps) == 0 || len(j.Steps) > maxSteps {
		return journal{}, fmt.Errorf("%d steps", len(j.Steps))
	}
	for i, s := range j.Steps {
		if err := s.check(); err != nil {
			return journal{}, fmt.Errorf("step %d: %w", i, err)
		}
		if s.Keys && !filepath.IsAbs(j.Keystore) {
			return journal{}, errors.New("it names no keystore")
		}
	}
	return j, nil
}

// check refuses a step that no transaction makes.
func (s step) check() error {
	if s.From != "" && (!safeName(s.From) || !strings.HasSuffix(s.From, tempSuffix)) {
		return fmt.Errorf("%q is no staged file", s.From)
	}
	if !filepath.IsLocal(s.To) || path.Clean(s.To) != s.To || strings.ContainsAny(s.To, "\\\x00") {
		return fmt.Errorf("%q is no name in the store", s.To)
	}
	if !s.inLayout() {
		return fmt.Errorf("%q is not of the layout", s.To)
	}
	return nil
}

// inLayout reports whether the step's file is of the official layout, a
// publication, a kept user, or an offer.
func (s step) inLayout() bool {
	parts := strings.Split(s.To, "/")
	top, n, ext := parts[0], len(parts), path.Ext(s.To)
	switch {
	case s.Dir:
		return !s.Keys && s.From == "" && (top == accountsDir && (n == 2 || n == 3 && parts[2] == usersDir) || path.Dir(s.To) == keptDir)
	case s.Keys:
		return n == 4 && (top == keysDir && ext == seedSuffix || top == credsDir && ext == credsSuffix)
	case n == 1:
		return top == infoFile || ext == jwtSuffix
	case path.Dir(s.To) == publishedDir:
		return ext == publishedSuffix || ext == jwtSuffix
	case n == 4 && top == stateDir:
		dir := path.Dir(path.Dir(s.To))
		return (dir == keptDir || dir == offersDir) && ext == jwtSuffix
	case n == 3, n == 4 && parts[2] == usersDir:
		return top == accountsDir && ext == jwtSuffix
	}
	return false
}
