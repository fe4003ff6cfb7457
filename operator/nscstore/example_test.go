package nscstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

// A new operator with an account, then an edit of the account that is refused
// if another command was faster.
func Example() {
	ctx := context.Background()
	home, err := os.MkdirTemp("", "nscstore")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(home)
	dirs, err := nscstore.ResolveDirs(nscstore.DirOptions{Home: home})
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := nscstore.Open(dirs)
	if err != nil {
		fmt.Println(err)
		return
	}
	operatorKey, accountKey := newKey(nkeys.CreateOperator), newKey(nkeys.CreateAccount)
	err = store.Create(ctx, "acme", false, func(tx *nscstore.Tx) error {
		seed, err := operatorKey.Seed()
		if err != nil {
			return err
		}
		defer nscstore.Wipe(seed)
		if _, err := tx.AddSeed(seed); err != nil {
			return err
		}
		if err := tx.PutOperator(operatorToken("acme", operatorKey)); err != nil {
			return err
		}
		return tx.PutAccount("payments", accountToken("payments", accountKey, operatorKey))
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	operator, err := store.Operator(ctx, "acme")
	if err != nil {
		fmt.Println(err)
		return
	}
	accounts, err := operator.Accounts()
	fmt.Println(accounts, err)

	err = store.Update(ctx, "acme", func(tx *nscstore.Tx) error {
		return tx.ExpectAccount("payments", "the JWT as it was read earlier")
	})
	fmt.Println(fault.CodeOf(err), "-", err)
	// Output:
	// [payments] <nil>
	// conflict - account "payments" was changed by another command meanwhile (changed-meanwhile)
}

func ExampleResolveDirs() {
	env := map[string]string{"NKEYS_PATH": "/safe/keys"}
	dirs, err := nscstore.ResolveDirs(nscstore.DirOptions{
		Getenv: func(name string) string { return env[name] },
		Home:   "/home/ada",
		Exists: func(string) bool { return false },
	})
	fmt.Println(filepath.ToSlash(dirs.Stores), dirs.Keys, err)
	// Output: /home/ada/.local/share/nats/nsc/stores /safe/keys <nil>
}

func ExampleValidateName() {
	fmt.Println(nscstore.ValidateName("account", "../x"))
	// Output: account name "../x" has a slash or backslash (name-separator)
}

func newKey(create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	kp, err := create()
	if err != nil {
		panic(err)
	}
	return kp
}

func operatorToken(name string, key nkeys.KeyPair) string {
	pub, err := key.PublicKey()
	if err != nil {
		panic(err)
	}
	claims := jwt.NewOperatorClaims(pub)
	claims.Name = name
	token, err := claims.Encode(key)
	if err != nil {
		panic(err)
	}
	return token
}

func accountToken(name string, key, signer nkeys.KeyPair) string {
	pub, err := key.PublicKey()
	if err != nil {
		panic(err)
	}
	claims := jwt.NewAccountClaims(pub)
	claims.Name = name
	token, err := claims.Encode(signer)
	if err != nil {
		panic(err)
	}
	return token
}
