package enroll

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
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
	old, ac, all, err := k.kept(r, account)
	defer wipe(all)
	if err != nil {
		return old, rec, err
	}
	grown := false
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

// Has reports whether it has all of some keys of an account.
func (k Keyring) Has(r store.Reader, account string, public []string) (bool, error) {
	_, _, all, err := k.kept(r, account)
	defer wipe(all)
	return err == nil && !slices.ContainsFunc(public, func(key string) bool { _, has := all[key]; return !has }), err
}

// Make adds n new keys of an account, and returns their public sides with what Keep
// returns.
func (k Keyring) Make(r store.Reader, account string, n int) (public []string, old, rec store.Record, err error) {
	old, ac, all, err := k.kept(r, account)
	defer wipe(all)
	if err != nil {
		return nil, old, rec, err
	}
	for range n {
		pair, err := keys.NewAccount()
		if err != nil {
			return nil, old, rec, err
		}
		all[pair.PublicKey()], public = pair, append(public, pair.PublicKey())
	}
	rec = store.Record{Kind: store.DeviceKeys, Key: account, Name: ac.Name}
	rec.JWT, err = k.seal(account, all)
	return public, old, rec, err
}

// kept returns the record of an account's keys, that of the account, and the keys
// that are not retired.
func (k Keyring) kept(r store.Reader, account string) (old, ac store.Record, all map[string]keys.AccountPair, err error) {
	if old, err = r.Get(store.DeviceKeys, account); err != nil && !errors.Is(err, store.ErrNotFound) {
		return old, ac, nil, err
	}
	if ac, err = r.Get(store.Account, account); errors.Is(err, store.ErrNotFound) {
		return old, ac, nil, fault.New(fault.NotFound, "account %s is not stored", keys.Short(account)).About("account", account).WithHint("publish it first: nsc push")
	}
	if err != nil {
		return old, ac, nil, err
	}
	all, _ = k.read(old) // what another identity closed is of no use any more
	if all == nil {
		all = map[string]keys.AccountPair{}
	}
	maps.DeleteFunc(all, func(public string, pair keys.AccountPair) bool {
		if ac.Retired[public] == 0 {
			return false
		}
		pair.Wipe()
		return true
	})
	return old, ac, all, nil
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
