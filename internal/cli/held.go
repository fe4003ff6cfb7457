package cli

import (
	"context"

	"github.com/accountd/accountd/claims"
)

// held is one claim of the local store, or why it cannot be read.
type held struct {
	kind    string // operator, account or user
	account string // of a user
	name    string
	doc     *claims.Document
	err     error
	of      *account // the account itself, or that of the user; nil if it cannot be read
}

// path names the claim below its operator, as the official tool does.
func (h held) path(operator string) string {
	switch h.kind {
	case kindAccount:
		return operator + "/" + h.name
	case kindUser:
		return operator + "/" + h.account + "/" + h.name
	}
	return operator
}

// held returns the operator, the accounts named and their users, in this order.
// What cannot be read is among them.
func (r *root) held(ctx context.Context, accounts []string) ([]held, error) {
	all := []held{{kind: kindOperator, name: r.Name(), doc: r.doc}}
	for _, name := range accounts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h := held{kind: kindAccount, name: name}
		if h.of, h.err = r.load(name); h.err == nil {
			h.doc = h.of.doc
		}
		all = append(all, h)
		users, err := r.Users(name)
		if err != nil {
			return nil, err
		}
		for _, user := range users {
			doc, err := r.user(name, user)
			all = append(all, held{kind: kindUser, account: name, name: user, doc: doc, err: err, of: h.of})
		}
	}
	return all, nil
}
