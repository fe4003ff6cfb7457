package operator_test

import (
	"fmt"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
)

// Who may sign accounts: in strict mode a signing key, and not the root key.
func ExampleTrustOf() {
	root, err := keys.NewOperator()
	if err != nil {
		fmt.Println(err)
		return
	}
	oc := jwt.NewOperatorClaims(root.PublicKey())
	oc.Name, oc.StrictSigningKeyUsage = "acme", true
	oc.SigningKeys.Add("OCDNUCNHDRV4BJYJI5QX7SH5A24J6VHEGSTQSUUFZJ6QQNTPOXMUTLQE")
	draft, err := claims.New(oc)
	if err != nil {
		fmt.Println(err)
		return
	}
	doc, err := draft.Sign(root, 1_893_499_200)
	if err != nil {
		fmt.Println(err)
		return
	}
	trust, err := operator.TrustOf(doc)
	fmt.Println(trust.Signs(root.PublicKey()), trust.Signs(oc.SigningKeys[0]), err)
	// Output: false true <nil>
}

// A secret at rest: whoever has the passphrase opens it, and nobody else. The work
// is little here, so that the example is quick; 0 is what programs want.
func ExampleSealWithPassphrase() {
	sealed, err := operator.SealWithPassphrase([]byte("a seed"), []byte("correct horse"), 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	plain, err := operator.OpenWithPassphrase(sealed, []byte("correct horse"))
	fmt.Println(operator.IsSealed(sealed), string(plain), err)
	_, err = operator.OpenWithPassphrase(sealed, []byte("wrong"))
	fmt.Println(err)
	// Output:
	// true a seed <nil>
	// the sealed data cannot be opened with this passphrase (sealed)
}
