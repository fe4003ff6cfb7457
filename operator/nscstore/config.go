package nscstore

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
)

const (
	configFile     = "nsc.json"
	configLockFile = ".accountd.lock"
)

// Config is what nsc.json remembers between commands. Fields of the file that
// are not named here survive a save.
type Config struct {
	StoreRoot string // folder of the operators, "" if never chosen
	Operator  string // folder name of the current operator
	Account   string // name of the current account

	doc document
}

// LoadConfig reads nsc.json in the folder dir; without the file the Config is
// zero. A damaged file is fault.Invalid and names it.
func LoadConfig(dir string) (Config, error) {
	_, cfg, err := readConfig(dir)
	return cfg, err
}

// UpdateConfig changes nsc.json in the folder dir, which it makes if it is
// missing, by fn: it holds the lock of the file from reading to writing, so
// that no parallel change is lost, and writes only if something changed. The
// time now stands in a new file as the time of the last update check of the
// official tool.
func UpdateConfig(ctx context.Context, dir string, now time.Time, fn func(*Config) error) error {
	if err := durable.MkdirAll(dir, dirMode); err != nil {
		return ioFault("make the folder of nsc.json", err)
	}
	held, err := durable.Lock(ctx, filepath.Join(dir, configLockFile))
	if err != nil {
		return ioFault("lock nsc.json", err)
	}
	defer held.Unlock()
	if err := durable.RemoveLeftovers(dir); err != nil {
		return ioFault("clean the folder of nsc.json", err)
	}
	old, cfg, err := readConfig(dir)
	if err != nil {
		return err
	}
	if err := fn(&cfg); err != nil {
		return err
	}
	data, err := cfg.encode(now, old == nil)
	if err != nil || bytes.Equal(data, old) {
		return err
	}
	return ioFault("write nsc.json", durable.WriteFile(filepath.Join(dir, configFile), data, fileMode))
}

// readConfig returns the bytes and the meaning of nsc.json.
func readConfig(dir string) ([]byte, Config, error) {
	name := filepath.Join(dir, configFile)
	data, err := disk{dir: dir}.read(configFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Config{}, nil
	}
	if err != nil {
		return nil, Config{}, ioFault("read nsc.json", err)
	}
	cfg, err := decodeConfig(data)
	if err != nil {
		return nil, Config{}, damaged(name, err).
			WithHint("repair or remove %s; it holds only the current operator and account", name)
	}
	return data, cfg, nil
}

// decodeConfig reads the content of nsc.json.
func decodeConfig(data []byte) (Config, error) {
	doc, err := parseDocument(data)
	cfg := Config{doc: doc}
	err = errors.Join(err,
		doc.get("store_root", &cfg.StoreRoot),
		doc.get("operator", &cfg.Operator),
		doc.get("account", &cfg.Account))
	return cfg, err
}

// encode writes the content of nsc.json; a new file gets every field that the
// official tool writes.
func (c *Config) encode(now time.Time, fresh bool) ([]byte, error) {
	err := errors.Join(
		c.doc.set("store_root", c.StoreRoot),
		c.doc.set("operator", c.Operator),
		c.doc.set("account", c.Account))
	if fresh {
		err = errors.Join(err,
			c.doc.set("github_updates", "nats-io/nsc"),
			c.doc.set("last_update", now.Unix()))
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "encode nsc.json: %w", err)
	}
	return c.doc.encode()
}
