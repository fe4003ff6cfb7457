package cli

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/keys"
)

// How an account here compares with the one on the servers.
const (
	diffHere   = "here"   // only in the local store
	diffThere  = "there"  // only on the servers
	diffOther  = "differ" // another version
	diffSpread = "spread" // the same here, and servers hold further versions
	diffSame   = "same"
)

// accountDiff is one line of push --diff.
type accountDiff struct {
	Name  string `json:"name"`
	Key   string `json:"key"`
	State string `json:"state"`
}

// accountDiffs is the JSON of push --diff.
type accountDiffs struct {
	Schema   int           `json:"schema"`
	Accounts []accountDiff `json:"accounts"`
}

// pushDiff compares the local accounts with those on the servers, version by
// version.
func (a *app) pushDiff(ctx context.Context, o pushOptions) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	if err := o.aim.at(r); err != nil {
		return err
	}
	there, _, err := s.remote(ctx, r)
	if err != nil {
		return err
	}
	diffs, err := s.compare(r, o, there)
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.printStructured(accountDiffs{api.Schema, diffs})
	}
	return a.printDiffs(diffs)
}

// compare lists all accounts of both sides by name; those of -a alone, if any
// are named.
func (s *session) compare(r *root, o pushOptions, there map[string]remoteAccount) ([]accountDiff, error) {
	local, err := s.selected(r, pushOptions{accounts: o.accounts, all: len(o.accounts) == 0})
	if err != nil {
		return nil, err
	}
	rest := maps.Clone(there)
	diffs := []accountDiff{}
	for _, ac := range local {
		d := accountDiff{Name: ac.name, Key: ac.key, State: diffSame}
		other, ok := rest[ac.key]
		delete(rest, ac.key)
		switch {
		case !ok:
			d.State = diffHere
		case other.id != ac.doc.ID:
			d.State = diffOther
		case other.other > 0:
			d.State = diffSpread
		}
		diffs = append(diffs, d)
	}
	if len(o.accounts) == 0 {
		for key, other := range rest {
			diffs = append(diffs, accountDiff{Name: other.name, Key: key, State: diffThere})
		}
	}
	slices.SortFunc(diffs, func(a, b accountDiff) int { return strings.Compare(a.Name+a.Key, b.Name+b.Key) })
	return diffs, nil
}

func (a *app) printDiffs(diffs []accountDiff) error {
	text := map[string]string{
		diffHere: "only here", diffThere: "only on the servers", diffOther: "another version on the servers",
		diffSpread: "other versions on some servers",
	}
	var rows [][]string
	same := 0
	for _, d := range diffs {
		if d.State == diffSame {
			same++
			continue
		}
		rows = append(rows, []string{d.Name, keys.Short(d.Key), text[d.State]})
	}
	rows = append(rows, []string{count(same, "account") + " the same on both sides"})
	return printTable(a.env.Stdout, rows)
}
