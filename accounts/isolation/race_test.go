//go:build race

package isolation_test

// defaultFlows is smaller under the race detector, which takes ten times as
// long.
const defaultFlows = 3000
