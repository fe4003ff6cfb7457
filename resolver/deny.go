package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// Deny decides a signed request that some devices get no new credentials until a
// time, or do again.
func (s *Service) Deny(ctx context.Context, via, token string, body []byte) api.DenyReply {
	var req api.DenyRequest
	changed := 0
	err := decodeBody(body, &req)
	if err == nil {
		_, err = keys.ParseAccount(req.Account)
	}
	if err == nil && (len(req.Marks)%8 != 0 || len(req.Marks) > api.MaxMarks*8) {
		err = fault.New(fault.Invalid, "%d bytes of marks: 8 each, at most %d of them", len(req.Marks), api.MaxMarks).ByRule("malformed")
	}
	if err == nil && !req.Lift && (req.Until <= s.now().Unix() || req.Until > s.now().Add(fleet.MaxTTL+fleet.Skew).Unix()) {
		err = fault.New(fault.Invalid, "denied until %s: within %s from now", time.Unix(req.Until, 0).UTC().Format(time.RFC3339), fleet.Span(fleet.MaxTTL)).ByRule("malformed")
	}
	if err == nil {
		who := actor{Via: via, Host: clip(req.Host), Request: clip(req.Request)}
		err = s.decide(ctx, who, token, body, nil, func(tx store.Tx, g grounds) (err error) {
			changed, err = deny(tx, req, g)
			return err
		})
	}
	return api.DenyReply{Schema: api.Schema, Changed: changed, Error: s.done(err).Error}
}

func deny(tx store.Tx, req api.DenyRequest, g grounds) (changed int, err error) {
	ac, err := tx.Get(store.Account, req.Account)
	if err != nil {
		return 0, notStored(err, "account", req.Account)
	}
	old, err := tx.Get(store.Denied, req.Account)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	denied, err := fleet.DecodeDenied(old.JWT)
	if err != nil {
		return 0, fault.New(fault.Internal, "denied devices of %s: %w", req.Account, err)
	}
	if err := spare(tx, req, ac, g); err != nil {
		return 0, err
	}
	marks := make([]fleet.Mark, 0, len(req.Marks)/8)
	for raw := req.Marks; len(raw) > 0; raw = raw[8:] {
		marks = append(marks, fleet.Mark(binary.BigEndian.Uint64(raw)))
	}
	if changed, err = denied.Change(marks, req.Until, g.now.Unix(), req.Lift); err != nil {
		return 0, err
	}
	if len(req.Spare) > 0 {
		denied.Extend(req.Until) // since all keys are spared as long
	}
	rec := store.Record{Kind: store.Denied, Key: req.Account, Name: ac.Name, JWT: denied.Encode()}
	if rec.JWT == old.JWT {
		return changed, nil
	}
	action := "deny"
	if req.Lift {
		action = "admit"
	}
	_, err = tx.Put(old.Revision, rec, g.who.change(action, old, rec, g.now, ""))
	return changed, err
}

// spare notes the keys of a request that are spared.
func spare(tx store.Tx, req api.DenyRequest, ac store.Record, g grounds) error {
	if len(req.Spare) == 0 {
		return nil
	}
	for key := range req.Spare {
		if _, err := keys.ParseAccount(key); err != nil {
			return err
		}
	}
	old, err := tx.Get(store.Spared, req.Account)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	spared, err := fleet.DecodeSpared(old.JWT)
	if err != nil {
		return fault.New(fault.Internal, "spared keys of %s: %w", req.Account, err)
	}
	doc, err := claims.Decode(ac.JWT)
	if err != nil {
		return err
	}
	marks, err := claims.As[jwt.AccountClaims](doc)
	if err != nil {
		return err
	}
	spared.Change(req.Spare, fleet.ReturnsOf(marks), req.Until, g.now.Unix())
	rec := store.Record{Kind: store.Spared, Key: req.Account, Name: ac.Name}
	if rec.JWT, err = spared.Encode(); err != nil || rec.JWT == old.JWT {
		return err
	}
	_, err = tx.Put(old.Revision, rec, g.who.change("spare", old, rec, g.now, ""))
	return err
}
