package enroll

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/store"
)

// Keyring keeps the keys of fleets in the store, sealed to an age identity. It
// is a resolver.Keyring.
type Keyring struct{ identity string }

// Recipient returns to whom keys for this accountd are sealed.
func (k Keyring) Recipient() (string, error) { return operator.Recipient(k.identity) }

// Keep adds sealed keys of an account, and leaves out those that are retired.
// old and rec are equal if there is nothing to add.
func (k Keyring) Keep(r store.Reader, account string, sealed []byte) (old, rec store.Record, err error) {
	given, err := k.open(account, sealed)
	defer wipe(given)
	if err != nil {
		return old, rec, err
	}
	old, err = r.Get(store.DeviceKeys, account)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return old, rec, err
	}
	have, _ := k.read(old) // what another identity closed is of no use any more
	defer wipe(have)
	ac, err := r.Get(store.Account, account)
	if errors.Is(err, store.ErrNotFound) {
		return old, rec, fault.New(fault.NotFound, "account %s is not stored", keys.Short(account)).About("account", account).WithHint("publish it first: nsc push")
	}
	if err != nil {
		return old, rec, err
	}
	all, grown := map[string]keys.AccountPair{}, false
	for public, pair := range have {
		if ac.Retired[public] == 0 {
			all[public] = pair
		}
	}
	for public, pair := range given {
		if _, has := all[public]; !has && ac.Retired[public] == 0 {
			all[public], grown = pair, true
		}
	}
	if !grown {
		return old, old, nil
	}
	rec = store.Record{Kind: store.DeviceKeys, Key: account, Name: ac.Name}
	rec.JWT, err = k.seal(account, all)
	return old, rec, err
}

// open reads a sealed bundle.
func (k Keyring) open(account string, sealed []byte) (map[string]keys.AccountPair, error) {
	plain, err := operator.Open(sealed, k.identity)
	if err != nil {
		return nil, fault.New(fault.Invalid, "what was sealed to accountd cannot be opened").ByRule("sealed").
			WithHint("ask again to whom it is to be sealed; accountd may have another identity by now")
	}
	defer nscstore.Wipe(plain)
	var bundle api.KeyBundle
	if err := json.Unmarshal(plain, &bundle); err != nil || bundle.Account != account {
		return nil, fault.New(fault.Invalid, "what was sealed to accountd are no keys of account %s", keys.Short(account)).ByRule("sealed")
	}
	out := map[string]keys.AccountPair{}
	for _, seed := range bundle.Seeds {
		pair, err := keys.AccountFromSeed(seed)
		nscstore.Wipe(seed)
		if err != nil {
			wipe(out)
			return nil, err
		}
		out[pair.PublicKey()] = pair
	}
	return out, nil
}

// read returns the keys in a record, by public key; none of a zero one. The
// caller wipes them.
func (k Keyring) read(rec store.Record) (map[string]keys.AccountPair, error) {
	if rec.JWT == "" {
		return nil, nil
	}
	sealed, err := base64.StdEncoding.DecodeString(rec.JWT)
	if err != nil {
		return nil, fault.New(fault.Internal, "keys of account %s: %w", rec.Key, err)
	}
	return k.open(rec.Key, sealed)
}

func (k Keyring) seal(account string, all map[string]keys.AccountPair) (string, error) {
	bundle := api.KeyBundle{Account: account}
	for _, pair := range all {
		bundle.Seeds = append(bundle.Seeds, pair.Seed())
	}
	slices.SortFunc(bundle.Seeds, slices.Compare)
	plain, err := json.Marshal(bundle)
	for _, seed := range bundle.Seeds {
		nscstore.Wipe(seed)
	}
	if err != nil {
		return "", fault.New(fault.Internal, "encode keys: %w", err)
	}
	defer nscstore.Wipe(plain)
	sealed, err := operator.Seal(plain, k.identity)
	return base64.StdEncoding.EncodeToString(sealed), err
}

func wipe(pairs map[string]keys.AccountPair) {
	for _, p := range pairs {
		p.Wipe()
	}
}
