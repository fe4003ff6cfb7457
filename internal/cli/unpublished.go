package cli

import (
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/revocation"
)

// notPublished is said of what only the local store says.
const notPublished = "not published yet"

// maxUnpublished bounds the accounts that a warning names.
const maxUnpublished = 10

// unpublished returns the account as work if it has changes that accountd is
// not known to have, else nil. Of one that was never to be published nothing is
// known, and it has none.
func (r *root) unpublished(ac *account) *work {
	works, err := r.works(ac)
	if err != nil || !works[0].dirty || works[0].pub == (nscstore.Publication{}) {
		return nil
	}
	return works[0]
}

// refused reports whether the version that accountd has refuses a JWT for key
// that was issued at iat. Where that version is not known the answer is no.
func (w *work) refused(key string, iat int64) bool {
	doc := w.published()
	if doc == nil {
		return false
	}
	c, err := claims.As[jwt.AccountClaims](doc)
	return err == nil && revocation.List(c.Revocations).Covers(key, iat)
}

// unpublishedWarnings names the accounts whose changes are not published; only,
// by name or public key, is the one to look at, "" for all.
func (r *root) unpublishedWarnings(only string) []string {
	names, err := r.Accounts()
	if only != "" {
		var name string
		name, err = r.Account(only)
		names = []string{name}
	}
	marked, merr := r.Unpublished()
	if err != nil || merr != nil || only == "" && len(marked) == 0 {
		return nil
	}
	var found []string
	for _, name := range names {
		if ac, err := r.load(name); err == nil && (only != "" || marked[ac.key]) && r.unpublished(ac) != nil {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil
	}
	more, which := "", "-a "+strings.Join(shellEach(found), " -a ")
	if n := len(found) - maxUnpublished; n > 0 {
		found, more, which = found[:maxUnpublished], fmt.Sprintf(" and %d more", n), "-A"
	}
	return []string{fmt.Sprintf("unpublished local changes of %s%s: publish with nsc push %s", strings.Join(found, ", "), more, which)}
}

// neverPublished adds to the error of an account that accountd does not know how
// to publish it, if the local store has it.
func (r *root) neverPublished(account string, err error) error {
	if name, lerr := r.Account(account); lerr == nil && fault.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "account %s is only in the local store", name).About("account", name).
			WithHint("publish it with: nsc push -a %s", shellWords([]string{name}))
	}
	return err
}

func shellEach(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = shellWords([]string{w})
	}
	return out
}
