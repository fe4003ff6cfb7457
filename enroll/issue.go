package enroll

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/bulk"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// applicant is a device that is to get credentials.
type applicant struct {
	ID   string
	tags []string
}

// shownBy returns what the JWT of a user says.
func shownBy(d *claims.Document) (bulk.Issued, error) {
	is := bulk.Issued{
		Account: d.Field("issuer_account"), Issuer: d.Issuer, Subject: d.Subject, Name: d.Name,
		IssuedAt: d.IssuedAt, Expires: d.Expires, Tags: d.Strings("tags"),
	}
	switch {
	case d.Type != claims.TypeUser:
		return is, fault.New(fault.Invalid, "the JWT is of type %q, expected %s", d.Type, claims.TypeUser).ByRule("type")
	case is.Account == "":
		return is, fault.New(fault.Untrusted, "the JWT was signed by an account itself, not by a fleet or a group of it").ByRule("chain")
	}
	return is, nil
}

// issue signs credentials of a device.
func (a *asked) issue(d applicant, signer claims.Signer) (reply api.EnrollReply, err error) {
	if err := accounts.CheckLiteralDevice(d.ID, d.tags, a.tenant.claims, signer.PublicKey()); err != nil {
		return reply, err
	}
	// A revocation dated by a clock that is behind, or dated before this and stored
	// after it, covers what is issued here. Servers refuse what is not after "*".
	issued := max(a.now.Add(-fleet.Skew).Unix(), a.tenant.claims.Revocations[revocation.All]+1)
	is, err := bulk.New(bulk.Options{
		Account: a.tenant.claims.Subject, Fleet: a.fleet, Signers: []claims.Signer{signer}, Tags: d.tags,
		Now: a.now, Issued: time.Unix(issued, 0),
	})
	if err != nil {
		return reply, err
	}
	c, err := is.One(bulk.Device{ID: d.ID, Key: a.req.Key})
	if err != nil {
		return reply, err
	}
	scope := fleet.Scope(a.tenant.claims, fleet.Key{Public: signer.PublicKey()})
	if a.clones.renewed(a.req.Key, a.req.JWT, a.shown, string(c.JWT), issued) {
		a.noticed = ruleClone
		a.cfg.Logger.Warn("two seem to have the key of one device", "device", d.ID, "key", a.req.Key, "account", a.shown.Account,
			"via", a.from.Via, "address", a.from.Address)
	}
	half := (c.Expires - a.now.Unix()) / 2
	reply = api.EnrollReply{
		JWT: string(c.JWT), Expires: c.Expires,
		Types: scope.AllowedConnectionTypes,
		Renew: a.now.Unix() + half + rand.Int64N(half/2+1), // not all at once
	}
	// A request by such a nonce can be repeated as long as the JWT can be renewed.
	// That is of no use to anybody but the device, unless the answer needs no key.
	if !scope.BearerToken {
		reply.Next = a.nonces.after(reply.JWT, a.req.Key)
	}
	if a.req.Pass {
		reply.Pass, err = a.pass(issued, c.Expires)
	}
	return reply, err
}

// pass is the way back for a device whose credentials servers refuse, for as long
// as it may renew by them. It is "" where accountd has no key of a group.
func (a *asked) pass(issued, expires int64) (string, error) {
	until := expires + int64(a.fleet.TTL/time.Second)
	if ttl, only := fleet.Only(a.tenant.claims); only {
		until = min(until, issued+int64(ttl/time.Second))
	}
	for _, g := range a.fleet.Groups(a.tenant.claims) {
		if pair, ok := a.tenant.pairs[g.Public]; ok {
			doc, err := g.Pass(a.tenant.claims, pair, a.req.Key, issued, until)
			if err != nil {
				return "", err
			}
			return doc.Token, nil
		}
	}
	return "", nil
}

// lookAgain is after how many seconds a device asks again whether its key goes:
// a fleet of a million then asks some thousand times a second.
func lookAgain(ttl time.Duration) int {
	return int(min(max(ttl/64, 15*time.Second), 15*time.Minute) / time.Second)
}

// look tells a user of an account when a key of a fleet is retired: claims say so
// to everybody who reads them.
func (a *asked) look(ctx context.Context) (reply api.EnrollReply, err error) {
	if a.tenant, err = a.tenants.get(ctx, a.from.Account); err != nil {
		return reply, err
	}
	if r := a.tenant.roles[a.req.Issuer]; r.fleet.TTL > 0 && r.group.Public == "" {
		reply.Retires, reply.Look = r.until, lookAgain(r.fleet.TTL)
	}
	return reply, nil
}
