package isolation

import (
	"slices"

	"github.com/nats-io/jwt/v2"
)

const (
	jsAPI     = "$JS.API.>"
	jsInfo    = "$JS.API.INFO"
	userInfo  = "$SYS.REQ.USER.INFO"
	connzOf   = "$SYS.REQ.ACCOUNT.*.CONNZ"
	statzOf   = "$SYS.REQ.ACCOUNT.*.STATZ"
	userOf    = "$SYS.REQ.USER.*.INFO"
	debugSubs = "$SYS.DEBUG.SUBSCRIBERS"
)

// systemExports are the services that servers add to the system account where
// its claims have none of the kind.
func (w *World) systemExports(own []*jwt.Export) []*jwt.Export {
	automatic := []*jwt.Export{
		{Subject: connzOf, Type: jwt.Service, ResponseType: jwt.ResponseTypeStream, AccountTokenPosition: 4},
		{Subject: statzOf, Type: jwt.Service, ResponseType: jwt.ResponseTypeStream, AccountTokenPosition: 4},
		{Subject: debugSubs, Type: jwt.Service},
		{Subject: userOf, Type: jwt.Service},
	}
	if w.cfg.JetStream {
		automatic = append(automatic, &jwt.Export{Subject: jsAPI, Type: jwt.Service})
	}
	return slices.DeleteFunc(automatic, func(e *jwt.Export) bool {
		return slices.ContainsFunc(own, func(o *jwt.Export) bool {
			return o.Type == jwt.Service && split(string(o.Subject)).covers(split(string(e.Subject)))
		})
	})
}

// systemImports are the services of the system account that servers give to
// every account.
func (w *World) systemImports(ac *jwt.AccountClaims) []*jwt.Import {
	sys := w.cfg.System
	if sys == "" || w.tenant(sys) == nil {
		return nil
	}
	service := func(local, remote string) *jwt.Import {
		return &jwt.Import{
			Account: sys, Type: jwt.Service, Subject: jwt.Subject(remote), LocalSubject: jwt.RenamingSubject(local), Share: local == userInfo,
		}
	}
	me := ac.Subject
	if me == sys {
		return []*jwt.Import{service(userInfo, "$SYS.REQ.USER."+me+".INFO")}
	}
	return []*jwt.Import{
		service("$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT."+me+".CONNZ"),
		service("$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.ACCOUNT."+me+".CONNZ"),
		service("$SYS.REQ.ACCOUNT.PING.STATZ", "$SYS.REQ.ACCOUNT."+me+".STATZ"),
		service(userInfo, "$SYS.REQ.USER."+me+".INFO"),
	}
}

// linkJetStream adds the JetStream API of the servers, unless the account has
// one of its own; without limits for JetStream an import that covers it is
// enough.
func (w *World) linkJetStream(t *tenant) {
	sys := w.tenant(w.cfg.System)
	if !w.cfg.JetStream || sys == nil || t == sys {
		return
	}
	api := &jwt.Import{Account: w.cfg.System, Type: jwt.Service, Subject: jsAPI, Share: true}
	before := len(t.services)
	w.addLink(t, api, true)
	if t.claims.Limits.IsJSEnabled() || len(t.services) == before {
		return
	}
	for _, l := range t.services[:before] {
		switch {
		case !l.local.covers(split(jsInfo)):
		case l.maybe == "":
			t.services = t.services[:before]
			return
		default:
			t.services[before].maybe = "it is there only if no import covers it"
		}
	}
}
