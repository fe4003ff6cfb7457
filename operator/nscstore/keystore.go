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

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
)

// Names of the official keystore.
const (
	keysDir       = "keys"
	credsDir      = "creds"
	seedSuffix    = ".nk"
	credsSuffix   = ".creds"
	gitIgnoreFile = ".gitignore"
)

// What keeps secrets out of git: gitIgnore in the keystore, as the official
// tool knows it, and gitIgnoreAll in the folder of unfinished writes.
const (
	gitIgnore    = "**/*.nk\n**/*.creds\n"
	gitIgnoreAll = "*\n"
)

// soloPrefix marks the temporary files of writes outside a transaction.
const soloPrefix = "solo-"

// Keystore is the folder of seeds and credentials. Seeds are shared by all
// operators. Writes that belong to a change of a store go through [Tx]; the
// ones here stand alone.
type Keystore struct {
	dirs   Dirs
	unlock func() ([]string, error) // identities that open sealed seeds; nil without any
}

// Dir returns the folder of the keystore.
func (k *Keystore) Dir() string { return k.dirs.Keys }

// seedFile is the name of the file of a seed, relative to the keystore.
func seedFile(pub string) (string, error) {
	if !nkeys.IsValidPublicKey(pub) {
		return "", fault.New(fault.Invalid, "%q is no public key", pub).About("key", pub).ByRule("key-malformed")
	}
	return path.Join(keysDir, pub[:1], pub[1:3], pub+seedSuffix), nil
}

// credsFile is the name of a credentials file, relative to the keystore.
func credsFile(operator, account, user string) (string, error) {
	err := errors.Join(requireSafe("operator", operator), requireSafe("account", account), requireSafe("user", user))
	return path.Join(credsDir, operator, account, user+credsSuffix), err
}

// SeedPath returns the path of the file of a seed, which need not exist.
func (k *Keystore) SeedPath(pub string) (string, error) {
	name, err := seedFile(pub)
	return filepath.Join(k.dirs.Keys, filepath.FromSlash(name)), err
}

// CredsPath returns the path of a credentials file, which need not exist.
func (k *Keystore) CredsPath(operator, account, user string) (string, error) {
	name, err := credsFile(operator, account, user)
	return filepath.Join(k.dirs.Keys, filepath.FromSlash(name)), err
}

// HasSeed reports whether the seed of a public key is here.
func (k *Keystore) HasSeed(pub string) bool {
	name, err := seedFile(pub)
	return err == nil && disk{dir: k.dirs.Keys}.has(name)
}

// Seed returns the seed of a public key: fault.NotFound without it,
// fault.Invalid if the file is damaged, fault.Denied if it is sealed and there
// is no identity to open it. The caller wipes it.
func (k *Keystore) Seed(pub string) ([]byte, error) {
	name, err := seedFile(pub)
	if err != nil {
		return nil, err
	}
	raw, err := disk{dir: k.dirs.Keys}.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "the seed of %s is not in the keystore %s", pub, k.dirs.Keys).
			About("key", pub).WithHint("import it with: nsc import keys --dir <folder>")
	}
	if err != nil {
		return nil, ioFault("read seed of "+pub, err)
	}
	defer Wipe(raw)
	seed, err := k.opened(pub, raw)
	if err != nil {
		return nil, err
	}
	got, err := publicKey(seed)
	if err == nil && got != pub {
		err = errors.New("it holds the seed of another key")
	}
	if err != nil {
		Wipe(seed)
		file, _ := k.SeedPath(pub)
		return nil, damaged(file, err).WithHint("restore the file from a copy")
	}
	return seed, nil
}

// Seeds returns the public keys whose seeds are here, sorted.
func (k *Keystore) Seeds() ([]string, error) {
	var keys []string
	root := disk{dir: k.dirs.Keys}
	kinds, err := root.list(keysDir)
	if err != nil {
		return nil, ioFault("list seeds", err)
	}
	for _, kind := range kinds {
		shards, err := root.list(path.Join(keysDir, kind))
		if err != nil {
			continue // a file
		}
		for _, shard := range shards {
			files, err := root.list(path.Join(keysDir, kind, shard))
			if err != nil {
				continue
			}
			for _, f := range files {
				pub, ok := strings.CutSuffix(f, seedSuffix)
				if name, err := seedFile(pub); ok && err == nil && name == path.Join(keysDir, kind, shard, f) {
					keys = append(keys, pub)
				}
			}
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// Creds returns the content of a credentials file: fault.NotFound without it.
// The caller wipes it.
func (k *Keystore) Creds(operator, account, user string) ([]byte, error) {
	name, err := credsFile(operator, account, user)
	if err != nil {
		return nil, err
	}
	data, err := disk{dir: k.dirs.Keys}.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "no credentials of user %q in account %q", user, account).
			About("user", user).WithHint("make them with: nsc generate creds -a %s -n %s", account, user)
	}
	return data, ioFault("read credentials of "+user, err)
}

// CredsOf returns the names of the users of an account whose credentials files
// are here, sorted.
func (k *Keystore) CredsOf(operator, account string) ([]string, error) {
	file, err := credsFile(operator, account, "x")
	if err != nil {
		return nil, err
	}
	files, err := disk{dir: k.dirs.Keys}.list(path.Dir(file))
	if err != nil {
		return nil, ioFault("list credentials", err)
	}
	var users []string
	for _, f := range files {
		if user, ok := strings.CutSuffix(f, credsSuffix); ok && safeName(user) {
			users = append(users, user)
		}
	}
	return users, nil
}

// AddSeed stores a seed by itself and returns its public key. To store it
// together with the JWT that needs it, use [Tx.AddSeed].
func (k *Keystore) AddSeed(ctx context.Context, seed []byte) (pub string, err error) {
	pub, _, err = placeSeed(seed)
	if err != nil {
		return "", err
	}
	return pub, k.AddSeeds(ctx, seed)
}

// AddSeeds is AddSeed for many, which together cost little more than one. After
// an error some may be stored.
func (k *Keystore) AddSeeds(ctx context.Context, seeds ...[]byte) error {
	var files changes
	defer files.wipe()
	if len(seeds) == 0 {
		return nil
	}
	return k.locked(ctx, func(root *os.Root) error {
		for _, seed := range seeds {
			_, name, err := placeSeed(seed)
			if err != nil {
				return err
			}
			data, err := k.sealed(bytes.TrimSpace(seed))
			if err != nil {
				return err
			}
			files.add(change{target: target{keys: true, name: name}, data: data})
		}
		return writeSolo(root, files.list)
	})
}

// writeSolo replaces files of the keystore, whose lock is held.
func writeSolo(root *os.Root, files []change) error {
	temps, dirs := make([]string, len(files)), make([]string, len(files))
	var grown []string
	for i, f := range files {
		temps[i], dirs[i] = path.Join(stateDir, soloPrefix+rand.Text()+tempSuffix), path.Dir(f.name)
		more, err := durable.MakeDirsIn(root, dirs[i], dirMode)
		if err != nil {
			return err
		}
		grown = append(grown, more...)
		if err := durable.CreateIn(root, temps[i], f.data, fileMode); err != nil {
			return err // the next holder of the lock removes what is left
		}
	}
	if err := durable.SyncIn(root, append(distinct(grown), temps...)...); err != nil {
		return err
	}
	for i, f := range files {
		if err := root.Rename(temps[i], f.name); err != nil {
			return err
		}
	}
	return durable.SyncIn(root, distinct(dirs)...)
}

// distinct sorts names and leaves one of each.
func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// RemoveSeed removes a seed by itself; it is no error if it is not here.
func (k *Keystore) RemoveSeed(ctx context.Context, pub string) error {
	name, err := seedFile(pub)
	if err != nil || !k.HasSeed(pub) {
		return err
	}
	return k.locked(ctx, func(root *os.Root) error {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return durable.SyncIn(root, path.Dir(name))
	})
}

// placeSeed returns the public key and the file name of a seed.
func placeSeed(seed []byte) (pub, name string, err error) {
	pub, err = publicKey(bytes.TrimSpace(seed))
	if err != nil {
		return "", "", fault.New(fault.Invalid, "the text is not a seed").ByRule("seed-malformed")
	}
	name, err = seedFile(pub)
	return pub, name, err
}

// locked runs fn under the lock of the writes that stand alone, in a keystore
// that exists and has no leftovers of such writes.
func (k *Keystore) locked(ctx context.Context, fn func(*os.Root) error) error {
	root, err := k.open()
	if err != nil {
		return err
	}
	defer root.Close()
	held, err := durable.LockIn(ctx, root, path.Join(stateDir, lockFile))
	if err != nil {
		return ioFault("lock keystore", err)
	}
	defer held.Unlock()
	if err := removeTemps(root, stateDir, soloPrefix); err != nil {
		return ioFault("clean keystore", err)
	}
	return ioFault("write keystore", fn(root))
}

// open opens the folder of the keystore for writing, made ready.
func (k *Keystore) open() (*os.Root, error) {
	if err := durable.MkdirAll(k.dirs.Keys, dirMode); err != nil {
		return nil, ioFault("make keystore", err)
	}
	root, err := os.OpenRoot(k.dirs.Keys)
	if err != nil {
		return nil, ioFault("open keystore", err)
	}
	if err := k.prepare(root); err != nil {
		return nil, errors.Join(ioFault("make keystore", err), root.Close())
	}
	return root, nil
}

// prepare makes what a keystore has from the start.
func (k *Keystore) prepare(root *os.Root) error {
	if err := durable.MkdirAllIn(root, stateDir, dirMode); err != nil {
		return err
	}
	if k.dirs.NoGitIgnore {
		return nil
	}
	return errors.Join(
		writeMissing(root, path.Join(stateDir, gitIgnoreFile), gitIgnoreAll),
		writeMissing(root, gitIgnoreFile, gitIgnore))
}

// writeMissing writes a file unless it is there.
func writeMissing(root *os.Root, name, content string) error {
	if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.WriteFileIn(root, name, []byte(content), fileMode)
}
