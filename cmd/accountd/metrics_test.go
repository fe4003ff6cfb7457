package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/accountd/accountd/internal/natstest"
)

// TestMetrics: what was decided, and where the servers are, is counted.
func TestMetrics(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	account := d.putAccount(t, "qcon")
	res, err := http.Post(d.HTTP+"/jwt/v1/accounts/"+account.PublicKey(), "application/jwt", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a push of nonsense: %d", res.StatusCode)
	}
	wants := []string{
		`accountd_decisions_total{outcome="committed",rule="",via="nats"} 1`,
		`accountd_changes_total 3`,
		`accountd_node_healthy{node="nats-0"} 1`,
		`accountd_node_behind_changes{node="nats-0"} 0`,
		"go_goroutines",
	}
	natstest.Eventually(t, readyWithin, func() error { // the node follows in its own time
		_, text := d.get(t, "/metrics")
		for _, want := range wants {
			if !strings.Contains(text, want) {
				return fmt.Errorf("/metrics lacks %s", want)
			}
		}
		return nil
	})
	d.ends(t)
}
