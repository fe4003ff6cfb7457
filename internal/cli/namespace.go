package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
)

func namespaceFlag(f *pflag.FlagSet, e *accounts.Edit) {
	textFlag(f, &e.Namespace, "namespace", `prefix of the subjects that are the account's own, "" for its name`)
}

func confineFlag(f *pflag.FlagSet, e *accounts.Edit) {
	switchFlag(f, &e.Confine, "confine", "users can do nothing that their role, or their own permissions, do not grant")
}

func namespaceText(ac *jwt.AccountClaims) string {
	space, err := accounts.Namespace(ac)
	if err != nil {
		return "none: " + message(err)
	}
	return first(space, "none")
}

// freeNamespace refuses an account, as it is to be, whose namespace meets that
// of another. Where accountd is, it judges that itself, without reading all
// accounts.
func (s *session) freeNamespace(ctx context.Context, r *root, next *jwt.AccountClaims) error {
	space, err := accounts.Namespace(next)
	if err != nil || space == "" || next.Subject == r.claims.SystemAccount {
		return err
	}
	if online, _ := s.online(r); online && !r.tenant && !s.flags.dryRun {
		if _, err := s.client(ctx, r); err == nil {
			return nil
		}
	}
	names, err := r.Accounts()
	if err != nil {
		return err
	}
	var taken accounts.Namespaces
	called := map[string]string{}
	for _, name := range names {
		ac := &jwt.AccountClaims{}
		token, err := r.AccountJWT(name)
		if err != nil || claims.Peek(token, ac) != nil || ac.Subject == r.claims.SystemAccount {
			continue
		}
		other, err := accounts.Namespace(ac)
		if err != nil {
			continue
		}
		if ac.Subject == next.Subject && other == space {
			return nil // as it was
		}
		taken.Set(ac.Subject, other)
		called[ac.Subject] = name
	}
	if rival := taken.Rival(next.Subject, space); rival != "" {
		return accounts.NamespaceTaken(next.Name, space, called[rival], called[next.Subject] != "")
	}
	return nil
}

// checkNamespace is freeNamespace for an edit that may change it.
func (o editAccountOptions) checkNamespace(ctx context.Context, s *session, r *root, ac *account) error {
	if o.edit.Namespace == nil && len(o.edit.AddTags)+len(o.edit.RemoveTags) == 0 {
		return nil
	}
	next := copyOf(ac)
	if err := (accounts.Edit{Namespace: o.edit.Namespace, AddTags: o.edit.AddTags, RemoveTags: o.edit.RemoveTags}).Apply(next); err != nil {
		return err
	}
	return s.freeNamespace(ctx, r, next)
}
