package main

import (
	"net/http"
	"strings"
	"testing"
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
	_, text := d.get(t, "/metrics")
	for _, want := range []string{
		`accountd_decisions_total{outcome="committed",rule="",via="nats"} 1`,
		`accountd_changes_total 3`,
		`accountd_node_healthy{node="nats-0"} 1`,
		`accountd_node_behind_changes{node="nats-0"} 0`,
		"go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	d.ends(t)
}
