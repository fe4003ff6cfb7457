package accounts

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// LimitChange is one limit that a plan sets anew.
type LimitChange struct {
	Limit         string // as claims name it; that of a tier with its name before: R3.disk_storage
	Before, After any    // a json.Number or a bool
	Shrinks       bool   // what was allowed is not any more
}

// Changes returns what joining p changes of the limits of ac.
func (p Plan) Changes(ac *jwt.AccountClaims) ([]LimitChange, error) {
	now := *ac
	now.Tags = slices.Clone(ac.Tags)
	if _, err := Resume(&now); err != nil {
		return nil, err
	}
	before, err := flat(now.Limits)
	if err != nil {
		return nil, err
	}
	after, err := flat(p.Limits)
	if err != nil {
		return nil, err
	}
	var out []LimitChange
	for _, name := range sortedKeys(before, after) {
		a, b := before[name], after[name]
		if a = cmp.Or(a, zero(b)); a != cmp.Or(b, zero(a)) {
			b = cmp.Or(b, zero(a))
			out = append(out, LimitChange{Limit: name, Before: a, After: b, Shrinks: shrinks(name, a, b)})
		}
	}
	return out, nil
}

// shrinks reports whether less is allowed after a change of a limit.
func shrinks(name string, before, after any) bool {
	if after == false || after == true {
		return (after == true) != strings.HasSuffix(name, "wildcards")
	}
	size := func(v any) int64 {
		n, _ := v.(json.Number)
		i, _ := n.Int64()
		return i
	}
	a, b := size(before), size(after)
	if optional := strings.HasSuffix(name, "_max_stream_bytes") || strings.HasSuffix(name, "max_ack_pending"); optional && b == 0 {
		return false // no limit
	} else if optional && a == 0 {
		return true
	}
	return b >= 0 && (a < 0 || b < a)
}

func sortedKeys(a, b map[string]any) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// zero is what claims leave out where another value would be v.
func zero(v any) any {
	if _, is := v.(bool); is {
		return false
	}
	return json.Number("0")
}

// flat returns limits by the names that claims give them.
func flat(l jwt.OperatorLimits) (map[string]any, error) {
	data, err := json.Marshal(l)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode limits: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		return nil, fault.New(fault.Internal, "encode limits: %w", err)
	}
	const tiers = "tiered_limits"
	if byTier, ok := tree[tiers].(map[string]any); ok {
		for tier, limits := range byTier {
			for name, v := range limits.(map[string]any) {
				tree[tier+"."+name] = v
			}
		}
	}
	delete(tree, tiers)
	return tree, nil
}

// text writes the limits of p that a new account does not have.
func (p Plan) text() (string, error) {
	usual, err := flat(jwt.NewAccountClaims("A").Limits)
	if err != nil {
		return "", err
	}
	own, err := flat(p.Limits)
	if err != nil {
		return "", err
	}
	var out []string
	for _, name := range sortedKeys(usual, own) {
		if v := cmp.Or(own[name], zero(usual[name])); v != usual[name] {
			out = append(out, strings.ToLower(name)+"="+fmt.Sprint(v))
		}
	}
	return strings.Join(out, ","), nil
}

// parse reads what text wrote.
func (p *Plan) parse(text string) error {
	tree := map[string]any{}
	tiers := map[string]map[string]any{}
	for pair := range strings.SplitSeq(text, ",") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if value == "" { // which a json.Number takes for 0
			return invalid("plan", "%q has no value", name)
		}
		var v any = json.Number(value)
		if value == "true" || value == "false" {
			v = value == "true"
		}
		tier, limit, tiered := strings.Cut(name, ".")
		if !tiered {
			tree[name] = v
			continue
		}
		tier = strings.ToUpper(tier)
		if tiers[tier] == nil {
			tiers[tier] = map[string]any{}
		}
		tiers[tier][limit] = v
	}
	if len(tiers) > 0 {
		tree["tiered_limits"] = tiers
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return invalid("plan", "%q", text)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p.Limits); err != nil {
		return invalid("plan", "%s", err)
	}
	return nil
}
