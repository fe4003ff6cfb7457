package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"github.com/accountd/accountd/accounts/bulk"
	"github.com/accountd/accountd/claims"
)

// toDir issues to a folder with a credentials file a device, or a file with the
// JWT alone where the device has the key.
func (j *issueJob) toDir(ctx context.Context, src bulk.Source, dir string) error {
	return j.inFolder(ctx, dir, func(again bool) error {
		var before atomic.Int64
		run := bulk.Run{
			Issuer: j.issuer, Source: src, Workers: workers(),
			Each:  func(c *bulk.Credential) error { return writeCreds(dir, c) },
			Write: func(batch []bulk.Credential, _ []byte) error { j.count(batch); return nil },
		}
		if again {
			run.Known = func(d bulk.Device, c *bulk.Credential) (bool, error) {
				known, err := readCreds(dir, d, c)
				if known {
					before.Add(1)
				}
				return known, err
			}
		}
		err := run.Do(ctx)
		j.res.Before = before.Load()
		unix.Sync() // of a million files each on its own would take a day
		return j.end(err)
	})
}

func credsName(dir, id string, withSeed bool) string {
	if withSeed {
		return filepath.Join(dir, id+".creds")
	}
	return filepath.Join(dir, id+".jwt")
}

// writeCreds writes the file of a device, whole or not at all.
func writeCreds(dir string, c *bulk.Credential) error {
	name := credsName(dir, c.ID, len(c.Seed) > 0)
	temp := filepath.Join(dir, "."+c.ID+".tmp")
	text := bulk.AppendCreds(nil, c)
	defer clear(text)
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, name)
}

// readCreds reads what an earlier run wrote for d. A file that is damaged, as
// after a power failure, was of use to nobody and is written anew.
func readCreds(dir string, d bulk.Device, c *bulk.Credential) (bool, error) {
	data, err := os.ReadFile(credsName(dir, d.ID, d.Key == ""))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer clear(data)
	token, ok := bulk.CredsJWT(data)
	if !ok {
		return false, nil
	}
	doc, err := claims.Decode(string(token))
	if err != nil || doc.Name != d.ID || d.Key != "" && doc.Subject != d.Key {
		return false, nil // damaged
	}
	c.ID, c.Expires, c.Leaf = d.ID, doc.Expires, tlog.RecordHash(token)
	return true, nil
}
