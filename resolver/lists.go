package resolver

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
)

// carryLists is "nothing revoked comes back": the new version holds what the
// stored one and the record demand, or the request names what it takes back.
func (c *change) carryLists(now time.Time) error {
	if err := c.carryRetired(now); err != nil {
		return err
	}
	if err := c.carryRevocations(now); err != nil {
		return err
	}
	return c.carryExportLists()
}

// carryRetired retires the signing keys that this version leaves out, and
// refuses those that were retired before.
func (c *change) carryRetired(now time.Time) error {
	retired := maps.Clone(c.old.Retired)
	if retired == nil {
		retired = map[string]int64{}
	}
	for _, key := range slices.Sorted(slices.Values(c.ac.SigningKeys.Keys())) {
		if retired[key] == 0 {
			continue
		}
		if !slices.Contains(c.item.Unretire, key) {
			return fault.New(fault.Denied, "brings back signing key %s, which was retired at %s", keys.Short(key),
				time.Unix(retired[key], 0).UTC().Format(time.RFC3339)).
				ByRule("retired key").WithHint("use a new signing key: nsc edit account %s --sk generate", c.name())
		}
		delete(retired, key)
		c.note("un-retired signing key", key)
	}
	leaving := slices.Clone(c.item.Retire)
	if c.oldAC != nil {
		leaving = append(leaving, c.oldAC.SigningKeys.Keys()...)
	}
	slices.Sort(leaving)
	for _, key := range slices.Compact(leaving) {
		if !slices.Contains(c.ac.SigningKeys.Keys(), key) && retired[key] == 0 {
			retired[key] = now.Unix()
			c.note("retired signing key", key)
		}
	}
	if len(retired) > 0 {
		c.rec.Retired = retired
	}
	c.rec.Born = c.born(now)
	c.allBorn = now.Unix()
	fleet.EachSigner(c.ac, func(key string) bool {
		c.allBorn = min(c.allBorn, c.rec.Born[key])
		return true
	})
	return nil
}

// born returns when the signing keys of this version were first seen: those of
// which that is not known, or that were retired since, are not in it.
func (c *change) born(now time.Time) map[string]int64 {
	var out map[string]int64
	for _, key := range c.ac.SigningKeys.Keys() {
		at, known := c.old.Born[key]
		if !known && (c.old.Retired[key] != 0 || c.oldAC != nil && c.oldAC.SigningKeys.Contains(key)) {
			continue
		}
		if !known {
			at = now.Unix()
		}
		if out == nil {
			out = map[string]int64{}
		}
		out[key] = at
	}
	return out
}

// isRetired is a revocation.Retired. What was issued at a time can have been
// signed by an account itself, unless its operator is strict, and by every
// signing key that was not made later; but not by those of enrolment groups.
func (c *change) isRetired(key string, at int64) bool {
	if key != revocation.All {
		return c.rec.Retired[key] != 0
	}
	return c.strict && c.allBorn > at+int64(fleet.Skew/time.Second)
}

func (c *change) note(what, key string) {
	if len(c.notes) < 20 {
		c.notes = append(c.notes, what+" "+key)
	}
}

// carryRevocations demands the entries of the user revocation list.
func (c *change) carryRevocations(now time.Time) error {
	list := revocation.List(c.ac.Revocations)
	var old revocation.List
	if c.oldAC != nil {
		old = revocation.List(c.oldAC.Revocations)
	}
	var lacking []revocation.Entry
	drops := revocation.ByKey(c.item.Drop)
	for _, e := range list.Missing(old) {
		if slices.Contains(c.item.Unrevoke, e.Key) {
			if err := c.unrevoked(e, list, now); err != nil {
				return err
			}
			continue
		}
		drop, named, err := drops.Find(e, list, c.isRetired, now.Unix())
		if !named {
			lacking = append(lacking, e)
			continue
		}
		if err != nil {
			return err
		}
		c.remember(revocation.Dropped{Entry: e, Because: drop.Because}, now)
		c.note("dropped revocation ("+drop.Because+") of", e.Key)
	}
	for _, d := range c.old.Dropped {
		switch {
		case slices.Contains(c.item.Unrevoke, d.Key), list[d.Key] >= d.At:
		case d.MustReturn(list, c.isRetired):
			lacking = append(lacking, d.Entry)
		default:
			c.remember(d, now)
		}
	}
	if len(lacking) > 0 {
		return c.lacks(lacking)
	}
	for _, e := range list.Added(old) {
		c.note("revoked", e.Key)
	}
	return nil
}

// remember keeps a dropped entry, unless all that it refused has expired.
func (c *change) remember(d revocation.Dropped, now time.Time) {
	if horizon, bounded := fleet.Horizon(c.ac, now); bounded && d.At <= horizon {
		return
	}
	c.rec.Dropped = append(c.rec.Dropped, d)
}

// unrevoked accepts that e leaves the list, unless * keeps the user out anyway,
// or * would go behind the horizon of an account whose users are short-lived:
// entries that it covers are not remembered.
func (c *change) unrevoked(e revocation.Entry, list revocation.List, now time.Time) error {
	if horizon, bounded := fleet.Horizon(c.oldAC, now); bounded && e.Key == revocation.All && list[revocation.All] < min(e.At, horizon) {
		return fault.New(fault.Denied, "%s is for short-lived users, and its revocation of all users (*) goes back to %s at the earliest", c.name(),
			time.Unix(horizon, 0).UTC().Format(time.RFC3339)).ByRule("horizon").WithHint("nsc unrevoke user '*' -a %s", c.name())
	}
	if e.Key != revocation.All && list[revocation.All] >= e.At {
		return fault.New(fault.Denied, "%s stays revoked in %s: the revocation of all users (*) of %s covers it", keys.Short(e.Key), c.name(),
			time.Unix(list[revocation.All], 0).UTC().Format(time.RFC3339)).
			ByRule("covered by *").WithHint("issue the user anew: nsc add user <name> -a %s --reissue", c.name())
	}
	c.note("un-revoked", e.Key)
	return nil
}

func (c *change) lacks(entries []revocation.Entry) error {
	names := make([]string, 0, 3)
	for _, e := range entries[:min(3, len(entries))] {
		names = append(names, keys.Short(e.Key))
	}
	return fault.New(fault.Denied, "lacks %d of the revocations of %s that are in force (%s)", len(entries), c.name(), strings.Join(names, ", ")).
		ByRule("revocation").WithHint("take the stored version with: nsc pull -a %s; un-revoke on purpose with: nsc unrevoke user", c.name())
}

// carryExportLists demands the revocations of activations: of each export that
// stays, and of each that left when an overlapping one of its type returns.
func (c *change) carryExportLists() error {
	for _, want := range c.demandedExports() {
		kept := false
		for _, ex := range c.ac.Exports {
			if exportType(ex.Type) != want.Type || !accounts.Overlaps(string(ex.Subject), want.Subject) {
				continue
			}
			if miss := revocation.List(ex.Revocations).Missing(want.Revoked); len(miss) > 0 {
				return fault.New(fault.Denied, "the %s export %s lacks %d revocations of activations of %s, first that of %s",
					want.Type, ex.Subject, len(miss), want.Subject, keys.Short(miss[0].Key)).
					ByRule("export revocation").WithHint("take the stored version with: nsc pull -a %s", c.name())
			}
			kept = kept || string(ex.Subject) == want.Subject
		}
		if !kept {
			c.rec.Exports = append(c.rec.Exports, want)
		}
	}
	return nil
}

// demandedExports returns the lists of the stored exports and of the remembered
// ones, less what the request takes back.
func (c *change) demandedExports() []store.ExportList {
	var out []store.ExportList
	add := func(kind, subject string, list revocation.List) {
		i := slices.IndexFunc(out, func(l store.ExportList) bool { return l.Type == kind && l.Subject == subject })
		if i < 0 {
			out = append(out, store.ExportList{Type: kind, Subject: subject})
			i = len(out) - 1
		}
		out[i].Revoked = out[i].Revoked.Merge(list)
	}
	if c.oldAC != nil {
		for _, ex := range c.oldAC.Exports {
			add(exportType(ex.Type), string(ex.Subject), revocation.List(ex.Revocations))
		}
	}
	for _, l := range c.old.Exports {
		add(l.Type, l.Subject, l.Revoked)
	}
	for _, l := range out {
		maps.DeleteFunc(l.Revoked, func(key string, _ int64) bool {
			return slices.Contains(c.item.Unrevoke, l.Type+" "+l.Subject+" "+key)
		})
	}
	return slices.DeleteFunc(out, func(l store.ExportList) bool { return len(l.Revoked) == 0 })
}

func exportType(t jwt.ExportType) string {
	if t == jwt.Service {
		return api.ExportService
	}
	return api.ExportStream
}
