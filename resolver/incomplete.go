package resolver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// batch judges what the items of one request do to each other and to accounts
// outside the request: a change may not add a finding unless that is allowed.
type batch struct {
	r       store.Reader
	changes []*change
	allow   bool
	now     int64 // Unix seconds

	byKey     map[string]*change
	stored    map[string]*jwt.AccountClaims // cache of the stored accounts
	importers *importers
	failed    error
}

func newBatch(r store.Reader, changes []*change, known *importers, allow bool, now time.Time) *batch {
	b := &batch{
		r: r, changes: changes, allow: allow, now: now.Unix(),
		byKey: map[string]*change{}, stored: map[string]*jwt.AccountClaims{}, importers: known,
	}
	for _, c := range changes {
		if c.key != "" && b.byKey[c.key] == nil {
			b.byKey[c.key] = c
		}
	}
	return b
}

// affected is an account outside the request whose findings change with it.
type affected struct {
	rec   store.Record
	added []string
}

func (b *batch) judge() ([]affected, error) {
	for {
		refused := false
		var others []affected
		for _, c := range b.changes {
			if c.err != nil || c.same {
				continue
			}
			b.judgeOwn(c)
			if c.err == nil {
				others = append(others, b.judgeImporters(c)...)
			}
			refused = refused || c.err != nil
		}
		if b.failed != nil {
			return nil, b.failed
		}
		if !refused {
			return others, nil
		}
	}
}

// judgeOwn computes the findings of the new version and compares.
func (b *batch) judgeOwn(c *change) {
	if c.doc == nil {
		return
	}
	c.rec.Findings = accounts.Findings(c.ac, b.after, b.now)
	if b.allow || c.bootstrap || len(c.rec.Findings) == 0 || onlyRevokes(c) {
		return
	}
	var before []string
	if c.oldAC != nil && !c.old.Deleted {
		before = accounts.Findings(c.oldAC, b.before, b.now)
	}
	if added := without(c.rec.Findings, before); len(added) > 0 {
		c.err = fault.New(fault.Denied, "account %s would be incomplete: %s", c.name(), strings.Join(added, "; ")).
			ByRule("incomplete").WithHint("mend it, publish the exporter first, or accept it with --allow-incomplete")
	}
}

// judgeImporters finds what the change does to accounts that import from it.
func (b *batch) judgeImporters(c *change) []affected {
	if !sharesDiffer(c) {
		return nil
	}
	var out []affected
	var broken []string
	importing, err := b.importers.of(b.r, c.key)
	if err != nil {
		b.failed = err
		return nil
	}
	for _, key := range importing {
		if b.changeOf(key) != nil || key == c.key {
			continue // judged as an item of its own
		}
		ac, rec := b.before(key), store.Record{}
		if rec, b.failed = b.r.Get(store.Account, key); b.failed != nil || ac == nil {
			return nil
		}
		after := accounts.Findings(ac, b.after, b.now)
		if added := without(after, accounts.Findings(ac, b.before, b.now)); len(added) > 0 {
			broken = append(broken, fmt.Sprintf("%s: %s", rec.Name, strings.Join(added, "; ")))
		}
		if !slices.Equal(after, rec.Findings) {
			rec.Findings = after
			out = append(out, affected{rec: rec, added: after})
		}
	}
	if len(broken) > 0 && !b.allow && !c.item.Force && !onlyRevokes(c) {
		what, hint := "would break imports of others", "accept it with --allow-incomplete"
		if c.doc == nil {
			what, hint = "is imported by others", "delete it all the same with --force"
		}
		c.err = fault.New(fault.Denied, "account %s %s: %s", c.name(), what, strings.Join(broken, "; ")).ByRule("imported").WithHint("%s", hint)
		return nil
	}
	return out
}

// sharesDiffer reports whether what others may import changes.
func sharesDiffer(c *change) bool {
	if c.doc == nil {
		return true
	}
	if c.oldAC == nil || c.old.Deleted {
		return len(c.ac.Exports) > 0
	}
	type shares struct {
		Exports jwt.Exports
		Keys    []string
	}
	of := func(ac *jwt.AccountClaims) string {
		data, _ := json.Marshal(shares{ac.Exports, slices.Sorted(slices.Values(ac.SigningKeys.Keys()))})
		return string(data)
	}
	return of(c.ac) != of(c.oldAC)
}

// onlyRevokes reports whether the new version differs from the stored one by
// added revocations alone. Such a change is admitted whatever else is wrong.
func onlyRevokes(c *change) bool {
	if c.doc == nil || c.oldAC == nil || c.old.Deleted || len(c.item.Unrevoke) > 0 {
		return false
	}
	return beside(c.ac) == beside(c.oldAC)
}

// onlySuspends reports whether the new version suspends the stored one, and does
// nothing else but to revoke.
func onlySuspends(c *change) bool {
	if c.doc == nil || c.oldAC == nil || c.old.Deleted || len(c.item.Unrevoke) > 0 {
		return false
	}
	suspended := *c.oldAC
	return accounts.Suspend(&suspended) && beside(c.ac) == beside(&suspended)
}

// beside is what an account says beside its revocations.
func beside(ac *jwt.AccountClaims) string {
	cp := *ac
	cp.ClaimsData = jwt.ClaimsData{Name: ac.Name, Expires: ac.Expires, NotBefore: ac.NotBefore}
	cp.Revocations = nil
	cp.Exports = nil
	for _, ex := range ac.Exports {
		e := *ex
		e.Revocations = nil
		cp.Exports = append(cp.Exports, &e)
	}
	data, _ := json.Marshal(cp)
	return string(data)
}

func (b *batch) changeOf(key string) *change {
	if c := b.byKey[key]; c != nil && c.err == nil {
		return c
	}
	return nil
}

// after looks an account up as it will be.
func (b *batch) after(key string) *jwt.AccountClaims {
	if c := b.changeOf(key); c != nil && !c.same {
		return c.ac // nil for a deletion
	}
	return b.before(key)
}

// before looks an account up as it is stored, nil for a tombstone.
func (b *batch) before(key string) *jwt.AccountClaims {
	if ac, ok := b.stored[key]; ok {
		return ac
	}
	var ac *jwt.AccountClaims
	if rec, err := b.r.Get(store.Account, key); err == nil && !rec.Deleted {
		ac, _ = jwt.DecodeAccountClaims(rec.JWT)
	}
	b.stored[key] = ac
	return ac
}

func without(list, remove []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(remove, s) })
}
