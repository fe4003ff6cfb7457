package nscstore

import "path"

// keptDir holds, by the key of a deleted account, the JWTs of the users that it
// had, for when it comes back.
const keptDir = stateDir + "/deleted"

// KeptUsers returns the JWTs that [Tx.KeepUsers] kept of an account, by its
// public key. They are not checked.
func (v view) KeptUsers(accountKey string) ([]string, error) {
	if err := requireAccountKey(accountKey); err != nil {
		return nil, err
	}
	return v.readAll(path.Join(keptDir, accountKey))
}

func (v view) keptFiles(accountKey string) ([]string, error) {
	if err := requireAccountKey(accountKey); err != nil {
		return nil, err
	}
	dir := path.Join(keptDir, accountKey)
	names, err := v.tree.list(dir)
	if err != nil {
		return nil, ioFault("list kept users", err)
	}
	for i, name := range names {
		names[i] = path.Join(dir, name)
	}
	return names, nil
}

// KeepUsers keeps the users of an account that is about to be deleted, in the
// place of those that were kept before.
func (tx *Tx) KeepUsers(accountKey, account string) error {
	if err := tx.ForgetKept(accountKey); err != nil {
		return err
	}
	users, err := tx.Users(account)
	if err != nil {
		return err
	}
	for _, user := range users {
		data, err := tx.tree.read(userFile(account, user))
		if err != nil {
			return ioFault("read user "+user, err)
		}
		tx.put(path.Join(keptDir, accountKey, user+jwtSuffix), data)
	}
	return nil
}

// ForgetKept removes what KeepUsers kept.
func (tx *Tx) ForgetKept(accountKey string) error {
	names, err := tx.keptFiles(accountKey)
	if err != nil || len(names) == 0 {
		return err
	}
	for _, name := range names {
		tx.remove(name)
	}
	tx.emptied = append(tx.emptied, path.Join(keptDir, accountKey))
	return nil
}
