package cli

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
)

// mergeAccounts puts what mine has and theirs lacks on top of theirs:
// revocations with the later time, signing keys that are not retired, exports,
// imports, mappings and tags. Single values, such as limits, cannot be merged
// without the version that both came from: theirs stay, and lines say which
// differ, to be edited again. The draft is nil if mine adds nothing.
func mergeAccounts(mine, theirs *claims.Document, got api.GetReply) (*claims.Draft, []string, error) {
	m, err := claims.As[jwt.AccountClaims](mine)
	if err != nil {
		return nil, nil, err
	}
	draft, err := claims.Edit(theirs, func(c *jwt.AccountClaims) error {
		before, _ := claims.As[jwt.AccountClaims](theirs)
		mergeLists(c, m, got.Retired)
		if reflect.DeepEqual(before, c) {
			return errUnchanged
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		draft, err = nil, nil
	}
	return draft, singleValues(mine, theirs), err
}

func mergeLists(c, m *jwt.AccountClaims, retired map[string]int64) {
	accounts.KeepRevocations(c, m)
	for _, key := range m.SigningKeys.Keys() {
		if _, gone := retired[key]; !gone && !c.SigningKeys.Contains(key) {
			c.SigningKeys[key] = m.SigningKeys[key]
		}
	}
	for _, e := range m.Exports {
		if !slices.ContainsFunc(c.Exports, func(x *jwt.Export) bool { return x.Subject == e.Subject && x.Type == e.Type }) {
			c.Exports = append(c.Exports, e)
		}
	}
	for _, im := range m.Imports {
		if !slices.ContainsFunc(c.Imports, func(x *jwt.Import) bool {
			return x.Subject == im.Subject && x.Account == im.Account && x.Type == im.Type && x.LocalSubject == im.LocalSubject
		}) {
			c.Imports = append(c.Imports, im)
		}
	}
	for from, to := range m.Mappings {
		if _, has := c.Mappings[from]; !has {
			if c.Mappings == nil {
				c.Mappings = jwt.Mapping{}
			}
			c.Mappings[from] = to
		}
	}
	c.Tags.Add(m.Tags...)
}

// singleValues returns the differences that mergeLists does not merge.
func singleValues(mine, theirs *claims.Document) []string {
	var out []string
	for _, line := range diffClaims(payload(theirs), payload(mine)) {
		field := line[2:]
		merged := slices.ContainsFunc([]string{
			"iss:", "nats.revocations", "nats.signing_keys", "nats.exports", "nats.imports", "nats.mappings", "nats.tags",
		}, func(p string) bool { return strings.HasPrefix(field, p) })
		if strings.HasPrefix(line, "+") && !merged {
			out = append(out, field+" (yours is not taken; edit it again)")
		}
	}
	return out
}
