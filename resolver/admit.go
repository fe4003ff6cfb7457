package resolver

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// change is one item on its way through admission.
type change struct {
	item      api.Item
	noBase    bool     // came through a door that carries no base
	notAfter  int64    // a deletion without a base holds for versions issued until then, Unix seconds
	bootstrap bool     // first version of a new store
	claimed   *claimed // by all items of the request; nil for one that is alone
	proposed  bool     // signed by its own account: it is not stored, but may be proposed
	streams   []string // of an account to be deleted: they would be lost

	key    string
	doc    *claims.Document   // nil for a deletion
	ac     *jwt.AccountClaims // of doc
	old    store.Record       // Revision 0: there was none
	oldAC  *jwt.AccountClaims // of old, nil if there was none
	rec    store.Record       // what will be stored
	action string
	same   bool // the stored version already

	strict  bool     // accounts themselves sign no users
	allBorn int64    // since when every key that can sign users is known to be new, Unix seconds
	notes   []string // for the log
	err     error
}

// decode reads the item without looking at any state.
func (c *change) decode() {
	switch {
	case (c.item.JWT == "") == (c.item.Delete == ""):
		c.err = fault.New(fault.Invalid, "an item needs either a JWT or the key of an account to delete").ByRule("malformed")
	case c.item.Delete != "":
		_, c.err = keys.ParseAccount(c.item.Delete)
		c.key, c.action = c.item.Delete, "delete"
	case len(c.item.JWT) > api.MaxClaim:
		c.err = fault.New(fault.Denied, "the claim has %d bytes, at most %d can travel to the servers", len(c.item.JWT), api.MaxClaim).
			ByRule("size").WithHint("roll a signing key in place of single revocations")
	default:
		c.decodeJWT()
	}
}

func (c *change) decodeJWT() {
	c.action = "put"
	if c.doc, c.err = claims.Decode(c.item.JWT); c.err != nil {
		return
	}
	if c.ac, c.err = claims.As[jwt.AccountClaims](c.doc); c.err != nil {
		return
	}
	for _, key := range append(slices.Clone(c.item.Retire), c.doc.Subject) {
		if _, err := keys.ParseAccount(key); err != nil {
			c.err = err
			return
		}
	}
	c.key = c.doc.Subject
	c.item.Base = strings.TrimSpace(c.item.Base)
}

// admit judges one decoded item against the stored state. Findings, which may
// depend on other items, are judged afterwards.
func (s *Service) admit(r store.Reader, c *change, trust operator.Trust, op store.Record, now time.Time) {
	if c.err != nil {
		return
	}
	if c.err = c.load(r); c.err != nil {
		return
	}
	if c.doc == nil {
		if c.err = s.checkDeletion(c, trust, op); c.err == nil {
			c.err = c.admitDelete(trust, now)
		}
		return
	}
	if c.old.Revision > 0 && !c.old.Deleted && c.old.JWT == c.doc.Token {
		c.rec, c.same = c.old, true
		return
	}
	for _, check := range []func() error{
		func() error { return c.checkChain(trust, op) },
		func() error { return s.checkTrusted(r, c, trust) },
		func() error { return c.checkAccept(r) },
		c.checkBase,
		func() error { return c.checkTimes(now) },
		func() error { return s.checkSecond(r, c) },
		c.checkBlocking,
		func() error { return accounts.CheckRoles(c.oldAC, c.ac) },
		func() error { return checkName(r, c, trust) },
		func() error { return s.checkNamespace(r, c, trust) },
		func() error { return s.checkSystemAccount(c, trust) },
	} {
		if c.err = check(); c.err != nil {
			return
		}
	}
	c.rec = store.Record{Kind: store.Account, Key: c.key}
	setVersion(&c.rec, c.doc)
	c.strict = trust.Strict
	c.err = c.carryLists(now)
}

// load reads the stored version.
func (c *change) load(r store.Reader) error {
	rec, err := r.Get(store.Account, c.key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	c.old = rec
	d, err := claims.Decode(rec.JWT)
	if err != nil {
		return fault.New(fault.Internal, "stored claim of %s: %w", rec.Key, err)
	}
	c.oldAC, err = claims.As[jwt.AccountClaims](d)
	return err
}

// checkChain: the operator, or a living signing key of it, signed the account.
func (c *change) checkChain(trust operator.Trust, op store.Record) error {
	if c.proposed {
		return nil
	}
	d := c.doc
	if op.Retired[d.Issuer] != 0 {
		return fault.New(fault.Untrusted, "issued by operator key %s, which is retired", keys.Short(d.Issuer)).
			ByRule("chain").WithHint("sign it anew with a current key: nsc reissue accounts")
	}
	return trust.CheckIssuer(d.Issuer)
}

// checkTrusted: no server that runs would refuse the account because it started
// before the issuer was a key of the operator.
func (s *Service) checkTrusted(r store.Reader, c *change, trust operator.Trust) error {
	if c.proposed || c.bootstrap || c.doc.Issuer == c.old.Issuer && !c.old.Deleted {
		return nil
	}
	servers, err := s.trusting(r, c)
	if err != nil {
		return err
	}
	var lacking []string
	usable := slices.DeleteFunc(trust.Signers(), func(key string) bool { return key == s.cfg.Delegated })
	for _, n := range servers {
		if len(n.Trusts) == 0 {
			continue // it does not run, and trusts the key when it does
		}
		if !slices.Contains(n.Trusts, c.doc.Issuer) {
			lacking = append(lacking, n.Name)
		}
		usable = slices.DeleteFunc(usable, func(key string) bool { return !slices.Contains(n.Trusts, key) })
	}
	if len(lacking) == 0 {
		return nil
	}
	refusal := fault.New(fault.Untrusted, "issued by operator key %s, which %s trust only after a restart: account %s would be refused there",
		keys.Short(c.doc.Issuer), strings.Join(lacking, ", "), c.name()).ByRule("restart")
	if len(usable) == 0 {
		return refusal.WithHint("restart the servers one by one; which still need it: nsc status")
	}
	return refusal.WithHint("sign it with a key that they trust, -K %s, or restart the servers one by one; which still need it: nsc status", usable[0])
}

// checkAccept: the proposal that the version answers is the one that waits.
func (c *change) checkAccept(r store.Reader) error {
	if c.item.Accept == "" {
		return nil
	}
	rec, err := openProposal(r, c.key)
	if err == nil && rec.ID != c.item.Accept {
		err = fault.New(fault.Conflict, "another proposal of account %s waits", c.name()).ByRule("conflict").WithHint("look at it: nsc proposals list")
	}
	return err
}

// checkBase: the version that this one replaces is the stored one.
func (c *change) checkBase() error {
	exists := c.old.Revision > 0
	switch {
	case c.old.Deleted && !c.item.Restore:
		return fault.New(fault.Denied, "account %s was deleted", c.old.Name).
			ByRule("tombstone").WithHint("bring it back with: nsc restore account %s", c.old.Name)
	case c.item.Restore && !c.old.Deleted:
		return fault.New(fault.Conflict, "account %s is not deleted", c.name()).ByRule("tombstone")
	case c.item.Restore && c.old.JWT == c.doc.Token:
		return fault.New(fault.Denied, "a restored account must be signed anew: servers ignore a JWT equal to the one that was removed").
			ByRule("tombstone").WithHint("nsc restore account %s", c.old.Name)
	case c.noBase:
		if exists && c.old.ID == c.doc.ID {
			return fault.New(fault.Conflict, "another version of %s with the same jti is stored", c.name()).
				ByRule("base").WithHint("sign it anew a second later and push again")
		}
		return nil
	case c.item.Base != c.old.ID:
		return c.conflict()
	}
	return nil
}

func (c *change) conflict() error {
	switch {
	case c.old.Revision == 0:
		return fault.New(fault.Conflict, "builds on a version of %s, but none is stored", c.name()).ByRule("conflict")
	case c.item.Base == "":
		return fault.New(fault.Conflict, "account %s exists already at revision %d", c.old.Name, c.old.Revision).
			ByRule("conflict").WithHint("take it with: nsc pull -a %s", c.old.Name)
	}
	return fault.New(fault.Conflict, "account %s is at revision %d, which is not the version that this one builds on", c.old.Name, c.old.Revision).
		ByRule("conflict").WithHint("take it and redo your edit with: nsc pull -a %s --merge", c.old.Name)
}

// name returns what the account is called, stored or new.
func (c *change) name() string {
	switch {
	case c.old.Name != "":
		return c.old.Name
	case c.doc != nil && c.doc.Name != "":
		return c.doc.Name
	}
	return keys.Short(c.key)
}

// target is what nsc edit changes here.
func (c *change) target() string {
	if c.doc.Type == claims.TypeOperator {
		return "operator"
	}
	return "account " + c.name()
}

// newerHint says how to get at the stored version.
func (c *change) newerHint() string {
	if c.doc.Type == claims.TypeOperator {
		return "import the one in force, from /jwt/v1/operator of accountd, with: nsc add operator --url <file> --force"
	}
	return "take the stored version with: nsc pull -a " + c.name()
}

// checkTimes: the version is valid now, not older than the stored one, and not
// from the future.
func (c *change) checkTimes(now time.Time) error {
	n, at := now.Unix(), func(t int64) string { return time.Unix(t, 0).UTC().Format(time.RFC3339) }
	latest := max(n, c.old.IssuedAt) + int64(api.RequestSkew.Seconds())
	switch {
	case c.doc.IssuedAt < c.old.IssuedAt:
		return fault.New(fault.Conflict, "issued at %s, older than the stored version of %s of %s (revision %d)",
			at(c.doc.IssuedAt), c.name(), at(c.old.IssuedAt), c.old.Revision).
			ByRule("older").WithHint("%s", c.newerHint())
	case c.doc.IssuedAt > latest:
		return fault.New(fault.Invalid, "issued at %s, more than %s from now (%s)", at(c.doc.IssuedAt), api.RequestSkew, at(n)).
			ByRule("future").WithHint("set the clock of the machine that signs, or of accountd")
	case c.doc.Expires != 0 && c.doc.Expires <= n:
		return fault.New(fault.Expired, "expired at %s", at(c.doc.Expires)).
			ByRule("expired").WithHint("nsc edit %s --expiry 0", c.target())
	case c.doc.Starts > n:
		return fault.New(fault.Expired, "not valid before %s", at(c.doc.Starts)).
			ByRule("not yet valid").WithHint("nsc edit %s --start 0", c.target())
	}
	return nil
}

// checkSecond: stock servers that merge their directories can tell the version
// from the one before it. Where accountd signs, it signs such a version anew.
func (s *Service) checkSecond(r store.Reader, c *change) error {
	if c.doc.IssuedAt != c.old.IssuedAt || c.proposed || s.cfg.Signer != nil {
		return nil
	}
	servers, err := s.known(r, c)
	if err != nil || !slices.ContainsFunc(servers, func(n StockServer) bool { return n.Seconds }) {
		return err
	}
	return fault.New(fault.Conflict, "issued in the same second as the stored version of %s, which stock servers cannot tell apart", c.name()).
		ByRule("same-second").WithHint("sign it anew a second later and send it again")
}

// checkBlocking: nothing in the account makes servers refuse the whole of it, or
// crash.
func (c *change) checkBlocking() error {
	issues := accounts.Blocking(c.ac)
	if len(issues) == 0 && onlyRevokes(c) {
		return nil
	}
	if len(issues) == 0 {
		return accounts.CheckRenames(c.ac)
	}
	return fault.New(fault.Invalid, "servers would refuse all of account %s: %s", c.name(), strings.Join(issues, "; ")).ByRule("blocking")
}

// checkDeletion: the request for stock servers is one that they obey, and
// deletes this account alone.
func (s *Service) checkDeletion(c *change, trust operator.Trust, op store.Record) error {
	if c.item.Deletion == "" {
		return nil
	}
	d, err := claims.Decode(c.item.Deletion)
	switch {
	case err != nil:
		return err
	case !slices.Equal(d.Strings("accounts"), []string{c.key}):
		return fault.New(fault.Invalid, "the deletion request is not of account %s alone", keys.Short(c.key)).ByRule("malformed")
	}
	return s.maySignDeletion(trust, op, d)
}

// admitDelete plans the tombstone: everything that the record knows stays.
func (c *change) admitDelete(trust operator.Trust, now time.Time) error {
	switch {
	case c.old.Revision == 0:
		return fault.New(fault.NotFound, "no account %s is stored", keys.Short(c.key)).About("account", c.key)
	case c.key == trust.SystemAccount:
		return fault.New(fault.Denied, "%s is the system account", c.old.Name).ByRule("system account")
	case c.old.Deleted:
		c.rec, c.same = c.old, true
		return nil
	case !c.noBase && c.item.Base != c.old.ID:
		return c.conflict()
	case len(c.streams) > 0 && !c.item.Force:
		return fault.New(fault.Denied, "account %s holds JetStream data that would be lost: %s", c.old.Name, strings.Join(c.streams, ", ")).
			ByRule("jetstream data").WithHint("delete it all the same with --force")
	case c.noBase && c.old.IssuedAt > c.notAfter:
		return fault.New(fault.Conflict, "account %s has a version that is newer than the deletion request", c.old.Name).ByRule("older")
	}
	c.rec = c.old
	c.rec.Deleted, c.rec.Deletion = true, c.item.Deletion
	c.rec.Findings = nil
	return nil
}
