package accounts

import (
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// ImportAll has ac import everything that exporter offers to all, below the
// exporter's namespace, and no more what it offered once. Namespaces do not
// meet, so that what two exporters call the same never does. What others have to
// be let in for is left out, and returned. Imports under another subject stay.
func ImportAll(ac, exporter *jwt.AccountClaims) (private []string, err error) {
	space, err := RequireNamespace(exporter)
	if err != nil {
		return nil, err
	}
	wanted := jwt.Imports{}
	for _, ex := range exporter.Exports {
		switch {
		case ex == nil:
		case ex.TokenReq && ex.AccountTokenPosition == 0:
			private = append(private, string(ex.Subject))
		default:
			subject := shownTo(ac.Subject, ex)
			wanted.Add(&jwt.Import{
				Name: subject, Account: exporter.Subject, Type: ex.Type, Subject: jwt.Subject(subject), LocalSubject: jwt.RenamingSubject(Below(space, subject)),
			})
		}
	}
	ac.Imports = slices.DeleteFunc(slices.Clone(ac.Imports), func(im *jwt.Import) bool {
		return below(im, exporter.Subject, space) && !slices.ContainsFunc(wanted, func(w *jwt.Import) bool { return sameImport(w, im) })
	})
	for _, w := range wanted {
		if !slices.ContainsFunc(ac.Imports, func(im *jwt.Import) bool { return im != nil && sameImport(w, im) }) {
			ac.Imports.Add(w)
		}
	}
	return private, CheckAccount(ac)
}

// shownTo is the subject of an export as one account may import it.
func shownTo(account string, ex *jwt.Export) string {
	toks := strings.Split(string(ex.Subject), ".")
	if at := int(ex.AccountTokenPosition); at > 0 && at <= len(toks) {
		toks[at-1] = account
	}
	return strings.Join(toks, ".")
}

func sameImport(a, b *jwt.Import) bool {
	return a.Account == b.Account && a.Type == b.Type && a.Subject == b.Subject
}

// below reports whether an import is one of those that [ImportAll] makes.
func below(im *jwt.Import, exporter, space string) bool {
	return im != nil && im.Account == exporter && im.Token == "" && string(im.LocalSubject) == Below(space, string(im.Subject))
}

// MoveImports moves what ac imports below the namespace of an exporter, by contracts
// too, to another namespace of it, or with "" removes it. It reports whether there is any.
func MoveImports(ac *jwt.AccountClaims, exporter, from, to string) bool {
	moved := false
	var out jwt.Imports
	for _, im := range ac.Imports {
		if im == nil || im.Account != exporter || string(im.LocalSubject) != Below(from, string(im.Subject)) {
			out = append(out, im)
			continue
		}
		moved = true
		if to != "" {
			next := *im
			next.LocalSubject = jwt.RenamingSubject(Below(to, string(im.Subject)))
			out = append(out, &next)
		}
	}
	ac.Imports = out
	return moved
}
