package resolver

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// lookup is the answer to a GET of one claim: body and header as they are sent.
// It is not changed once it is made.
type lookup struct {
	token   []byte
	etag    string
	header  http.Header
	head    []byte // status and header as text, but for the date and the empty line
	expires int64  // Unix seconds, 0 for never
}

func newLookup(rec store.Record) (*lookup, error) {
	d, err := claims.Decode(rec.JWT)
	if err != nil {
		return nil, fault.New(fault.Internal, "stored claim of %s: %w", rec.Key, err)
	}
	etag := `"` + d.ID + `"`
	l := &lookup{token: []byte(rec.JWT), etag: etag, expires: d.Expires, header: http.Header{
		"Etag": {etag}, "Cache-Control": {"no-cache"},
		"Content-Type": {"application/jwt"}, "Content-Length": {strconv.Itoa(len(rec.JWT))},
	}}
	head := bytes.NewBufferString("HTTP/1.1 200 OK\r\n")
	_ = l.header.Write(head) // into memory
	l.head = head.Bytes()
	return l, nil
}

// heldBytes bounds the tokens that lookups holds.
const heldBytes = 64 << 20

// followLimit is how many changes are looked at one by one; after more, all
// that is held is given up.
const followLimit = 256

// lookups holds what was asked for. It is as true as the store: each use begins
// with the changes that the store has seen since.
type lookups struct {
	mu    sync.Mutex
	seq   uint64 // what is held is that of this change
	held  map[string]*lookup
	bytes int
}

// get returns the answer for a claim in one view of the store. The errors are
// store.ErrNotFound, also for tombstones, and the store's.
func (l *lookups) get(r store.Reader, kind store.Kind, key string) (*lookup, error) {
	head, err := r.Head()
	if err != nil {
		return nil, err
	}
	name := string(kind) + key
	if have, err := l.have(r, name, head); have != nil || err != nil {
		return have, err
	}
	rec, err := r.Get(kind, key)
	if err == nil && rec.Deleted {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	made, err := newLookup(rec)
	if err == nil {
		l.hold(name, made, head)
	}
	return made, err
}

// have returns what is held of a claim as of change head or later, nil if nothing is.
func (l *lookups) have(r store.Reader, name string, head uint64) (*lookup, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if head > l.seq {
		if err := l.follow(r, head); err != nil {
			return nil, err
		}
	}
	return l.held[name], nil
}

// follow gives up what has changed until head. l.mu is held.
func (l *lookups) follow(r store.Reader, head uint64) error {
	if head-l.seq > followLimit {
		l.held, l.bytes, l.seq = map[string]*lookup{}, 0, head
		return nil
	}
	changes, err := r.Changes(l.seq, followLimit)
	if err != nil {
		return err
	}
	for _, ch := range changes {
		name := string(ch.Kind) + ch.Key
		if old := l.held[name]; old != nil {
			l.bytes -= len(old.token)
			delete(l.held, name)
		}
	}
	l.seq = head
	return nil
}

// hold keeps an answer of change head, and gives up others where there is no room.
func (l *lookups) hold(name string, made *lookup, head uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if head != l.seq || l.held[name] != nil {
		return // others have seen a later change, or have been faster
	}
	for other, old := range l.held {
		if l.bytes+len(made.token) <= heldBytes {
			break
		}
		l.bytes -= len(old.token)
		delete(l.held, other)
	}
	l.held[name] = made
	l.bytes += len(made.token)
}

// Ready returns the answer to a plain GET of an account's JWT over HTTP/1.1: status
// and header but for the date and the empty line, and the body, neither of which
// may be changed. It is nil where the answer is not that one.
func (s *Service) Ready(ctx context.Context, key string) (head, body []byte) {
	err := s.cfg.Store.View(ctx, func(r store.Reader) error {
		found, err := s.lookups.get(r, store.Account, key)
		if err == nil {
			head, body = found.head, found.token
		}
		return err
	})
	if err != nil {
		return nil, nil // the handler says why
	}
	return head, body
}

// serveAccount answers GET of an account's JWT.
func (s *Service) serveAccount(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if r.URL.RawQuery == "" {
		s.serveClaim(w, r, store.Account, id, nil)
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		httpError(w, fault.New(fault.Invalid, "the query cannot be read").ByRule("malformed"))
		return
	}
	if asked(q, "notify") {
		if err := s.notify(r, id); err != nil {
			httpError(w, err)
			return
		}
	}
	s.serveClaim(w, r, store.Account, id, q)
}

// serveClaim answers with a stored JWT, in the form that the options ask for.
func (s *Service) serveClaim(w http.ResponseWriter, r *http.Request, kind store.Kind, key string, q url.Values) {
	found, err := s.lookup(r.Context(), kind, key)
	if err != nil {
		httpError(w, err)
		return
	}
	if asked(q, "check") && found.expires != 0 && found.expires <= s.now().Unix() {
		httpError(w, fault.New(fault.NotFound, "the claim of %s has expired", key))
		return
	}
	h := w.Header()
	maps.Copy(h, found.header)
	body := found.token
	switch {
	case strings.Contains(r.Header.Get("If-None-Match"), found.etag):
		h.Del("Content-Type")
		h.Del("Content-Length")
		w.WriteHeader(http.StatusNotModified)
		return
	case asked(q, "decode"):
		body = decoded(found.token)
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(body)))
	case asked(q, "text"):
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	_, _ = w.Write(body) // the client went away
}

// lookup returns the current claim of a key; of the operator's for kind
// store.Operator.
func (s *Service) lookup(ctx context.Context, kind store.Kind, key string) (found *lookup, err error) {
	if _, err := keys.ParseAccount(key); kind == store.Account && err != nil {
		return nil, err
	}
	err = s.cfg.Store.View(ctx, func(r store.Reader) error {
		if kind == store.Operator {
			if key, err = r.Meta(metaOperator); err != nil {
				return err
			}
		}
		found, err = s.lookups.get(r, kind, key)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, fault.New(fault.NotFound, "no %s %s is stored", kind, key)
	}
	return found, s.readError(err).Fault()
}

// notify sends the stored version of an account to the servers again, as it was
// sent when it was stored. It is coalesced by account and second.
func (s *Service) notify(r *http.Request, id string) error {
	if err := s.mayRead(r, nil); err != nil {
		return err
	}
	return s.Notify(r.Context(), api.NotifyRequest{Account: id}).Error.Fault()
}

// asked reports whether an option is given: ?name or ?name=true.
func asked(q url.Values, name string) bool {
	on, err := strconv.ParseBool(q.Get(name))
	return q.Has(name) && (on || err != nil)
}

// decoded shows header and body of a token, indented.
func decoded(token []byte) []byte {
	var out bytes.Buffer
	for _, part := range bytes.SplitN(token, []byte("."), 3)[:2] {
		raw, _ := base64.RawURLEncoding.AppendDecode(nil, part) // it was decoded before
		_ = json.Indent(&out, raw, "", "  ")
		out.WriteByte('\n')
	}
	return out.Bytes()
}
