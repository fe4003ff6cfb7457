package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/accountd/accountd/accounts/fleet"
)

// deviceCut is what a revocation of devices comes to; see docs/json-output.md.
type deviceCut struct {
	Fleet    string   `json:"fleet"`
	Devices  int      `json:"devices,omitempty"` // that were named, one by one
	Listed   int      `json:"listed"`            // of them in the account's claim
	Retired  []string `json:"retired,omitempty"` // roles of keys
	Renewed  []int    `json:"renewed,omitempty"` // cohorts that got a new key
	Returns  int64    `json:"returns,omitempty"` // until then healthy devices may renew by what those keys signed, Unix seconds
	Exposed  int      `json:"exposed"`           // that can still connect
	Until    int64    `json:"until,omitempty"`   // the last of them, Unix seconds
	Budget   float64  `json:"budget"`            // share of the largest claim in use afterwards, 0 to 1
	affected map[string]int
	suspects []fleet.Suspect // that were named
	healthy  bool            // devices may be cut, when keys go before all has expired
}

// comeBack says how healthy devices do whose keys went with others.
func (c *deviceCut) comeBack() string {
	if c.Returns == 0 {
		return "are issued anew"
	}
	return "come back by renewing, until " + clock(c.Returns) + ": those that enrolled do so by themselves, others are issued anew"
}

// afterCut says what devices do that were cut since their key was retired before
// what it signed had expired.
func afterCut(returns int64) string {
	if returns == 0 {
		return "; they need new ones, by nsc issue or a token"
	}
	return "; those that enrolled then come back by renewing, until " + clock(returns)
}

// loss says what a plan does to whom.
func (c *deviceCut) loss(f fleet.Fleet, p fleet.Plan) []string {
	var out []string
	if c.Listed > 0 {
		out = append(out, count(c.Listed, "device")+" will be refused")
	}
	if n := len(p.Retire); n > 0 {
		out = append(out, "everything that "+count(n, "key")+" signed ("+shorten(rolesOf(p.Retire))+") will be refused at once, healthy devices too, until they "+c.comeBack())
	}
	if len(c.affected) > 0 {
		var where []string
		for _, server := range slices.Sorted(maps.Keys(c.affected)) {
			where = append(where, fmt.Sprintf("%s %d", server, c.affected[server]))
		}
		out = append(out, "connected now: "+strings.Join(where, ", "))
	}
	if c.Exposed > 0 && c.healthy {
		out = append(out, "healthy devices of "+count(len(c.Renewed), "cohort")+" that have no new credentials by then are cut"+afterCut(c.Returns))
	}
	if c.Exposed > 0 {
		out = append(out, fmt.Sprintf("%d of %d devices can still connect, until %s at the latest", c.Exposed, c.Devices, clock(c.Until)))
	}
	if len(out) == 0 {
		out = append(out, "nobody of fleet "+f.Name+" is refused who was not before")
	}
	return out
}

func rolesOf(list []fleet.Key) []string {
	var out []string
	for _, k := range list {
		out = append(out, k.Role)
	}
	return out
}

// shorten is a list as people read it.
func shorten(list []string) string {
	if len(list) > 5 {
		return strings.Join(list[:4], ", ") + fmt.Sprintf(" and %d more", len(list)-4)
	}
	return strings.Join(list, ", ")
}

// tell makes a receipt say who is refused, and who is not.
func (c *deviceCut) tell(rec *receipt, ac *account, f fleet.Fleet, p fleet.Plan, o revokeDeviceOptions) {
	rec.Devices, rec.Cuts = c, true
	verb := "revoked"
	switch rec.Outcome {
	case outcomeDry:
		verb = "would revoke"
	case outcomeLocal:
		verb = "wrote the revocation of"
	}
	what := count(c.Devices, "device")
	switch {
	case o.station != "":
		what = "station " + o.station
	case len(o.cohorts) > 0:
		what = "cohorts " + intsText(p.Renew)
	case c.Exposed > 0:
		what = fmt.Sprintf("%d of %d devices", c.Devices-c.Exposed, c.Devices)
	case c.Devices == 1 && len(o.devices) == 1:
		what = "device " + o.devices[0]
	}
	rec.Title = fmt.Sprintf("%s %s of fleet %s in %s", verb, what, f.Name, ac.name)
	if rec.Revision > 0 {
		rec.Title += ", " + revision(rec.Revision)
	}
	rec.Proved = "refused everywhere, " + sweepText(rec.Nodes)
	if len(p.Entries) > 0 {
		rec.Users = p.Entries
		rec.Lines = append(rec.Lines, fmt.Sprintf("%s listed, the claim uses %.0f %% of what it can be", count(c.Listed, "device"), c.Budget*100))
	}
	if len(p.Retire) > 0 {
		rec.Lines = append(rec.Lines, count(len(p.Retire), "signing key")+" ("+shorten(c.Retired)+"): each "+retirement(rec))
	}
	if len(p.Renew) > 0 {
		again := "issue their healthy devices anew with: nsc issue --fleet " + f.Name + " -a " + shellWords([]string{ac.name})
		if c.Returns > 0 {
			again = "healthy devices that enrolled come back by renewing, until " + clock(c.Returns) + "; of others, " + again
		}
		rec.Lines = append(rec.Lines, count(len(p.Renew), "cohort")+" ("+intsText(p.Renew)+") with new keys; "+again)
	}
	if c.Exposed > 0 {
		rec.Proved = "in force everywhere for those"
		rec.Warnings = append(rec.Warnings, fmt.Sprintf("%d of %d devices can still connect, until %s at the latest", c.Exposed, c.Devices, clock(c.Until)))
		if c.healthy {
			rec.Warnings = append(rec.Warnings, "devices of these cohorts that have no new credentials when their old key is retired are cut, the last by "+clock(c.Until)+afterCut(c.Returns)+
				"; without a key of its own accountd leaves that to: nsc sign proposals")
		}
		rec.Lines = append(rec.Lines, "once healthy devices have new credentials, cut the rest with: nsc revoke device --cohort "+commas(p.Renew)+
			" --fleet "+f.Name+" -a "+shellWords([]string{ac.name}))
	}
}

func commas(list []int) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, ",")
}

// intsText is a sorted list as people read it: 1, 3-7.
func intsText(list []int) string {
	var out []string
	for i := 0; i < len(list); i++ {
		from := list[i]
		for i+1 < len(list) && list[i+1] == list[i]+1 {
			i++
		}
		if text := fmt.Sprint(from); list[i] == from {
			out = append(out, text)
		} else {
			out = append(out, fmt.Sprintf("%d-%d", from, list[i]))
		}
	}
	return strings.Join(out, ", ")
}
