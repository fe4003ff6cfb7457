package nscstore

import (
	"bytes"
	"errors"
	"io/fs"
	"path"

	"github.com/accountd/accountd/fault"
)

// Tx is a transaction on one operator, under its lock. Reads see the files of
// the store and, over them, what the transaction staged. Every Put, Add, Delete
// and Remove checks its arguments and stages; nothing reaches the disk before
// the function that got the Tx returns nil. A Tx is for one goroutine and must
// not be kept.
type Tx struct {
	view
	keys    *Keystore
	staged  changes
	emptied []string // folders to remove if nothing is left in them
	folders map[string]*folder
}

func newTx(v view, keys *Keystore) *Tx {
	tx := &Tx{view: v, keys: keys, folders: map[string]*folder{}}
	tx.tree = overlay{base: disk{dir: v.dir}, staged: &tx.staged, folders: tx.folders}
	return tx
}

func (tx *Tx) put(name string, data []byte) {
	tx.staged.add(change{target: target{name: name}, data: data})
}

func (tx *Tx) remove(name string) {
	tx.staged.add(change{target: target{name: name}, remove: true})
}

// PutInfo changes the .nsc file; fields of it that Info lacks stay.
func (tx *Tx) PutInfo(info Info) error {
	if err := requireSafe("operator", info.Name); err != nil {
		return err
	}
	data, err := tx.tree.read(infoFile)
	var doc document
	if err == nil {
		_, doc, err = decodeInfo(data)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return damaged(tx.path(infoFile), err)
	}
	err = errors.Join(
		doc.set("managed", info.Managed),
		doc.set("name", info.Name),
		doc.set("kind", "operator"),
		doc.set("version", first(info.Version, "1")))
	if err == nil {
		data, err = doc.encode()
	}
	if err != nil {
		return fault.New(fault.Internal, "encode %s: %w", infoFile, err)
	}
	tx.put(infoFile, data)
	return nil
}

// PutOperator stores the operator's JWT.
func (tx *Tx) PutOperator(token string) error {
	if _, rule, err := checkToken("operator", token); err != nil {
		return fault.New(fault.Invalid, "JWT of operator %q: %w", tx.name, err).About("operator", tx.name).ByRule(rule)
	}
	name, err := tx.operatorFile()
	if err != nil {
		return err
	}
	tx.put(name, []byte(token))
	return nil
}

// PutAccount stores the JWT of the account named name, a new one or a new
// version. The name must be the one in the JWT. A JWT about another key than
// the stored one is fault.Conflict: delete that account first.
func (tx *Tx) PutAccount(name, token string) error {
	return tx.putEntity("account", name, token, accountFile(name), tx.RequireFreeAccount)
}

// PutUser is PutAccount for a user of an account, which must exist.
func (tx *Tx) PutUser(account, user, token string) error {
	if err := tx.requireAccount(account); err != nil {
		return err
	}
	free := func(user string) error { return tx.RequireFreeUser(account, user) }
	return tx.putEntity("user", user, token, userFile(account, user), free)
}

// putEntity stages the JWT of a thing; free refuses a new name beside those that
// exist.
func (tx *Tx) putEntity(kind, name, token, file string, free func(name string) error) error {
	if err := requireSafe(kind, name); err != nil {
		return err
	}
	if !tx.tree.has(file) {
		if err := ValidateName(kind, name); err != nil {
			return err
		}
		if err := free(name); err != nil {
			return err
		}
	}
	id, err := requireToken(kind, name, token)
	if err != nil {
		return err
	}
	// A damaged file says nothing of its subject and may be replaced.
	if old, err := tx.token(kind, name, file, nil); err == nil {
		if was, err := identify(old); err == nil && was.Subject != id.Subject {
			return fault.New(fault.Conflict, "%s %q is %s, and the JWT is about %s", kind, name, was.Subject, id.Subject).
				About(kind, name).ByRule("same-subject").WithHint("delete it first, or choose another name")
		}
	}
	tx.put(file, []byte(token))
	return nil
}

// DeleteAccount removes an account and its users from the store. Seeds and
// credentials stay, and so does what is known of its publication.
func (tx *Tx) DeleteAccount(name string) error {
	users, err := tx.Users(name)
	if err != nil {
		return err
	}
	for _, u := range users {
		tx.remove(userFile(name, u))
	}
	tx.remove(accountFile(name))
	dir := path.Join(accountsDir, name)
	tx.emptied = append(tx.emptied, path.Join(dir, usersDir), dir)
	return nil
}

// DeleteUser removes a user from the store; its seed and credentials stay.
func (tx *Tx) DeleteUser(account, user string) error {
	if err := requireSafe("user", user); err != nil {
		return err
	}
	if !tx.HasUser(account, user) {
		users, err := tx.Users(account)
		if err != nil {
			return err
		}
		return missing("user", user, "account "+account, users)
	}
	tx.remove(userFile(account, user))
	return nil
}

// ExpectOperator is fault.Conflict unless the operator's JWT still is token, as
// read before the transaction; "" stands for none.
func (tx *Tx) ExpectOperator(token string) error {
	now, err := tx.JWT()
	return expect("operator", tx.name, token, now, err)
}

// ExpectAccount is ExpectOperator for an account.
func (tx *Tx) ExpectAccount(name, token string) error {
	if token == "" && !tx.HasAccount(name) { // told apart without a look at others
		return requireSafe("account", name)
	}
	now, err := tx.AccountJWT(name)
	return expect("account", name, token, now, err)
}

// ExpectUser is ExpectOperator for a user.
func (tx *Tx) ExpectUser(account, user, token string) error {
	if token == "" && !tx.HasUser(account, user) {
		return errors.Join(requireSafe("account", account), requireSafe("user", user))
	}
	now, err := tx.UserJWT(account, user)
	return expect("user", user, token, now, err)
}

// expect compares the JWT read before with the one read now, or the error.
func expect(kind, name, before, now string, err error) error {
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if before == now {
		return nil
	}
	what := "was changed"
	switch {
	case before == "":
		what = "was added"
	case now == "":
		what = "was deleted"
	}
	return fault.New(fault.Conflict, "%s %q %s by another command meanwhile", kind, name, what).
		About(kind, name).ByRule("changed-meanwhile").WithHint("repeat the command")
}

// AddSeed stores a seed in the keystore, sealed if that is, and returns its
// public key. The seed is copied.
func (tx *Tx) AddSeed(seed []byte) (pub string, err error) {
	pub, name, err := placeSeed(seed)
	if err != nil {
		return "", err
	}
	data, err := tx.keys.sealed(bytes.TrimSpace(seed))
	if err != nil {
		return "", err
	}
	tx.staged.add(change{target: target{keys: true, name: name}, data: data})
	return pub, nil
}

// RemoveSeed removes a seed from the keystore; it is no error if it is not
// there.
func (tx *Tx) RemoveSeed(pub string) error {
	name, err := seedFile(pub)
	if err != nil {
		return err
	}
	tx.staged.add(change{target: target{keys: true, name: name}, remove: true})
	return nil
}

// PutCreds stores the credentials of a user in the keystore. They must be
// complete: a user's JWT and the seed of its key. The content is copied.
func (tx *Tx) PutCreds(account, user string, creds []byte) error {
	name, err := credsFile(tx.name, account, user)
	if err != nil {
		return err
	}
	_, seed, err := ParseCreds(creds)
	if err != nil {
		return err
	}
	Wipe(seed)
	tx.staged.add(change{target: target{keys: true, name: name}, data: bytes.Clone(creds)})
	return nil
}

// RemoveCreds removes the credentials of a user from the keystore; it is no
// error if there are none.
func (tx *Tx) RemoveCreds(account, user string) error {
	name, err := credsFile(tx.name, account, user)
	if err != nil {
		return err
	}
	tx.staged.add(change{target: target{keys: true, name: name}, remove: true})
	return nil
}
