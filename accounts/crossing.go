package accounts

import (
	"slices"

	"github.com/nats-io/jwt/v2"
)

// Crossing is what passes between a leaf node of an account and its hub so that
// clients on the leaf node have a part in what the account shares with others.
// All else can stay where it is.
type Crossing struct {
	Up, Down []string // what the leaf node publishes, and what comes to it; sorted
}

// CrossingOf returns what the exports and imports of ac need: a stream that it
// exports and a service that it asks go up, a stream that it imports and a
// service that it offers come down, and answers go the other way.
func CrossingOf(ac *jwt.AccountClaims) Crossing {
	var c Crossing
	for _, ex := range ac.Exports {
		switch {
		case ex == nil:
		case ex.Type == jwt.Stream:
			c.Up = append(c.Up, string(ex.Subject))
		default:
			c.Down = append(c.Down, string(ex.Subject))
			c.Up = append(c.Up, "_R_.>") // where servers want the answers to requests of other accounts
		}
	}
	for _, im := range ac.Imports {
		if im == nil {
			continue
		}
		_, local := patterns(im)
		if im.Type == jwt.Stream {
			c.Down = append(c.Down, local)
			continue
		}
		c.Up = append(c.Up, local)
		c.Down = append(c.Down, "_INBOX.>")
	}
	for _, list := range []*[]string{&c.Up, &c.Down} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return c
}

// Beyond returns what users with these rights can do that is no part of c.
func (c Crossing) Beyond(r Reach) (up, down []string) {
	within := func(list []string) func(string) bool {
		return func(s string) bool { return slices.ContainsFunc(list, func(o string) bool { return Within(s, o) }) }
	}
	return slices.DeleteFunc(slices.Clone(r.Publish), within(c.Up)), slices.DeleteFunc(slices.Clone(r.Subscribe), within(c.Down))
}

// Short returns what of c users with these rights cannot do.
func (c Crossing) Short(r Reach) (up, down []string) {
	return Crossing{Up: r.Publish, Down: r.Subscribe}.Beyond(Reach{Publish: c.Up, Subscribe: c.Down})
}

// StaleEdges names the roles of leaf nodes that carried nothing but what before
// shared, and that carry more or less than what after does.
func StaleEdges(before, after *jwt.AccountClaims) []string {
	was, is := CrossingOf(before), CrossingOf(after)
	var out []string
	for key := range after.SigningKeys {
		role := RoleOf(after, key)
		if role == nil || len(role.Template.AllowedConnectionTypes) == 0 || slices.ContainsFunc(role.Template.AllowedConnectionTypes, func(t string) bool {
			return t != jwt.ConnectionTypeLeafnode && t != jwt.ConnectionTypeLeafnodeWS
		}) {
			continue
		}
		r := Reach{Publish: literally(role.Template.Pub), Subscribe: literally(role.Template.Sub)}
		if up, down := was.Beyond(r); len(up)+len(down) > 0 {
			continue // it was never one
		}
		up, down := is.Short(r)
		more, less := is.Beyond(r)
		if len(up)+len(down)+len(more)+len(less) > 0 {
			out = append(out, role.Role)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// literally is what a list lets a leaf node have, whose messages are judged one by
// one.
func literally(p jwt.Permission) []string {
	switch {
	case p.Deny.Contains(anyTail):
		return nil
	case len(p.Allow) == 0:
		return []string{anyTail}
	}
	return p.Allow
}
