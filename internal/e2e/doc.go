// Package e2e tests both programs as people run them: accountd dev as a process
// on a folder of its own, nsc with the environment of that folder, and stock
// NATS programs and clients as the other side. It has tests only.
//
// The README's walk-through is executed by TestREADME; scripts/story runs
// TestStory, and scripts/bench the benchmark of adding an account.
package e2e
