package accounts

import (
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
)

// NewImport is an import to add: of a subject of an account, or by an
// activation, which says both.
type NewImport struct {
	Account, Subject string // public key and subject of the exporter
	Service          bool   // else a stream
	Activation       string // token; decides the three above

	Name       string // "" for the subject, or the name of the activation
	Local      string // subject here, with $1 for the first wildcard; "" for the same
	Share      bool   // services: tell the exporter who asked, in measurements of latency
	AllowTrace bool   // streams: traces go on in this account
}

// Add adds the import to ac. lookup knows other accounts, as far as anybody
// does; now is in Unix seconds. Whether the exporter exports it is left to
// [Findings], since it may do so later. An activation must be for ac, valid and
// not revoked: fault.Invalid, fault.Untrusted, fault.Expired or fault.Denied by
// a rule that begins with "activation". fault.Conflict if ac imports it already.
func (n NewImport) Add(ac *jwt.AccountClaims, lookup Lookup, now int64) error {
	if n.Activation != "" {
		if err := n.activate(ac, lookup, now); err != nil {
			return err
		}
	}
	kind := jwt.Stream
	if n.Service {
		kind = jwt.Service
	}
	switch {
	case n.Account == ac.Subject:
		return invalid("self-import", "account %q cannot import from itself", ac.Name)
	case n.Share && !n.Service:
		return invalid("service-only", "only the import of a service can share who asked").WithHint("import a service with --service")
	case n.AllowTrace && n.Service:
		return invalid("stream-only", "traces of a service are allowed by its export, not by the import").
			WithHint("the exporter allows them with: nsc edit export --allow-trace")
	}
	for _, im := range ac.Imports {
		if im != nil && im.Type == kind && im.Account == n.Account && string(im.Subject) == n.Subject {
			return fault.New(fault.Conflict, "account %q imports the %s %q from %s already", ac.Name, kind, n.Subject, nameOf(n.Account, lookup)).
				About("import", n.Subject).ByRule("import-exists").
				WithHint("remove it first with: nsc delete import -a %s -s '%s' --src-account %s", ac.Name, n.Subject, n.Account)
		}
	}
	if n.Name == "" {
		n.Name = n.Subject
	}
	ac.Imports.Add(&jwt.Import{
		Name: n.Name, Subject: jwt.Subject(n.Subject), Account: n.Account, Token: n.Activation, Type: kind,
		LocalSubject: jwt.RenamingSubject(n.Local), Share: n.Share, AllowTrace: n.AllowTrace,
	})
	return CheckAccount(ac)
}

// activate checks the activation and takes from it what it says.
func (n *NewImport) activate(ac *jwt.AccountClaims, lookup Lookup, now int64) error {
	doc, err := claims.Decode(n.Activation)
	if err != nil {
		return fault.New(fault.CodeOf(err), "the activation cannot be read: %w", err).ByRule("activation")
	}
	act, err := claims.As[jwt.ActivationClaims](doc)
	if err != nil {
		return fault.New(fault.Invalid, "the file holds no activation: %w", err).ByRule("activation")
	}
	n.Account, n.Subject, n.Service = act.Issuer, string(act.ImportSubject), act.ImportType == jwt.Service
	if act.IssuerAccount != "" {
		n.Account = act.IssuerAccount
	}
	if n.Name == "" {
		n.Name = act.Name
	}
	if n.Service && n.Local == "" {
		n.Local = n.Subject
	}
	return admitted(ac, act, lookup, n.Account, now)
}

// admitted reports why an activation does not let ac import from exporter.
func admitted(ac *jwt.AccountClaims, act *jwt.ActivationClaims, lookup Lookup, exporter string, now int64) error {
	again := "the exporter makes a new one with: nsc generate activation --target-account " + ac.Subject
	if act.Subject != ac.Subject {
		return invalid("activation-account", "the activation is for account %s, not for %q", nameOf(act.Subject, lookup), ac.Name).WithHint("%s", again)
	}
	if act.Expires > 0 && act.Expires <= now {
		return fault.New(fault.Expired, "the activation expired at %s", moment(act.Expires)).ByRule("activation-expired").WithHint("%s", again)
	}
	ex := lookup(exporter)
	if ex == nil {
		return nil
	}
	if act.Issuer != ex.Subject && !slices.Contains(ex.SigningKeys.Keys(), act.Issuer) {
		return fault.New(fault.Untrusted, "the activation is signed by %s, which is no key of account %q", keys.Short(act.Issuer), ex.Name).
			ByRule("activation-signer").WithHint("%s", again)
	}
	if of := exportFor(ex.Exports, act.ImportType, string(act.ImportSubject)); of != nil && revocation.List(of.Revocations).Covers(act.Subject, act.IssuedAt) {
		return fault.New(fault.Denied, "account %q revoked the activation", ex.Name).ByRule("activation-revoked").WithHint("%s", again)
	}
	return nil
}

func moment(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04:05 UTC") }

// ImportRef names an import of an account by the exporter's subject, "" for the
// only one, and where that is not enough by the exporter's key and the type.
type ImportRef struct {
	Subject, Account string
	Type             jwt.ExportType // jwt.Unknown for either
}

// RemoveImport takes an import out of ac; errors are those of [ImportRef.Find].
func RemoveImport(ac *jwt.AccountClaims, at ImportRef) error {
	found, err := at.Find(ac)
	if err != nil {
		return err
	}
	ac.Imports = slices.DeleteFunc(ac.Imports, func(im *jwt.Import) bool { return im == found })
	return nil
}

// Find returns the import in ac: fault.NotFound if there is none, and
// fault.Usage if there are several that at may mean.
func (at ImportRef) Find(ac *jwt.AccountClaims) (*jwt.Import, error) {
	var found []*jwt.Import
	for _, im := range ac.Imports {
		if im != nil && (at.Subject == "" || string(im.Subject) == at.Subject) && (at.Account == "" || im.Account == at.Account) &&
			(at.Type == jwt.Unknown || im.Type == at.Type) {
			found = append(found, im)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fault.New(fault.NotFound, "account %q has no such import", ac.Name).About("import", at.Subject).
			WithHint("list its imports with: nsc list imports -a %s", fault.Words(ac.Name))
	}
	var which []string
	for _, im := range found {
		which = append(which, im.Type.String()+" "+string(im.Subject)+" from "+im.Account)
	}
	return nil, fault.New(fault.Usage, "account %q has %d such imports: %s", ac.Name, len(found), strings.Join(which, ", ")).
		WithHint("say which with --subject, --src-account or --service")
}
