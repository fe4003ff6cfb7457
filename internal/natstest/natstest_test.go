package natstest_test

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/accountd/accountd/internal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A test against a stock server means something only if it is the version that
// is bundled.
func TestStockServerIsTheBundledVersion(t *testing.T) {
	t.Parallel()
	root := natstest.ModuleRoot(t)
	line := regexp.MustCompile(`(?m)^\s*(?:require )?github\.com/nats-io/nats-server/v2 (\S+)`)
	version := func(file string) string {
		mod, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		found := line.FindSubmatch(mod)
		if found == nil {
			t.Fatalf("%s requires no nats-server", file)
		}
		return string(found[1])
	}
	bundled := version("go.mod")
	if pinned := version("tools/go.mod"); pinned != bundled {
		t.Errorf("tools/go.mod pins nats-server %s, bundled is %s", pinned, bundled)
	}
	info, err := buildinfo.ReadFile(natstest.StockServer(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.Main.Version != bundled {
		t.Errorf("the stock server was built from %s, bundled is %s", info.Main.Version, bundled)
	}
}

func TestNatsCLITalksToTheStockServer(t *testing.T) {
	t.Parallel()
	server := natstest.StartServer(t, "")
	cli := natstest.StartProcess(t, append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir()),
		natstest.NatsCLI(t), "--server", server.URL, "pub", "greeting", "hello")
	if code := cli.Wait(t, 20*time.Second); code != 0 {
		t.Errorf("nats pub: exit code %d\n%s", code, cli.Output())
	}
}

func TestPortsBelongToOneTest(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[int]bool{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, port := range natstest.FreePorts(t, 10) {
				mu.Lock()
				if seen[port] {
					t.Errorf("port %d was given twice", port)
				}
				seen[port] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	first := natstest.FreeRange(t, 5)
	for port := first; port < first+5; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

func TestStopEndsTheServerAndTellsItsCode(t *testing.T) {
	t.Parallel()
	server := natstest.StartServer(t, "")
	// nats-server answers SIGTERM by closing and exiting with 1.
	if code := server.Stop(); code < 0 {
		t.Errorf("the server had to be killed:\n%s", server.Output())
	}
	if _, err := nats.Connect(server.URL, nats.Timeout(time.Second)); err == nil {
		t.Error("a stopped server still answers")
	}
}

func TestLeafLinksAndCarriesMessages(t *testing.T) {
	t.Parallel()
	port := natstest.FreePort(t)
	hub := natstest.StartServer(t, fmt.Sprintf("server_name: hub\nleafnodes { listen: \"127.0.0.1:%d\" }\n", port))
	leaf := natstest.StartLeaf(t, natstest.LeafOptions{
		Remotes: []string{fmt.Sprintf("nats-leaf://127.0.0.1:%d", port)},
		Domain:  "edge",
	})
	natstest.Eventually(t, 10*time.Second, leaf.Linked)
	natstest.Eventually(t, 10*time.Second, hub.Linked)

	at := connect(t, leaf.URL)
	if _, err := at.Subscribe("ask", func(m *nats.Msg) { _ = m.Respond([]byte("from the leaf")) }); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, 5*time.Second, func() error {
		_, err := connect(t, hub.URL).Request("ask", nil, time.Second)
		return err
	})
	js, err := at.JetStream(nats.Domain("edge"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Errorf("the leaf has no JetStream of its own: %v", err)
	}
	hub.Stop()
	natstest.Eventually(t, 10*time.Second, leaf.Unlinked)
}

func TestMQTT(t *testing.T) {
	t.Parallel()
	port := natstest.FreePort(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	server := natstest.StartServer(t, fmt.Sprintf(`
server_name: hub
jetstream { store_dir: %q, max_mem: 64MB, max_file: 64MB }
accounts { A { jetstream: enabled, users: [ { user: u, password: p } ] } }
mqtt { listen: %q }
`, t.TempDir(), addr))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	var refused natstest.MQTTRefused
	_, err := natstest.DialMQTT(ctx, addr, natstest.MQTTOptions{ClientID: "c", User: "u", Password: "wrong"})
	if !errors.As(err, &refused) || refused.Code != 5 {
		t.Errorf("a wrong password: %v, want refused with code 5", err)
	}
	m, err := natstest.DialMQTT(ctx, addr, natstest.MQTTOptions{ClientID: "c", User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Subscribe(ctx, "up/+"); err != nil {
		t.Fatal(err)
	}
	if err := m.Publish("up/1", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := m.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	msg, err := m.Receive(ctx)
	if err != nil || msg.Topic != "up/1" || string(msg.Payload) != "hello" {
		t.Fatalf("received %q on %q, %v", msg.Payload, msg.Topic, err)
	}
	server.Stop()
	select {
	case <-m.Closed():
	case <-ctx.Done():
		t.Error("the client has not noticed that the server is gone")
	}
}

func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
