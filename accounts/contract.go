package accounts

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// Contract is what one account lets one other import from a private export. It
// is read off claims: the activation of an import, or one that was offered.
type Contract struct {
	Exporter, Importer string // public keys
	Type               jwt.ExportType
	Subject            string // the exporter's
	Local              string // the importer's; "" as long as nobody imports it here
	Space              string // the exporter's namespace, as its activation says; "" if it does not

	Token           string // the activation
	Issued, Expires int64  // Unix seconds; 0 for never
	State           ContractState
	Reason          string   // why it is broken
	Onward          []string // exports of the importer that pass it on to others
}

// ContractState says where a contract stands.
type ContractState string

// The states of a contract. Offered is also what the importer, unknown here,
// may have accepted elsewhere.
const (
	ContractOffered ContractState = "offered"
	ContractActive  ContractState = "active"
	ContractExpired ContractState = "expired"
	ContractRevoked ContractState = "revoked"
	ContractBroken  ContractState = "broken" // servers do not honour it, for another reason
)

// ContractOf reads an activation; it is fault.Invalid if that is none.
func ContractOf(token string) (Contract, error) {
	act, err := jwt.DecodeActivationClaims(token)
	if err != nil {
		return Contract{}, invalid("activation", "this is no activation: %w", err)
	}
	c := Contract{
		Exporter: cmp.Or(act.IssuerAccount, act.Issuer), Importer: act.Subject, Type: act.ImportType, Subject: string(act.ImportSubject),
		Token: token, Issued: act.IssuedAt, Expires: act.Expires, State: ContractOffered,
	}
	for _, tag := range act.Tags {
		if space, ok := strings.CutPrefix(tag, tagNamespace); ok {
			c.Space = space
		}
	}
	return c, nil
}

// ID names the contract: the same for both sides, and after a renewal.
func (c Contract) ID() string {
	sum := sha256.Sum256([]byte(c.Exporter + " " + c.Importer + " " + c.Type.String() + " " + c.Subject))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}

// Contracts returns the contracts of accounts, and those that were only offered,
// sorted by ID. lookup knows the accounts; offers are activations, of which those
// that cannot be read are left out. now is in Unix seconds.
func Contracts(accounts []*jwt.AccountClaims, offers []string, lookup Lookup, now int64) []Contract {
	byID := map[string]Contract{}
	for _, token := range offers {
		if c, err := ContractOf(token); err == nil {
			c.judgeOffer(lookup, now)
			byID[c.ID()] = c
		}
	}
	for _, ac := range accounts {
		for _, im := range ac.Imports {
			if im == nil || im.Token == "" {
				continue
			}
			c := contractOf(ac, im, lookup, now)
			byID[c.ID()] = c
		}
	}
	all := make([]Contract, 0, len(byID))
	for _, c := range byID {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Contract) int { return cmp.Compare(a.ID(), b.ID()) })
	return all
}

// contractOf reads the contract off an import of ac. An activation may be wider
// than the import, which then is what was agreed.
func contractOf(ac *jwt.AccountClaims, im *jwt.Import, lookup Lookup, now int64) Contract {
	c, err := ContractOf(im.Token)
	remote, local := Sides(im)
	c.Exporter, c.Importer, c.Type, c.Subject, c.Token = im.Account, ac.Subject, im.Type, remote, im.Token
	if c.Local = string(im.LocalSubject); c.Local == "" {
		c.Local = local
	}
	if c.Type == jwt.Service {
		for _, ex := range ac.Exports {
			if ex != nil && ex.Type == jwt.Service && Overlaps(string(ex.Subject), local) {
				c.Onward = append(c.Onward, string(ex.Subject))
			}
		}
	}
	if err != nil {
		c.State, c.Reason = ContractBroken, "its activation cannot be read"
		return c
	}
	if c.judgeOffer(lookup, now); c.State != ContractOffered {
		return c
	}
	c.State = ContractActive
	if lookup(c.Exporter) == nil {
		return c
	}
	if c.Reason = unresolved(ac, im, lookup, now); c.Reason != "" {
		c.State = ContractBroken
	}
	return c
}

// judgeOffer ends an offer that has expired or is revoked.
func (c *Contract) judgeOffer(lookup Lookup, now int64) {
	switch ex := lookup(c.Exporter); {
	case c.Expires > 0 && c.Expires <= now:
		c.State = ContractExpired
	case ex == nil:
	default:
		of := exportFor(ex.Exports, c.Type, c.Subject)
		switch {
		case of == nil:
			c.State, c.Reason = ContractBroken, "account "+strconv.Quote(ex.Name)+" no longer exports it"
		case revocation.List(of.Revocations).Covers(c.Importer, c.Issued):
			c.State = ContractRevoked
		}
	}
}

// Offer makes the export that a contract needs, unless a private one is there:
// fault.Conflict if everybody may import it already.
func Offer(ac *jwt.AccountClaims, kind jwt.ExportType, subject string) (added bool, err error) {
	switch ex := exportFor(ac.Exports, kind, subject); {
	case ex == nil:
		yes, service := true, kind == jwt.Service
		return true, ExportEdit{Private: &yes, Service: &service}.Add(ac, subject)
	case !ex.TokenReq:
		return false, fault.New(fault.Conflict, "account %q exports the %s %q to everybody: it needs no contract", ac.Name, kind, ex.Subject).
			About("export", subject).ByRule("public-export").
			WithHint("make it private with: nsc edit export -a %s -s %s --private", fault.Words(ac.Name), fault.Words(string(ex.Subject)))
	}
	return false, nil
}

// Accept imports what the contract offers into ac, as local, or takes the
// activation into the import that is there: local "" then is what it is, else
// the subject below the namespace space. Errors are those of [NewImport.Add],
// and fault.Conflict where local is taken by another import.
func (c Contract) Accept(ac *jwt.AccountClaims, space, local string, lookup Lookup, now int64) error {
	for i, im := range ac.Imports {
		if im == nil || im.Account != c.Exporter || im.Type != c.Type || string(im.Subject) != c.Subject {
			continue
		}
		if local == "" {
			local = string(im.LocalSubject)
		}
		renewed := *ac
		renewed.Imports = slices.Delete(slices.Clone(ac.Imports), i, i+1)
		if err := c.accept(&renewed, local, im.Name, lookup, now); err != nil {
			return err
		}
		last := renewed.Imports[len(renewed.Imports)-1]
		last.Share, last.AllowTrace = im.Share, im.AllowTrace
		ac.Imports[i] = last
		return nil
	}
	if local == "" {
		local = Below(space, c.Subject)
	}
	return c.accept(ac, local, "", lookup, now)
}

func (c Contract) accept(ac *jwt.AccountClaims, local, name string, lookup Lookup, now int64) error {
	for _, im := range ac.Imports {
		if im == nil || im.Type != c.Type {
			continue
		}
		if _, taken := Sides(im); Overlaps(taken, pattern(local)) {
			return fault.New(fault.Conflict, "account %q imports the %s %q from %s as %q, which overlaps %q", ac.Name, im.Type, im.Subject,
				nameOf(im.Account, lookup), taken, local).About("import", c.Subject).ByRule("local-overlap").
				WithHint("choose another subject with --local-subject")
		}
	}
	return NewImport{Activation: c.Token, Local: local, Name: name}.Add(ac, lookup, now)
}

// Below is the local subject of an import of subject below a namespace. What is
// rooted there already stays as it is.
func Below(space, subject string) string {
	toks := strings.Split(subject, ".")
	n := 0
	for i, tok := range toks {
		if tok == anyToken {
			n++
			toks[i] = "$" + strconv.Itoa(n)
		}
	}
	local := strings.Join(toks, ".")
	if strings.HasPrefix(subject, space+".") {
		return local
	}
	return space + "." + local
}

// End takes the import of the contract out of its importer ac.
func (c Contract) End(ac *jwt.AccountClaims) error {
	return RemoveImport(ac, ImportRef{Subject: c.Subject, Account: c.Exporter, Type: c.Type})
}
