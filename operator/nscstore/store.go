package nscstore

import (
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
)

// storesLockFile, in the store root, is held while an operator is made.
const storesLockFile = ".accountd.lock"

// Store is a store root with its keystore. It keeps no file open and may be
// used by several goroutines.
type Store struct {
	dirs Dirs
	keys *Keystore
}

// Open opens the store in the folders of d, which need not exist; it touches
// nothing. A keystore in the layout of old releases is fault.Invalid, with the
// command that migrates it as the hint.
func Open(d Dirs) (*Store, error) {
	var err error
	for _, dir := range []*string{&d.Config, &d.Stores, &d.Keys} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return nil, ioFault("open store", err)
		}
	}
	s := &Store{dirs: d, keys: &Keystore{dirs: d}}
	return s, s.keys.requireCurrentLayout()
}

// Dirs returns the folders, absolute.
func (s *Store) Dirs() Dirs { return s.dirs }

// Keystore returns the keystore.
func (s *Store) Keystore() *Keystore { return s.keys }

// Operators returns the folder names of the operators, sorted.
func (s *Store) Operators() ([]string, error) { return operators(s.dirs.Stores) }

func operators(root string) ([]string, error) {
	dirs, err := disk{dir: root}.list(".")
	if err != nil {
		return nil, ioFault("list operators", err)
	}
	var names []string
	for _, d := range dirs {
		if isOperator(disk{dir: filepath.Join(root, d)}) {
			names = append(names, d)
		}
	}
	return names, nil
}

// Operator reads one operator without a lock. Each read of a file sees it as
// it was before or after a transaction, never in between; two reads may lie on
// either side of one.
type Operator struct{ view }

// Operator opens an operator for reading, by its folder name or public key; it
// is fault.NotFound without one. If a killed process left a committed
// transaction, Operator finishes it first, for which it waits for the lock
// until ctx ends; otherwise it takes no lock and writes nothing.
func (s *Store) Operator(ctx context.Context, nameOrKey string) (*Operator, error) {
	name, err := s.find(nameOrKey)
	if err != nil {
		return nil, err
	}
	v := s.view(name)
	if v.tree.has(journalFile) {
		w, err := s.lockSite(ctx, v.dir)
		if err != nil {
			return nil, err
		}
		w.close()
	}
	if _, err := v.Info(); err != nil {
		return nil, err
	}
	return &Operator{v}, nil
}

// view is the operator in the folder name.
func (s *Store) view(name string) view {
	dir := filepath.Join(s.dirs.Stores, name)
	return view{name: name, dir: dir, tree: disk{dir: dir}}
}

// find returns the folder name of an operator, which may be damaged or in the
// making.
func (s *Store) find(nameOrKey string) (string, error) {
	if err := requireSafe("operator", nameOrKey); err != nil {
		return "", err
	}
	if t := s.view(nameOrKey).tree; t.has(infoFile) || t.has(journalFile) {
		return nameOrKey, nil
	}
	names, err := s.Operators()
	if err != nil {
		return "", err
	}
	if nkeys.IsValidPublicOperatorKey(nameOrKey) {
		for _, name := range names {
			token, err := s.view(name).JWT()
			if err != nil {
				continue
			}
			if id, err := identify(token); err == nil && id.Subject == nameOrKey {
				return name, nil
			}
		}
	}
	return "", missing("operator", nameOrKey, "", names)
}

// Update runs fn in a transaction on an existing operator, named by its folder
// or public key. It waits for the operator's lock until ctx ends, finishes what
// a killed process left, and commits what fn staged if fn returns nil. After
// that the change is durable, whole and seen by all; after an error nothing is
// changed, save fault.Unavailable that says that the change is recorded, which
// the next command then completes. Other errors of fn come back as they are.
//
// The lock is held while fn runs: fn must not wait for a server, nor begin
// another transaction on this operator. See [Operator.LockAccounts] for that.
func (s *Store) Update(ctx context.Context, operator string, fn func(*Tx) error) error {
	name, err := s.find(operator)
	if err != nil {
		return err
	}
	v := s.view(name)
	w, err := s.lockSite(ctx, v.dir)
	if err != nil {
		return err
	}
	defer w.close()
	if _, err := v.Info(); err != nil {
		return err
	}
	return w.run(ctx, newTx(v, s.keys), fn)
}

// run lets fn stage its changes and commits them.
func (w *site) run(ctx context.Context, tx *Tx, fn func(*Tx) error) error {
	defer tx.staged.wipe()
	if err := fn(tx); err != nil {
		return err
	}
	return w.commit(ctx, tx)
}

// Create makes a new operator in a folder of its name and runs fn in its first
// transaction, which stores the operator's JWT and keys: the operator exists
// with all of it, or not at all. An existing operator is fault.Conflict.
func (s *Store) Create(ctx context.Context, name string, managed bool, fn func(*Tx) error) error {
	if err := ValidateName("operator", name); err != nil {
		return err
	}
	if err := durable.MkdirAll(s.dirs.Stores, dirMode); err != nil {
		return ioFault("make store root", err)
	}
	held, err := durable.Lock(ctx, filepath.Join(s.dirs.Stores, storesLockFile))
	if err != nil {
		return ioFault("lock store root", err)
	}
	defer held.Unlock()
	v := s.view(name)
	if err := s.requireNew(v); err != nil {
		return err
	}
	if err := durable.MkdirAll(v.dir, dirMode); err != nil {
		return ioFault("make operator folder", err)
	}
	w, err := s.lockSite(ctx, v.dir)
	if err != nil {
		return err
	}
	defer w.close()
	if v.tree.has(infoFile) { // a killed Create was just finished
		return operatorExists(name)
	}
	tx := newTx(v, s.keys)
	err = tx.PutInfo(Info{Managed: managed, Name: name})
	if err == nil {
		err = w.run(ctx, tx, fn)
	}
	if err != nil && !v.tree.has(journalFile) {
		discard(v.dir)
	}
	return err
}

// requireNew refuses a name that is taken.
func (s *Store) requireNew(v view) error {
	if v.tree.has(infoFile) {
		return operatorExists(v.name)
	}
	names, err := s.Operators()
	if err != nil {
		return err
	}
	for _, other := range names {
		if alike(v.name, other) {
			return collision("operator", v.name, other)
		}
	}
	there, err := v.tree.list(".")
	if err != nil {
		return ioFault("look at operator folder", err)
	}
	for _, n := range there {
		if n != stateDir && n != accountsDir {
			return fault.New(fault.Conflict, "the folder %s exists and is no operator", v.dir).
				About("operator", v.name).ByRule("operator-folder").WithHint("choose another name, or move the folder away")
		}
	}
	return nil
}

func operatorExists(name string) error {
	return fault.New(fault.Conflict, "operator %q exists already", name).About("operator", name).
		ByRule("operator-exists").WithHint("nsc edit operator changes it; nsc select operator %s makes it the current one", name)
}

// discard removes the folder of an operator that did not come to be, as far as
// it is empty but for the lock. Who waits for that lock looks whether it still
// has its name.
func discard(dir string) {
	for _, n := range []string{stagingDir, publishedDir, stateDir + "/" + lockFile, stateDir, accountsDir, ""} {
		_ = os.Remove(filepath.Join(dir, filepath.FromSlash(n)))
	}
}

// LockAccounts takes the locks of accounts, by their public keys, until unlock is
// called. Commands that change an account hold it from reading the JWT to the
// answer of the service, so that they follow one another; transactions neither
// take nor need it. Take account locks before Update, never inside, and all that
// are needed at once: accounts share the files that are locked, so that taking
// one after the other may wait for itself. It waits until ctx ends.
func (o *Operator) LockAccounts(ctx context.Context, accountKeys ...string) (unlock func(), err error) {
	parts := map[string]bool{}
	for _, key := range accountKeys {
		part, err := partOf(key)
		if err != nil {
			return nil, err
		}
		parts[part] = true
	}
	root, err := os.OpenRoot(o.dir)
	if err != nil {
		return nil, ioFault("lock account", err)
	}
	defer root.Close()
	if err := durable.MkdirAllIn(root, locksDir, dirMode); err != nil {
		return nil, ioFault("lock account", err)
	}
	var held []*durable.Held
	unlock = func() {
		for _, h := range held {
			_ = h.Unlock()
		}
	}
	for _, part := range slices.Sorted(maps.Keys(parts)) { // all in one order
		h, err := durable.LockIn(ctx, root, path.Join(locksDir, part+".lock"))
		if err != nil {
			unlock()
			return nil, ioFault("lock account", err)
		}
		held = append(held, h)
	}
	return unlock, nil
}

// locksDir holds the files that are locked for accounts.
const locksDir = stateDir + "/locks"
