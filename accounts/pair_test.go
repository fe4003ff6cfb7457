package accounts

import (
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/keys"
)

func pairOf(p keys.AccountPair) (nkeys.KeyPair, error) { return nkeys.FromSeed(p.Seed()) }
