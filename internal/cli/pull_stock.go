package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

// pullStock takes into the local store what servers without accountd hold: of
// each account the version that was issued last.
func (s *session) pullStock(ctx context.Context, r *root, o pullOptions) ([]*receipt, error) {
	there, _, err := s.remote(ctx, r)
	if err != nil {
		return nil, err
	}
	wanted := sortedNames(there)
	if !o.all {
		if wanted, err = s.wantedStock(r, o.account, there); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(wanted, func(a, b string) int { return strings.Compare(there[a].name+a, there[b].name+b) })
	var recs []*receipt
	for _, key := range wanted {
		rec := &receipt{Kind: "account", Name: there[key].name, Key: key, ID: there[key].id, Outcome: outcomeRefused}
		if err := s.takeStock(ctx, r, o, there[key], rec); err != nil {
			rec.Outcome = outcomeRefused
			rec.fail(err)
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

// wantedStock returns the key of an account that the servers have, by key, by
// the name of the local store, or by the name in the claims.
func (s *session) wantedStock(r *root, nameOrKey string, there map[string]remoteAccount) ([]string, error) {
	if ac, err := s.account(r, nameOrKey); err == nil {
		nameOrKey = ac.key
	} else if nameOrKey == "" {
		return nil, err
	}
	var names []string
	for key, other := range there {
		if key == nameOrKey || other.name == nameOrKey {
			return []string{key}, nil
		}
		names = append(names, other.name)
	}
	return nil, withNearest(fault.New(fault.NotFound, "no server has the account %s", nameOrKey).About("account", nameOrKey), nameOrKey, names)
}

// takeStock takes one version. Servers keep no order of versions, so that of two
// whose history is not known the later one wins, as with the official tool.
func (s *session) takeStock(ctx context.Context, r *root, o pullOptions, other remoteAccount, rec *receipt) error {
	theirs, err := r.trusted(rec.Key, other.token)
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx, r, rec.Key)
	if err != nil {
		return err
	}
	defer unlock()
	if other.other > 0 {
		rec.Lines = append(rec.Lines, fmt.Sprintf("  servers hold %s of it; this is the latest", count(other.other+1, "version")))
	}
	if local := r.localAccount(rec.Key); local != nil {
		_, known, err := r.Published(rec.Key)
		switch {
		case err != nil:
			return err
		case known || o.overwrite:
		case local.doc.IssuedAt > theirs.IssuedAt:
			rec.Outcome, rec.ID = outcomeSame, local.doc.ID
			rec.Lines = append(rec.Lines, fmt.Sprintf("  the local version is newer; publish it with: nsc push -a %s", shellWords([]string{local.name})))
			return nil
		default:
			o.overwrite = true
		}
	}
	got := api.GetReply{Version: &api.Version{
		Key: rec.Key, Name: theirs.Name, ID: theirs.ID, IssuedAt: theirs.IssuedAt, JWT: theirs.Token, Actor: theirs.Issuer, At: s.started,
	}}
	return s.take(ctx, r, o, theirs, got, rec)
}
