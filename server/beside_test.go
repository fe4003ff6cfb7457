package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
)

// fetch reads a page of the account server.
func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", url, resp.Status, err)
	}
	return string(body)
}

// TestStockServerBesideBundledNodes: a stock server that joins the cluster is
// found, served and asked for its proof like the bundled ones.
func TestStockServerBesideBundledNodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := DevOptions{
		Dir: dir, Nodes: 2, Port: natstest.FreeRange(t, portSpan), HTTP: "127.0.0.1:0", ReadyFile: filepath.Join(t.TempDir(), "ready"),
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Dev(ctx, opts) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	}()
	var ready Ready
	natstest.Eventually(t, resolverPatience, func() error {
		raw, err := os.ReadFile(opts.ReadyFile)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &ready)
	})
	operator := fetch(t, ready.HTTP+"/jwt/v1/operator")
	doc, err := claims.Decode(operator)
	if err != nil {
		t.Fatal(err)
	}
	oc, err := claims.As[jwt.OperatorClaims](doc)
	if err != nil {
		t.Fatal(err)
	}
	routes := fmt.Sprintf("%q", "nats-route://127.0.0.1:"+fmt.Sprint(opts.Port+10))
	natstest.StartServer(t, fmt.Sprintf(`
server_name: stock-0
operator: %s
system_account: %s
resolver: { type: full, dir: %q, allow_delete: true }
resolver_preload: { %s: %s }
cluster { name: dev, listen: "127.0.0.1:-1", routes: [ %s ] }
`, operator, oc.SystemAccount, t.TempDir(), oc.SystemAccount, fetch(t, ready.HTTP+"/jwt/v1/accounts/"+oc.SystemAccount), routes))
	nc, err := nats.Connect(ready.Nodes[0].URL, nats.UserCredentials(ready.Creds))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	body, err := json.Marshal(api.ProofRequest{Key: oc.SystemAccount, Revision: 1, WaitMs: 500})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, resolverPatience, func() error {
		m, err := nc.Request(api.SubjectProof, body, resolverPatience)
		if err != nil {
			return err
		}
		var reply api.ProofReply
		if err := json.Unmarshal(m.Data, &reply); err != nil {
			return err
		}
		if len(reply.Nodes) != 3 || reply.Nodes[2].Server != "stock-0" || !reply.Proven {
			return fmt.Errorf("proof: %s", m.Data)
		}
		return nil
	})
}
