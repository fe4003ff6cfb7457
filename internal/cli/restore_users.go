package cli

import (
	"errors"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/revocation"
)

// formerUsers returns the users that a deleted account had here: those that were
// kept, and those whose credentials files are in the keystore. What is not what
// it seems does not count.
func (s *session) formerUsers(r *root, account, key string) ([]*claims.Document, error) {
	kept, err := r.KeptUsers(key)
	if err != nil {
		return nil, err
	}
	ks := s.store.Keystore()
	names, err := ks.CredsOf(r.Name(), account)
	if err != nil {
		return nil, err
	}
	var out []*claims.Document
	known := map[string]bool{}
	add := func(doc *claims.Document) {
		if doc != nil && doc.Type == claims.TypeUser && accounts.Of(doc) == key && !known[doc.Name] {
			known[doc.Name] = true
			out = append(out, doc)
		}
	}
	for _, token := range kept {
		if doc, err := claims.Decode(token); err == nil {
			add(doc)
		}
	}
	for _, name := range names {
		add(userInCreds(ks, r.Name(), account, name))
	}
	return out, nil
}

// userInCreds returns the user in a credentials file, nil if it is none of that
// name.
func userInCreds(ks *nscstore.Keystore, operatorName, account, name string) *claims.Document {
	data, err := ks.Creds(operatorName, account, name)
	if err != nil {
		return nil
	}
	defer nscstore.Wipe(data)
	token, seed, err := nscstore.ParseCreds(data)
	if err != nil {
		return nil
	}
	nscstore.Wipe(seed)
	doc, err := claims.Decode(token)
	if err != nil || doc.Name != name {
		return nil
	}
	return doc
}

// restoreDraft makes the version that brings an account back, and says what
// that means for its users.
func (s *session) restoreDraft(last *claims.Document, users []*claims.Document, revokeUsers bool) (*claims.Draft, *receipt, error) {
	rec := &receipt{Kind: "account", Name: last.Name, Key: last.Subject}
	name := shellWords([]string{last.Name})
	if !revokeUsers {
		rec.Warnings = append(rec.Warnings, "credentials that were not revoked are valid again, also those of users that the local store has forgotten; "+
			"to refuse all that were issued until now: nsc revoke user '*' -a "+name)
		return claims.Redo(last), rec, nil
	}
	at := s.now
	for _, u := range users {
		at = max(at, u.IssuedAt)
	}
	rec.Users = revocation.List{revocation.All: at}
	rec.Lines = append(rec.Lines, "all users are revoked: what was issued until "+clock(at)+" is refused; issue one anew with: nsc add user <name> -a "+name+" --reissue")
	draft, err := claims.Edit(last, func(c *jwt.AccountClaims) error { return addRevocations(c, rec.Users) })
	if errors.Is(err, errUnchanged) {
		return claims.Redo(last), rec, nil
	}
	return draft, rec, err
}

// putUsers stages users and returns the names of those that the store takes.
func putUsers(tx *nscstore.Tx, account string, users []*claims.Document) []string {
	var names []string
	for _, u := range users {
		if tx.PutUser(account, u.Name, u.Token) == nil {
			names = append(names, u.Name)
		}
	}
	return names
}

// forgotten says what becomes of the users of a deleted account when it is
// restored.
func (r *receipt) forgotten(users []string, forGood bool) {
	if len(users) == 0 {
		return
	}
	names := strings.Join(users, ", ")
	if forGood {
		r.Warnings = append(r.Warnings, "forgotten here for good: "+names)
	} else {
		r.Lines = append(r.Lines, "forgotten here, until the undo brings them back: "+names)
	}
	r.Lines = append(r.Lines, "the undo makes the credentials of all users valid again that were not revoked; with --revoke-users it refuses them")
}
