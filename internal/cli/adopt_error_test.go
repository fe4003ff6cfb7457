package cli

import (
	"errors"
	"testing"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

// TestAdoptError: a version that lost against another one is compared anew.
func TestAdoptError(t *testing.T) {
	t.Parallel()
	refusal := &api.Error{Code: fault.Conflict, Rule: "same-second", Message: "issued in the same second", Hint: "sign it anew"}
	got := fault.As(adoptError(api.Result{Error: refusal, Current: &api.Version{}}, fault.New(fault.Conflict, "another one")))
	if got == nil || got.Hint != "compare anew: nsc adopt" || got.Rule != "same-second" || !fault.Is(got, fault.Conflict) {
		t.Errorf("%+v", got)
	}
	other := errors.New("other")
	if err := adoptError(api.Result{Current: &api.Version{}}, other); err != other {
		t.Errorf("%v", err)
	}
}
