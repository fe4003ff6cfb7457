package operator_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
)

func claimsOf(t *testing.T) (*jwt.OperatorClaims, string) {
	t.Helper()
	root, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	sk, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	oc := jwt.NewOperatorClaims(root.PublicKey())
	oc.Name = "acme"
	return oc, sk.PublicKey()
}

func value[T any](v T) *T { return &v }

func TestEdit(t *testing.T) {
	t.Parallel()
	oc, key := claimsOf(t)
	err := operator.Edit{
		AddKeys: []string{key}, AddTags: []string{"B", "a "}, AccountServerURL: value("nats://127.0.0.1:4222"),
		AddServiceURLs: []string{"NATS://Host:4222", "tls://host:4223"}, RequireSigningKeys: value(true), Expires: value(int64(5)),
	}.Apply(oc)
	if err != nil {
		t.Fatal(err)
	}
	if !oc.SigningKeys.Contains(key) || !slices.Equal(oc.Tags, jwt.TagList{"a", "b"}) || !oc.StrictSigningKeyUsage || oc.Expires != 5 ||
		!slices.Equal(oc.OperatorServiceURLs, jwt.StringList{"nats://host:4222", "tls://host:4223"}) {
		t.Errorf("%+v", oc)
	}
	was := *oc
	if err := (operator.Edit{}).Apply(oc); err != nil || oc.String() != was.String() {
		t.Errorf("an edit of nothing: %v\n%s", err, oc)
	}
	for name, c := range map[string]struct {
		edit operator.Edit
		code fault.Code
	}{
		"unknown key": {operator.Edit{RemoveKeys: []string{"OX"}}, fault.NotFound},
		"last key":    {operator.Edit{RemoveKeys: []string{key}}, fault.Invalid},
		"url":         {operator.Edit{AccountServerURL: value("host:4222")}, fault.Invalid},
		"service url": {operator.Edit{AddServiceURLs: []string{"http://host"}}, fault.Invalid},
		"system":      {operator.Edit{SystemAccount: value("SYS")}, fault.Invalid},
	} {
		copied := *oc
		if err := c.edit.Apply(&copied); !fault.Is(err, c.code) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if len(oc.SigningKeys) != 1 {
		t.Error("a refused edit of a copy changed the original")
	}
}

func ExampleEdit() {
	oc := jwt.NewOperatorClaims("ODZLZOSZNE4RK4BGUARRNF2W6A4ZDW7AS6N7XMCHHUJUHL4UYE5HTEST")
	url := "nats://127.0.0.1:4222"
	err := operator.Edit{AccountServerURL: &url, AddTags: []string{"Prod"}}.Apply(oc)
	fmt.Println(oc.AccountServerURL, oc.Tags, err)
	// Output: nats://127.0.0.1:4222 [prod] <nil>
}
