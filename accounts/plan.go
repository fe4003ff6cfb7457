package accounts

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// tagPlan begins a tag of the system account that says the limits of a plan,
// plan:<name>:<limit>=<value>,…, where they are not those of a new account; and
// that of an account that is on the plan, plan:<name>.
const tagPlan = "plan:"

// NoPlan is what a plan cannot be called: it takes an account off its plan.
const NoPlan = "none"

// Plan is what accounts of a kind are limited to.
type Plan struct {
	Name   string
	Limits jwt.OperatorLimits
}

// NewPlan returns a plan with the limits of a new account. It is fault.Invalid
// for a name that cannot be that of a plan.
func NewPlan(name string) (Plan, error) {
	if !IsToken(name) || len(name) > 32 || name != strings.ToLower(name) || strings.Contains(name, ":") || name == NoPlan {
		return Plan{}, invalid("plan-name", "%q is no name of a plan: small letters, digits and - _ @ + = ~, at most 32, and not %s", name, NoPlan)
	}
	return Plan{Name: name, Limits: jwt.NewAccountClaims("A").Limits}, nil
}

// Edit changes the limits of p. The error is that of [Edit.Apply].
func (p *Plan) Edit(e Edit) error {
	ac := jwt.NewAccountClaims("A")
	ac.Name, ac.Limits = "plan "+p.Name, p.Limits
	if err := e.Apply(ac); err != nil {
		return err
	}
	p.Limits = ac.Limits
	return nil
}

// Plans returns the plans that the system account keeps, by name. It is
// fault.Invalid for a tag that says nothing that limits can be.
func Plans(sys *jwt.AccountClaims) ([]Plan, error) {
	var out []Plan
	for _, tag := range sys.Tags {
		rest, is := strings.CutPrefix(tag, tagPlan)
		if !is {
			continue
		}
		name, limits, _ := strings.Cut(rest, ":")
		p, err := NewPlan(name)
		if err == nil {
			err = p.parse(limits)
		}
		if err != nil {
			return nil, invalid("plan", "the tag %q of account %q is no plan: %s", tag, sys.Name, fault.As(err).Msg).About("account", sys.Name)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Plan) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// FindPlan returns the plan of a name, fault.NotFound without one.
func FindPlan(sys *jwt.AccountClaims, name string) (Plan, error) {
	all, err := Plans(sys)
	if err != nil {
		return Plan{}, err
	}
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
	}
	return Plan{}, fault.New(fault.NotFound, "there is no plan %q", name).About("plan", name).WithHint("list the plans with: nsc list plans")
}

// PutPlan has the system account keep p in place of the plan of its name.
func PutPlan(sys *jwt.AccountClaims, p Plan) error {
	text, err := p.text()
	if err != nil {
		return err
	}
	RemovePlan(sys, p.Name)
	sys.Tags.Add(strings.TrimSuffix(tagPlan+p.Name+":"+text, ":"))
	return nil
}

// RemovePlan has the system account forget a plan.
func RemovePlan(sys *jwt.AccountClaims, name string) {
	sys.Tags = slices.DeleteFunc(slices.Clone(sys.Tags), func(tag string) bool {
		return tag == tagPlan+name || strings.HasPrefix(tag, tagPlan+name+":")
	})
}

// PlanOf returns the name of the plan that an account is on, "" for none.
func PlanOf(ac *jwt.AccountClaims) string {
	for _, tag := range ac.Tags {
		if name, is := strings.CutPrefix(tag, tagPlan); is {
			return name
		}
	}
	return ""
}

// Join puts ac on p, and off the plan that it is on. A suspended account stays
// suspended, and has the limits of p when it is resumed.
func (p Plan) Join(ac *jwt.AccountClaims) error {
	LeavePlan(ac)
	suspended, err := Resume(ac)
	if err != nil {
		return err
	}
	ac.Limits = p.Limits
	ac.Limits.JetStreamTieredLimits = maps.Clone(p.Limits.JetStreamTieredLimits)
	if suspended {
		Suspend(ac)
	}
	ac.Tags.Add(tagPlan + p.Name)
	return CheckAccount(ac)
}

// LeavePlan takes ac off its plan. Its limits stay.
func LeavePlan(ac *jwt.AccountClaims) {
	ac.Tags = slices.DeleteFunc(slices.Clone(ac.Tags), func(tag string) bool { return strings.HasPrefix(tag, tagPlan) })
}

// namesLimits reports whether e changes what a plan says.
func (e Edit) namesLimits() bool {
	return slices.ContainsFunc([]*int64{e.Conns, e.LeafConns, e.Data, e.Payload, e.Subs, e.Exports, e.Imports}, func(n *int64) bool { return n != nil }) ||
		e.WildcardExports != nil || e.DisallowBearer != nil || !e.JetStream.Empty()
}

// staysOnPlan refuses an edit of what the plan of an account says, and tags that are
// those of plans.
func (e Edit) staysOnPlan(before jwt.TagList, ac *jwt.AccountClaims) error {
	planned := func(tags jwt.TagList) []string {
		return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return !strings.HasPrefix(tag, tagPlan) })
	}
	on, limits := PlanOf(ac), e.namesLimits()
	switch {
	case !slices.Equal(planned(before), planned(ac.Tags)):
		return invalid("plan", "tags that begin with %s are those of plans", tagPlan).About("account", ac.Name).
			WithHint("nsc edit account %s --plan <name>, nsc add plan <name>", fault.Words(ac.Name))
	case e.Plan != nil && limits:
		return fault.New(fault.Usage, "a plan says all limits of an account, and others are given")
	case e.System && e.Plan != nil:
		return fault.New(fault.Denied, "the system account %q keeps the plans and is on none", ac.Name).About("account", ac.Name).ByRule("system account")
	case !e.System && !e.LeavePlan && on != "" && limits:
		return fault.New(fault.Denied, "account %q is on the plan %q, which says its limits", ac.Name, on).About("account", ac.Name).ByRule("plan").
			WithHint("change the plan: nsc edit plan %s; or leave it: nsc edit account %s --plan %s", fault.Words(on), fault.Words(ac.Name), NoPlan)
	}
	return nil
}
