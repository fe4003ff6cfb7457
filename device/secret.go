package device

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// secret reads a file of the folder that may be sealed.
func (f folder) secret(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Clean(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.NotFound, "read what the device has: %w", err).About("file", name)
	case err != nil:
		return nil, fault.New(fault.Denied, "read what the device has: %w", err).About("file", name)
	case !operator.IsSealed(data):
		return data, nil
	}
	const hint = "name the file of the identity with --identity-file, or that of the passphrase with --passphrase-file"
	if len(f.identities) == 0 {
		return nil, fault.New(fault.Denied, "%s is sealed", name).About("file", name).ByRule("sealed").WithHint(hint)
	}
	plain, err := operator.Open(data, f.identities...)
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "%s: %w", name, err).About("file", name).ByRule(fault.RuleOf(err)).WithHint(hint)
	}
	return plain, nil
}

// keep writes a secret into the folder, sealed if it is to be.
func (f folder) keep(name string, data []byte) error {
	if len(f.identities) > 0 {
		var err error
		if data, err = operator.Seal(data, f.identities[0]); err != nil {
			return err
		}
	}
	return writeFault(name, f.write(name, data))
}

// seal seals what lies in the folder as it is, if it is to be sealed, and removes
// what clients read from it. What a disk keeps of files that were replaced is
// beyond its reach.
func (f folder) seal() error {
	if len(f.identities) == 0 {
		return nil
	}
	for _, name := range []string{f.key(), f.creds(), f.token()} {
		data, err := os.ReadFile(filepath.Clean(name))
		if err == nil && !operator.IsSealed(data) {
			err = f.keep(name, data)
		}
		nscstore.Wipe(data)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Denied, "seal what the device has: %w", err).About("file", name)
		}
	}
	old := filepath.Join(f.dir, jwtName)
	if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return writeFault(old, err)
	}
	return nil
}

// hand writes what clients read, as far as it is not there.
func (a *Agent) hand() error {
	if a.clients == "" {
		return nil
	}
	creds, err := a.secret(a.creds())
	if err != nil {
		return err
	}
	defer nscstore.Wipe(creds)
	token, seed, err := nscstore.ParseCreds(creds)
	if err != nil {
		return fault.New(fault.Invalid, "%s is damaged: %w", a.creds(), err).About("file", a.creds())
	}
	nscstore.Wipe(seed)
	files := map[string][]byte{credsName: creds}
	if a.bearer {
		files[jwtName] = append([]byte(token), '\n')
	}
	for name, data := range files {
		if err := a.replace(filepath.Join(a.clients, name), data); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file, and its folder, unless it is as wanted.
func (f folder) replace(name string, data []byte) error {
	was, err := os.ReadFile(filepath.Clean(name))
	defer nscstore.Wipe(was)
	if err == nil && bytes.Equal(was, data) {
		return nil
	}
	if err := durable.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return writeFault(name, err)
	}
	return writeFault(name, f.write(name, data))
}
