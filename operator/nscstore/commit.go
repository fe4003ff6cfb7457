package nscstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
)

// Below stateDir of an operator. The staging folder of the keystore is its
// stateDir itself.
const (
	lockFile    = "lock"
	stagingDir  = stateDir + "/tx"
	journalFile = stagingDir + "/journal.json"
	journalTemp = stagingDir + "/journal" + tempSuffix
)

// idLength is the length of the random text that names a transaction.
const idLength = 26

// site is where the transactions of one operator work: its folder, locked, and
// the keystore once it is needed.
type site struct {
	operator *os.Root
	keys     *os.Root // nil until openKeys
	store    *Store
	held     *durable.Held
}

// lockSite takes the lock of the operator in dir, which exists, and finishes or
// cleans what a killed process left.
func (s *Store) lockSite(ctx context.Context, dir string) (*site, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, ioFault("open store", err)
	}
	w := &site{operator: root, store: s}
	if err := durable.MkdirAllIn(root, stagingDir, dirMode); err != nil {
		w.close()
		return nil, ioFault("open store", err)
	}
	if w.held, err = durable.LockIn(ctx, root, path.Join(stateDir, lockFile)); err != nil {
		w.close()
		return nil, ioFault("lock store", err)
	}
	if err := w.recover(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// close gives the lock back.
func (w *site) close() {
	if w.held != nil {
		w.held.Unlock()
	}
	if w.keys != nil {
		w.keys.Close()
	}
	w.operator.Close()
}

// openKeys opens the keystore for writing.
func (w *site) openKeys() error {
	if w.keys != nil {
		return nil
	}
	var err error
	w.keys, err = w.store.keys.open()
	return err
}

// place returns the folder that the step works in and its staging folder.
func (w *site) place(s step) (root *os.Root, staging string) {
	if s.Keys {
		return w.keys, stateDir
	}
	return w.operator, stagingDir
}

// commit brings the staged changes of tx to the disk: all of them, or none.
func (w *site) commit(ctx context.Context, tx *Tx) error {
	id := rand.Text()
	steps := plan(tx, id)
	if len(steps) == 0 {
		return nil
	}
	if len(steps) > maxSteps {
		return fault.New(fault.Invalid, "%d files in one transaction, the limit is %d", len(steps), maxSteps).ByRule("transaction-size")
	}
	err := w.stage(id, steps, tx)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && len(steps) > 1 {
		err = w.writeJournal(steps)
	}
	if err != nil {
		return ioFault("write store", errors.Join(err, w.unstage(id, steps)))
	}
	if err := w.conclude(id, steps); err != nil {
		return err
	}
	w.keepNames(tx)
	return nil
}

// conclude makes the moves of a transaction that is committed, or is one move.
func (w *site) conclude(id string, steps []step) error {
	err := w.apply(steps)
	switch {
	case err == nil:
		_ = w.operator.Remove(marker(id)) // else the next holder of the lock does
		return ioFault("write store", w.endJournal())
	case len(steps) == 1:
		return ioFault("write store", errors.Join(err, w.unstage(id, steps)))
	}
	return fault.New(fault.Unavailable, "the change is recorded, and not yet complete: %w", err).
		About("store", w.operator.Name()).WithHint("the next command completes it; see that the store can be written")
}

// plan orders the changes so that who reads without the lock meets no JWT whose
// seed is missing: seeds and credentials, JWTs, the .nsc file, then removals.
func plan(tx *Tx, id string) []step {
	rank := func(c change) int {
		switch {
		case c.remove && c.keys:
			return 4
		case c.remove:
			return 3
		case c.keys:
			return 0
		case c.name == infoFile:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(tx.staged.list, func(a, b change) int { return rank(a) - rank(b) })
	var steps []step
	for i, c := range tx.staged.list {
		s := step{Keys: c.keys, To: c.name}
		if !c.remove {
			s.From = fmt.Sprintf("%s-%d%s", id, i, tempSuffix)
		}
		steps = append(steps, s)
	}
	for _, dir := range tx.emptied {
		steps = append(steps, step{To: dir, Dir: true})
	}
	return steps
}

// stage writes the new files of the transaction under temporary names and makes
// the folders they will go to, and then syncs all of it. The steps of changes
// come first. If there are steps in the keystore, a marker named after the
// transaction tells clean which of the files there are of this operator.
func (w *site) stage(id string, steps []step, tx *Tx) error {
	if slices.ContainsFunc(steps, func(s step) bool { return s.Keys }) {
		if err := w.openKeys(); err != nil {
			return err
		}
		if err := durable.CreateIn(w.operator, marker(id), nil, fileMode); err != nil {
			return err
		}
	}
	fresh := map[*os.Root][]string{} // to sync
	for i, s := range steps {
		if s.From == "" {
			continue
		}
		root, staging := w.place(s)
		grown, err := durable.MakeDirsIn(root, path.Dir(s.To), dirMode)
		if err != nil {
			return err
		}
		from := path.Join(staging, s.From)
		if err := durable.CreateIn(root, from, tx.staged.list[i].data, fileMode); err != nil {
			return err
		}
		fresh[root] = append(append(fresh[root], from), grown...)
	}
	for root, names := range fresh {
		if err := durable.SyncIn(root, names...); err != nil {
			return err
		}
	}
	return w.syncStaging(fresh)
}

// marker is the name of the file that marks the transaction id.
func marker(id string) string { return path.Join(stagingDir, id+tempSuffix) }

// syncStaging makes the entries of the staging folders in the roots durable,
// and always those of the operator's, which a journal may have left.
func (w *site) syncStaging(roots map[*os.Root][]string) error {
	if err := durable.SyncIn(w.operator, stagingDir); err != nil {
		return err
	}
	if _, ok := roots[w.keys]; ok {
		return durable.SyncIn(w.keys, stateDir)
	}
	return nil
}

// unstage withdraws a transaction that was not committed: first its journal,
// durably, then its staged files. What it cannot remove stays whole, and the
// next holder of the lock cleans or completes it.
func (w *site) unstage(id string, steps []step) error {
	err := w.endJournal()
	if err == nil {
		err = durable.SyncIn(w.operator, stagingDir)
	}
	if err != nil {
		return fmt.Errorf("the change may be completed by the next command: %w", err)
	}
	_ = w.operator.Remove(journalTemp)
	for _, s := range steps {
		if root, staging := w.place(s); s.From != "" && root != nil {
			_ = root.Remove(path.Join(staging, s.From))
		}
	}
	_ = w.operator.Remove(marker(id))
	return nil
}

// writeJournal commits the transaction.
func (w *site) writeJournal(steps []step) error {
	j := journal{Version: journalVersion, Steps: steps}
	if slices.ContainsFunc(steps, func(s step) bool { return s.Keys }) {
		j.Keystore = w.store.dirs.Keys
	}
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	if err := durable.CreateIn(w.operator, journalTemp, data, fileMode); err != nil {
		return err
	}
	if err := durable.SyncIn(w.operator, journalTemp); err != nil {
		return err
	}
	if err := w.operator.Rename(journalTemp, journalFile); err != nil {
		return err
	}
	return durable.SyncIn(w.operator, stagingDir)
}

// endJournal forgets the finished transaction. The next one syncs the folder
// before it moves anything, so that a journal that a power cut brings back
// finds its moves made.
func (w *site) endJournal() error {
	if err := w.operator.Remove(journalFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// apply makes the moves of a committed transaction, those already made
// included, and makes them durable.
func (w *site) apply(steps []step) error {
	touched := map[*os.Root][]string{}
	for _, s := range steps {
		root, staging := w.place(s)
		if err := s.apply(root, staging); err != nil {
			return err
		}
		if dir := path.Dir(s.To); !slices.Contains(touched[root], dir) {
			touched[root] = append(touched[root], dir)
		}
	}
	for root, dirs := range touched {
		for _, dir := range dirs {
			err := durable.SyncIn(root, dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// apply makes the move unless it is made.
func (s step) apply(root *os.Root, staging string) error {
	if s.From != "" {
		from := path.Join(staging, s.From)
		if _, err := root.Lstat(from); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := durable.MkdirAllIn(root, path.Dir(s.To), dirMode); err != nil {
			return err
		}
		return root.Rename(from, s.To)
	}
	err := root.Remove(s.To)
	if s.Dir || errors.Is(err, fs.ErrNotExist) {
		return nil // a folder with files of others stays
	}
	return err
}

// recover finishes a committed transaction and removes the staged files of one
// that was not.
func (w *site) recover() error {
	name := filepath.Join(w.operator.Name(), filepath.FromSlash(journalFile))
	data, err := disk{dir: w.operator.Name()}.read(journalFile)
	if err == nil {
		err = w.finish(name, data)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return ioFault("finish the change of a process that was killed", err)
	}
	return ioFault("clean store", w.clean())
}

// finish makes the moves of the journal in the file called name.
func (w *site) finish(name string, data []byte) error {
	j, err := decodeJournal(data)
	if err != nil {
		return damaged(name, err).
			WithHint("check the store, then remove %s to give up that change", name)
	}
	if j.Keystore != "" {
		if !sameDir(j.Keystore, w.store.dirs.Keys) {
			return fault.New(fault.Conflict, "it also concerns the keystore %s", j.Keystore).
				About("keystore", j.Keystore).ByRule("journal-keystore").
				WithHint("repeat the command with: --keystore-dir %s", j.Keystore)
		}
		if err := w.openKeys(); err != nil {
			return err
		}
	}
	if err := w.apply(j.Steps); err != nil {
		return err
	}
	return w.endJournal()
}

func sameDir(a, b string) bool {
	if a == b {
		return true
	}
	fa, errA := os.Stat(a)
	fb, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(fa, fb)
}

// clean removes the staged files of killed processes, in the keystore those of
// transactions that are marked here.
func (w *site) clean() error {
	names, err := disk{dir: w.operator.Name()}.list(stagingDir)
	if err != nil {
		return err
	}
	for _, n := range names {
		id, ok := strings.CutSuffix(n, tempSuffix)
		if !ok || len(id) != idLength {
			continue
		}
		if err := w.cleanKeys(id); err != nil {
			return err
		}
	}
	return removeTemps(w.operator, stagingDir, "")
}

// cleanKeys removes the staged files of the transaction id from the keystore.
func (w *site) cleanKeys(id string) error {
	keys, err := os.OpenRoot(w.store.dirs.Keys)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer keys.Close()
	return removeTemps(keys, stateDir, id+"-")
}

// removeTemps removes the staged files in dir whose names begin with prefix.
func removeTemps(root *os.Root, dir, prefix string) error {
	names, err := disk{dir: root.Name()}.list(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !strings.HasPrefix(n, prefix) || !strings.HasSuffix(n, tempSuffix) {
			continue
		}
		if err := root.Remove(path.Join(dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
