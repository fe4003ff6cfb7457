// Package fleet is about devices in numbers: which cohort a device belongs to,
// which key signs it, what its credentials permit, and how many can be revoked
// one by one. A fleet lives in the claims of its account alone, as signing keys
// with a role and as tags, so that servers and the official tool understand it
// and nothing is kept for a device. It is pure: the clock is a parameter.
package fleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// Tags of an account that hold what signing keys cannot say. Servers cut the
// users of a signing key whose scope changes in any way, its description
// included, so that nothing that changes may stand there.
const (
	tagFleet   = "fleet:"      // fleet:<name>:<cohorts>:<ttl>:<confine>
	tagRetires = "retires:"    // retires:<role>:<Unix seconds>
	tagReturns = "returns:"    // returns:<role>:<Unix seconds>, of a retired key, or one that is to be
	tagOnly    = "fleet-only:" // fleet-only:<ttl>
	tagRolled  = "rolled:"     // rolled:<name>:<Unix seconds>, the last roll of all cohorts
)

// Limits of a fleet.
const (
	MaxCohorts = 256
	MaxTTL     = 400 * 24 * time.Hour
	MinTTL     = time.Minute
	// MaxBearerTTL bounds credentials that prove no key: whoever has read them is
	// the device.
	MaxBearerTTL = 24 * time.Hour
)

// Skew is how far the clocks of signers and servers may differ.
const Skew = 5 * time.Minute

// Confinement says what stands for the device in the subjects that are its own.
type Confinement string

// By its id, a thief of a cohort's key can issue credentials for the subjects of
// any device of the fleet; by its key, for none that exists.
const (
	ByID  Confinement = "id"
	ByKey Confinement = "key"
)

// Fleet is a kind of devices in an account.
type Fleet struct {
	Name    string        `json:"name"`
	Cohorts int           `json:"cohorts"`
	TTL     time.Duration `json:"-"` // the longest that a credential lives
	Confine Confinement   `json:"confine"`
}

// Check is fault.Invalid for a fleet that cannot be.
func (f Fleet) Check() error {
	switch {
	case !simpleName(f.Name):
		return invalid("fleet-name", "%q is no name of a fleet: small letters, digits, - and _, at most 32, a letter or digit first", f.Name)
	case f.Cohorts < 1 || f.Cohorts > MaxCohorts:
		return invalid("cohorts", "a fleet has 1 to %d cohorts, not %d", MaxCohorts, f.Cohorts)
	case f.Confine != ByID && f.Confine != ByKey:
		return invalid("confine", "devices are confined by %s or by %s, not by %q", ByID, ByKey, f.Confine)
	}
	return checkTTL(f.TTL)
}

func checkTTL(ttl time.Duration) error {
	if ttl < MinTTL || ttl > MaxTTL || ttl%time.Second != 0 {
		return invalid("ttl", "credentials live between %s and %s, in whole seconds, not %s", Span(MinTTL), Span(MaxTTL), ttl)
	}
	return nil
}

// CheckBearer is fault.Invalid for a template of devices that prove no key, and live
// long or connect in a way in which they could prove one.
func (f Fleet) CheckBearer(t jwt.UserPermissionLimits) error {
	if !t.BearerToken {
		return nil
	}
	const hint = "devices that cannot sign are those of MQTT and browsers: nsc add fleet %s --bearer --conn-type MQTT --ttl %s"
	allowed := []string{jwt.ConnectionTypeMqtt, jwt.ConnectionTypeMqttWS, jwt.ConnectionTypeWebsocket}
	other := slices.ContainsFunc(t.AllowedConnectionTypes, func(s string) bool { return !slices.Contains(allowed, strings.ToUpper(s)) })
	switch {
	case len(t.AllowedConnectionTypes) == 0 || other:
		return invalid("bearer-fleet", "devices with bearer credentials connect by %s alone, and the fleet's could in other ways", strings.Join(allowed, ", ")).WithHint(hint, f.Name, Span(MaxBearerTTL))
	case f.TTL > MaxBearerTTL:
		return invalid("bearer-fleet", "bearer credentials live at most %s, not %s", Span(MaxBearerTTL), Span(f.TTL)).WithHint(hint, f.Name, Span(MaxBearerTTL))
	}
	return nil
}

func (f Fleet) tag() string {
	return tagFleet + strings.Join([]string{f.Name, strconv.Itoa(f.Cohorts), Span(f.TTL), string(f.Confine)}, ":")
}

// Span writes a duration in its largest whole unit up to hours: 168h, 90m, 45s.
func Span(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

func parseTag(tag string) (Fleet, bool) {
	rest, isFleet := strings.CutPrefix(tag, tagFleet)
	parts := strings.Split(rest, ":")
	if !isFleet || len(parts) != 4 {
		return Fleet{}, false
	}
	cohorts, err1 := strconv.Atoi(parts[1])
	ttl, err2 := time.ParseDuration(parts[2])
	f := Fleet{Name: parts[0], Cohorts: cohorts, TTL: ttl, Confine: Confinement(parts[3])}
	return f, err1 == nil && err2 == nil && f.Check() == nil
}

// All returns the fleets of an account, by name.
func All(ac *jwt.AccountClaims) []Fleet {
	var out []Fleet
	for _, tag := range ac.Tags {
		if f, ok := parseTag(tag); ok {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b Fleet) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Find returns the fleet of a name, fault.NotFound without one. "" is the only
// one there is.
func Find(ac *jwt.AccountClaims, name string) (Fleet, error) {
	all := All(ac)
	if name == "" && len(all) == 1 {
		return all[0], nil
	}
	var names []string
	for _, f := range all {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	switch {
	case len(all) == 0:
		return Fleet{}, fault.New(fault.NotFound, "account %q has no fleet", ac.Name).About("fleet", name).
			WithHint("add one with: nsc add fleet <name> -a %s", fault.Words(ac.Name))
	case name == "":
		return Fleet{}, fault.New(fault.Usage, "account %q has %d fleets and none is named", ac.Name, len(all)).
			WithHint("its fleets are %s", strings.Join(names, ", "))
	}
	return Fleet{}, fault.New(fault.NotFound, "account %q has no fleet %q", ac.Name, name).About("fleet", name).
		WithHint("its fleets are %s", strings.Join(names, ", "))
}

// Key is a signing key of a fleet: that of a cohort in one of its epochs, or
// that of a station, which issues devices of every cohort.
type Key struct {
	Public  string
	Role    string
	Cohort  int    // -1 for a station
	Epoch   int    // 0 for a station
	Station string // "" for a cohort
	Retires int64  // when its last credential has expired or it was to be of use, Unix seconds, 0 for not known
}

// CohortRole is the role of a cohort's key.
func (f Fleet) CohortRole(cohort, epoch int) string {
	return fmt.Sprintf("%s/c%02de%d", f.Name, cohort, epoch)
}

// StationRole is the role of a station's key.
func (f Fleet) StationRole(station string) string { return f.Name + "/" + stationMark + station }

const stationMark = "station-"

// Keys returns the keys of f that ac has, by cohort and epoch, stations last.
func (f Fleet) Keys(ac *jwt.AccountClaims) []Key {
	retires := timesOf(ac, tagRetires)
	var out []Key
	for public, scope := range ac.SigningKeys {
		us, ok := scope.(*jwt.UserScope)
		if !ok || us == nil {
			continue
		}
		if k, ok := f.parseRole(us.Role); ok {
			k.Public, k.Retires = public, retires[us.Role]
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Station, b.Station), cmp.Compare(a.Cohort, b.Cohort), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Public, b.Public))
	})
	return out
}

func (f Fleet) parseRole(role string) (Key, bool) {
	rest, ours := strings.CutPrefix(role, f.Name+"/")
	if !ours {
		return Key{}, false
	}
	if station, is := strings.CutPrefix(rest, stationMark); is {
		return Key{Role: role, Cohort: -1, Station: station}, simpleName(station)
	}
	var k Key
	if n, err := fmt.Sscanf(rest, "c%de%d", &k.Cohort, &k.Epoch); n != 2 || err != nil || k.Cohort < 0 || k.Epoch < 1 {
		return Key{}, false
	}
	k.Role = f.CohortRole(k.Cohort, k.Epoch)
	return k, k.Role == role
}

// Signers returns the key that signs now for each cohort, which is that of its
// latest epoch. It is fault.Invalid if a cohort has none.
func (f Fleet) Signers(ac *jwt.AccountClaims) ([]Key, error) {
	out := make([]Key, f.Cohorts)
	for _, k := range f.Keys(ac) {
		if k.Station == "" && k.Cohort < f.Cohorts {
			out[k.Cohort] = k
		}
	}
	for cohort, k := range out {
		if k.Public == "" {
			return nil, invalid("cohort-key", "fleet %q has no key for cohort %d", f.Name, cohort).About("fleet", f.Name).
				WithHint("give it one with: nsc edit fleet %s -a %s --roll --cohort %d", f.Name, fault.Words(ac.Name), cohort)
		}
	}
	return out, nil
}

// Station returns the key of a station, fault.NotFound without it.
func (f Fleet) Station(ac *jwt.AccountClaims, name string) (Key, error) {
	var names []string
	for _, k := range f.Keys(ac) {
		switch k.Station {
		case "":
		case name:
			return k, nil
		default:
			names = append(names, k.Station)
		}
	}
	hint := "its stations are " + strings.Join(names, ", ")
	if len(names) == 0 {
		hint = "add one with: nsc add station " + fault.Words(name, "--fleet", f.Name, "-a", ac.Name)
	}
	return Key{}, fault.New(fault.NotFound, "fleet %q has no station %q", f.Name, name).About("station", name).WithHint("%s", hint)
}

// Cohort returns the cohort of a device: the first 8 bytes of the SHA-256 of
// its id, big-endian, modulo the number of cohorts. It never changes.
func (f Fleet) Cohort(id string) int {
	sum := sha256.Sum256([]byte(id))
	return int(binary.BigEndian.Uint64(sum[:8]) % uint64(f.Cohorts))
}

// CheckID is fault.Invalid unless s can be the id of a device: a literal token
// of a subject, which no template of a role can widen, and a file name.
func CheckID(s string) error {
	switch {
	case len(s) > accounts.MaxToken:
		return invalid("device-id", "an id has 1 to %d characters, not %d", accounts.MaxToken, len(s))
	case keys.IsSeed(s):
		return invalid("device-id", "a seed is not the id of a device")
	case !accounts.IsToken(s):
		return invalid("device-id", "%q is no id of a device: letters, digits and - _ : @ + = ~", s)
	}
	return nil
}

// simpleName reports whether s can name a fleet or a station: tags are in small
// letters.
func simpleName(s string) bool {
	if s == "" || len(s) > 32 || s[0] == '-' || s[0] == '_' {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

func invalid(rule, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...).ByRule(rule)
}
