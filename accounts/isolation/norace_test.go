//go:build !race

package isolation_test

const defaultFlows = 10000
