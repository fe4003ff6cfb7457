package accounts

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// Unlimited is the value of a limit that limits nothing (jwt.NoLimit).
const Unlimited = jwt.NoLimit

// clockForm is how the start and the end of a time range are written.
const clockForm = "15:04:05"

// ParseNumber reads a limit: a whole number, or one with a decimal (k, M, G, T)
// or binary (KiB, MiB, GiB, TiB) unit, as the official tool does; -1 is
// [Unlimited]. Other negative numbers are fault.Invalid, since servers read
// them all as unlimited.
func ParseNumber(s string) (int64, error) {
	text := strings.TrimSpace(s)
	if text == "-1" {
		return Unlimited, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || strings.HasPrefix(text, "-") {
		return 0, invalid("number", "%q is not a number such as 100, 64k or 1GiB; -1 is unlimited", s)
	}
	if n > math.MaxInt64 {
		return 0, invalid("number", "%q is more than fits", s)
	}
	return int64(n), nil
}

// ParseTime reads a point in time as the official tool writes it and returns
// Unix seconds, 0 for "0", which stands for always or never. It takes a date
// (2027-01-31, midnight UTC), a time (2027-01-31 10:00:00 UTC, or RFC 3339), or
// a time from now: numbers with the units s(econds), m(inutes), h(ours), d(ays),
// w(eeks), M(onths) and y(ears), such as 90d, 3d12h, or -1d for the past. Days and
// longer follow the calendar. The whole text counts: what is not understood is
// fault.Invalid.
func ParseTime(s string, now time.Time) (int64, error) {
	if s == "0" {
		return 0, nil
	}
	for _, form := range []string{"2006-01-02 15:04:05 UTC", time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, s); err == nil {
			return positive(t, s)
		}
	}
	t, ok := fromNow(s, now)
	if !ok {
		return 0, invalid("time", "%q is not a time such as 2027-01-31, 2027-01-31T10:00:00Z, or 12h, 7d, 3d12h, 2w, 6M or 1y from now; 0 is none", s)
	}
	return positive(t, s)
}

func positive(t time.Time, s string) (int64, error) {
	if t.Unix() <= 0 {
		return 0, invalid("time", "%q is before 1970", s)
	}
	return t.Unix(), nil
}

// ParseSpan reads how long something lasts: numbers with the units of
// [ParseTime], such as 7d or 1w12h, a month being 30 days and a year 365; a Go
// duration such as 1.5h or 500ms; or a bare number of seconds. What is negative or
// longer than fits is fault.Invalid.
func ParseSpan(s string) (time.Duration, error) {
	d, ok := sumOfUnits(s)
	if !ok {
		var err error
		d, err = time.ParseDuration(s)
		if seconds, perr := strconv.ParseFloat(s, 64); perr == nil && seconds < math.MaxInt64/1e9 {
			d, err = time.Duration(seconds*float64(time.Second)), nil
		}
		ok = err == nil && d >= 0
	}
	if !ok {
		return 0, invalid("span", "%q is no span of time such as 30s, 90m, 12h, 7d, 2w, 6M or 1y, or a number of seconds", s)
	}
	return d, nil
}

// units calls each for the numbers with one-letter units that s is made of, and
// reports whether it is, and each took them all.
func units(s string, each func(n int, unit byte) bool) bool {
	for rest := s; rest != ""; {
		digits := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
		if digits < 1 || digits > 6 {
			return false
		}
		n, err := strconv.Atoi(rest[:digits])
		if err != nil || !each(n, rest[digits]) {
			return false
		}
		rest = rest[digits+1:]
	}
	return s != ""
}

const day = 24 * time.Hour

// fixedUnit returns a unit that is of the same length always, 0 if it is none.
func fixedUnit(unit byte) time.Duration {
	switch unit {
	case 's':
		return time.Second
	case 'm':
		return time.Minute
	case 'h':
		return time.Hour
	}
	return 0
}

// longUnit returns what a unit that follows the calendar lasts as a span, 0 if it
// is none.
func longUnit(unit byte) time.Duration {
	switch unit {
	case 'd':
		return day
	case 'w':
		return 7 * day
	case 'M':
		return 30 * day
	case 'y':
		return 365 * day
	}
	return 0
}

func sumOfUnits(s string) (time.Duration, bool) {
	var sum time.Duration
	ok := units(s, func(n int, unit byte) bool {
		length := fixedUnit(unit) + longUnit(unit) // one of them is 0
		fits := length > 0 && time.Duration(n) <= (math.MaxInt64-sum)/length
		sum += time.Duration(n) * length
		return fits
	})
	return sum, ok
}

// fromNow adds up numbers with units, all of one sign.
func fromNow(s string, now time.Time) (time.Time, bool) {
	rest, negative := strings.CutPrefix(s, "-")
	sum := 0
	ok := units(rest, func(n int, unit byte) bool {
		sum += n
		if negative {
			n = -n
		}
		switch length := fixedUnit(unit); {
		case length > 0:
			now = now.Add(time.Duration(n) * length)
		case unit == 'd':
			now = now.AddDate(0, 0, n)
		case unit == 'w':
			now = now.AddDate(0, 0, 7*n)
		case unit == 'M':
			now = now.AddDate(0, n, 0)
		case unit == 'y':
			now = now.AddDate(n, 0, 0)
		default:
			return false
		}
		return true
	})
	return now, ok && sum > 0
}

// ParseNetwork reads a network in CIDR form, such as 10.0.0.0/8, and returns it
// in lower case, as claims hold it.
func ParseNetwork(s string) (string, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	if _, err := netip.ParsePrefix(text); err != nil {
		return "", invalid("network", "%q is not a network such as 10.0.0.0/8", s)
	}
	return text, nil
}

// ConnectionTypes returns the kinds of connections that a user can be limited
// to, as servers know them.
func ConnectionTypes() []string {
	return []string{
		jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket, jwt.ConnectionTypeLeafnode, jwt.ConnectionTypeLeafnodeWS,
		jwt.ConnectionTypeMqtt, jwt.ConnectionTypeMqttWS, jwt.ConnectionTypeInProcess,
	}
}

// ParseConnectionType reads one of [ConnectionTypes] in any case.
func ParseConnectionType(s string) (string, error) {
	text := strings.ToUpper(strings.TrimSpace(s))
	if !slices.Contains(ConnectionTypes(), text) {
		return "", invalid("connection-type", "%q is no connection type; there are %s", s, strings.Join(ConnectionTypes(), ", "))
	}
	return text, nil
}

// ParseTimeRange reads a daily span hh:mm:ss-hh:mm:ss.
func ParseTimeRange(s string) (jwt.TimeRange, error) {
	start, end, _ := strings.Cut(s, "-")
	for _, part := range []string{start, end} {
		if _, err := time.Parse(clockForm, part); err != nil || len(part) != len(clockForm) {
			return jwt.TimeRange{}, invalid("time-range", "%q is not a daily span such as 08:00:00-17:30:00", s)
		}
	}
	return jwt.TimeRange{Start: start, End: end}, nil
}

// ParseLocale reads the IANA name of a time zone, such as Europe/Berlin; "" is
// UTC. Without a zone in a claim, servers take their own.
func ParseLocale(s string) (string, error) {
	loc, err := time.LoadLocation(s)
	if err != nil || s == "Local" {
		return "", invalid("locale", "%q is no time zone such as Europe/Berlin", s)
	}
	return loc.String(), nil
}

func invalid(rule, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...).ByRule(rule)
}
