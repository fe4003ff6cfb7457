package cli

import (
	"errors"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// The system account and its user, as the official tool names them.
const (
	systemName = "SYS"
	systemUser = "sys"
)

// newOperator is an operator in the making, with all its keys.
type newOperator struct {
	now             int64
	name            string
	root            keys.OperatorPair
	starts, expires *int64
	services        []string           // URLs of its servers
	given           bool               // root was given with -K and is not stored
	signing         *keys.OperatorPair // nil for none
	sys             *newSystem         // nil for none
}

// newSystem is a system account with a signing key and a user.
type newSystem struct {
	key, signing keys.AccountPair
	user         keys.UserPair
}

// newOperator makes or reads the keys of an operator.
func (s *session) newOperator(o operatorOptions) (b *newOperator, err error) {
	b = &newOperator{now: s.now, name: o.name, starts: o.starts, expires: o.expires, given: s.flags.privateKey != ""}
	if b.given {
		b.root, err = s.givenRoot(s.flags.privateKey)
	} else {
		b.root, err = keys.NewOperator()
	}
	if err == nil && o.signingKey {
		var sk keys.OperatorPair
		sk, err = keys.NewOperator()
		b.signing = &sk
	}
	if err == nil && o.sys {
		b.sys, err = makeSystem()
	}
	return b, err
}

func (s *session) givenRoot(name string) (keys.OperatorPair, error) {
	seed, err := s.readSeed(name)
	if err != nil {
		return keys.OperatorPair{}, usage("-K %s is no readable file with the operator's seed", name)
	}
	defer nscstore.Wipe(seed)
	return keys.OperatorFromSeed(trim(seed))
}

func makeSystem() (*newSystem, error) {
	var n newSystem
	var err1, err2, err3 error
	n.key, err1 = keys.NewAccount()
	n.signing, err2 = keys.NewAccount()
	n.user, err3 = keys.NewUser()
	return &n, errors.Join(err1, err2, err3)
}

func (b *newOperator) wipe() {
	b.root.Wipe()
	if b.signing != nil {
		b.signing.Wipe()
	}
	if b.sys != nil {
		b.sys.key.Wipe()
		b.sys.signing.Wipe()
		b.sys.user.Wipe()
	}
}

// sign makes the operator's JWT.
func (b *newOperator) sign() (*claims.Document, error) {
	oc := jwt.NewOperatorClaims(b.root.PublicKey())
	oc.Name = b.name
	if b.signing != nil {
		oc.SigningKeys.Add(b.signing.PublicKey())
	}
	if b.sys != nil {
		oc.SystemAccount = b.sys.key.PublicKey()
	}
	if b.starts != nil {
		oc.NotBefore = *b.starts
	}
	if b.expires != nil {
		oc.Expires = *b.expires
	}
	oc.OperatorServiceURLs.Add(b.services...)
	draft, err := claims.New(oc)
	if err != nil {
		return nil, err
	}
	return draft.Sign(b.root, b.now)
}

// signed signs new claims and returns the token.
func signed[T claims.Typed](v *T, s claims.Signer, now int64) (string, error) {
	draft, err := claims.New(v)
	if err != nil {
		return "", err
	}
	doc, err := draft.Sign(s, now)
	if err != nil {
		return "", err
	}
	return doc.Token, nil
}

// stageAll runs steps in order until one fails.
func stageAll(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// putCreds writes the credentials of a user whose key is at hand.
func putCreds(tx *nscstore.Tx, account, user, token string, pair seeded) error {
	seed := pair.Seed()
	defer nscstore.Wipe(seed)
	creds, err := nscstore.FormatCreds(token, seed)
	if err != nil {
		return err
	}
	defer nscstore.Wipe(creds)
	return tx.PutCreds(account, user, creds)
}

// stage writes the operator, its keys and its system account.
func (b *newOperator) stage(tx *nscstore.Tx, doc *claims.Document) error {
	err := tx.PutOperator(doc.Token)
	if err == nil && !b.given {
		err = addSeed(tx, b.root)
	}
	if err == nil && b.signing != nil {
		err = addSeed(tx, *b.signing)
	}
	if err == nil && b.sys != nil {
		err = b.stageSystem(tx)
	}
	return err
}

func (b *newOperator) stageSystem(tx *nscstore.Tx) error {
	var issuer claims.Signer = b.root
	if b.signing != nil {
		issuer = *b.signing
	}
	key := b.sys.key.PublicKey()
	ac, err := signed(systemClaims(key, b.sys.signing.PublicKey()), issuer, b.now)
	if err != nil {
		return err
	}
	uc := jwt.NewUserClaims(b.sys.user.PublicKey())
	uc.Name, uc.IssuerAccount = systemUser, key
	user, err := signed(uc, b.sys.signing, b.now)
	if err != nil {
		return err
	}
	return stageAll(
		func() error { return tx.PutAccount(systemName, ac) },
		func() error { return tx.SetPublished(key, nscstore.Publication{Unpublished: true}) },
		func() error { return tx.PutUser(systemName, systemUser, user) },
		func() error { return putCreds(tx, systemName, systemUser, user, b.sys.user) },
		func() error { return addSeed(tx, b.sys.key) },
		func() error { return addSeed(tx, b.sys.signing) },
		func() error { return addSeed(tx, b.sys.user) })
}

// lines says what came into being beside the operator itself.
func (b *newOperator) lines() []string {
	var lines []string
	if b.signing != nil {
		lines = append(lines, "signing key "+keys.Short(b.signing.PublicKey())+", which signs accounts")
	}
	if b.sys != nil {
		lines = append(lines, "account "+systemName+" and user "+systemUser+", which servers need")
	}
	if b.given {
		lines = append(lines, "the root key stays where it was; the keystore has no copy")
	}
	return lines
}

// systemClaims are the claims of a system account: every account may ask for
// its own figures and follow its own events, and its devices accountd.
func systemClaims(key, signingKey string) *jwt.AccountClaims {
	const info = "https://docs.nats.io/nats-server/configuration/sys_accounts"
	ac := jwt.NewAccountClaims(key)
	ac.Name = systemName
	ac.SigningKeys.Add(signingKey)
	ac.Exports.Add(&jwt.Export{
		Name: "account-monitoring-services", Subject: "$SYS.REQ.ACCOUNT.*.*", Type: jwt.Service,
		ResponseType: jwt.ResponseTypeStream, AccountTokenPosition: 4,
		Info: jwt.Info{Description: "Requests that an account may make about itself", InfoURL: info},
	}, &jwt.Export{
		Name: "account-monitoring-streams", Subject: "$SYS.ACCOUNT.*.>", Type: jwt.Stream,
		AccountTokenPosition: 3,
		Info:                 jwt.Info{Description: "Events of an account that it may follow", InfoURL: info},
	}, fleet.EnrollExport())
	return ac
}

// seeded is a pair whose seed can be stored.
type seeded interface{ Seed() []byte }

func addSeed(tx *nscstore.Tx, pair seeded) error {
	seed := pair.Seed()
	defer nscstore.Wipe(seed)
	_, err := tx.AddSeed(seed)
	return err
}
