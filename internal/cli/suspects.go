package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/accountd/accountd/accounts/bulk"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// maxListLine bounds a line of a list of devices: those of issue have a JWT.
const maxListLine = 16 << 10

// suspects collects devices to be refused, each once.
type suspects struct {
	list  []fleet.Suspect
	index map[string]int // by id and by key
}

// add takes a device, or adds to what is known of it.
func (l *suspects) add(s fleet.Suspect) {
	if l.index == nil {
		l.index = map[string]int{}
	}
	i, ok := -1, false
	for _, word := range []string{s.ID, s.Key} {
		if at, has := l.index[word]; has && word != "" && !ok {
			i, ok = at, true
		}
	}
	if !ok || l.list[i].Key != "" && s.Key != "" && l.list[i].Key != s.Key { // a device that was issued twice has two keys
		l.list, i = append(l.list, s), len(l.list)
	}
	old := &l.list[i]
	old.ID, old.Key, old.Issuer = first(old.ID, s.ID), first(old.Key, s.Key), first(old.Issuer, s.Issuer)
	old.IssuedAt, old.Expires = max(old.IssuedAt, s.IssuedAt), max(old.Expires, s.Expires)
	for _, word := range []string{s.ID, s.Key} {
		if _, has := l.index[word]; word != "" && !has {
			l.index[word] = i
		}
	}
}

func (l *suspects) has(word string) bool {
	_, ok := l.index[word]
	return ok
}

// readSuspect reads an id, a public key, both, or a line that issue wrote.
func readSuspect(text, account string) (fleet.Suspect, error) {
	if strings.HasPrefix(text, "{") {
		c, err := issuedLine(text)
		if err != nil {
			return fleet.Suspect{}, err
		}
		s, _, err := issuedDevice(c, account)
		return s, err
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	if len(words) == 0 || len(words) > 2 {
		return fleet.Suspect{}, fault.New(fault.Invalid, "%d words in place of an id or a public key", len(words)).ByRule("device-id")
	}
	last := words[len(words)-1]
	key, err := keys.ParseUser(last)
	switch {
	case err == nil && len(words) == 2 && words[0] != last:
		return fleet.Suspect{ID: words[0], Key: string(key)}, fleet.CheckID(words[0])
	case err == nil:
		return fleet.Suspect{Key: string(key)}, nil
	case len(words) == 2:
		return fleet.Suspect{}, err
	}
	return fleet.Suspect{ID: last}, fleet.CheckID(last)
}

// issuedDevice reads a line that issue wrote, and the tags of the device.
func issuedDevice(c bulk.Credential, account string) (fleet.Suspect, []string, error) {
	is, ok := bulk.ReadJWT(c.JWT)
	if !ok {
		var doc struct {
			api.SeenJWT
			NATS struct {
				Account string   `json:"issuer_account"`
				Tags    []string `json:"tags"`
			} `json:"nats"`
		}
		if err := claims.Peek(string(c.JWT), &doc); err != nil {
			return fleet.Suspect{}, nil, fault.New(fault.Invalid, "the JWT of device %q is none", c.ID).ByRule("device-id")
		}
		is = bulk.Issued{
			Account: first(doc.NATS.Account, doc.Issuer), Issuer: doc.Issuer, Subject: doc.Key, Name: doc.Name,
			IssuedAt: doc.IssuedAt, Expires: doc.Expires, Tags: doc.NATS.Tags,
		}
	}
	switch {
	case is.Subject != string(c.Public) || is.Name != c.ID:
		return fleet.Suspect{}, nil, fault.New(fault.Invalid, "the JWT of device %q is not its own", c.ID).ByRule("device-id")
	case is.Account != account:
		return fleet.Suspect{}, nil, fault.New(fault.Invalid, "device %q is of another account, %s", c.ID, keys.Short(is.Account)).
			ByRule("other-account").About("device", c.ID)
	}
	return fleet.Suspect{ID: c.ID, Key: is.Subject, Issuer: is.Issuer, IssuedAt: is.IssuedAt, Expires: is.Expires}, is.Tags, nil
}

// issuedLine reads the credentials in a line of what issue wrote.
func issuedLine(line string) (bulk.Credential, error) {
	c, ok := bulk.ParseLine([]byte(line + "\n"))
	if !ok {
		return c, fault.New(fault.Invalid, "the line is none that nsc issue wrote").ByRule("device-id")
	}
	return c, nil
}

// eachLine calls f with the lines of a file, stdin for -, that say something.
func (a *app) eachLine(name string, f func(line string) error) error {
	in := a.env.Stdin
	if name != "-" {
		file, err := os.Open(a.path(name))
		if err != nil {
			return fault.New(fault.NotFound, "open the list of devices: %w", err).About("file", name)
		}
		defer file.Close()
		in = file
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, maxListLine), maxListLine)
	n := 1
	for ; lines.Scan(); n++ {
		text := lines.Bytes()
		if n == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		text = bytes.TrimSpace(text)
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		if err := f(string(text)); err != nil {
			return fault.New(fault.CodeOf(err), "%s, line %d: %w", name, n, err).ByRule(fault.RuleOf(errors.Unwrap(err)))
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		return fault.New(fault.Invalid, "%s, line %d is longer than %d bytes", name, n, maxListLine).ByRule("device-id").About("file", name)
	}
	if err != nil {
		return fault.New(fault.Invalid, "%w", err).About("file", name)
	}
	return nil
}

// deviceChoice says which devices the command line means.
type deviceChoice struct {
	devices    []string // ids or public keys
	file, from string
	tag        string
	cohort     func(fleet.Suspect) bool // picks those in from, nil for none
}

func choiceFlags(f *pflag.FlagSet, o *deviceChoice) {
	f.StringVar(&o.file, "file", "", "file with an id, a public key or both a line, - for stdin")
	f.StringVar(&o.from, "from", "", "file that nsc issue wrote, to look devices up in")
	f.StringVar(&o.tag, "tag", "", "the devices in --from that have this tag")
}

func (o deviceChoice) check() error {
	if o.tag != "" && o.from == "" {
		return usage("a tag stands in credentials alone").WithHint("name the file that nsc issue wrote: --from <file>")
	}
	for _, word := range o.devices {
		if looksSecret(word) {
			return usage("a seed does not belong on the command line, where others can read it").WithHint("name the device by its id or public key")
		}
	}
	return nil
}

// picks reports whether a device in --from is meant, though nobody named it.
func (o deviceChoice) picks(one fleet.Suspect, tags []string) bool {
	return o.tag != "" && slices.Contains(tags, o.tag) || o.cohort != nil && o.cohort(one)
}

// suspects finds the devices of an account that the command line means.
func (a *app) suspects(o deviceChoice, account string) (*suspects, error) {
	l := &suspects{}
	for _, word := range o.devices {
		one, err := readSuspect(word, account)
		if err != nil {
			return nil, err
		}
		l.add(one)
	}
	if o.file != "" {
		if err := a.eachLine(o.file, func(line string) error {
			one, err := readSuspect(line, account)
			if err == nil {
				l.add(one)
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	if o.from != "" {
		if err := a.eachLine(o.from, func(line string) error {
			c, err := issuedLine(line)
			named := l.has(c.ID) || l.has(string(c.Public))
			if err != nil || !named && o.tag == "" && o.cohort == nil {
				return err
			}
			one, tags, err := issuedDevice(c, account)
			if err == nil && (named || o.picks(one, tags)) {
				l.add(one)
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	if len(l.list) == 0 {
		return nil, fault.New(fault.NotFound, "no device is named there").About("device", first(o.tag, o.file)).
			WithHint("a list has an id, a public key or both a line")
	}
	return l, nil
}

// maxAsked is how many devices are asked for one by one.
const maxAsked = 20

// askLive adds what live connections show of devices of which the key is not
// known, as far as somebody answers.
func (s *session) askLive(ctx context.Context, r *root, ac *account, l *suspects) error {
	if ok, _ := s.online(r); !ok {
		return nil
	}
	var ids []string
	for i, one := range l.list {
		switch {
		case one.Key == "":
			ids = append(ids, one.ID)
		case len(l.list) <= maxAsked: // its credentials may be newer than the list
			reply, err := s.askSeen(ctx, r, api.SeenRequest{Account: ac.key, User: one.Key})
			if err != nil {
				return err
			}
			l.list[i].IssuedAt = max(one.IssuedAt, reply.IssuedAt)
		}
	}
	if len(ids) == 0 || len(ids) > api.MaxSeenNames {
		return nil
	}
	reply, err := s.askSeen(ctx, r, api.SeenRequest{Account: ac.key, Names: ids})
	if err != nil {
		return err
	}
	for _, jwt := range reply.Named {
		l.add(fleet.Suspect{ID: jwt.Name, Key: jwt.Key, Issuer: jwt.Issuer, IssuedAt: jwt.IssuedAt, Expires: jwt.Expires})
	}
	return nil
}

// askSeen asks for live connections. Without an answer there are none.
func (s *session) askSeen(ctx context.Context, r *root, req api.SeenRequest) (api.SeenReply, error) {
	if err := s.dial(ctx, r); err != nil {
		return api.SeenReply{}, err
	}
	c, err := s.client(ctx, r)
	if fault.Is(err, fault.Unavailable) {
		return api.SeenReply{}, nil // the put says so
	}
	if err != nil {
		return api.SeenReply{}, err
	}
	ctx, end := s.patience(ctx)
	defer end()
	reply, err := c.Seen(ctx, req)
	if err != nil || reply.Error != nil {
		return api.SeenReply{}, nil // what lives is help, not proof
	}
	return reply, nil
}
