package nscstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/operator"
)

// sealFile says that the keystore is sealed, and to whom.
const sealFile = stateDir + "/seal.json"

// Sealing says how a keystore is sealed: seeds are encrypted with age to
// Recipient. Its identity is a file of the owner, or Identity, which a
// passphrase opens. Credentials files are not sealed, since clients read them.
type Sealing struct {
	Recipient string `json:"recipient"`
	Identity  []byte `json:"identity,omitempty"` // of one or, while it is rotated, two lines
}

// Unlock makes f the source of the identities that open sealed seeds. It is
// asked once, when the first sealed seed is read.
func (k *Keystore) Unlock(f func() ([]string, error)) {
	asked := false
	var list []string
	var err error
	k.unlock = func() ([]string, error) {
		if !asked {
			list, err = f()
			asked = true
		}
		return list, err
	}
}

// Sealing returns how the keystore is sealed, nil if it is not.
func (k *Keystore) Sealing() (*Sealing, error) {
	data, err := disk{dir: k.dirs.Keys}.read(sealFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, ioFault("read "+sealFile, err)
	}
	s := &Sealing{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, damaged(filepath.Join(k.dirs.Keys, filepath.FromSlash(sealFile)), err).WithHint("restore the file from a copy")
	}
	return s, nil
}

// IsSealed reports whether the seed of a public key is here and sealed.
func (k *Keystore) IsSealed(pub string) bool {
	name, err := seedFile(pub)
	if err != nil {
		return false
	}
	data, err := disk{dir: k.dirs.Keys}.read(name)
	defer Wipe(data)
	return err == nil && operator.IsSealed(data)
}

// opened returns the seed of pub in the content of its file, sealed or not.
func (k *Keystore) opened(pub string, data []byte) ([]byte, error) {
	if !operator.IsSealed(data) {
		return bytes.Clone(bytes.TrimSpace(data)), nil
	}
	const hint = "name the file of the identity with --identity-file, or that of the passphrase with --passphrase-file"
	var identities []string
	var err error
	if k.unlock != nil {
		identities, err = k.unlock()
	}
	if err == nil && len(identities) == 0 {
		err = fault.New(fault.Denied, "the seed of %s is sealed", pub).About("key", pub).ByRule("sealed").WithHint(hint)
	}
	if err != nil {
		return nil, err
	}
	seed, err := operator.Open(data, identities...)
	if f := fault.As(err); f != nil {
		return nil, fault.New(f.Code, "the seed of %s: %s", pub, f.Msg).About("key", pub).ByRule(f.Rule).WithHint(hint)
	}
	return seed, err
}

// sealed returns the content of the file of a seed.
func (k *Keystore) sealed(seed []byte) ([]byte, error) {
	s, err := k.Sealing()
	if err != nil {
		return nil, err
	}
	if s == nil {
		return bytes.Clone(seed), nil
	}
	return s.seal(seed)
}

// Seal seals every seed in the keystore, and those that are added from now on.
// It returns the public keys of those that were not sealed before. Killed in
// between, it can be repeated. A keystore that is sealed to another recipient
// is fault.Conflict: see Rotate.
func (k *Keystore) Seal(ctx context.Context, to Sealing) (done []string, err error) {
	err = k.locked(ctx, func(root *os.Root) error {
		was, err := k.Sealing()
		if err != nil {
			return err
		}
		if was != nil && was.Recipient != to.Recipient {
			return fault.New(fault.Conflict, "the keystore is sealed to another identity").About("keystore", k.dirs.Keys).ByRule("sealed").
				WithHint("change the identity with: nsc keys rotate")
		}
		planned, err := k.plan(func(raw []byte) bool { return !operator.IsSealed(raw) }, to.seal)
		if err != nil {
			return err
		}
		defer planned.wipe()
		if was == nil { // before the seeds, so that those that come meanwhile are sealed
			if err := writeSealing(root, to); err != nil {
				return err
			}
		}
		done = planned.keys
		return writeSolo(root, planned.list)
	})
	return done, err
}

// Rotate seals every seed to another identity. between stands while it is at
// work, and must let both identities open; then to takes its place. Killed in
// between, it can be repeated with both identities.
func (k *Keystore) Rotate(ctx context.Context, between, to Sealing) (done []string, err error) {
	err = k.locked(ctx, func(root *os.Root) error {
		planned, err := k.plan(func([]byte) bool { return true }, to.seal)
		if err != nil {
			return err
		}
		defer planned.wipe()
		if err := writeSealing(root, between); err != nil {
			return err
		}
		if err := writeSolo(root, planned.list); err != nil {
			return err
		}
		done = planned.keys
		return writeSealing(root, to)
	})
	return done, err
}

// Unseal opens every seed in the keystore and leaves them so.
func (k *Keystore) Unseal(ctx context.Context) (done []string, err error) {
	err = k.locked(ctx, func(root *os.Root) error {
		planned, err := k.plan(operator.IsSealed, func(seed []byte) ([]byte, error) { return bytes.Clone(seed), nil })
		if err != nil {
			return err
		}
		defer planned.wipe()
		if err := writeSolo(root, planned.list); err != nil {
			return err
		}
		done = planned.keys
		// Last, since it may hold the identity that opens them.
		if err := root.Remove(sealFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return durable.SyncIn(root, stateDir)
	})
	return done, err
}

// seal is the content of the file of a seed that is sealed as s says.
func (s Sealing) seal(seed []byte) ([]byte, error) { return operator.SealTo(seed, s.Recipient) }

// rewriting is the new content of the files of seeds.
type rewriting struct {
	changes
	keys []string // their public keys
}

// plan opens the seeds whose files wanted names and lets form make their new
// content: nothing is written before all of them were opened.
func (k *Keystore) plan(wanted func(raw []byte) bool, form func(seed []byte) ([]byte, error)) (*rewriting, error) {
	all, err := k.Seeds()
	if err != nil {
		return nil, err
	}
	p := &rewriting{}
	for _, pub := range all {
		if err := k.planOne(p, pub, wanted, form); err != nil {
			p.wipe()
			return nil, err
		}
	}
	return p, nil
}

func (k *Keystore) planOne(p *rewriting, pub string, wanted func(raw []byte) bool, form func(seed []byte) ([]byte, error)) error {
	name, err := seedFile(pub)
	if err != nil {
		return err
	}
	raw, err := disk{dir: k.dirs.Keys}.read(name)
	defer Wipe(raw)
	if err != nil || !wanted(raw) {
		return err
	}
	seed, err := k.Seed(pub)
	if err != nil {
		return err
	}
	defer Wipe(seed)
	data, err := form(seed)
	if err != nil {
		return err
	}
	p.add(change{target: target{keys: true, name: name}, data: data})
	p.keys = append(p.keys, pub)
	return nil
}

func writeSealing(root *os.Root, s Sealing) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode %s: %w", sealFile, err)
	}
	return durable.WriteFileIn(root, sealFile, data, fileMode)
}
