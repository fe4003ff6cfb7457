package resolver

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// serveStock answers stock tools on the subjects and in the shapes of servers
// with a directory resolver (nats-server, accounts.go, DirAccResolver.Start).
// An update is answered on behalf of every server, since tools count the
// answers; the first to look commits it, the others find it stored. Of the rest
// there is one answer. Requests of accountd's own processes are for servers.
func (d *natsDoor) serveStock(nc *nats.Conn) error {
	for _, sub := range []struct {
		subject, queue string
		h              func(*nats.Msg) []byte
	}{
		{"$SYS.REQ.CLAIMS.UPDATE", "", d.update},
		{"$SYS.REQ.ACCOUNT.*.CLAIMS.UPDATE", "", d.updateOf},
		{"$SYS.ACCOUNT.*.CLAIMS.UPDATE", "", d.updateOf},
		{"$SYS.REQ.CLAIMS.DELETE", queueGroup, d.remove},
		{"$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP", queueGroup, d.lookup},
		{"$SYS.REQ.CLAIMS.LIST", queueGroup, d.list},
		{"$SYS.REQ.CLAIMS.PACK", queueGroup, d.pack},
	} {
		h := sub.h
		if _, err := nc.QueueSubscribe(sub.subject, sub.queue, func(m *nats.Msg) {
			if strings.HasPrefix(m.Reply, api.OwnInbox) {
				return
			}
			d.run(func() {
				out := h(m)
				if m.Reply == "" {
					return
				}
				if err := m.Respond(out); errors.Is(err, nats.ErrMaxPayload) {
					_ = m.Respond(d.failed("", fault.New(fault.Denied, "the answer has %d bytes, more than a message holds; ask for a pack", len(out))))
				}
			})
		}); err != nil {
			return err
		}
	}
	return nil
}

func (d *natsDoor) update(m *nats.Msg) []byte { return d.push(string(m.Data)) }

// updateOf is an update on a subject that names the account.
func (d *natsDoor) updateOf(m *nats.Msg) []byte {
	toks := strings.Split(m.Subject, ".")
	token := string(m.Data)
	if key := toks[len(toks)-3]; subjectOf(token) != key {
		return d.failed(key, fault.New(fault.Invalid, "the subject does not name the account of the JWT").ByRule("malformed"))
	}
	return d.push(token)
}

func (d *natsDoor) push(token string) []byte {
	res, err := d.s.Push(d.ctx, "push", token)
	if err != nil {
		return d.failed(subjectOf(token), err)
	}
	return d.updated(res.Key, pushedText(res))
}

func (d *natsDoor) remove(m *nats.Msg) []byte {
	res, err := d.s.Delete(d.ctx, "push", string(m.Data))
	if err != nil {
		return d.failed("", err)
	}
	if res.Key == "" {
		return d.updated("", "deleted "+res.Outcome)
	}
	return d.updated(res.Key, "deleted 1 accounts")
}

// lookup answers with the raw JWT; empty for an account that is not there.
func (d *natsDoor) lookup(m *nats.Msg) []byte {
	found, err := d.s.lookup(d.ctx, store.Account, strings.Split(m.Subject, ".")[3])
	if err != nil {
		return nil
	}
	return found.token
}

func (d *natsDoor) list(*nats.Msg) []byte {
	ids := []string{}
	if err := d.s.Pack(d.ctx, func(key, _ string) error {
		ids = append(ids, key)
		return nil
	}); err != nil {
		return d.failed("", err)
	}
	return d.stock("data", ids)
}

// pack streams one message an account, none to a directory that holds the same
// as the store; the empty answer ends it.
func (d *natsDoor) pack(m *nats.Msg) []byte {
	if m.Reply == "" {
		return nil
	}
	var sum claims.Sum
	if len(m.Data) == len(sum) {
		err := d.s.Pack(d.ctx, func(_, token string) error { sum.Add(token); return nil })
		if err == nil && string(sum[:]) == string(m.Data) {
			return nil
		}
	}
	err := d.s.Pack(d.ctx, func(key, token string) error { return m.Respond([]byte(key + "|" + token)) })
	if err != nil {
		d.s.log.Error("pack request failed", "err", err) // no end: the requester sees that it is not whole
		m.Reply = ""
	}
	return nil
}

func (d *natsDoor) updated(account, text string) []byte {
	return d.stock("data", map[string]any{"account": account, "code": 200, "message": text})
}

func (d *natsDoor) failed(account string, err error) []byte {
	return d.stock("error", map[string]any{"account": account, "code": fault.HTTPStatus(err), "description": refusalText(err)})
}

func (d *natsDoor) stock(field string, v any) []byte {
	out, _ := json.Marshal(map[string]any{"server": map[string]any{"name": d.name}, field: v})
	return out
}

// subjectOf returns the subject of a token, "n/a" if it cannot be read.
func subjectOf(token string) string {
	d, err := claims.Decode(token)
	if err != nil {
		return "n/a"
	}
	return d.Subject
}

// pushedText says what became of a push, with what servers will not honour.
func pushedText(res api.Result) string {
	text := fmt.Sprintf("jwt updated: revision %d", res.Revision)
	if len(res.Findings) > 0 {
		text += "; incomplete: " + strings.Join(res.Findings, "; ")
	}
	return text
}

// refusalText is a refusal in one line, with its rule and hint.
func refusalText(err error) string {
	e := api.ToError(err)
	text := e.Message
	if e.Rule != "" {
		text += " (" + e.Rule + ")"
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}
