package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
)

func newImport(a *app) *cobra.Command {
	cmd := group("import", "Take accounts, users and keys from files")
	cmd.AddCommand(newImportAccount(a), newImportUser(a), newImportKeys(a))
	return cmd
}

// importOptions are the flags that imports share.
type importOptions struct {
	file            string
	overwrite, skip bool
	force           bool // also what another operator signed
}

// refusal is the error of claims that have problems; skip lets them pass, but
// for rules that always hold.
func refusal(what string, found []accounts.Problem, skip bool, always ...string) error {
	var texts []string
	rule := ""
	for _, p := range found {
		if p.Warning || skip && !slices.Contains(always, p.Rule) {
			continue
		}
		rule = first(rule, p.Rule)
		texts = append(texts, p.Text)
	}
	if len(texts) == 0 {
		return nil
	}
	f := fault.New(fault.Invalid, "%s: %s", what, strings.Join(texts, "; ")).ByRule(rule)
	if slices.Contains(always, rule) {
		return f
	}
	return f.WithHint("take it as it is with --skip")
}
