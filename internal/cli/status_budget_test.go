package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
)

// TestBudgetWarnings: from a half of the largest claim on receipts warn, and say more
// from 70 and 90 percent on; status says the same.
func TestBudgetWarnings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		percent int
		says    string // "" for nothing
		silent  string
	}{
		{49, "", ""}, {50, "50 % of 1 MiB, room for ", "compact"}, {70, "70 % of 1 MiB, room for ", "retire keys"}, {90, "nearly full", "filling up"},
	} {
		size := (api.MaxClaim*c.percent + 99) / 100
		got := budgetWarnings("iot", &claims.Document{Token: strings.Repeat("x", size)})
		lines := budgetLines([]api.AccountStatus{{Version: api.Version{Name: "iot", Size: size}, Budget: float64(size) / api.MaxClaim}})
		if c.says == "" {
			if len(got)+len(lines) > 0 {
				t.Errorf("%d %%: %q, %q", c.percent, got, lines)
			}
			continue
		}
		for _, text := range slices.Concat(got, lines) {
			if !strings.Contains(text, c.says) || c.silent != "" && strings.Contains(text, c.silent) {
				t.Errorf("%d %%: %q", c.percent, text)
			}
		}
		if len(got) != 1 || len(lines) != 1 {
			t.Errorf("%d %%: %q, %q", c.percent, got, lines)
		}
	}
}
