package fleet

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// Spare is a signing key of a fleet that is retired although nobody stole it, in a
// roll or since it had signed for devices that are to be refused: for others, what
// it signed is as good as ever to renew by. It takes a mark in the claims, which
// comes with the retirement, and a Spare beside the denied devices, which is
// stored with the last of them: without either, the key counts as stolen.
type Spare struct {
	Role  string `json:"role"`
	Until int64  `json:"until"` // Unix seconds
}

// Spared are the keys of an account that are spared, by public key.
type Spared map[string]Spare

// Change adds keys with their roles until a time, and forgets those whose time
// has passed. Those that devices renew by last as long, as their marks will: an
// older copy of the store, which lacks who was denied since, falls short of them.
func (s Spared) Change(roles map[string]string, marks Returns, until, now int64) {
	maps.DeleteFunc(s, func(_ string, k Spare) bool { return k.Until <= now })
	for key, k := range s {
		if marks.hold(k, now) {
			s[key] = Spare{k.Role, max(until, k.Until)}
		}
	}
	for key, role := range roles {
		s[key] = Spare{role, max(until, s[key].Until)}
	}
}

// Encode writes s as text.
func (s Spared) Encode() (string, error) {
	data, err := json.Marshal(s)
	return string(data), err
}

// DecodeSpared reads what Encode wrote. "" is none.
func DecodeSpared(text string) (Spared, error) {
	s := Spared{}
	if text == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, invalid("malformed", "the spared keys are not of the expected form")
	}
	return s, nil
}

// Returns are the marks in the claims: until when, Unix seconds, devices may renew
// by what a retired key signed, by its role.
type Returns map[string]int64

// ReturnsOf reads the marks of an account. That of a key which was taken out
// before its time, by another tool too, counts for nothing: it may be stolen.
func ReturnsOf(ac *jwt.AccountClaims) Returns {
	marks, waiting := timesOf(ac, tagReturns), timesOf(ac, tagRetires)
	for _, scope := range ac.SigningKeys {
		if us, ok := scope.(*jwt.UserScope); ok && us != nil {
			delete(waiting, us.Role)
		}
	}
	for role := range waiting {
		delete(marks, role)
	}
	return marks
}

// Fleet returns the fleet by whose key, if it is retired, a device may renew at
// now.
func (r Returns) Fleet(ac *jwt.AccountClaims, s Spare, now int64) (Fleet, bool) {
	name, _, _ := strings.Cut(s.Role, "/")
	f, err := Find(ac, name)
	return f, name != "" && err == nil && r.hold(s, now)
}

func (r Returns) hold(s Spare, now int64) bool { return r[s.Role] > now && s.Until >= r[s.Role] }

// mark lets devices renew by what keys signed that go, until a time, and by what
// others did that went so before. With 0 it does not, nor by earlier keys of the
// same cohorts and stations.
func (f Fleet) mark(ac *jwt.AccountClaims, going []Key, until int64) {
	for role, at := range timesOf(ac, tagReturns) {
		old, ours := f.parseRole(role)
		if until > at {
			ac.Tags.Remove(timeTag(tagReturns, role, at))
			ac.Tags.Add(timeTag(tagReturns, role, until))
		}
		if until == 0 && ours && slices.ContainsFunc(going, func(k Key) bool { return k.Cohort == old.Cohort && k.Station == old.Station }) {
			ac.Tags.Remove(timeTag(tagReturns, role, at))
		}
	}
	for _, k := range going {
		if until > 0 {
			ac.Tags.Add(timeTag(tagReturns, k.Role, until))
		}
	}
}

// forgetMarks takes all marks of f out of ac.
func (f Fleet) forgetMarks(ac *jwt.AccountClaims) {
	ac.Tags = slices.DeleteFunc(ac.Tags, func(tag string) bool { return strings.HasPrefix(tag, tagReturns+f.Name+"/") })
}

// forgetReturns takes marks out of ac whose time has passed.
func forgetReturns(ac *jwt.AccountClaims, now int64) {
	for role, at := range timesOf(ac, tagReturns) {
		if at <= now {
			ac.Tags.Remove(timeTag(tagReturns, role, at))
		}
	}
}
