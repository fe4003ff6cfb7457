package resolver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// PutOperator decides a signed request for a new version of the operator's JWT.
// Running servers trust the keys that they started with (nsc status names them).
func (s *Service) PutOperator(ctx context.Context, via, token string, body []byte) api.PutReply {
	reply := s.putOperator(ctx, via, token, body)
	s.count(via, reply)
	return reply
}

func (s *Service) putOperator(ctx context.Context, via, token string, body []byte) api.PutReply {
	var req api.OperatorPutRequest
	if err := decodeBody(body, &req); err != nil {
		return refusedRequest(err)
	}
	var result api.Result
	who := actor{Via: via, Host: clip(req.Host), Request: clip(req.Request)}
	err := s.decide(ctx, who, token, body, nil, func(tx store.Tx, g grounds) (err error) {
		result, err = s.writeOperator(tx, g, req)
		return err
	})
	if err != nil {
		return s.refused(err)
	}
	return api.PutReply{Schema: api.Schema, Results: []api.Result{result}}
}

func (s *Service) writeOperator(tx store.Tx, g grounds, req api.OperatorPutRequest) (api.Result, error) {
	op := g.op
	res := api.Result{Key: op.Key, Name: op.Name, Outcome: api.OutcomeSame, Revision: op.Revision, ID: op.ID}
	if req.JWT == op.JWT {
		return res, nil
	}
	rec, notes, err := s.admitOperator(tx, g, req)
	if err != nil {
		if fault.As(err) == nil {
			return res, err
		}
		res.Outcome, res.Error = api.OutcomeRefused, api.ToError(err)
		if fault.Is(err, fault.Conflict) {
			v, err := versionOf(tx, op)
			if err != nil {
				return res, err
			}
			res.Current = &v
		}
		return res, nil
	}
	rec, err = tx.Put(op.Revision, rec, g.who.change("operator.put", op, rec, g.now, req.Base, notes...))
	if err != nil {
		return res, err
	}
	res.Outcome, res.Name, res.Revision, res.ID = api.OutcomePut, rec.Name, rec.Revision, rec.ID
	return res, nil
}

// admitOperator judges a new version of the operator's JWT.
func (s *Service) admitOperator(r store.Reader, g grounds, req api.OperatorPutRequest) (store.Record, []string, error) {
	op, was, now := g.op, g.trust, g.now
	rec := store.Record{Kind: store.Operator, Key: op.Key}
	d, trust, err := decodeOperator(req.JWT)
	if err != nil {
		return rec, nil, err
	}
	c := &change{doc: d, old: op}
	refuse := func(code fault.Code, rule, format string, args ...any) (store.Record, []string, error) {
		return rec, nil, fault.New(code, format, args...).ByRule(rule)
	}
	switch {
	case d.Subject != op.Key:
		return refuse(fault.Untrusted, "operator", "is of operator %s, this accountd serves %s", keys.Short(d.Subject), keys.Short(op.Key))
	case d.Issuer != op.Key:
		return refuse(fault.Untrusted, "root key", "signed by %s; only the root key signs the operator's claims", keys.Short(d.Issuer))
	case req.Base != op.ID:
		return refuse(fault.Conflict, "conflict", "operator %s is at revision %d, which is not the version that this one builds on", op.Name, op.Revision)
	case trust.Strict && s.cfg.Self.Issuer == trust.SystemAccount:
		return refuse(fault.Denied, "system account", "requires signing keys, but accountd's own user is signed by the system account's identity key")
	case trust.SystemAccount != was.SystemAccount:
		return refuse(fault.Denied, "system account", "the system account of a running operator cannot be changed")
	}
	if err := c.checkTimes(now); err != nil {
		return rec, nil, err
	}
	if issues := blockingOperator(d); len(issues) > 0 {
		return refuse(fault.Invalid, "blocking", "servers would refuse the operator's claims: %s", strings.Join(issues, "; "))
	}
	setVersion(&rec, d)
	notes, err := retireOperatorKeys(&rec, op, was, trust, now)
	if err != nil {
		return rec, nil, err
	}
	if err := checkIssued(r, trust); err != nil {
		return rec, nil, err
	}
	if s.delegates(was) && !s.delegates(trust) && !req.Undelegate {
		return rec, nil, fault.New(fault.Denied, "retires accountd's own signing key %s: accountd would sign nothing any more", keys.Short(s.cfg.Delegated)).
			ByRule("delegated key").WithHint("if that is meant: nsc edit operator --rm-sk %s --yes", s.cfg.Delegated)
	}
	return rec, notes, nil
}

func blockingOperator(d *claims.Document) []string {
	oc, err := claims.As[jwt.OperatorClaims](d)
	if err != nil {
		return []string{err.Error()}
	}
	vr := jwt.CreateValidationResults()
	oc.Operator.Validate(vr)
	var out []string
	for _, issue := range vr.Issues {
		if issue.Blocking {
			out = append(out, issue.Description)
		}
	}
	return out
}

// retireOperatorKeys retires the signing keys that go, and refuses those that
// went before.
func retireOperatorKeys(rec *store.Record, op store.Record, was, trust operator.Trust, now time.Time) ([]string, error) {
	retired := maps.Clone(op.Retired)
	if retired == nil {
		retired = map[string]int64{}
	}
	var notes []string
	for _, key := range trust.SigningKeys {
		if retired[key] != 0 {
			return nil, fault.New(fault.Denied, "brings back operator signing key %s, which was retired at %s", keys.Short(key),
				time.Unix(retired[key], 0).UTC().Format(time.RFC3339)).ByRule("retired key").WithHint("make a new one: nsc edit operator --sk generate")
		}
	}
	for _, key := range was.SigningKeys {
		if !slices.Contains(trust.SigningKeys, key) {
			retired[key] = now.Unix()
			notes = append(notes, "retired operator signing key "+key)
		}
	}
	if len(retired) > 0 {
		rec.Retired = retired
	}
	return notes, nil
}

// checkIssued: no stored account is issued by a key that this version drops.
func checkIssued(r store.Reader, trust operator.Trust) error {
	var orphans []string
	more := 0
	err := r.Scan(store.Account, "", func(rec store.Record) bool {
		if rec.Deleted || trust.Signs(rec.Issuer) {
			return true
		}
		if len(orphans) < 10 {
			orphans = append(orphans, rec.Name)
		} else {
			more++
		}
		return true
	})
	if err != nil || len(orphans) == 0 {
		return err
	}
	names := strings.Join(orphans, ", ")
	if more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fault.New(fault.Denied, "accounts are still issued by a key that this version drops: %s", names).
		ByRule("issued").WithHint("re-issue them first: nsc reissue accounts")
}

// notStored turns the store's ErrNotFound into a refusal that names the thing.
func notStored(err error, entity, name string) error {
	if errors.Is(err, store.ErrNotFound) {
		return fault.New(fault.NotFound, "no %s %s is stored", entity, name).About(entity, name).WithHint("nsc list accounts")
	}
	return err
}
