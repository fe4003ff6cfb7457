package nscstore

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// backupVersion is that of the archives that this program writes and reads.
const backupVersion = 1

// Names in an archive: the manifest comes first, then the files as they lie
// below a store root and a keystore, seeds not sealed.
const (
	manifestFile = "manifest.json"
	storesPrefix = "stores/"
	keysPrefix   = "keys/"
)

// Contents says what is in an archive.
type Contents struct {
	Version  int    `json:"version"`
	Operator string `json:"operator"` // folder name
	Key      string `json:"key"`      // the root key
	Made     int64  `json:"made"`     // Unix seconds
	Accounts int    `json:"accounts"`
	Users    int    `json:"users"`
	Seeds    int    `json:"keys"`
	Creds    int    `json:"credentials"`
	Files    int    `json:"files"` // in all

	// Missing are keys that the claims name and whose seeds were not here.
	Missing []string `json:"missing,omitempty"`
}

// archive is what an archive holds, in the order of its entries.
type archive struct {
	Contents
	files []archived
}

type archived struct {
	name string
	data []byte
}

func (a *archive) add(name string, data []byte) { a.files = append(a.files, archived{name, data}) }

func (a *archive) wipe() {
	for _, f := range a.files {
		Wipe(f.data)
	}
}

// Backup writes one operator to w as a tar archive: its claims, what is known of
// their publication, the seeds of all keys that they name, and the credentials
// of its users, as they are at one moment. The archive holds the seeds as they
// are: encrypt it. now is noted in it.
func (s *Store) Backup(ctx context.Context, operator string, w io.Writer, now time.Time) (Contents, error) {
	a := &archive{Contents: Contents{Version: backupVersion, Made: now.Unix()}}
	defer a.wipe()
	if err := s.Update(ctx, operator, func(tx *Tx) error { return a.collect(tx) }); err != nil {
		return a.Contents, err
	}
	a.Files = len(a.files)
	manifest, err := json.Marshal(a.Contents)
	if err != nil {
		return a.Contents, fault.New(fault.Internal, "encode manifest: %w", err)
	}
	tw := tar.NewWriter(w)
	for _, f := range slices.Concat([]archived{{manifestFile, manifest}}, a.files) {
		head := &tar.Header{Name: f.name, Size: int64(len(f.data)), Mode: int64(fileMode), ModTime: now, Format: tar.FormatPAX}
		if err := tw.WriteHeader(head); err != nil {
			return a.Contents, ioFault("write backup", err)
		}
		if _, err := tw.Write(f.data); err != nil {
			return a.Contents, ioFault("write backup", err)
		}
	}
	return a.Contents, ioFault("write backup", tw.Close())
}

// collect reads the operator of tx, whose lock is held.
func (a *archive) collect(tx *Tx) error {
	a.Operator = tx.Name()
	top := storesPrefix + tx.Name() + "/"
	info, err := tx.tree.read(infoFile)
	if err != nil {
		return ioFault("read "+infoFile, err)
	}
	a.add(top+infoFile, info)
	file, err := tx.operatorFile()
	if err != nil {
		return err
	}
	token, err := tx.JWT()
	if err != nil {
		return err
	}
	a.add(top+file, []byte(token))
	oc, err := jwt.DecodeOperatorClaims(token)
	if err != nil {
		return damaged(tx.path(file), err)
	}
	a.Key = oc.Subject
	if err := a.seeds(tx, append([]string{oc.Subject}, oc.SigningKeys...)...); err != nil {
		return err
	}
	accounts, err := tx.Accounts()
	if err != nil {
		return err
	}
	for _, account := range accounts {
		if err := a.account(tx, top, account); err != nil {
			return err
		}
	}
	return errors.Join(a.perAccount(tx, top, keptDir), a.perAccount(tx, top, offersDir))
}

// perAccount adds what dir holds of accounts: users of deleted ones, or offers.
func (a *archive) perAccount(tx *Tx, top, dir string) error {
	keys, err := tx.tree.list(dir)
	if err != nil {
		return ioFault("list "+dir, err)
	}
	for _, key := range keys {
		names, err := tx.tree.list(path.Join(dir, key))
		if err != nil {
			return ioFault("list "+dir, err)
		}
		for _, name := range names {
			name = path.Join(dir, key, name)
			data, err := tx.tree.read(name)
			if err != nil {
				return ioFault("read "+name, err)
			}
			a.add(top+name, data)
		}
	}
	return nil
}

func (a *archive) account(tx *Tx, top, account string) error {
	token, err := tx.AccountJWT(account)
	if err != nil {
		return err
	}
	ac, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return damaged(tx.path(accountFile(account)), err)
	}
	a.Accounts++
	a.add(top+accountFile(account), []byte(token))
	if err := a.publication(tx, top, ac.Subject); err != nil {
		return err
	}
	keys := append([]string{ac.Subject}, ac.SigningKeys.Keys()...)
	if ac.Authorization.XKey != "" {
		keys = append(keys, ac.Authorization.XKey)
	}
	users, err := tx.Users(account)
	if err != nil {
		return err
	}
	for _, user := range users {
		token, err := tx.UserJWT(account, user)
		if err != nil {
			return err
		}
		id, err := identify(token)
		if err != nil {
			return damaged(tx.path(userFile(account, user)), err)
		}
		a.Users++
		a.add(top+userFile(account, user), []byte(token))
		keys = append(keys, id.Subject)
	}
	if err := a.seeds(tx, keys...); err != nil {
		return err
	}
	return a.creds(tx, account)
}

// publication adds what is known of an account's publication as a file of its
// own, and as another one the JWT that local edits build on.
func (a *archive) publication(tx *Tx, top, accountKey string) error {
	p, known, err := tx.Published(accountKey)
	if err != nil || !known {
		return err
	}
	data, err := encodePublication(p)
	if err != nil {
		return err
	}
	a.add(top+path.Join(stateDir, accountKey+publicationSuffix), data)
	if p.Base != "" {
		a.add(top+path.Join(stateDir, accountKey+jwtSuffix), []byte(p.Base))
	}
	return nil
}

// publicationSuffix ends the name of such a file.
const publicationSuffix = ".json"

func (a *archive) seeds(tx *Tx, keys ...string) error {
	slices.Sort(keys[1:])
	for _, pub := range keys {
		seed, err := tx.keys.Seed(pub)
		if fault.Is(err, fault.NotFound) {
			a.Missing = append(a.Missing, pub)
			continue
		}
		if err != nil {
			return err
		}
		name, err := seedFile(pub)
		if err != nil {
			return err
		}
		a.Seeds++
		a.add(keysPrefix+name, seed)
	}
	return nil
}

func (a *archive) creds(tx *Tx, account string) error {
	users, err := tx.keys.CredsOf(tx.Name(), account)
	if err != nil {
		return err
	}
	for _, user := range users {
		data, err := tx.keys.Creds(tx.Name(), account, user)
		if err != nil {
			return err
		}
		name, err := credsFile(tx.Name(), account, user)
		if err != nil {
			return err
		}
		a.Creds++
		a.add(keysPrefix+name, data)
	}
	return nil
}

// ReadBackup reads the archive of a backup to its end and tells what it holds.
// It touches nothing.
func ReadBackup(r io.Reader) (Contents, error) {
	a, err := readArchive(r)
	if err != nil {
		return Contents{}, err
	}
	a.wipe()
	return a.Contents, nil
}

// Restore makes the operator in an archive of Backup anew, with its keys and
// credentials: all of it, or nothing. An existing operator of that name is
// fault.Conflict. Seeds are sealed if the keystore is.
func (s *Store) Restore(ctx context.Context, r io.Reader) (Contents, error) {
	a, err := readArchive(r)
	if err != nil {
		return Contents{}, err
	}
	defer a.wipe()
	return a.Contents, s.Create(ctx, a.Operator, false, func(tx *Tx) error {
		for _, f := range a.files {
			if err := a.stage(tx, f); err != nil {
				return err
			}
		}
		return nil
	})
}

func badArchive(format string, args ...any) error {
	return fault.New(fault.Invalid, "the backup is damaged: %w", fmt.Errorf(format, args...)).ByRule("backup")
}

// readArchive reads an archive to its end. What it returns is complete, and the
// caller wipes it.
func readArchive(r io.Reader) (*archive, error) {
	a := &archive{}
	err := a.read(r)
	if err != nil {
		a.wipe()
	}
	return a, err
}

func (a *archive) read(r io.Reader) error {
	if err := a.readFiles(tar.NewReader(r)); err != nil {
		return badArchive("%w", err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // what is sealed tells at its end whether it was changed
		return badArchive("%w", err)
	}
	if len(a.files) == 0 || a.files[0].name != manifestFile {
		return badArchive("it does not begin with a manifest")
	}
	manifest := a.files[0].data
	a.files = a.files[1:]
	if err := json.Unmarshal(manifest, &a.Contents); err != nil {
		return badArchive("%w", err)
	}
	if a.Version != backupVersion {
		return fault.New(fault.Invalid, "the backup has version %d, this program reads %d", a.Version, backupVersion).ByRule("backup")
	}
	if a.Files != len(a.files) {
		return badArchive("it has %d files of %d", len(a.files), a.Files)
	}
	return nil
}

// readFiles reads the entries, with limits on their number and size.
func (a *archive) readFiles(tr *tar.Reader) error {
	for {
		head, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if head.Typeflag != tar.TypeReg || head.Size > maxFile || len(a.files) > maxSteps {
			return fmt.Errorf("%q is no file of a backup", head.Name)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return err
		}
		a.add(head.Name, data)
	}
}

// stage puts a file of the archive where it belongs, checked as any other.
func (a *archive) stage(tx *Tx, f archived) error {
	if name, ok := strings.CutPrefix(f.name, keysPrefix); ok {
		return a.stageKey(tx, name, f)
	}
	name, ok := strings.CutPrefix(f.name, storesPrefix+a.Operator+"/")
	if dir, base := path.Split(name); ok && dir == stateDir+"/" {
		return a.stagePublication(tx, base, f)
	}
	if err := (step{To: name}).check(); !ok || err != nil {
		return badArchive("%q is not of its operator", f.name)
	}
	parts := strings.Split(name, "/")
	entity := strings.TrimSuffix(path.Base(name), jwtSuffix)
	switch {
	case name == infoFile:
		if _, _, err := decodeInfo(f.data); err != nil {
			return badArchive("%s: %w", f.name, err)
		}
		tx.put(name, bytes.Clone(f.data))
		return nil
	case parts[0] == stateDir && len(parts) == 4: // read as what it is when it is used
		tx.put(name, bytes.Clone(f.data))
		return nil
	case len(parts) == 1:
		return tx.PutOperator(string(f.data))
	case len(parts) == 3 && parts[1] == entity:
		return tx.PutAccount(entity, string(f.data))
	case len(parts) == 4:
		return tx.PutUser(parts[1], entity, string(f.data))
	}
	return badArchive("%q is not of a store", f.name)
}

func (a *archive) stagePublication(tx *Tx, base string, f archived) error {
	accountKey, isBase := strings.CutSuffix(base, jwtSuffix)
	accountKey = strings.TrimSuffix(accountKey, publicationSuffix)
	var p Publication
	var err error
	if isBase {
		if p, _, err = tx.Published(accountKey); err == nil {
			p.Base = string(f.data)
			_, _, err = checkToken("account", p.Base)
		}
	} else {
		p, err = decodePublication(f.data)
	}
	if err == nil {
		err = tx.SetPublished(accountKey, p)
	}
	if err != nil {
		return badArchive("%s: %w", f.name, err)
	}
	return nil
}

func (a *archive) stageKey(tx *Tx, name string, f archived) error {
	parts := strings.Split(name, "/")
	if err := (step{Keys: true, To: name}).check(); err != nil {
		return badArchive("%q is not of a keystore", f.name)
	}
	if parts[0] == credsDir && parts[1] == a.Operator {
		return tx.PutCreds(parts[2], strings.TrimSuffix(parts[3], credsSuffix), f.data)
	}
	pub, err := tx.AddSeed(f.data)
	if err != nil {
		return err
	}
	if where, err := seedFile(pub); err != nil || where != name {
		return badArchive("%q holds the seed of another key", f.name)
	}
	return nil
}
