package server

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// moveOperator signs the operator's JWT anew when the ports have changed since
// its URLs were written, as the person would: with the root key from the
// keystore, through the same door. URLs that the person set stay.
func (d *dev) moveOperator(ctx context.Context) error {
	urls := d.state.written()
	if slices.Equal(urls, d.state.URLs) {
		return nil
	}
	stored, _, err := d.storedOperator(ctx)
	if err != nil {
		return err
	}
	now := d.opts.Now().Unix()
	draft, err := claims.Edit(stored, func(oc *jwt.OperatorClaims) error {
		if slices.Contains(d.state.URLs, oc.AccountServerURL) {
			oc.AccountServerURL = d.state.accountServer()
		}
		for _, old := range d.state.URLs {
			oc.OperatorServiceURLs.Remove(old)
		}
		oc.OperatorServiceURLs.Add(d.state.clientURLs()...)
		return nil
	})
	if err != nil {
		return err
	}
	root, ns, err := d.rootKey()
	if err != nil {
		return err
	}
	defer root.Wipe()
	doc, err := draft.Sign(root, max(now, stored.IssuedAt))
	if err != nil {
		return err
	}
	err = d.putOperator(ctx, root, doc.Token, stored.ID)
	if fault.Is(err, fault.Expired) {
		return fault.New(fault.Expired, "the ports changed, and the operator's JWT, which must name the new ones: %w", err).
			WithHint("start with the former ports, from %s on, and renew it: nsc edit operator --expiry 0", d.state.URLs[0])
	}
	if err != nil {
		return err
	}
	if err := d.moveLocal(ctx, ns, stored, doc); err != nil {
		return err
	}
	d.state.URLs = urls
	return d.folder.saveState(d.state)
}

// moveLocal replaces the operator's JWT in the official store, unless the person
// has edited it since it was published.
func (d *dev) moveLocal(ctx context.Context, ns *nscstore.Store, stored, doc *claims.Document) error {
	return ns.Update(ctx, devOperator, func(tx *nscstore.Tx) error {
		token, err := tx.JWT()
		if err != nil {
			return err
		}
		local, err := claims.Decode(token)
		if err != nil {
			return err
		}
		if local.ID != stored.ID && local.IssuedAt > stored.IssuedAt {
			d.log.Warn("the operator has edits that are not published; its URLs there are left as they are")
			return nil
		}
		return tx.PutOperator(doc.Token)
	})
}

// rootKey takes the operator's root key from the keystore.
func (d *dev) rootKey() (keys.OperatorPair, *nscstore.Store, error) {
	ns, err := nscstore.Open(d.folder.dirs())
	if err != nil {
		return keys.OperatorPair{}, nil, err
	}
	seed, err := ns.Keystore().Seed(d.state.Operator)
	if err != nil {
		return keys.OperatorPair{}, nil, fault.New(fault.CodeOf(err), "the ports changed, and the operator's JWT must name the new ones: %w", err).
			WithHint("put the root key back, or start with the former ports, from %s on: accountd dev --port", d.state.URLs[0])
	}
	defer nscstore.Wipe(seed)
	root, err := keys.OperatorFromSeed(seed)
	return root, ns, err
}

// putOperator sends the operator's new JWT to the service.
func (d *dev) putOperator(ctx context.Context, root keys.OperatorPair, token, base string) error {
	client, err := api.Dial(ctx, "", func() time.Time { return d.opts.Now() }, d.systemUser(d.members[0]))
	if err != nil {
		return err
	}
	defer client.Close()
	re, err := client.PutOperator(ctx, root, api.OperatorPutRequest{JWT: token, Base: base})
	if err != nil {
		return err
	}
	if len(re.Results) == 1 {
		return re.Results[0].Error.Fault()
	}
	return re.Error.Fault()
}

// systemUser is how accountd connects to one of its nodes, inside the process.
func (d *dev) systemUser(m *member) nats.Option {
	return func(o *nats.Options) error {
		n, _ := m.current()
		if n == nil {
			return fault.New(fault.Unavailable, "%s is stopped", m.Name())
		}
		o.InProcessServer = n
		return nats.UserJWT(func() (string, error) { return d.secrets.userJWT, nil }, d.secrets.user.Sign)(o)
	}
}
