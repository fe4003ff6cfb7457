package cli

import (
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/operator/serverconfig"
)

// leafConfig links each account to the hub by one of its users, and warns where
// the hub would not take the link.
func (s *session) leafConfig(r *root, trust serverconfig.Trust, o configOptions) (string, error) {
	linked, err := s.selected(r, pushOptions{accounts: o.accounts})
	if err != nil {
		return "", err
	}
	if o.creds != "" && len(linked) > 1 {
		return "", usage("--creds names one file, and there are %d accounts", len(linked))
	}
	var remotes []serverconfig.Remote
	for _, ac := range linked {
		if r.sysOf(ac) && o.user == "" {
			return "", usage("the system account is not linked unasked").WithHint("name the user with -u if that is meant")
		}
		name, err := r.oneUser(ac, o.user)
		if err != nil {
			return "", err
		}
		path, err := s.store.Keystore().CredsPath(r.Name(), ac.name, name)
		if err != nil {
			return "", err
		}
		if o.creds == "" {
			if err := s.hasCreds(r, ac, name, path); err != nil {
				return "", err
			}
		}
		if err := s.warnLeaf(r, ac, name); err != nil {
			return "", err
		}
		remote := serverconfig.Remote{Account: configAccount(ac), Creds: first(o.creds, path)}
		if o.shared {
			if remote.Keep, err = s.sharedOnly(r, ac, name); err != nil {
				return "", err
			}
		}
		remotes = append(remotes, remote)
	}
	return serverconfig.Leaf(trust, o.leaf, remotes, serverconfig.LeafOptions{Domain: o.domain}), nil
}

// sharedOnly refuses a user who may do more at the hub than what the account
// shares needs, and returns what the leaf node may keep to itself besides.
func (s *session) sharedOnly(r *root, ac *account, user string) ([]string, error) {
	doc, err := r.user(ac.name, user)
	if err != nil {
		return nil, err
	}
	uc, err := claims.As[jwt.UserClaims](doc)
	if err != nil {
		return nil, err
	}
	rights := uc.UserPermissionLimits
	role := accounts.RoleOf(ac.claims, uc.Issuer)
	if role != nil {
		if rights, err = accounts.Expand(role.Template, uc, ac.claims); err != nil {
			return nil, err
		}
	}
	may, c := accounts.ReachOf(ac.claims, rights), accounts.CrossingOf(ac.claims)
	if leafOnly(rights.AllowedConnectionTypes) && len(rights.Sub.Allow) > 0 && len(may.Subscribe) > 0 {
		may.Subscribe = rights.Sub.Allow // message by message: only clients get foo.> for foo.*
	}
	if up, down := c.Beyond(may); len(up)+len(down) > 0 {
		refusal := fault.New(fault.Denied, "user %s of %s could do at the hub what the account does not share: %s", user, ac.name, passes("publish", up, "receive", down)).
			About("user", user).ByRule("shared-only")
		if role != nil {
			return nil, refusal.WithHint("nsc edit role %s --template edge", shellWords([]string{role.Role, "-a", ac.name}))
		}
		return nil, refusal.WithHint("nsc add role edge -a %[1]s --template edge, and a user of it: nsc add user NAME -a %[1]s -K edge", shellWords([]string{ac.name}))
	}
	if up, down := c.Short(may); len(up)+len(down) > 0 {
		s.warn("not all that %s shares crosses as user %s: it lacks %s", ac.name, user, passes("publish", up, "receive", down))
	}
	var keep []string
	for _, subject := range []string{"$JS.>", "$KV.>", "$O.>", "$SYS.>"} {
		if !slices.ContainsFunc(slices.Concat(c.Up, c.Down), func(o string) bool { return accounts.Overlaps(o, subject) }) {
			keep = append(keep, subject)
		}
	}
	return keep, nil
}

// leafOnly reports whether a user can connect as nothing but a leaf node.
func leafOnly(kinds jwt.StringList) bool {
	other := func(kind string) bool {
		return !strings.EqualFold(kind, jwt.ConnectionTypeLeafnode) && !strings.EqualFold(kind, jwt.ConnectionTypeLeafnodeWS)
	}
	return len(kinds) > 0 && !slices.ContainsFunc(kinds, other)
}

// passes says in words what goes which way.
func passes(up string, ups []string, down string, downs []string) string {
	var out []string
	if len(ups) > 0 {
		out = append(out, up+" "+strings.Join(ups, ", "))
	}
	if len(downs) > 0 {
		out = append(out, down+" "+strings.Join(downs, ", "))
	}
	return strings.Join(out, "; ")
}

// hasCreds is fault.NotFound unless the user has a credentials file at path,
// where the keystore keeps it.
func (s *session) hasCreds(r *root, ac *account, user, path string) error {
	creds, err := s.store.Keystore().Creds(r.Name(), ac.name, user)
	nscstore.Wipe(creds)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "user %q of account %q has no credentials file here", user, ac.name).About("user", user).
			WithHint("write one with: nsc generate creds -a %s -n %s -o %s",
				shellWords([]string{ac.name}), shellWords([]string{user}), shellWords([]string{path}))
	}
	return err
}

// warnLeaf says why the hub would not take a link as a user.
func (s *session) warnLeaf(r *root, ac *account, user string) error {
	doc, err := r.user(ac.name, user)
	if err != nil {
		return err
	}
	_, v, err := s.judge(r, ac, doc)
	if err != nil {
		return err
	}
	why := ""
	if len(v.Refusals) > 0 {
		why = v.Refusals[0].Why
	}
	for _, d := range v.Doors {
		if d.Type == jwt.ConnectionTypeLeafnode {
			why = d.Why
		}
	}
	if why != "" {
		s.warn("the hub refuses a leaf node as user %s of %s: %s", user, ac.name, why)
	}
	return nil
}
