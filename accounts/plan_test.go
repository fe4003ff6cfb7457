package accounts_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
)

func limit(t *rapid.T, name string) *int64 {
	if !rapid.Bool().Draw(t, "sets "+name) {
		return nil
	}
	n := rapid.Int64Range(-1, 1<<50).Draw(t, name)
	return &n
}

// drawnLimits is an edit of limits, of one tier or the global ones.
func drawnLimits(t *rapid.T) accounts.Edit {
	e := accounts.Edit{
		Conns: limit(t, "conns"), LeafConns: limit(t, "leafs"), Data: limit(t, "data"), Payload: limit(t, "payload"), Subs: limit(t, "subs"),
		Exports: limit(t, "exports"), Imports: limit(t, "imports"),
	}
	yes, no := true, false
	if rapid.Bool().Draw(t, "switches") {
		e.WildcardExports, e.DisallowBearer = &no, &yes
	}
	if e.JetStream.DiskStorage = limit(t, "disk"); e.JetStream.DiskStorage != nil {
		tier := rapid.IntRange(0, 3).Draw(t, "tier")
		e.JetStream.Tier, e.JetStream.Streams, e.JetStream.MaxBytesRequired = &tier, limit(t, "streams"), &yes
	}
	return e
}

// TestPlansAreKept: what the system account keeps is the plan that was put, and
// an account that joins it has its limits, suspended or not.
func TestPlansAreKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, err := accounts.NewPlan("gold")
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 2).Draw(t, "edits") {
			_ = p.Edit(drawnLimits(t)) // global limits and tiers exclude each other
		}
		sys := jwt.NewAccountClaims("SYS")
		other, _ := accounts.NewPlan("golden")
		if err := accounts.PutPlan(sys, other); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := accounts.PutPlan(sys, p); err != nil {
				t.Fatal(err)
			}
		}
		got, err := accounts.FindPlan(sys, "gold")
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Fatalf("%v: %+v, not %+v, by %v", err, got, p, sys.Tags)
		}
		ac := jwt.NewAccountClaims("A")
		suspended := rapid.Bool().Draw(t, "suspended") && accounts.Suspend(ac)
		if err := p.Join(ac); err != nil {
			t.Fatal(err)
		}
		changes, err := p.Changes(ac)
		if len(changes) > 0 || err != nil || accounts.PlanOf(ac) != "gold" || accounts.Suspended(ac) != suspended {
			t.Fatalf("%v, %v: %+v", changes, err, ac)
		}
		if suspended && ac.Limits.Conn != 0 {
			t.Fatal("a plan lets somebody connect to a suspended account")
		}
		if _, err := accounts.Resume(ac); err != nil || !reflect.DeepEqual(ac.Limits, p.Limits) {
			t.Fatalf("%v: %+v", err, ac.Limits)
		}
	})
}

// TestPlanChangesSayWhatShrinks: less is less, whatever stands for no limit.
func TestPlanChangesSayWhatShrinks(t *testing.T) {
	t.Parallel()
	ac := jwt.NewAccountClaims("A")
	ac.Limits.Subs, ac.Limits.Payload, ac.Limits.Imports = 10, 10, 10
	ac.Limits.MaxAckPending, ac.Limits.DiskStorage, ac.Limits.DiskMaxStreamBytes = 5, 100, 0
	p, _ := accounts.NewPlan("p")
	p.Limits = ac.Limits
	p.Limits.Conn, p.Limits.Subs, p.Limits.Payload, p.Limits.Imports = 7, 9, 11, -1
	p.Limits.MaxAckPending, p.Limits.DiskStorage, p.Limits.DiskMaxStreamBytes = 0, 0, 50
	p.Limits.WildcardExports, p.Limits.DisallowBearer = false, true
	changes, err := p.Changes(ac)
	if err != nil {
		t.Fatal(err)
	}
	shrinks := map[string]bool{}
	for _, c := range changes {
		shrinks[c.Limit] = c.Shrinks
	}
	want := map[string]bool{
		"conn": true, "subs": true, "payload": false, "imports": false, "max_ack_pending": false, "disk_storage": true,
		"disk_max_stream_bytes": true, "wildcards": true, "disallow_bearer": true,
	}
	if !reflect.DeepEqual(shrinks, want) {
		t.Errorf("%+v", changes)
	}
}

// TestPlansHold: what a plan says is not said twice, and tags do not make one.
func TestPlansHold(t *testing.T) {
	t.Parallel()
	five := int64(5)
	p, _ := accounts.NewPlan("gold")
	on := jwt.NewAccountClaims("A")
	if err := p.Join(on); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]accounts.Edit{
		"limits": {Conns: &five}, "JetStream": {JetStream: accounts.JetStreamEdit{DiskStorage: &five}}, "a tag": {AddTags: []string{"plan:x"}},
		"without the tag": {RemoveTags: []string{"plan:gold"}}, "both": {Plan: &p, Conns: &five}, "the system account": {Plan: &p, System: true},
	} {
		c := *on
		if err := e.Apply(&c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := (accounts.Edit{LeavePlan: true, Conns: &five, AddTags: []string{"blue"}}).Apply(on); err != nil || accounts.PlanOf(on) != "" || on.Limits.Conn != 5 {
		t.Errorf("%v: %+v", err, on)
	}
	for _, name := range []string{"", "none", "Gold", "a:b", "a b", strings.Repeat("x", 33)} {
		if _, err := accounts.NewPlan(name); fault.RuleOf(err) != "plan-name" {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, tag := range []string{"plan:x:conn", "plan:x:con=1", "plan:x:conn=true", "plan:x:r3.disk=1", "plan:x:conn=1e99", "plan:"} {
		sys := jwt.NewAccountClaims("SYS")
		sys.Tags = jwt.TagList{tag}
		if all, err := accounts.Plans(sys); fault.RuleOf(err) != "plan" {
			t.Errorf("%s: %v, %v", tag, all, err)
		}
	}
	sys := jwt.NewAccountClaims("SYS")
	for _, name := range []string{"b", "a"} {
		p, _ := accounts.NewPlan(name)
		if err := accounts.PutPlan(sys, p); err != nil {
			t.Fatal(err)
		}
	}
	accounts.RemovePlan(sys, "b")
	if all, err := accounts.Plans(sys); err != nil || !slices.EqualFunc(all, []string{"a"}, func(p accounts.Plan, n string) bool { return p.Name == n }) {
		t.Errorf("%+v, %v", all, err)
	}
}
