package cli

import "testing"

func TestReasonText(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"node nats-1: cannot follow the store", "cannot follow the store"},
		{"behind; node nats-1: cannot follow the store", "behind; cannot follow the store"},
		{"node nats-1 holds revision 3", "holds revision 3"},
		{"node nats-10: other", "node nats-10: other"},
		{"", ""},
	} {
		if got := reasonText("nats-1", c[0]); got != c[1] {
			t.Errorf("%q reads %q, want %q", c[0], got, c[1])
		}
	}
}
