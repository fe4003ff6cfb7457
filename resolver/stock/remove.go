package stock

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// deletionLife is how long a signed deletion may be used, in seconds. Servers
// do not look at it; doors of accountd do.
const deletionLife = 120

// undeletable is why a server keeps a deleted account.
func (r *round) undeletable() string {
	const why = "undeletable: the server's resolver has no allow_delete; the account "
	if r.f.cfg.Signer == nil && !r.claim.nobody() {
		return why + "stays alive there, since accountd cannot sign a version that permits nobody: " +
			"set allow_delete in the server's configuration, or restore the account, suspend it and delete it then"
	}
	return why + "is suspended there, so nobody can connect"
}

// remove takes a deleted account from every server that still has it.
func (r *round) remove(ctx context.Context, j *job) error {
	defer r.f.sent(j, r.rec)
	if err := r.readBack(ctx); err != nil {
		return err
	}
	alive := r.runs(func(v *verdict) bool { return v.state == api.Pending })
	if len(alive) == 0 {
		return nil
	}
	if r.f.cfg.Signer == nil && r.rec.Deletion == "" {
		for id := range alive {
			r.verdicts[id].reason = "the deletion waits for a signature of the operator, which accountd cannot give: bring it back with nsc restore account, and delete it again"
			r.verdicts[id].parked = true
		}
		return nil
	}
	if err := r.suspend(ctx, alive); err != nil {
		return err
	}
	if err := r.sendDeletion(ctx); err != nil {
		return err
	}
	return r.readBack(ctx)
}

// deletion returns the signed deletion: the one that came with the tombstone
// where accountd cannot sign.
func (r *round) deletion() (string, error) {
	signer := r.f.cfg.Signer
	if signer == nil {
		return r.rec.Deletion, nil
	}
	now := r.f.cfg.Now().Unix()
	d, err := claims.Request("generic", signer.PublicKey(), "", claims.Digest(r.rec.JWT)[:16], now+deletionLife,
		map[string]any{"accounts": []string{r.rec.Key}}).Sign(signer, now)
	if err != nil {
		return "", fmt.Errorf("sign deletion of %s: %w", r.rec.Key, err)
	}
	return d.Token, nil
}

// sendDeletion sends a signed deletion to all servers and waits until those
// with a directory have answered.
func (r *round) sendDeletion(ctx context.Context) error {
	token, err := r.deletion()
	if err != nil {
		return err
	}
	missing := r.runs(func(v *verdict) bool {
		kind := r.f.kindOf(v.server)
		return kind == Full || kind == Cache
	})
	_, err = r.f.ask.gather(ctx, subjectDelete, []byte(token), r.f.cfg.Answer, r.f.stirred, func(m *nats.Msg) bool {
		if v, a, ok := answered[status](r, m, missing); ok {
			r.deletionAnswer(v, a)
		}
		return r.allHere(missing)
	})
	return err
}

// deletionAnswer takes what a server says to a deletion.
func (r *round) deletionAnswer(v *verdict, a answer[status]) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	v.server.deletable = a.Error == nil
	v.server.undeletable = false
	if a.Error == nil {
		return
	}
	v.state, v.parked, v.reason = api.Rejected, true, a.Error.Text
	if strings.Contains(a.Error.Text, "delete must be enabled") {
		v.server.undeletable = true
		v.reason = r.undeletable()
	}
}

// suspend sends a last version that permits nobody, where a deletion does not
// reach: servers that fetch from us, and directories that refuse deletions.
func (r *round) suspend(ctx context.Context, alive map[string]bool) error {
	if r.f.cfg.Signer == nil {
		return nil
	}
	needed := false
	for id := range alive {
		v := r.verdicts[id]
		r.f.mu.Lock()
		needed = needed || v.server.undeletable || v.loaded && (v.server.kind == URL || v.server.kind == Memory) || v.server.kind == Full && !v.server.deletable
		r.f.mu.Unlock()
	}
	if !needed {
		return nil
	}
	token, err := r.suspended()
	if err != nil {
		return err
	}
	missing := r.runs(nil)
	_, err = r.f.ask.gather(ctx, fmt.Sprintf(subjectUpdateOf, r.rec.Key), []byte(token), r.f.cfg.Answer, r.f.stirred, func(m *nats.Msg) bool {
		_, _, _ = answered[status](r, m, missing)
		return r.allHere(missing)
	})
	return err
}

// suspended signs a version of the account that permits nobody.
func (r *round) suspended() (string, error) {
	doc, err := claims.Decode(r.rec.JWT)
	if err != nil {
		return "", fmt.Errorf("suspend %s: %w", r.rec.Key, err)
	}
	now := max(r.f.cfg.Now().Unix(), r.rec.IssuedAt+1)
	draft, err := claims.Edit(doc, func(ac *jwt.AccountClaims) error {
		if ac.Revocations == nil {
			ac.Revocations = jwt.RevocationList{}
		}
		ac.Revocations[revocation.All] = now
		ac.Limits = jwt.OperatorLimits{}
		ac.Imports, ac.Exports = nil, nil
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("suspend %s: %w", r.rec.Key, err)
	}
	signed, err := draft.Sign(r.f.cfg.Signer, now)
	if err != nil {
		return "", fault.New(fault.Internal, "suspend %s: %w", r.rec.Key, err)
	}
	return signed.Token, nil
}

// permitsNobody reports whether a JWT is a suspended version.
func permitsNobody(token string) bool {
	c, err := parse(token)
	return err == nil && c.nobody() && c.NATS.Revocations[revocation.All] > 0
}
