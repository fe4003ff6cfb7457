package accounts

import "github.com/nats-io/jwt/v2"

// Flow is an import seen from both sides.
type Flow struct {
	Export *jwt.Export // that it takes from, nil if there is none
	Remote string      // subject in the exporting account
	Local  string      // subject in the importing account
	Why    string      // servers drop the import for this, "" if they do not
}

// FlowOf resolves an import of ac. now is in Unix seconds.
func FlowOf(ac *jwt.AccountClaims, im *jwt.Import, lookup Lookup, now int64) Flow {
	remote, local := Sides(im)
	f := Flow{Remote: remote, Local: local, Why: unresolved(ac, im, lookup, now)}
	if exporter := lookup(im.Account); exporter != nil {
		f.Export = exportFor(exporter.Exports, im.Type, remote)
	}
	return f
}
