package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// How much is asked at a time, and how long a round with an unknown number of
// answers stays open after the last one, unless the gatherer says otherwise.
const (
	gatherWindow = 256
	gatherQuiet  = time.Second
)

// holdings is what servers hold: by account, the versions and where each is.
// Directories answer without a name, so that only their number is known;
// servers that have the account loaded are named.
type holdings map[string]map[string]*place

type place struct {
	stored int      // directories, accountd's among them
	loaded []string // servers
}

func (h holdings) at(account, token string) *place {
	if h[account] == nil {
		h[account] = map[string]*place{}
	}
	if h[account][token] == nil {
		h[account][token] = &place{}
	}
	return h[account][token]
}

// question is one request of a round, and how many answers end it; 0 for an
// unknown number.
type question struct {
	subject string
	body    string
	answers int
	take    func(data []byte)
}

// gatherer asks servers over the system account.
type gatherer struct {
	nc      *nats.Conn
	timeout time.Duration
	quiet   time.Duration // ends a round with an unknown number of answers
}

// round puts questions, a window at a time, and collects the answers. A known
// number of answers that does not come in time is fault.Unavailable.
func (g *gatherer) round(ctx context.Context, questions []question) error {
	for window := range slices.Chunk(questions, gatherWindow) {
		if err := g.ask(ctx, window); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) ask(ctx context.Context, questions []question) error {
	inbox := g.nc.NewInbox()
	sub, err := g.nc.SubscribeSync(inbox + ".*")
	if err != nil {
		return fault.New(fault.Unavailable, "ask the servers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	missing := make(map[string]int, len(questions))
	known := true
	for i, q := range questions {
		reply := fmt.Sprintf("%s.%d", inbox, i)
		missing[reply] = q.answers
		known = known && q.answers > 0
		if err := g.nc.PublishRequest(q.subject, reply, []byte(q.body)); err != nil {
			return fault.New(fault.Unavailable, "ask the servers: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	for wait := g.timeout; !known || len(missing) > 0; wait = g.quiet {
		if known {
			wait = g.timeout
		}
		msg, err := nextMsg(ctx, sub, wait)
		if err != nil && !known {
			return nil
		}
		if err != nil {
			return fault.New(fault.Unavailable, "of %d questions to the servers %d were not answered in %s", len(questions), len(missing), g.timeout).
				WithHint("give them more time with --timeout, or see which server is away with: nsc servers list")
		}
		var i int
		if _, err := fmt.Sscanf(strings.TrimPrefix(msg.Subject, inbox), ".%d", &i); err != nil || i < 0 || i >= len(questions) {
			continue
		}
		questions[i].take(msg.Data)
		if missing[msg.Subject]--; missing[msg.Subject] == 0 {
			delete(missing, msg.Subject)
		}
	}
	return nil
}

// serverAnswer is how servers answer on the system account.
type serverAnswer struct {
	Server struct {
		Name string `json:"name"`
		ID   string `json:"id"`
	} `json:"server"`
	Data json.RawMessage `json:"data"`
}

// gather asks every server what it holds: its directory if it has one, and what
// it has loaded.
func (s *session) gather(ctx context.Context) (holdings, error) {
	nc, err := s.link.connect(ctx)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "no server answers: %w", err)
	}
	defer nc.Close()
	g := &gatherer{nc: nc, timeout: s.flags.timeout, quiet: gatherQuiet}
	listed := map[string]bool{}
	loaded := map[string][]serverAnswer{}
	if err := g.round(ctx, g.inventory(listed, loaded)); err != nil {
		return nil, err
	}
	directories, err := g.directories(ctx)
	if err != nil {
		return nil, err
	}
	held := holdings{}
	return held, g.round(ctx, append(lookups(held, listed, directories), details(held, loaded)...))
}

// stored asks what is in the directories of servers, whatever they have loaded.
func (s *session) stored(ctx context.Context) (holdings, error) {
	nc, err := s.link.connect(ctx)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "no server answers: %w", err)
	}
	defer nc.Close()
	g := &gatherer{nc: nc, timeout: s.flags.timeout, quiet: stockQuiet}
	listed := map[string]bool{}
	if err := g.round(ctx, []question{listing(listed)}); err != nil {
		return nil, err
	}
	directories, err := g.directories(ctx)
	if err != nil {
		return nil, err
	}
	held := holdings{}
	return held, g.round(ctx, lookups(held, listed, directories))
}

// listing asks for the accounts in directories.
func listing(listed map[string]bool) question {
	return question{subject: "$SYS.REQ.CLAIMS.LIST", take: func(data []byte) {
		var a serverAnswer
		var ids []string
		if json.Unmarshal(data, &a) == nil && json.Unmarshal(a.Data, &ids) == nil {
			for _, id := range ids {
				listed[id] = true
			}
		}
	}}
}

// inventory asks for the accounts in directories and those that are loaded.
func (g *gatherer) inventory(listed map[string]bool, loaded map[string][]serverAnswer) []question {
	return []question{
		listing(listed),
		{subject: "$SYS.REQ.SERVER.PING.ACCOUNTZ", take: func(data []byte) {
			var a serverAnswer
			var list struct {
				Accounts []string `json:"accounts"`
			}
			if json.Unmarshal(data, &a) == nil && json.Unmarshal(a.Data, &list) == nil {
				for _, id := range list.Accounts {
					if _, err := keys.ParseAccount(id); err == nil { // $G is none
						loaded[id] = append(loaded[id], a)
					}
				}
			}
		}},
	}
}

// directories returns how many answers a lookup gets. A directory without the
// account answers too, with nothing.
func (g *gatherer) directories(ctx context.Context) (n int, err error) {
	nobody, err := keys.NewAccount()
	if err != nil {
		return 0, err
	}
	return n, g.round(ctx, []question{{subject: lookupSubject(nobody.PublicKey()), take: func([]byte) { n++ }}})
}

func lookupSubject(account string) string {
	return "$SYS.REQ.ACCOUNT." + account + ".CLAIMS.LOOKUP"
}

func lookups(held holdings, listed map[string]bool, directories int) []question {
	var out []question
	for id := range listed {
		out = append(out, question{subject: lookupSubject(id), answers: directories, take: func(data []byte) {
			if len(data) > 0 {
				held.at(id, string(data)).stored++
			}
		}})
	}
	return out
}

// loadedAccount is what a server tells of an account that it has loaded.
type loadedAccount struct {
	JWT     string `json:"jwt"`
	Expired bool   `json:"expired"`
}

// alive reports whether the server holds the account. One that it was made to
// remove stays loaded, as expired, with the version that it had.
func (a loadedAccount) alive() bool {
	var c struct {
		Expires int64 `json:"exp"`
	}
	return a.JWT != "" && (!a.Expired || claims.Peek(a.JWT, &c) == nil && c.Expires != 0)
}

// details asks each server for the accounts that it has loaded, which loads
// none.
func details(held holdings, loaded map[string][]serverAnswer) []question {
	var out []question
	for id, servers := range loaded {
		for _, a := range servers {
			out = append(out, question{
				subject: "$SYS.REQ.SERVER." + a.Server.ID + ".ACCOUNTZ", body: fmt.Sprintf(`{"account":%q}`, id), answers: 1,
				take: func(data []byte) {
					var reply struct {
						Data struct {
							Account loadedAccount `json:"account_detail"`
						} `json:"data"`
					}
					if json.Unmarshal(data, &reply) == nil && reply.Data.Account.alive() {
						p := held.at(id, reply.Data.Account.JWT)
						p.loaded = append(p.loaded, a.Server.Name)
					}
				},
			})
		}
	}
	return out
}
