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
// a time from now: numbers with the units m(inutes), h(ours), d(ays), w(eeks),
// M(onths) and y(ears), such as 90d or 3d12h. Days and longer follow the
// calendar. The whole text counts: what is not understood is fault.Invalid.
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
		return 0, invalid("time", "%q is not a time such as 2027-01-31, 90d or 3d12h; 0 is none", s)
	}
	return positive(t, s)
}

func positive(t time.Time, s string) (int64, error) {
	if t.Unix() <= 0 {
		return 0, invalid("time", "%q is before 1970", s)
	}
	return t.Unix(), nil
}

// fromNow adds up numbers with units, all of one sign.
func fromNow(s string, now time.Time) (time.Time, bool) {
	rest, negative := strings.CutPrefix(s, "-")
	sum := 0
	for rest != "" {
		digits := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
		if digits < 1 || digits > 6 {
			return now, false
		}
		n, err := strconv.Atoi(rest[:digits])
		if err != nil {
			return now, false
		}
		sum += n
		if negative {
			n = -n
		}
		switch rest[digits] {
		case 'm':
			now = now.Add(time.Duration(n) * time.Minute)
		case 'h':
			now = now.Add(time.Duration(n) * time.Hour)
		case 'd':
			now = now.AddDate(0, 0, n)
		case 'w':
			now = now.AddDate(0, 0, 7*n)
		case 'M':
			now = now.AddDate(0, n, 0)
		case 'y':
			now = now.AddDate(n, 0, 0)
		default:
			return now, false
		}
		rest = rest[digits+1:]
	}
	return now, sum > 0
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
