package operator

import (
	"net/url"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// Edit is a change of an operator's claims. What is nil or empty stays as it
// is.
type Edit struct {
	Starts, Expires     *int64 // Unix seconds, 0 for always and never
	AddTags, RemoveTags []string
	AddKeys, RemoveKeys []string // signing keys; those to remove must be there

	AccountServerURL *string // "" for none
	SystemAccount    *string // public key

	AddServiceURLs, RemoveServiceURLs []string // nats, tls, ws or wss

	RequireSigningKeys *bool // the root key signs nothing but the operator
}

// Apply changes oc, which must be a copy of its own: on an error it may be
// changed in part. The error is fault.NotFound for a key to remove that is not
// there, and fault.Invalid when servers would refuse the result. That nothing
// which exists is still signed by a key that goes is for the caller to check.
func (e Edit) Apply(oc *jwt.OperatorClaims) error {
	set(&oc.NotBefore, e.Starts)
	set(&oc.Expires, e.Expires)
	EditTags(&oc.Tags, e.AddTags, e.RemoveTags)
	oc.SigningKeys = slices.Clone(oc.SigningKeys)
	oc.SigningKeys.Add(e.AddKeys...)
	for _, key := range e.RemoveKeys {
		if !oc.SigningKeys.Contains(key) {
			return fault.New(fault.NotFound, "operator %q has no signing key %s", oc.Name, key).About("key", key).
				WithHint("list its keys with: nsc describe operator")
		}
		oc.SigningKeys.Remove(key)
	}
	set(&oc.SystemAccount, e.SystemAccount)
	set(&oc.StrictSigningKeyUsage, e.RequireSigningKeys)
	if oc.StrictSigningKeyUsage && len(oc.SigningKeys) == 0 {
		return fault.New(fault.Invalid, "an operator that requires signing keys needs one").ByRule("strict").
			WithHint("add one with: nsc edit operator --sk generate")
	}
	if err := e.urls(oc); err != nil {
		return err
	}
	return check(oc, e.AddKeys)
}

func (e Edit) urls(oc *jwt.OperatorClaims) error {
	if e.AccountServerURL != nil {
		if err := checkAccountServer(*e.AccountServerURL); err != nil {
			return err
		}
		oc.AccountServerURL = *e.AccountServerURL
	}
	oc.OperatorServiceURLs = slices.Clone(oc.OperatorServiceURLs)
	for _, u := range e.AddServiceURLs {
		oc.OperatorServiceURLs.Add(strings.ToLower(u))
	}
	for _, u := range e.RemoveServiceURLs {
		oc.OperatorServiceURLs.Remove(strings.ToLower(u))
	}
	return nil
}

// checkAccountServer refuses a URL that no tool could use.
func checkAccountServer(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "nats", "tls", "ws", "wss"}, strings.ToLower(u.Scheme)) {
		return fault.New(fault.Invalid, "%q is not the URL of an account server", text).ByRule("url").
			WithHint("write it as nats://host:4222, or with tls, ws, wss, http or https")
	}
	return nil
}

// check is fault.Invalid when servers would refuse oc. fresh are keys that were
// checked where they were parsed.
func check(oc *jwt.OperatorClaims, fresh []string) error {
	c := oc.Operator
	c.SigningKeys = slices.DeleteFunc(slices.Clone(oc.SigningKeys), func(k string) bool { return slices.Contains(fresh, k) })
	vr := jwt.CreateValidationResults()
	c.Validate(vr)
	if errs := vr.Errors(); len(errs) > 0 {
		return fault.New(fault.Invalid, "servers would refuse operator %s: %s", oc.Name, errs[0].Error()).ByRule("blocking")
	}
	return nil
}

// EditTags adds and then removes tags. They are lower-cased and kept sorted, as
// the official tool does.
func EditTags(list *jwt.TagList, add, remove []string) {
	out := slices.Clone(*list)
	out.Add(add...)
	out.Remove(remove...)
	if slices.Equal(out, *list) {
		return
	}
	slices.Sort(out)
	*list = out
}

func set[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}
