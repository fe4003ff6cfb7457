package accounts

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
)

// Edit is a change of an account's claims. What is nil or empty stays as it
// is: an edit never resets what it does not name. Limits are counts or bytes,
// [Unlimited] for none.
type Edit struct {
	Starts, Expires *int64 // Unix seconds, 0 for always and never

	AddTags, RemoveTags []string
	Namespace           *string // prefix of the account's subjects, "" for its name

	Conns, LeafConns, Data, Payload, Subs *int64
	Exports, Imports                      *int64
	WildcardExports, DisallowBearer       *bool

	Plan      *Plan // which says all limits
	LeavePlan bool  // its limits stay, but for those named

	Description, InfoURL *string

	// AddKeys are plain signing keys to add; one that is there stays, with its
	// scope. RemoveKeys must be there.
	AddKeys, RemoveKeys []string

	Permissions PermissionsEdit // of users that have none of their own
	Confine     *bool           // they can do nothing; see [Confine]
	JetStream   JetStreamEdit

	TraceSubject       *string // where traces go, "" for no tracing
	TraceSampling      *int64  // percent, 0 stands for 100
	HostClusterTraffic *bool   // JetStream's cluster traffic goes over this account

	// System says that this is the operator's system account, which may not
	// have JetStream.
	System bool
}

// Apply changes ac, which must be a copy of its own: on an error it may be
// changed in part. The error is fault.NotFound for a signing key to remove that
// is not there, fault.Invalid when servers would refuse the result, and
// fault.Denied for JetStream on the system account.
func (e Edit) Apply(ac *jwt.AccountClaims) error {
	set(&ac.NotBefore, e.Starts)
	set(&ac.Expires, e.Expires)
	before := ac.Tags
	operator.EditTags(&ac.Tags, e.AddTags, e.RemoveTags)
	if err := e.staysSuspended(before, ac); err != nil {
		return err
	}
	if err := e.namespace(ac); err != nil {
		return err
	}
	if err := e.staysOnPlan(before, ac); err != nil {
		return err
	}
	if e.LeavePlan {
		LeavePlan(ac)
	}
	if e.Plan != nil {
		if err := e.Plan.Join(ac); err != nil {
			return err
		}
	}
	e.limits(&ac.Limits)
	set(&ac.Description, e.Description)
	set(&ac.InfoURL, e.InfoURL)
	if err := e.signingKeys(ac); err != nil {
		return err
	}
	if err := e.Permissions.Apply(&ac.DefaultPermissions); err != nil {
		return err
	}
	if e.Confine != nil {
		if *e.Confine && e.System {
			return SystemConfined(ac.Name)
		}
		Confine(ac, *e.Confine)
	}
	if err := e.jetStream(&ac.Limits); err != nil {
		return err
	}
	if err := e.trace(ac); err != nil {
		return err
	}
	if e.HostClusterTraffic != nil {
		ac.ClusterTraffic = ""
		if *e.HostClusterTraffic {
			ac.ClusterTraffic = jwt.ClusterTrafficOwner
		}
	}
	return CheckAccount(ac)
}

// namespace refuses a bad prefix, also one that a tag brings in.
func (e Edit) namespace(ac *jwt.AccountClaims) error {
	if e.Namespace != nil {
		if err := SetNamespace(ac, *e.Namespace); err != nil {
			return err
		}
	}
	if e.Namespace == nil && len(e.AddTags) == 0 {
		return nil
	}
	_, err := Namespace(ac)
	return err
}

func (e Edit) limits(l *jwt.OperatorLimits) {
	set(&l.Conn, e.Conns)
	set(&l.LeafNodeConn, e.LeafConns)
	set(&l.Data, e.Data)
	set(&l.Payload, e.Payload)
	set(&l.Subs, e.Subs)
	set(&l.Exports, e.Exports)
	set(&l.Imports, e.Imports)
	set(&l.WildcardExports, e.WildcardExports)
	set(&l.DisallowBearer, e.DisallowBearer)
}

func (e Edit) signingKeys(ac *jwt.AccountClaims) error {
	if ac.SigningKeys == nil {
		ac.SigningKeys = jwt.SigningKeys{}
	}
	for _, key := range e.AddKeys {
		if !ac.SigningKeys.Contains(key) {
			ac.SigningKeys.Add(key)
		}
	}
	for _, key := range e.RemoveKeys {
		if !ac.SigningKeys.Contains(key) {
			return fault.New(fault.NotFound, "account %q has no signing key %s", ac.Name, key).About("key", key).
				WithHint("list its keys with: nsc list signing-keys -a %s", fault.Words(ac.Name))
		}
		ac.SigningKeys.Remove(key)
	}
	return nil
}

// trace changes the subject and the rate by themselves: a new subject keeps the
// rate.
func (e Edit) trace(ac *jwt.AccountClaims) error {
	if e.TraceSubject != nil {
		if *e.TraceSubject == "" {
			ac.Trace = nil
		} else {
			if ac.Trace == nil {
				ac.Trace = &jwt.MsgTrace{}
			}
			ac.Trace.Destination = jwt.Subject(*e.TraceSubject)
		}
	}
	if e.TraceSampling == nil {
		return nil
	}
	if ac.Trace == nil {
		return invalid("trace", "a sampling rate needs a subject that the traces go to").WithHint("name one with --trace-context-subject")
	}
	if *e.TraceSampling < 0 || *e.TraceSampling > 100 {
		return invalid("trace", "the sampling rate is a percentage, 1 to 100, and not %d", *e.TraceSampling)
	}
	ac.Trace.Sampling = int(*e.TraceSampling)
	return nil
}

// CheckAccount is fault.Invalid, and says why, when servers would refuse the
// account for what its claims say. Signing keys are not looked at: they are
// checked where they are parsed.
func CheckAccount(ac *jwt.AccountClaims) error {
	data, err := json.Marshal(ac)
	if err != nil {
		return fault.New(fault.Internal, "encode claims: %w", err)
	}
	c := &jwt.AccountClaims{} // the check writes into what it checks
	if err := json.Unmarshal(data, c); err != nil {
		return fault.New(fault.Internal, "decode claims: %w", err)
	}
	c.SigningKeys = nil
	vr := jwt.CreateValidationResults()
	c.Account.Validate(c, vr)
	if err := fault.As(blocking("account "+ac.Name, vr)); err != nil {
		return roomFor(ac, err)
	}
	return CheckRenames(ac)
}

// roomFor adds to the refusal of an account what would give it room, if it has
// more than its limits allow.
func roomFor(ac *jwt.AccountClaims, refused *fault.Error) error {
	for _, x := range []struct {
		what  string
		has   int
		limit int64
	}{{"export", len(ac.Exports), ac.Limits.Exports}, {"import", len(ac.Imports), ac.Limits.Imports}} {
		if x.limit >= 0 && int64(x.has) > x.limit {
			name := fault.Words(ac.Name)
			return refused.WithHint("allow it %d with: nsc edit account %s --%ss %d, or take some out with: nsc delete %s -a %s --subject <subject>",
				x.has, name, x.what, x.has, x.what, name)
		}
	}
	wild := func(ex *jwt.Export) bool { return ex != nil && ex.Subject.HasWildCards() }
	if ac.Limits.Exports != Unlimited && !ac.Limits.WildcardExports && slices.ContainsFunc(ac.Exports, wild) {
		return refused.WithHint("allow them with: nsc edit account %s --wildcard-exports, or export subjects without * and >", fault.Words(ac.Name))
	}
	return refused
}

// blocking turns the issues for which servers refuse claims into one error.
func blocking(what string, vr *jwt.ValidationResults) error {
	var texts []string
	for _, issue := range vr.Issues {
		if text := strings.TrimRight(issue.Description, "."); issue.Blocking && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return invalid("blocking", "servers would refuse %s: %s", what, strings.Join(texts, "; ")).WithHint("%s", remedy(texts))
}

// remedy says what would let servers take claims that have one of these issues,
// as the JWT library words them; "" for one that says it itself.
func remedy(issues []string) string {
	for _, x := range [][2]string{
		{"not allowed to contain queue", "separate subjects by commas; a queue goes with subscribing alone"},
		{"contains too many spaces", "write one subject, and at most one queue after a space, such as 'orders.> workers'"},
		{"can not contain wildcards", "name one subject without * and >"},
		{"not a valid publish subject", "name one subject without * and >"},
		{"need to end or not end in >", "end both subjects with >, or neither: --local-subject"},
		{"reference wildcards", "give the local subject as many * or references ($1, $2, …) as the exporter's subject has *"},
		{"Reference $", "refer to the * of the exporter's subject by their order: $1, $2, …"},
		{"overlapping subject namespace", "give the import another place in the account: --local-subject"},
		{"error parsing info url", "write it with its scheme, such as https://acme.example/docs"},
		{"is too long", "shorten it"},
		{"Account Token Position", "name the place of a * of the subject, counted from 1"},
		{"cannot contain consecutive", "separate tokens that are not empty by dots, such as orders.*.new"},
		{"cannot start or end with", "separate tokens that are not empty by dots, such as orders.*.new"},
		{"cannot have spaces", "separate tokens that are not empty by dots, such as orders.*.new"},
		{"exceeds 100", "lower the weights of the other mappings of the subject"},
		{"mutually exclusive", "set limits of JetStream for all, or for each --js-tier"},
		{"accounts without users", "name who decides with --auth-user"},
	} {
		if slices.ContainsFunc(issues, func(issue string) bool { return strings.Contains(issue, x[0]) }) {
			return x[1]
		}
	}
	return ""
}

// KeyNamed returns the signing key of ac that name names: a public key that it
// has, or the role of exactly one key. The names that would do are in names
// when it is none of them.
func KeyNamed(ac *jwt.AccountClaims, name string) (key string, names []string, err error) {
	var found []string
	for _, k := range slices.Sorted(slices.Values(ac.SigningKeys.Keys())) {
		scope, _ := ac.SigningKeys[k].(*jwt.UserScope)
		role := ""
		if scope != nil {
			role = scope.Role
		}
		if k == name {
			return k, nil, nil
		}
		names = append(names, k)
		if role == "" {
			continue
		}
		names = append(names, role)
		if role == name {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil, nil
	case 0:
		return "", names, fault.New(fault.NotFound, "account %q has no signing key or role %q", ac.Name, keys.Short(name)).
			About("key", name).WithHint("list its keys with: nsc list signing-keys -a %s", fault.Words(ac.Name))
	}
	return "", nil, invalid("role", "account %q has %d signing keys of the role %q", ac.Name, len(found), name).
		WithHint("name one by its public key: %s", strings.Join(found, ", "))
}

func set[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}
