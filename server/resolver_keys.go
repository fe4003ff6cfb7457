package server

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/store"
)

// resolverKeys are what accountd resolver was given to speak for itself.
type resolverKeys struct {
	operator  *claims.Document
	system    string           // the operator's system account
	user      *claims.Document // its system user
	userPair  keys.UserPair
	delegated *keys.OperatorPair // nil in offline custody
	identity  string             // opens what is sealed to accountd, "" for none
}

func (k *resolverKeys) wipe() {
	if k.user != nil {
		k.userPair.Wipe()
	}
	if k.delegated != nil {
		k.delegated.Wipe()
	}
}

// loadResolverKeys reads the files and checks that they belong together.
func loadResolverKeys(o ResolverOptions) (k resolverKeys, err error) {
	token, err := readToken(o.Operator)
	if err != nil {
		return k, err
	}
	if k.operator, err = claims.Decode(token); err != nil {
		return k, unusableFile(o.Operator, err)
	}
	trust, err := operator.TrustOf(k.operator)
	if err != nil {
		return k, unusableFile(o.Operator, err)
	}
	if k.system = trust.SystemAccount; k.system == "" {
		return k, unusableFile(o.Operator, fault.New(fault.Invalid, "operator %s names no system account", k.operator.Name))
	}
	raw, err := readGiven(o.SystemCreds)
	if err != nil {
		return k, err
	}
	defer nscstore.Wipe(raw)
	token, seed, err := nscstore.ParseCreds(raw)
	if err != nil {
		return k, unusableFile(o.SystemCreds, err)
	}
	defer nscstore.Wipe(seed)
	if k.userPair, err = keys.UserFromSeed(seed); err != nil {
		return k, unusableFile(o.SystemCreds, err)
	}
	if k.user, err = claims.Decode(token); err != nil {
		return k, unusableFile(o.SystemCreds, err)
	}
	if o.SigningKey == "" {
		return k, nil
	}
	pair, err := loadSigningKey(o)
	if err != nil {
		return k, err
	}
	if !trust.Signs(pair.PublicKey()) || pair.PublicKey() == string(trust.Key) {
		pair.Wipe()
		return k, fault.New(fault.Untrusted, "%s is not a signing key of operator %s", keys.Short(pair.PublicKey()), k.operator.Name).
			About("file", o.SigningKey).ByRule("chain").WithHint("add it first: nsc edit operator --sk %s, and give the new JWT to the servers", pair.PublicKey())
	}
	k.delegated = &pair
	if o.Identity != "" {
		k.identity, err = loadIdentity(o)
	}
	return k, err
}

func loadIdentity(o ResolverOptions) (string, error) {
	raw, err := readGiven(o.Identity)
	if err != nil {
		return "", err
	}
	defer nscstore.Wipe(raw)
	list, err := operator.ParseIdentities(string(raw))
	if err != nil || len(list) != 1 {
		return "", unusableFile(o.Identity, errors.Join(err, fault.New(fault.Invalid, "%d identities, expected one", len(list))))
	}
	return list[0], nil
}

// loadSigningKey reads the delegated key: a plain seed, or one that was sealed
// to an identity.
func loadSigningKey(o ResolverOptions) (keys.OperatorPair, error) {
	raw, err := readGiven(o.SigningKey)
	if err != nil {
		return keys.OperatorPair{}, err
	}
	defer nscstore.Wipe(raw)
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("SO")) {
		if o.Identity == "" {
			return keys.OperatorPair{}, fault.New(fault.Usage, "%s holds no plain seed, and no identity opens it", o.SigningKey).
				WithHint("name the identity that it was sealed to: --identity FILE")
		}
		id, err := loadIdentity(o)
		if err != nil {
			return keys.OperatorPair{}, err
		}
		plain, err := operator.Open(raw, id)
		if err != nil {
			return keys.OperatorPair{}, unusableFile(o.SigningKey, err)
		}
		defer nscstore.Wipe(plain)
		raw = plain
	}
	pair, err := keys.OperatorFromSeed(bytes.TrimSpace(raw))
	if err != nil {
		return pair, unusableFile(o.SigningKey, err)
	}
	return pair, nil
}

// readToken reads a JWT file, bare or between the lines that the official tool
// puts around one.
func readToken(path string) (string, error) {
	raw, err := readGiven(path)
	if err != nil {
		return "", err
	}
	token, err := jwt.ParseDecoratedJWT(bytes.TrimSpace(raw))
	if err != nil {
		return "", unusableFile(path, err)
	}
	return token, nil
}

// readGiven reads a file that the caller named.
func readGiven(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.NotFound, "%s does not exist", path).About("file", path).WithHint("see accountd resolver --help")
	case err != nil:
		return nil, fault.New(fault.Denied, "%s cannot be read: %w", path, err).About("file", path).WithHint("see accountd resolver --help")
	}
	return raw, nil
}

func unusableFile(path string, err error) error {
	return fault.New(fault.Invalid, "%s: %w", path, err).About("file", path).WithHint("see accountd resolver --help")
}

// metaIdentity is the name of the service's public identity in the store: all
// processes on one store are one service.
const metaIdentity = "resolver.identity"

// serviceIdentity returns the identity that signed requests are meant for, and
// makes it at the first start. Nothing is signed with it, so its seed is not
// kept.
func serviceIdentity(ctx context.Context, st store.Store) (keys.Server, error) {
	pair, err := keys.NewServer()
	if err != nil {
		return "", err
	}
	defer pair.Wipe()
	id := ""
	err = st.Update(ctx, func(tx store.Tx) (err error) {
		if id, err = tx.Meta(metaIdentity); err != nil || id != "" {
			return err
		}
		id = pair.PublicKey()
		return tx.SetMeta(metaIdentity, id)
	})
	if err != nil {
		return "", fault.New(fault.Unavailable, "the store cannot be written: %w", err)
	}
	return keys.ParseServer(id)
}
