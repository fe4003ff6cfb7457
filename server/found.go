package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// founder makes the operator of a first start, all as of one instant.
type founder struct {
	now     int64
	urls    []string // of the nodes, then of the account server
	root    keys.OperatorPair
	signing keys.OperatorPair // nsc's
	system  keys.AccountPair
	sysKey  keys.AccountPair // signing key of the system account
	sysUser keys.UserPair
	secrets secrets
}

// newFounder makes the keys.
func newFounder(now time.Time, urls []string) (f *founder, err error) {
	f = &founder{now: now.Unix(), urls: urls}
	var errs [8]error
	f.root, errs[0] = keys.NewOperator()
	f.signing, errs[1] = keys.NewOperator()
	f.system, errs[2] = keys.NewAccount()
	f.sysKey, errs[3] = keys.NewAccount()
	f.sysUser, errs[4] = keys.NewUser()
	f.secrets.delegated, errs[5] = keys.NewOperator()
	f.secrets.server, errs[6] = keys.NewServer()
	f.secrets.user, errs[7] = keys.NewUser()
	return f, errors.Join(errs[:]...)
}

// wipe overwrites the keys.
func (f *founder) wipe() {
	f.root.Wipe()
	f.signing.Wipe()
	f.system.Wipe()
	f.sysKey.Wipe()
	f.sysUser.Wipe()
	f.secrets.wipe()
}

// operatorJWT trusts nsc's signing key and the one delegated to accountd.
func (f *founder) operatorJWT() (*claims.Document, error) {
	oc := jwt.NewOperatorClaims(f.root.PublicKey())
	oc.Name = devOperator
	oc.SigningKeys.Add(f.signing.PublicKey(), f.secrets.delegated.PublicKey())
	oc.SystemAccount = f.system.PublicKey()
	last := len(f.urls) - 1
	oc.AccountServerURL = f.urls[last]
	oc.OperatorServiceURLs.Add(f.urls[:last]...)
	draft, err := claims.New(oc)
	if err != nil {
		return nil, err
	}
	return draft.Sign(f.root, f.now)
}

// systemJWT has the two exports that the official tool gives a system account,
// and that by which devices reach accountd.
func (f *founder) systemJWT() (*claims.Document, error) {
	const docs = "https://docs.nats.io/nats-server/configuration/sys_accounts"
	ac := jwt.NewAccountClaims(f.system.PublicKey())
	ac.Name = systemName
	ac.SigningKeys.Add(f.sysKey.PublicKey())
	ac.Exports = jwt.Exports{
		&jwt.Export{
			Name: "account-monitoring-services", Subject: "$SYS.REQ.ACCOUNT.*.*", Type: jwt.Service,
			ResponseType: jwt.ResponseTypeStream, AccountTokenPosition: 4,
			Info: jwt.Info{
				Description: "Request account specific monitoring services for: SUBSZ, CONNZ, LEAFZ, JSZ and INFO",
				InfoURL:     docs,
			},
		},
		&jwt.Export{
			Name: "account-monitoring-streams", Subject: "$SYS.ACCOUNT.*.>", Type: jwt.Stream, AccountTokenPosition: 3,
			Info: jwt.Info{Description: "Account specific monitoring stream", InfoURL: docs},
		},
		fleet.EnrollExport(),
	}
	draft, err := claims.New(ac)
	if err != nil {
		return nil, err
	}
	return draft.Sign(f.signing, f.now)
}

// userJWT is a user of the system account with full rights.
func (f *founder) userJWT(name string, key keys.UserPair) (*claims.Document, error) {
	uc := jwt.NewUserClaims(key.PublicKey())
	uc.Name = name
	uc.IssuerAccount = f.system.PublicKey()
	draft, err := claims.New(uc)
	if err != nil {
		return nil, err
	}
	return draft.Sign(f.sysKey, f.now)
}

// found makes everything that a first start creates, in the staging folder,
// and records st with it. Nothing is in place before adopt.
func found(ctx context.Context, l layout, st state, now time.Time) error {
	if err := os.RemoveAll(l.staging()); err != nil {
		return unwritable(l.staging(), err)
	}
	f, err := newFounder(now, st.written())
	if err != nil {
		return err
	}
	defer f.wipe()
	staged := l.staged()
	if err := f.writeOperator(ctx, staged, now); err != nil {
		return err
	}
	if err := pointConfig(ctx, l, staged.nsc(), now); err != nil {
		return err
	}
	self, err := f.userJWT(selfUser, f.secrets.user)
	if err != nil {
		return err
	}
	f.secrets.userJWT = self.Token
	if err := f.secrets.save(staged); err != nil {
		return err
	}
	st.Schema, st.Dir = stateSchema, string(l)
	st.Operator, st.System = f.root.PublicKey(), f.system.PublicKey()
	st.URLs = f.urls
	if err := staged.writeState(st); err != nil {
		return err
	}
	if err := durable.WriteFile(l.complete(), nil, 0o600); err != nil {
		return unwritable(l.complete(), err)
	}
	return nil
}

// writeOperator stores what belongs to the person, in the official layout.
func (f *founder) writeOperator(ctx context.Context, staged layout, now time.Time) error {
	ns, err := nscstore.Open(staged.dirs())
	if err != nil {
		return err
	}
	op, err1 := f.operatorJWT()
	sys, err2 := f.systemJWT()
	user, err3 := f.userJWT(systemUser, f.sysUser)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	return ns.Create(ctx, devOperator, false, func(tx *nscstore.Tx) error {
		seed := f.sysUser.Seed()
		defer nscstore.Wipe(seed)
		creds, err := nscstore.FormatCreds(user.Token, seed)
		if err != nil {
			return err
		}
		defer nscstore.Wipe(creds)
		return errors.Join(
			tx.PutOperator(op.Token),
			tx.PutAccount(systemName, sys.Token),
			tx.PutUser(systemName, systemUser, user.Token),
			tx.PutCreds(systemName, systemUser, creds),
			tx.SetPublished(sys.Subject, nscstore.Publication{ID: sys.ID, Revision: 1}),
			addSeeds(tx, f.root, f.signing, f.system, f.sysKey, f.sysUser))
	})
}

// addSeeds stages the seeds of pairs.
func addSeeds(tx *nscstore.Tx, pairs ...interface{ Seed() []byte }) error {
	for _, p := range pairs {
		seed := p.Seed()
		_, err := tx.AddSeed(seed)
		nscstore.Wipe(seed)
		if err != nil {
			return err
		}
	}
	return nil
}

// pointConfig makes nsc.json in the folder config name the store of l.
func pointConfig(ctx context.Context, l layout, config string, now time.Time) error {
	return nscstore.UpdateConfig(ctx, config, now, func(c *nscstore.Config) error {
		c.StoreRoot = l.dirs().Stores
		if c.Operator == "" {
			c.Operator = devOperator
		}
		return nil
	})
}

// adopt moves a complete staging folder into place. It may be repeated after a
// kill at any instant: the staging folder goes last.
func adopt(l layout) error {
	for _, name := range []string{"nsc", "accountd"} {
		from := filepath.Join(l.staging(), name)
		if !exists(from) {
			continue // moved before
		}
		if err := os.Rename(from, l.at(name)); err != nil {
			return unwritable(l.at(name), err)
		}
	}
	root, err := os.OpenRoot(string(l))
	if err != nil {
		return unwritable(string(l), err)
	}
	defer root.Close()
	if err := durable.SyncIn(root, "."); err != nil {
		return unwritable(string(l), err)
	}
	if err := root.RemoveAll(filepath.Base(l.staging())); err != nil {
		return unwritable(l.staging(), err)
	}
	return nil
}
