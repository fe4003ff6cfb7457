package nscstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
)

// maxOldDepth bounds how deep the files of old keystores lie.
const maxOldDepth = 6

// requireCurrentLayout refuses a keystore as old releases laid it out, with
// seeds and credentials beside keys/ and creds/.
func (k *Keystore) requireCurrentLayout() error {
	old, err := k.oldFiles(1)
	if err != nil || len(old) == 0 {
		return err
	}
	return fault.New(fault.Invalid, "the keystore %s has the layout of an old release", k.dirs.Keys).
		About("keystore", k.dirs.Keys).ByRule("keystore-layout").WithHint("nsc keys migrate")
}

// oldFiles returns the names of seeds and credentials that do not lie where
// they belong, at most so many if most is not 0. Folders of operators are
// passed by: stores and keystore may be one folder.
func (k *Keystore) oldFiles(most int) ([]string, error) {
	root := disk{dir: k.dirs.Keys}
	top, err := root.list(".")
	if err != nil {
		return nil, ioFault("list keystore", err)
	}
	var found []string
	var walk func(name string, depth int)
	walk = func(name string, depth int) {
		if most > 0 && len(found) >= most {
			return
		}
		if ext := path.Ext(name); (ext == seedSuffix || ext == credsSuffix) && root.has(name) {
			found = append(found, name)
			return
		}
		below, err := root.list(name)
		if err != nil || depth == 0 || slices.Contains(below, infoFile) {
			return // a file, or not of a keystore
		}
		for _, n := range below {
			walk(path.Join(name, n), depth-1)
		}
	}
	for _, name := range top {
		if name != keysDir && name != credsDir && !strings.HasPrefix(name, ".") {
			walk(name, maxOldDepth)
		}
	}
	return found, nil
}

// MigratedKeystore is what [MigrateKeystore] did.
type MigratedKeystore struct {
	Keys  []string // public keys whose seeds were moved, sorted
	Creds int      // credentials files
	Old   string   // the folder that keeps the old files, "" if there were none
}

// MigrateKeystore brings the keystore in d from the layout of old releases to
// the current one. The old files are moved to a folder beside the keystore once
// their content lies where it belongs; killed in between it can be repeated. A
// file that cannot be read is fault.Invalid, before anything is changed.
func MigrateKeystore(ctx context.Context, d Dirs) (MigratedKeystore, error) {
	return migrateKeystore(ctx, d, false)
}

// PlanKeystoreMigration tells what [MigrateKeystore] would do, and touches
// nothing.
func PlanKeystoreMigration(ctx context.Context, d Dirs) (MigratedKeystore, error) {
	return migrateKeystore(ctx, d, true)
}

func migrateKeystore(ctx context.Context, d Dirs, plan bool) (m MigratedKeystore, err error) {
	if d.Keys, err = filepath.Abs(d.Keys); err != nil {
		return m, ioFault("open keystore", err)
	}
	k := &Keystore{dirs: d}
	old, err := k.oldFiles(0)
	if err != nil || len(old) == 0 {
		return m, err
	}
	moved := changes{}
	defer moved.wipe()
	for _, name := range old {
		if err := k.planMove(name, &moved, &m); err != nil {
			return MigratedKeystore{}, err
		}
	}
	slices.Sort(m.Keys)
	m.Old = d.Keys + "_" + rand.Text()
	if plan {
		return m, nil
	}
	return m, k.locked(ctx, func(root *os.Root) error {
		if err := writeSolo(root, moved.list); err != nil {
			return err
		}
		return moveAway(root, old, m.Old)
	})
}

// planMove reads an old file and plans its new place.
func (k *Keystore) planMove(name string, moved *changes, m *MigratedKeystore) error {
	data, err := disk{dir: k.dirs.Keys}.read(name)
	if err != nil {
		return ioFault("read keystore", err)
	}
	file := filepath.Join(k.dirs.Keys, filepath.FromSlash(name))
	to := ""
	if path.Ext(name) == seedSuffix {
		var pub string
		pub, to, err = placeSeed(data)
		m.Keys = append(m.Keys, pub)
	} else {
		to, err = oldCreds(name)
		m.Creds++
	}
	if err != nil {
		Wipe(data)
		return damaged(file, err).WithHint("move it out of the keystore, then repeat the command")
	}
	if has, err := (disk{dir: k.dirs.Keys}).read(to); err == nil && !bytes.Equal(bytes.TrimSpace(has), bytes.TrimSpace(data)) {
		Wipe(has)
		Wipe(data)
		return fault.New(fault.Conflict, "%s and %s differ", file, filepath.Join(k.dirs.Keys, filepath.FromSlash(to))).
			About("file", file).ByRule("keystore-layout").WithHint("move the one that is outdated out of the keystore, then repeat the command")
	}
	if path.Ext(name) == seedSuffix {
		data = bytes.TrimSpace(data)
	}
	moved.add(change{target: target{keys: true, name: to}, data: data})
	return nil
}

// oldCreds returns the place of an old credentials file: the operator, account
// and user stand in its name.
func oldCreds(name string) (string, error) {
	parts := strings.Split(strings.TrimSuffix(name, credsSuffix), "/")
	if len(parts) == 5 && parts[1] == accountsDir && parts[3] == usersDir {
		parts = []string{parts[0], parts[2], parts[4]}
	}
	if len(parts) != 3 {
		return "", errors.New("its place does not tell the operator, account and user")
	}
	return credsFile(parts[0], parts[1], parts[2])
}

// moveAway moves files of the keystore, with their folders, to the folder to.
func moveAway(root *os.Root, names []string, to string) error {
	if err := durable.MkdirAll(to, dirMode); err != nil {
		return err
	}
	var tops []string
	for _, name := range names {
		top, _, _ := strings.Cut(name, "/")
		if !slices.Contains(tops, top) {
			tops = append(tops, top)
		}
	}
	for _, top := range tops {
		if err := os.Rename(filepath.Join(root.Name(), top), filepath.Join(to, top)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return durable.SyncIn(root, ".")
}
