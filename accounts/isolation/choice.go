package isolation

import (
	"slices"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
)

// choices enumerates what servers leave to chance: the trial runs again until
// every combination of picks was seen.
type choices struct {
	picks  []int // what was picked so far in this run, then what is to be picked
	widths []int
	at     int
	why    map[string]bool

	links map[*link]bool // which imports are there in this run, of those that may be missing
	void  bool           // servers never choose as this run does
}

// pick returns a number below n, another one in another run.
func (c *choices) pick(n int, why string) int {
	if n <= 1 {
		return 0
	}
	c.why[why] = true
	if c.at == len(c.picks) {
		c.picks, c.widths = append(c.picks, 0), append(c.widths, n)
	}
	c.at++
	return c.picks[c.at-1]
}

// one picks a user where e stands for whoever has a role.
func (c *choices) one(e endpoint) endpoint {
	if e.refused == "" && e.unsure != "" && c.pick(2, e.unsure) == 1 {
		e.perms = e.least
	}
	return e
}

// there reports whether an import is there in this run.
func (c *choices) there(w *World, l *link) bool {
	if l.maybe == "" {
		return true
	}
	is, known := c.links[l]
	if !known {
		is = c.pick(2, l.maybe) == 0
		c.links[l] = is
		c.void = c.void || l.cyclic && !w.consistent(l, c.links)
	}
	return is
}

// consistent reports whether servers can come to these imports, of which l is the
// last to be known. Of a cycle they leave out the one that they add last, and
// nothing else: not all of it is there, and what is missing would close one.
func (w *World) consistent(l *link, links map[*link]bool) bool {
	if !links[l] {
		return accounts.Cyclic(l.importer.claims, l.claim, sharing{w, func(o *jwt.Import) bool { return o != l.claim && !missing(o, links) }})
	}
	var left []*link // in some order each was added when it closed no cycle with those before it
	for o, is := range links {
		if is && o.cyclic {
			left = append(left, o)
		}
	}
	for len(left) > 0 {
		last := slices.IndexFunc(left, func(o *link) bool {
			others := sharing{w, func(im *jwt.Import) bool {
				return im != o.claim && slices.ContainsFunc(left, func(x *link) bool { return x.claim == im })
			}}
			return !accounts.Cyclic(o.importer.claims, o.claim, others)
		})
		if last < 0 {
			return false
		}
		left = slices.Delete(left, last, last+1)
	}
	return true
}

func missing(im *jwt.Import, links map[*link]bool) bool {
	for l, is := range links {
		if l.claim == im {
			return !is
		}
	}
	return false
}

// next prepares the next run, false if there is none.
func (c *choices) next() bool {
	c.at, c.links, c.void = 0, map[*link]bool{}, false
	for i := len(c.picks) - 1; i >= 0; i-- {
		if c.picks[i]+1 < c.widths[i] {
			c.picks[i]++
			c.picks, c.widths = c.picks[:i+1], c.widths[:i+1]
			return true
		}
	}
	return false
}
