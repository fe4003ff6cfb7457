package cli

import (
	"fmt"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/operator/serverconfig"
)

// staticConfig is the configuration of a server without an operator. What such
// a server cannot be told is said on stderr.
func (s *session) staticConfig(r *root, system *serverconfig.Account) (string, error) {
	names, err := r.Accounts()
	if err != nil {
		return "", err
	}
	byKey := map[string]*jwt.AccountClaims{}
	at := map[string]int{}
	tenants := make([]serverconfig.Tenant, len(names))
	for i, name := range names {
		ac, err := r.load(name)
		if err != nil {
			return "", err
		}
		byKey[ac.key], at[ac.key] = ac.claims, i
		tenants[i] = serverconfig.Tenant{Claims: ac.claims, Importers: map[int][]string{}}
		if tenants[i].Users, err = s.staticUsers(r, ac); err != nil {
			return "", err
		}
	}
	lookup := func(key string) *jwt.AccountClaims { return byKey[key] }
	for i := range tenants {
		importer := tenants[i].Claims
		for _, im := range importer.Imports {
			f := accounts.FlowOf(importer, im, lookup, s.now)
			if f.Why != "" {
				s.warn("account %s: the import of %s is left out: %s", importer.Name, im.Subject, f.Why)
				continue
			}
			exporter := &tenants[at[im.Account]]
			tenants[i].Flows = append(tenants[i].Flows, serverconfig.Flow{Import: im, Exporter: exporter.Claims.Name, Remote: f.Remote, Local: f.Local})
			for n, ex := range exporter.Claims.Exports {
				if ex == f.Export {
					exporter.Importers[n] = append(exporter.Importers[n], importer.Name)
				}
			}
		}
	}
	systemName := ""
	if system != nil {
		systemName = system.Name
	}
	return serverconfig.Static(systemName, tenants), nil
}

// staticUsers returns the users of an account that servers accept, and what
// they may do.
func (s *session) staticUsers(r *root, ac *account) ([]serverconfig.User, error) {
	var out []serverconfig.User
	err := r.eachUser(ac.name, func(name string, doc *claims.Document) error {
		uc, v, err := s.judge(r, ac, doc)
		if err != nil {
			return err
		}
		if !v.Accepted() {
			s.warn("user %s of %s is left out: servers refuse it; see: nsc why %s", name, ac.name, shellWords([]string{name, "-a", ac.name}))
			return nil
		}
		if lost := v.May; len(lost.Src)+len(lost.Times) > 0 || uc.Expires > 0 || lost.BearerToken {
			s.warn("user %s of %s is less limited there: a configuration knows no expiry, networks or hours, and no bearers", name, ac.name)
		}
		out = append(out, serverconfig.User{Key: uc.Subject, May: v.May})
		return nil
	})
	return out, err
}

func (s *session) warn(format string, args ...any) {
	fmt.Fprintf(s.env.Stderr, "nsc: warning: "+format+"\n", args...)
}
