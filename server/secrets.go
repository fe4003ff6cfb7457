package server

import (
	"bytes"
	"errors"
	"io/fs"
	"os"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// Names of the sealed files.
const (
	sealedDelegated = "delegated"
	sealedUser      = "accountd-user"
	sealedServer    = "server"
)

// secrets are the keys that accountd holds for itself.
type secrets struct {
	delegated keys.OperatorPair // signs routine changes; pre-trusted in the operator's JWT
	server    keys.ServerPair   // identity of the service
	user      keys.UserPair     // its system user
	userJWT   string
	identity  string // opens the sealed files, and what is sealed to accountd
}

// wipe overwrites the keys.
func (s *secrets) wipe() {
	s.delegated.Wipe()
	s.server.Wipe()
	s.user.Wipe()
}

// save seals the secrets into the folder of l, with a new identity.
func (s *secrets) save(l layout) error {
	if err := durable.MkdirAll(l.own(), 0o700); err != nil {
		return unwritable(l.own(), err)
	}
	identity, err := operator.NewIdentity()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(l.identity(), []byte(identity+"\n"), 0o600); err != nil {
		return unwritable(l.identity(), err)
	}
	seed := s.user.Seed()
	defer nscstore.Wipe(seed)
	creds, err := nscstore.FormatCreds(s.userJWT, seed)
	if err != nil {
		return err
	}
	return errors.Join(
		seal(l, identity, sealedDelegated, s.delegated.Seed()),
		seal(l, identity, sealedServer, s.server.Seed()),
		seal(l, identity, sealedUser, creds))
}

// seal writes one sealed file and wipes what it sealed.
func seal(l layout, identity, name string, plain []byte) error {
	defer nscstore.Wipe(plain)
	sealed, err := operator.Seal(plain, identity)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(l.sealed(name), sealed, 0o600); err != nil {
		return unwritable(l.sealed(name), err)
	}
	return nil
}

// loadSecrets opens the sealed files: fault.NotFound when one is missing,
// fault.Invalid when one is damaged.
func loadSecrets(l layout) (s secrets, err error) {
	raw, err := readOwn(l.identity())
	if err != nil {
		return s, err
	}
	identity := string(bytes.TrimSpace(raw))
	s.identity = identity
	err = errors.Join(
		unseal(l, identity, sealedDelegated, func(seed []byte) (err error) {
			s.delegated, err = keys.OperatorFromSeed(seed)
			return err
		}),
		unseal(l, identity, sealedServer, func(seed []byte) (err error) {
			s.server, err = keys.ServerFromSeed(seed)
			return err
		}),
		unseal(l, identity, sealedUser, func(creds []byte) error {
			token, seed, err := nscstore.ParseCreds(creds)
			if err != nil {
				return err
			}
			defer nscstore.Wipe(seed)
			s.userJWT = token
			s.user, err = keys.UserFromSeed(seed)
			return err
		}))
	return s, err
}

// unseal gives the content of one sealed file to use, and wipes it after.
func unseal(l layout, identity, name string, use func([]byte) error) error {
	raw, err := readOwn(l.sealed(name))
	if err != nil {
		return err
	}
	plain, err := operator.Open(raw, identity)
	if err != nil {
		return damagedFile(l.sealed(name), err)
	}
	defer nscstore.Wipe(plain)
	if err := use(plain); err != nil {
		return damagedFile(l.sealed(name), err)
	}
	return nil
}

// readOwn reads a file that must exist.
func readOwn(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		return raw, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, missingFile(path)
	case errors.Is(err, fs.ErrPermission):
		return nil, unwritable(path, err)
	}
	return nil, damagedFile(path, err)
}

// claims returns the claims of accountd's own system user.
func (s *secrets) claims() (*claims.Document, *jwt.UserClaims, error) {
	d, err := claims.Decode(s.userJWT)
	if err != nil {
		return nil, nil, err
	}
	uc, err := claims.As[jwt.UserClaims](d)
	return d, uc, err
}
