package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/revocation"
)

// judge compares what clients were told with what is stored and in force.
func (h *history) judge(t *testing.T) {
	t.Helper()
	hand := h.cloud.mustHand()
	var acked, unknown, deleted int
	for _, ten := range h.tenants {
		reply, err := hand.Get(context.Background(), api.GetRequest{Account: ten.key()})
		if err == nil {
			err = reply.Error.Fault()
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range ten.judge(reply.Version) {
			t.Errorf("account %s: %v", ten.name, err)
		}
		proof, err := hand.Proof(context.Background(), api.ProofRequest{
			Key: ten.key(), Revision: reply.Version.Revision, WaitMs: int(patience.Milliseconds()),
		})
		if err != nil || !proof.Proven {
			t.Fatalf("account %s is not proven: %+v, %v", ten.name, proof, err)
		}
		h.everyNode(t, ten, reply)
		for _, s := range ten.steps {
			if s.unknown {
				unknown++
			} else {
				acked++
			}
		}
		if reply.Version.Deleted {
			deleted++
		}
	}
	t.Logf("%d changes acknowledged, %d without an answer; %d of %d accounts deleted at the end, %d starts of the process",
		acked, unknown, deleted, len(h.tenants), h.cloud.starts)
	if acked < 2*len(h.tenants) {
		t.Errorf("only %d changes were acknowledged: the test shows nothing", acked)
	}
}

// judge checks the changes of one account against its stored version.
func (t *tenant) judge(stored *api.Version) []error {
	var broken []error
	fail := func(format string, args ...any) { broken = append(broken, fmt.Errorf(format, args...)) }
	var unknown []*step
	byRevision := map[uint64]*step{}
	for _, s := range t.steps {
		if s.unknown {
			unknown = append(unknown, s)
			continue
		}
		if other := byRevision[s.result.Revision]; other != nil && other.result.ID != s.result.ID {
			fail("revision %d was acknowledged twice, as %s and as %s", s.result.Revision, other.result.ID, s.result.ID)
		}
		byRevision[s.result.Revision] = s
	}
	if acked := t.acked.Load(); stored.Revision < acked {
		fail("revision %d is stored, %d was acknowledged", stored.Revision, acked)
	}
	var last *step
	gaps := 0 // revisions that nobody was told of
	for rev := uint64(1); rev <= stored.Revision; rev++ {
		s := byRevision[rev]
		if s == nil {
			gaps++
			continue
		}
		switch {
		case last != nil && last.result.Revision == rev-1 && s.item.Base != last.result.ID:
			fail("revision %d builds on %s, and revision %d is %s", rev, s.item.Base, rev-1, last.result.ID)
		case last != nil && s.doc != nil && last.doc != nil:
			if err := t.carries(acceptedAccount(last.doc.Token), acceptedAccount(s.doc.Token), append(slices.Clone(unknown), s)); err != nil {
				fail("between revisions %d and %d: %w", last.result.Revision, rev, err)
			}
		}
		if s.doc != nil || last == nil {
			last = s
		} else {
			last = &step{item: s.item, doc: last.doc, result: s.result} // a tombstone keeps the lists
		}
	}
	if gaps > len(unknown) {
		fail("%d revisions of which nobody was told, for %d requests without an answer", gaps, len(unknown))
	}
	if last == nil {
		return append(broken, errors.New("no change was acknowledged"))
	}
	if last.result.Revision == stored.Revision && last.result.ID != stored.ID {
		fail("revision %d is stored as %s, acknowledged as %s", stored.Revision, stored.ID, last.result.ID)
	}
	if err := t.carries(acceptedAccount(last.doc.Token), acceptedAccount(stored.JWT), unknown); err != nil {
		fail("stored: %w", err)
	}
	return broken
}

// acceptedAccount decodes a version that was accepted, so that it must decode.
func acceptedAccount(token string) *jwt.AccountClaims {
	ac, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		panic(err)
	}
	return ac
}

// carries returns an error if later lacks a revocation of earlier that no step
// takes back by name.
func (t *tenant) carries(earlier, later *jwt.AccountClaims, steps []*step) error {
	for _, e := range revocation.List(later.Revocations).Missing(revocation.List(earlier.Revocations)) {
		named := slices.ContainsFunc(steps, func(s *step) bool { return slices.Contains(s.item.Unrevoke, e.Key) })
		if !named {
			return fmt.Errorf("the revocation of %s is gone, and nobody took it back", e.Key)
		}
	}
	return nil
}

// everyNode requires each server to refuse and accept what the stored version
// says, and to hold just that version.
func (h *history) everyNode(t *testing.T, ten *tenant, stored api.GetReply) {
	t.Helper()
	ac := acceptedAccount(stored.Version.JWT)
	live := ac.SigningKeys.Keys()
	for _, n := range h.cloud.ready.Nodes {
		for user, token := range ten.users {
			in := !stored.Version.Deleted && !revocation.List(ac.Revocations).Covers(user, ten.issued)
			if err := dials(n.URL, token, in); err != nil {
				t.Errorf("account %s, user %s at %s: %v", ten.name, user, n.Name, err)
			}
		}
		for role, token := range ten.roles {
			in := !stored.Version.Deleted && slices.Contains(live, role) && !revocation.List(ac.Revocations).Covers(revocation.All, ten.issued)
			if err := dials(n.URL, token, in); err != nil {
				t.Errorf("account %s, a user of signing key %s at %s: %v", ten.name, role, n.Name, err)
			}
		}
		natstest.Eventually(t, patience, func() error { return h.readBack(n.URL, ten, stored.Version) })
	}
}

// dials checks that the server lets the bearer of token in, or refuses it.
func dials(url, token string, in bool) error {
	r, err := dialRaw(url, token)
	switch {
	case err == nil && in:
		return r.Close()
	case err == nil:
		r.Close()
		return errors.New("is accepted, expected to be refused")
	case in:
		return fmt.Errorf("expected to be accepted: %w", err)
	case !errors.Is(err, errRefused):
		return err
	}
	return nil
}

// readBack asks a server which version of an account it has in memory.
func (h *history) readBack(url string, ten *tenant, stored *api.Version) error {
	nc, err := tryDial(url, h.cloud.creds("SYS", "sys"))
	if err != nil {
		return err
	}
	defer nc.Close()
	id := nc.ConnectedServerId()
	msg, err := nc.Request("$SYS.REQ.SERVER."+id+".ACCOUNTZ", []byte(`{"account":"`+ten.key()+`"}`), 2*time.Second)
	if err != nil && !errors.Is(err, nats.ErrTimeout) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", url, err)
	}
	var reply struct {
		Data struct {
			Account struct {
				JWT     string `json:"jwt"`
				Expired bool   `json:"expired"`
			} `json:"account_detail"`
		} `json:"data"`
	}
	if err := json.Unmarshal(msg.Data, &reply); err != nil {
		return err
	}
	got := reply.Data.Account
	switch {
	case stored.Deleted && (got.JWT == "" || got.Expired):
		return nil
	case !stored.Deleted && got.JWT == stored.JWT:
		return nil
	case !stored.Deleted && got.JWT == "" && noneIn(ten, stored):
		return nil // nobody could make the server load it
	}
	return fmt.Errorf("%s has another version of %s in memory than the stored one: %.40q", url, ten.name, got.JWT)
}

// noneIn reports whether no user of the account may connect.
func noneIn(ten *tenant, stored *api.Version) bool {
	list := revocation.List(acceptedAccount(stored.JWT).Revocations)
	in := func(user string) bool { return !list.Covers(user, ten.issued) }
	return !slices.ContainsFunc(slices.Collect(maps.Keys(ten.users)), in)
}
