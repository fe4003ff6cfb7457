package accounts

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// Activation is the permission of one account to import from a private export
// of another.
type Activation struct {
	Importer string         // public key
	Subject  string         // within a private export; "" for that of the only one
	Type     jwt.ExportType // jwt.Unknown for either, a stream first
	Space    string         // subjects' prefix of the exporter, for importers that do not know it; "" for none
	Starts   int64          // Unix seconds, 0 for always
	Expires  int64          // Unix seconds, 0 for never
}

// Claims returns the claims of the activation, to be signed by issuer, a key of
// the exporter ac, at earliest or later (Unix seconds): what was issued before is
// revoked. fault.NotFound if ac has no private export
// of the subject, fault.Invalid for what cannot be an activation.
func (a Activation) Claims(ac *jwt.AccountClaims, issuer string) (act *jwt.ActivationClaims, earliest int64, err error) {
	ex, err := a.export(ac)
	if err != nil {
		return nil, 0, err
	}
	if a.Subject == "" {
		a.Subject = string(ex.Subject)
	}
	if a.Importer == ac.Subject {
		return nil, 0, invalid("self-import", "account %q cannot import from itself", ac.Name)
	}
	if a.Expires > 0 && a.Starts >= a.Expires {
		return nil, 0, invalid("time", "the activation would end at %s, before it begins", moment(a.Expires))
	}
	act = jwt.NewActivationClaims(a.Importer)
	act.Name, act.ImportSubject, act.ImportType = a.Subject, jwt.Subject(a.Subject), ex.Type
	act.NotBefore, act.Expires = a.Starts, a.Expires
	if a.Space != "" {
		act.Tags = jwt.TagList{tagNamespace + a.Space}
	}
	if issuer != ac.Subject {
		act.IssuerAccount = ac.Subject
	}
	for _, key := range []string{a.Importer, revocation.All} {
		if at, ok := ex.Revocations[key]; ok {
			earliest = max(earliest, at+1)
		}
	}
	vr := jwt.CreateValidationResults()
	act.ImportSubject.Validate(vr)
	return act, earliest, blocking("the activation", vr)
}

// export returns the private export of the activation. A stream and a service
// of one subject are two: the stream comes first.
func (a Activation) export(ac *jwt.AccountClaims) (*jwt.Export, error) {
	private := *ac
	private.Exports = nil
	for _, ex := range ac.Exports {
		if ex != nil && ex.TokenReq && (a.Type == jwt.Unknown || ex.Type == a.Type) {
			private.Exports.Add(ex)
		}
	}
	if len(private.Exports) == 0 {
		return nil, fault.New(fault.NotFound, "account %q has no private export: everybody may import what it exports", ac.Name).
			About("export", a.Subject).WithHint("make one with: nsc add export --private -a %s -s <subject>", ac.Name)
	}
	if a.Subject == "" {
		return ExportRef{}.Find(&private)
	}
	for _, kind := range []jwt.ExportType{jwt.Stream, jwt.Service} {
		if ex := exportFor(private.Exports, kind, a.Subject); ex != nil {
			return ex, nil
		}
	}
	return nil, fault.New(fault.NotFound, "no private export of account %q covers %q", ac.Name, a.Subject).About("export", a.Subject).
		WithHint("list its exports with: nsc list exports -a %s", fault.Words(ac.Name))
}

// RevokeActivations refuses the activations of an export that were issued to
// importer until the time at, Unix seconds; [revocation.All] is every importer.
// It returns the time that stands: a later one that is there stays. of names the
// export by a subject within it.
func RevokeActivations(ac *jwt.AccountClaims, of ExportRef, importer string, at int64) (int64, error) {
	ex, err := of.Cover(ac)
	if err != nil {
		return 0, err
	}
	ex.Revocations = jwt.RevocationList(revocation.List(ex.Revocations).Merge(revocation.List{importer: at}))
	return ex.Revocations[importer], nil
}

// UnrevokeActivations takes the revocation for importer off the list of an
// export, if it is there. It is fault.Denied where the revocation for all
// importers refuses the same.
func UnrevokeActivations(ac *jwt.AccountClaims, of ExportRef, importer string) error {
	ex, err := of.Cover(ac)
	if err != nil {
		return err
	}
	own, revoked := ex.Revocations[importer]
	if all, ok := ex.Revocations[revocation.All]; ok && revoked && importer != revocation.All && all >= own {
		return fault.New(fault.Denied, "the importer stays refused: the revocation for all importers (*) of %s covers it", moment(all)).
			About("account", importer).ByRule("covered").
			WithHint("make it a new activation with: nsc generate activation -a %s -s '%s' -t %s", ac.Name, ex.Subject, importer)
	}
	delete(ex.Revocations, importer)
	return nil
}

// Activated returns the latest time, Unix seconds, at which an activation was
// issued by which ac imports from exporter; 0 for none.
func Activated(ac *jwt.AccountClaims, exporter string) int64 {
	var at int64
	for _, im := range ac.Imports {
		if im == nil || im.Account != exporter || im.Token == "" {
			continue
		}
		if act, err := jwt.DecodeActivationClaims(im.Token); err == nil {
			at = max(at, act.IssuedAt)
		}
	}
	return at
}

// PeekActivation reads a token whose signature was checked when the account that
// holds it was judged: to check it is what takes the time.
func PeekActivation(token string) (*jwt.ActivationClaims, error) {
	parts := strings.Split(token, ".")
	act := &jwt.ActivationClaims{}
	if len(parts) == 3 {
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil && json.Unmarshal(payload, act) == nil && act.Type == jwt.ActivationClaim {
			return act, nil
		}
	}
	return jwt.DecodeActivationClaims(token) // an older form
}

// Ending is an import whose activation ends some time.
type Ending struct {
	Exporter      string // public key
	Type          jwt.ExportType
	Remote, Local string // of the exporter and of the importer, references as wildcards
	At            int64  // Unix seconds: from then on it is not valid
	// Unnoticed says that servers that have loaded the importer go on, since their
	// timer is set for the subject of the activation.
	Unnoticed bool
}

// Endings returns the imports of ac that end, whether they have or will.
func Endings(ac *jwt.AccountClaims) []Ending {
	var out []Ending
	for _, im := range ac.Imports {
		if im == nil || im.Token == "" {
			continue
		}
		act, err := PeekActivation(im.Token)
		if err != nil || act.Expires == 0 {
			continue
		}
		remote, local := patterns(im)
		e := Ending{Exporter: im.Account, Type: im.Type, Remote: remote, Local: local, At: act.Expires}
		if e.Unnoticed = string(act.ImportSubject) != remote; im.IsService() {
			e.Unnoticed = string(act.ImportSubject) != local
		}
		out = append(out, e)
	}
	return out
}

// Starts returns when activations of the imports of ac begin to be valid, Unix
// seconds, whether they have or will.
func Starts(ac *jwt.AccountClaims) []int64 {
	var out []int64
	for _, im := range ac.Imports {
		if im == nil || im.Token == "" {
			continue
		}
		if act, err := PeekActivation(im.Token); err == nil && act.NotBefore > 0 {
			out = append(out, act.NotBefore)
		}
	}
	return out
}
