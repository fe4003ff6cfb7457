package accounts

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

func ptr[T any](v T) *T { return &v }

func newKey(t *testing.T) string {
	t.Helper()
	p, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	return p.PublicKey()
}

func newAccount(t *testing.T) *jwt.AccountClaims {
	t.Helper()
	ac := jwt.NewAccountClaims(newKey(t))
	ac.Name = "app"
	return ac
}

func text(t *testing.T, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func apply(t *testing.T, ac *jwt.AccountClaims, e Edit) {
	t.Helper()
	if err := e.Apply(ac); err != nil {
		t.Fatal(err)
	}
}

// TestEditKeepsWhatItDoesNotName: an edit that names nothing changes nothing,
// whatever the account holds.
func TestEditKeepsWhatItDoesNotName(t *testing.T) {
	t.Parallel()
	ac := newAccount(t)
	apply(t, ac, Edit{
		Expires: ptr(int64(2e9)), AddTags: []string{"B", "a"}, Conns: ptr(int64(5)), WildcardExports: ptr(false), DisallowBearer: ptr(true),
		Description: ptr("d"), InfoURL: ptr("https://example.com"), AddKeys: []string{newKey(t)},
		Permissions: PermissionsEdit{AllowPub: []string{"b", "a"}, DenySub: []string{"x q"}, MaxResponses: ptr(1)},
		JetStream:   JetStreamEdit{DiskStorage: ptr(int64(1000)), MaxBytesRequired: ptr(true)}, TraceSubject: ptr("t"), TraceSampling: ptr(int64(7)),
		HostClusterTraffic: ptr(true),
	})
	before := text(t, ac)
	apply(t, ac, Edit{})
	if diff := cmp.Diff(before, text(t, ac)); diff != "" {
		t.Error(diff)
	}
	apply(t, ac, Edit{AddTags: []string{"c"}, TraceSubject: ptr("u")})
	if !ac.Limits.DisallowBearer || ac.Limits.WildcardExports || ac.Trace.Sampling != 7 || !ac.Limits.MaxBytesRequired {
		t.Errorf("an edit of tags and the trace subject reset others:\n%s", text(t, ac))
	}
	if diff := cmp.Diff(jwt.TagList{"a", "b", "c"}, ac.Tags); diff != "" {
		t.Error(diff)
	}
}

func TestEditRefusesWhatServersWouldRefuse(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]Edit{
		"info url":        {InfoURL: ptr("notaurl")},
		"trace wildcard":  {TraceSubject: ptr("a.*")},
		"trace rate":      {TraceSubject: ptr("a"), TraceSampling: ptr(int64(101))},
		"rate alone":      {TraceSampling: ptr(int64(5))},
		"empty subject":   {Permissions: PermissionsEdit{AllowPub: []string{"a..b"}}},
		"queue to pub":    {Permissions: PermissionsEdit{AllowPub: []string{"a q"}}},
		"too many spaces": {Permissions: PermissionsEdit{DenySub: []string{"a q r"}}},
	} {
		if err := e.Apply(newAccount(t)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want it invalid", name, err)
		}
	}
	ac := newAccount(t)
	ac.Exports.Add(&jwt.Export{Subject: "a.*", Type: jwt.Stream})
	for name, e := range map[string]Edit{"exports": {Exports: ptr(int64(0))}} {
		if err := e.Apply(ac); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want it invalid", name, err)
		}
	}
}

func TestEditSigningKeys(t *testing.T) {
	t.Parallel()
	ac, key, role := newAccount(t), newKey(t), newKey(t)
	apply(t, ac, Edit{AddKeys: []string{key}})
	if err := (RoleEdit{Key: role, Role: ptr("sensor")}).Apply(ac); err != nil {
		t.Fatal(err)
	}
	apply(t, ac, Edit{AddKeys: []string{role}})
	if ac.SigningKeys[role] == nil {
		t.Error("adding the key of a role took its scope away")
	}
	if k, _, err := KeyNamed(ac, "sensor"); k != role || err != nil {
		t.Errorf("by role: %s, %v", k, err)
	}
	if _, names, err := KeyNamed(ac, "senso"); !fault.Is(err, fault.NotFound) || len(names) != 3 {
		t.Errorf("unknown: %v, %v", names, err)
	}
	if err := (Edit{RemoveKeys: []string{newKey(t)}}).Apply(ac); !fault.Is(err, fault.NotFound) {
		t.Errorf("removing an unknown key: %v", err)
	}
	if err := (RoleEdit{Key: key, Role: ptr("sensor")}).Apply(ac); err != nil {
		t.Fatal(err)
	}
	if _, _, err := KeyNamed(ac, "sensor"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a role of two keys: %v, want it refused", err)
	}
	apply(t, ac, Edit{RemoveKeys: []string{key, role}})
	if len(ac.SigningKeys) != 0 {
		t.Errorf("keys left: %v", ac.SigningKeys)
	}
}

func TestJetStream(t *testing.T) {
	t.Parallel()
	unlimited := jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1}
	ac := newAccount(t)
	// What the official tool leaves behind after any edit is no limit.
	ac.Limits.JetStreamLimits = jwt.JetStreamLimits{Streams: -1, Consumer: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, DiskMaxStreamBytes: -1}
	js := func(e JetStreamEdit) error { return Edit{JetStream: e}.Apply(ac) }
	want := func(code fault.Code, err error) {
		t.Helper()
		if code == "" && err != nil || code != "" && !fault.Is(err, code) {
			t.Fatalf("%v, want %q", err, code)
		}
	}
	want("", js(JetStreamEdit{Enable: ptr(0)}))
	if ac.Limits.JetStreamLimits != unlimited {
		t.Errorf("enabled: %+v", ac.Limits.JetStreamLimits)
	}
	want("", js(JetStreamEdit{Enable: ptr(0)})) // already so
	want(fault.Conflict, js(JetStreamEdit{Tier: ptr(3), DiskStorage: ptr(int64(5))}))
	want(fault.Conflict, js(JetStreamEdit{Enable: ptr(3)}))
	want("", js(JetStreamEdit{Streams: ptr(int64(4)), MaxBytesRequired: ptr(true)}))
	want("", js(JetStreamEdit{Consumers: ptr(int64(2))}))
	if l := ac.Limits.JetStreamLimits; !l.MaxBytesRequired || l.Streams != 4 || l.Consumer != 2 || l.DiskStorage != -1 {
		t.Errorf("edited: %+v", l)
	}
	want(fault.Conflict, js(JetStreamEdit{Enable: ptr(0)}))
	want("", js(JetStreamEdit{RemoveTier: ptr(0)}))
	want("", js(JetStreamEdit{Tier: ptr(3), DiskStorage: ptr(int64(5))}))
	tier := jwt.JetStreamLimits{DiskStorage: 5, Streams: -1, Consumer: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, DiskMaxStreamBytes: -1}
	if diff := cmp.Diff(jwt.JetStreamTieredLimits{"R3": tier}, ac.Limits.JetStreamTieredLimits); diff != "" {
		t.Error(diff)
	}
	want(fault.Conflict, js(JetStreamEdit{DiskStorage: ptr(int64(5))}))
	want(fault.NotFound, js(JetStreamEdit{RemoveTier: ptr(1)}))
	want("", js(JetStreamEdit{Disable: true}))
	if ac.Limits.IsJSEnabled() || len(ac.Limits.JetStreamTieredLimits) != 0 {
		t.Errorf("disabled: %+v", ac.Limits)
	}
	want(fault.Usage, js(JetStreamEdit{Disable: true, Streams: ptr(int64(1))}))
	want(fault.Usage, js(JetStreamEdit{Tier: ptr(3)}))
	want(fault.Usage, js(JetStreamEdit{Enable: ptr(-1)}))
	want(fault.Denied, Edit{System: true, JetStream: JetStreamEdit{DiskStorage: ptr(int64(-1))}}.Apply(ac))
	want("", Edit{System: true, JetStream: JetStreamEdit{Disable: true}}.Apply(ac))
	want("", Edit{System: true, JetStream: JetStreamEdit{DiskStorage: ptr(int64(0))}}.Apply(ac))
	if ac.Limits.JetStreamLimits != (jwt.JetStreamLimits{}) {
		t.Errorf("no storage for the system account: %+v", ac.Limits)
	}
}

func TestEditUser(t *testing.T) {
	t.Parallel()
	ac, role := newAccount(t), newKey(t)
	if err := (RoleEdit{Key: role, Role: ptr("sensor"), Limits: LimitsEdit{Subs: ptr(int64(4))}}).Apply(ac); err != nil {
		t.Fatal(err)
	}
	uc := jwt.NewUserClaims("U")
	uc.Name = "leaf1"
	e := UserEdit{Limits: LimitsEdit{
		Permissions:  PermissionsEdit{AllowPub: []string{"b", "a", "b"}, ResponseTTL: ptr(time.Second)},
		AddConnTypes: []string{"MQTT", "STANDARD"}, RemoveConnTypes: []string{"MQTT"},
		AddNetworks: []string{"10.0.0.0/8"}, AddTimes: []jwt.TimeRange{{Start: "08:00:00", End: "09:00:00"}}, Locale: ptr("UTC"),
	}}
	if err := e.Apply(uc, ac, ac.Subject); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(uc, ac, ac.Subject); err != nil { // twice is once
		t.Fatal(err)
	}
	want := jwt.UserPermissionLimits{
		Permissions: jwt.Permissions{Pub: jwt.Permission{Allow: jwt.StringList{"a", "b"}}, Resp: &jwt.ResponsePermission{Expires: time.Second}},
		Limits: jwt.Limits{
			UserLimits: jwt.UserLimits{Src: jwt.CIDRList{"10.0.0.0/8"}, Times: []jwt.TimeRange{{Start: "08:00:00", End: "09:00:00"}}, Locale: "UTC"},
			NatsLimits: jwt.NatsLimits{Subs: -1, Data: -1, Payload: -1},
		},
		AllowedConnectionTypes: jwt.StringList{"STANDARD"},
	}
	if diff := cmp.Diff(want, uc.UserPermissionLimits); diff != "" {
		t.Error(diff)
	}
	if err := (UserEdit{}).Apply(uc, ac, role); !fault.Is(err, fault.Invalid) {
		t.Errorf("a user with permissions under a role: %v", err)
	}
	ac.Limits.DisallowBearer = true
	bearer := UserEdit{Limits: LimitsEdit{Bearer: ptr(true)}}
	if err := bearer.Apply(uc, ac, ac.Subject); !fault.Is(err, fault.Denied) {
		t.Errorf("bearer: %v", err)
	}
}

// TestRescope: users move between a role and a plain key without losing or
// gaining what nobody named.
func TestRescope(t *testing.T) {
	t.Parallel()
	ac, role := newAccount(t), newKey(t)
	if err := (RoleEdit{Key: role}).Apply(ac); err != nil {
		t.Fatal(err)
	}
	uc := jwt.NewUserClaims("U")
	if err := (UserEdit{}).Apply(uc, ac, role); err != nil || !uc.HasEmptyPermissions() || uc.IssuerAccount != ac.Subject {
		t.Fatalf("to a role: %v, %s", err, text(t, uc))
	}
	if err := (UserEdit{Limits: LimitsEdit{Subs: ptr(int64(1))}}).Apply(uc, ac, role); !fault.Is(err, fault.Invalid) {
		t.Errorf("limits under a role: %v", err)
	}
	if err := (UserEdit{}).Apply(uc, ac, ac.Subject); err != nil || uc.Subs != -1 || uc.IssuerAccount != "" {
		t.Errorf("to the account's key: %v, %s", err, text(t, uc))
	}
}

func TestPermissionsSetAndRemoved(t *testing.T) {
	t.Parallel()
	p := jwt.Permissions{Resp: &jwt.ResponsePermission{MaxMsgs: 3}}
	e := PermissionsEdit{RemoveResponse: true, AllowSub: []string{"a", "b"}, Remove: []string{"b"}}
	if err := e.Apply(&p); err != nil || p.Resp != nil || len(p.Sub.Allow) != 1 {
		t.Errorf("%v, %+v", err, p)
	}
	e.MaxResponses = ptr(1)
	if err := e.Apply(&p); !fault.Is(err, fault.Usage) {
		t.Errorf("set and removed: %v", err)
	}
}

// TestRefusalsHaveARemedy: what servers would refuse is refused with a way out.
func TestRefusalsHaveARemedy(t *testing.T) {
	t.Parallel()
	key := "AAVBPHY7EVQ7TRYQR2T4XIWZBV2WJSTNUZTK2HIMCYZEJVPM44HRWKBX"
	wild := jwt.NewAccountClaims(key)
	wild.Name = "coke"
	wild.Exports.Add(&jwt.Export{Subject: "a.*", Type: jwt.Stream})
	wild.Limits.Exports, wild.Limits.WildcardExports = 5, false
	urls := jwt.NewAccountClaims(key)
	urls.InfoURL = "x"
	for want, err := range map[string]error{
		"nsc edit account coke --wildcard-exports": CheckAccount(wild),
		"https://":           CheckAccount(urls),
		"separate subjects":  PermissionsEdit{AllowPub: []string{"a b"}}.Apply(&jwt.Permissions{}),
		"at most one queue":  PermissionsEdit{AllowSub: []string{"a b c"}}.Apply(&jwt.Permissions{}),
		"such as orders.*.n": PermissionsEdit{AllowSub: []string{"a..b"}}.Apply(&jwt.Permissions{}),
	} {
		if f := fault.As(err); f == nil || f.Rule != "blocking" || !strings.Contains(f.Hint, want) {
			t.Errorf("want a hint of %q: %+v", want, err)
		}
	}
}
