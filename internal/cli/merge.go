package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// mergeAccounts redoes on theirs what mine changed since base, the version that
// both came from; nil if that is not known: then all of mine is a change, and
// nothing that theirs has goes. Revocations of both stay, with the later time,
// and retired keys do not return. Where both changed one value, theirs stays,
// and a line says so. The draft is nil if mine adds nothing.
func mergeAccounts(base, mine, theirs *claims.Document, retired map[string]int64) (*claims.Draft, []string, error) {
	own, err := claims.As[jwt.AccountClaims](mine)
	if err != nil {
		return nil, nil, err
	}
	var was sets
	if base != nil {
		before, err := claims.As[jwt.AccountClaims](base)
		if err != nil {
			return nil, nil, err
		}
		if was, err = setsOf(before); err != nil {
			return nil, nil, err
		}
	}
	is, err := setsOf(own)
	if err != nil {
		return nil, nil, err
	}
	maps.DeleteFunc(is.of("signing_keys"), func(key string, _ any) bool { _, gone := retired[key]; return gone })
	var m merging
	draft, err := claims.Edit(theirs, func(c *jwt.AccountClaims) error {
		before, err := tree(c)
		if err != nil {
			return err
		}
		next, err := setsOf(c)
		if err != nil {
			return err
		}
		m.redo("", was.claims, is.claims, next.claims)
		if *c, err = next.account(); err != nil {
			return err
		}
		accounts.KeepRevocations(c, own)
		after, err := tree(c)
		if err == nil && reflect.DeepEqual(before, after) {
			err = errUnchanged
		}
		return err
	})
	if errors.Is(err, errUnchanged) {
		draft, err = nil, nil
	}
	return draft, m.clashes, err
}

// merging is a merge of trees under way.
type merging struct {
	clashes []string
}

// notMerged reports whether a field is one that a signature sets, or a list that
// unites.
func notMerged(field string) bool {
	return slices.Contains([]string{"iss", "iat", "jti", "sub", "revocations"}, field)
}

// redo changes is what mine changed since base.
func (m *merging) redo(path string, base, mine, theirs map[string]any) {
	fields := maps.Clone(mine)
	if fields == nil {
		fields = map[string]any{}
	}
	maps.Copy(fields, base)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if notMerged(name) {
			continue
		}
		was, had := base[name]
		own, has := mine[name]
		other, have := theirs[name]
		at := path + name
		ownTree, isTree := own.(map[string]any)
		otherTree, isOther := other.(map[string]any)
		switch wasTree, _ := was.(map[string]any); {
		case isTree && isOther:
			m.redo(at+".", wasTree, ownTree, otherTree)
		case had == has && reflect.DeepEqual(was, own), has == have && reflect.DeepEqual(own, other):
		case had != have || !reflect.DeepEqual(was, other):
			m.clashes = append(m.clashes, fmt.Sprintf("%s: %s (yours: %s)", at, shown(other, have), shown(own, has)))
		case has:
			theirs[name] = own
		default:
			delete(theirs, name)
		}
	}
}

// shown is a value as it stands in the claims.
func shown(v any, has bool) string {
	if !has {
		return "none"
	}
	text, _ := json.Marshal(v) // it came from JSON
	return string(text)
}

// setFields are the lists of an account's claims that are sets, and the fields
// that tell their members apart; none where a member is a text.
func setFields() map[string][]string {
	return map[string][]string{
		"signing_keys": {"key"},
		"exports":      {"type", "subject"},
		"imports":      {"type", "subject", "account", "local_subject", "to"},
		"tags":         nil,
	}
}

// sets are the claims of an account as a tree in which sets are objects.
type sets struct {
	claims map[string]any
	order  map[string][]string // of the members, by field
}

func setsOf(c *jwt.AccountClaims) (sets, error) {
	all, err := tree(c)
	if err != nil {
		return sets{}, err
	}
	s := sets{claims: all, order: map[string][]string{}}
	nats := s.nats()
	for name, by := range setFields() {
		members := map[string]any{}
		list, _ := nats[name].([]any)
		for _, e := range list {
			key := memberKey(e, by)
			members[key] = e
			s.order[name] = append(s.order[name], key)
		}
		nats[name] = members
	}
	return s, nil
}

func (s sets) nats() map[string]any {
	nats, _ := s.claims["nats"].(map[string]any)
	return nats
}

func (s sets) of(name string) map[string]any {
	members, _ := s.nats()[name].(map[string]any)
	return members
}

func memberKey(e any, by []string) string {
	fields, _ := e.(map[string]any)
	if fields == nil {
		return fmt.Sprint(e)
	}
	var values []string
	for _, f := range by {
		if v, has := fields[f]; has {
			values = append(values, fmt.Sprint(v))
		}
	}
	return strings.Join(values, " ")
}

// account is the reverse of setsOf. New members follow the others.
func (s sets) account() (c jwt.AccountClaims, err error) {
	for name := range setFields() {
		members, list := s.of(name), []any{}
		for _, key := range append(s.order[name], slices.Sorted(maps.Keys(members))...) {
			if e, has := members[key]; has {
				list = append(list, e)
				delete(members, key)
			}
		}
		s.nats()[name] = list
	}
	data, err := json.Marshal(s.claims)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		err = fault.New(fault.Internal, "merge claims: %w", err)
	}
	return c, err
}
