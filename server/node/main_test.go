package node

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine of a node or of its server outlives Stop.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}
