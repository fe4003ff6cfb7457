package isolation

// choices enumerates what servers leave to chance: the trial runs again until
// every combination of picks was seen.
type choices struct {
	picks  []int // what was picked so far in this run, then what is to be picked
	widths []int
	at     int
	why    map[string]bool
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

// next prepares the next run, false if there is none.
func (c *choices) next() bool {
	c.at = 0
	for i := len(c.picks) - 1; i >= 0; i-- {
		if c.picks[i]+1 < c.widths[i] {
			c.picks[i]++
			c.picks, c.widths = c.picks[:i+1], c.widths[:i+1]
			return true
		}
	}
	return false
}
