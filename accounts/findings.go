package accounts

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
)

// Lookup returns the current claims of an account, nil if it is not known.
type Lookup func(account string) *jwt.AccountClaims

// Sharing knows what accounts share, for a search for cycles. What cannot meet the
// subject may be left out; the rest stands in the order of the claims.
type Sharing interface {
	Imports(account string, kind jwt.ExportType, subject string) []*jwt.Import
	Exports(account string, kind jwt.ExportType, subject string) []*jwt.Export
}

// Imports implements [Sharing].
func (l Lookup) Imports(account string, _ jwt.ExportType, _ string) []*jwt.Import {
	if ac := l(account); ac != nil {
		return ac.Imports
	}
	return nil
}

// Exports implements [Sharing].
func (l Lookup) Exports(account string, _ jwt.ExportType, _ string) []*jwt.Export {
	if ac := l(account); ac != nil {
		return ac.Exports
	}
	return nil
}

// Findings returns what in ac servers will not honour although they accept the
// account: imports that they drop or route wrongly. The rest of the account
// works. now is in Unix seconds. The result is sorted and does not depend on
// when it is asked, but for activations that expire.
func Findings(ac *jwt.AccountClaims, lookup Lookup, now int64) []string {
	found := map[string]bool{}
	for _, im := range ac.Imports {
		if im == nil {
			continue
		}
		if why := ImportFinding(ac, im, lookup, now); why != "" {
			found[why] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// ImportFinding returns why servers will not honour an import of ac, "" if they
// do.
func ImportFinding(ac *jwt.AccountClaims, im *jwt.Import, lookup Lookup, now int64) string {
	from := fmt.Sprintf("import of %s from %s: ", im.Subject, nameOf(im.Account, lookup))
	refs := references(string(im.LocalSubject))
	why := unresolved(ac, im, lookup, now)
	switch {
	case why != "":
		return from + why
	case len(refs) > 0 && misrouted(refs):
		return fmt.Sprintf("import of %s as %s: servers route this rename wrongly", im.Subject, im.LocalSubject)
	case Cyclic(ac, im, lookup):
		return from + "forms a cycle of imports"
	}
	return ""
}

func nameOf(account string, lookup Lookup) string {
	if ac := lookup(account); ac != nil && ac.Name != "" {
		return ac.Name
	}
	return keys.Short(account)
}

// Sides returns the exporter's and the importer's subject of an import, as
// servers read the deprecated field to: a prefix for streams, and the exporter's
// subject for services.
func Sides(im *jwt.Import) (remote, local string) {
	remote, local = string(im.Subject), string(im.Subject)
	//lint:ignore SA1019 deprecated, and still honoured by servers
	to := string(im.To)
	switch {
	case im.LocalSubject != "":
		local = string(im.LocalSubject)
	case to != "" && im.IsService():
		remote = to
	case to != "":
		local = strings.TrimSuffix(to, ".") + "." + remote
	}
	return remote, local
}

// patterns are the sides of an import with references as wildcards.
func patterns(im *jwt.Import) (remote, local string) {
	remote, local = Sides(im)
	return remote, pattern(local)
}

// unresolved returns why servers drop the import, "" if they do not.
func unresolved(ac *jwt.AccountClaims, im *jwt.Import, lookup Lookup, now int64) string {
	exporter := lookup(im.Account)
	if exporter == nil {
		return "that account is not known"
	}
	remote, _ := Sides(im)
	ex := exportFor(exporter.Exports, im.Type, remote)
	switch {
	case ex == nil:
		return fmt.Sprintf("no %s export covers it", im.Type)
	case ex.AccountTokenPosition > 0:
		toks := strings.Split(remote, ".")
		if int(ex.AccountTokenPosition) > len(toks) || toks[ex.AccountTokenPosition-1] != ac.Subject {
			return fmt.Sprintf("token %d of the subject must be the importing account's key", ex.AccountTokenPosition)
		}
	case ex.TokenReq:
		return inactive(im, exporter, ex, now)
	}
	return ""
}

// exportFor returns the export that covers subject: the one of the very
// subject first, as servers do.
func exportFor(list []*jwt.Export, kind jwt.ExportType, subject string) *jwt.Export {
	var cover *jwt.Export
	for _, ex := range list {
		switch {
		case ex == nil || ex.Type != kind:
		case string(ex.Subject) == subject:
			return ex
		case cover == nil && Within(subject, string(ex.Subject)):
			cover = ex
		}
	}
	return cover
}

// inactive returns why the activation of an import is not valid, "" if it is.
func inactive(im *jwt.Import, exporter *jwt.AccountClaims, ex *jwt.Export, now int64) string {
	if im.Token == "" {
		return "the export is private and the import has no activation"
	}
	act, err := jwt.DecodeActivationClaims(im.Token)
	switch {
	case err != nil:
		return "its activation cannot be read"
	case act.Issuer != exporter.Subject && !slices.Contains(exporter.SigningKeys.Keys(), act.Issuer):
		return "its activation is not signed by a key of the exporter"
	case act.Expires > 0 && act.Expires <= now:
		return "its activation has expired"
	case act.NotBefore > now:
		return "its activation is not valid yet"
	case revocation.List(ex.Revocations).Covers(act.Subject, act.IssuedAt):
		return "its activation is revoked"
	}
	return ""
}

// Cyclic reports whether servers see the import as part of a cycle, by the
// rules of checkServiceImportsForCycles and checkStreamImportsForCycles.
func Cyclic(ac *jwt.AccountClaims, im *jwt.Import, all Sharing) bool {
	remote, local := patterns(im)
	if im.IsService() {
		return reaches(im.Account, local, jwt.Service, all, map[string]bool{ac.Subject: true})
	}
	return reaches(im.Account, local, jwt.Stream, all, map[string]bool{ac.Subject: true}) ||
		reaches(im.Account, remote, jwt.Stream, all, map[string]bool{ac.Subject: true})
}

// maxCycle is the depth to which servers search (MaxAccountCycleSearchDepth).
const maxCycle = 1024

func reaches(account, subject string, kind jwt.ExportType, all Sharing, visited map[string]bool) bool {
	if len(visited) >= maxCycle || kind == jwt.Stream && exportFor(all.Exports(account, kind, subject), kind, subject) == nil {
		return false
	}
	for _, im := range all.Imports(account, kind, subject) {
		if im == nil || im.Type != kind {
			continue
		}
		remote, local := Sides(im)
		meets := remote
		if kind == jwt.Stream {
			meets = local
		}
		if apart(subject, meets) || !Overlaps(subject, pattern(meets)) {
			continue
		}
		next := pattern(local)
		if visited[im.Account] {
			return true
		}
		visited[account] = true
		if !Within(next, subject) {
			next = subject
		}
		if reaches(im.Account, next, kind, all, visited) {
			return true
		}
	}
	return false
}

// CheckRenames is fault.Invalid, with the rule crash, if ac has an import by which
// any of its users brings servers down: for a subscription that is narrower than
// a stream import they turn its rename back, and where that cannot be done
// nats-server 2.15 ends (client.go, addShadowSub).
func CheckRenames(ac *jwt.AccountClaims) error {
	for _, im := range ac.Imports {
		if im == nil || !im.IsStream() {
			continue
		}
		remote, local := Sides(im)
		if local != remote && strings.ContainsAny(remote, anyToken+anyTail) && !reversible(remote, local) {
			return fault.New(fault.Invalid, "servers would crash at subscriptions of account %s: they cannot turn back the rename of the stream %s to %s",
				ac.Name, remote, local).ByRule("crash").WithHint("name every * of the subject once, as $1, $2 and so on, in: nsc add import --local-subject")
		}
	}
	return nil
}

// Blocking returns the errors in claims for which servers refuse them, times
// excepted: a user, or a whole account and with it all of its users.
func Blocking(c jwt.Claims) []string {
	var out []string
	vr := jwt.CreateValidationResults()
	c.Validate(vr)
	for _, issue := range vr.Issues {
		if issue.Blocking {
			out = append(out, issue.Description)
		}
	}
	return out
}
