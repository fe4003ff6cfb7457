package natstest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startWithin is how long a stock server may take until it listens.
const startWithin = 20 * time.Second

// Server is a stock nats-server that runs as a process of its own.
type Server struct {
	*Process
	URL       string // for clients, nats://127.0.0.1:port
	WebSocket string // ws://…, "" without a WebSocket listener
	Monitor   string // http://127.0.0.1:port of the monitoring pages
}

// StartServer runs the stock nats-server with config, in the server's own
// configuration language, and returns when it listens. The client listener is
// on a free port of 127.0.0.1 unless config says otherwise.
func StartServer(t testing.TB, config string) *Server {
	t.Helper()
	program := StockServer(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "server.conf")
	preface := "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\n"
	if err := os.WriteFile(file, []byte(preface+config), 0o600); err != nil {
		t.Fatalf("write the server's configuration: %v", err)
	}
	s := &Server{Process: StartProcess(t, nil, program, "-c", file, "--ports_file_dir", dir)}
	portsFile := filepath.Join(dir, fmt.Sprintf("%s_%d.ports", filepath.Base(program), s.PID()))
	Eventually(t, startWithin, func() error {
		select {
		case <-s.Ended():
			t.Fatalf("the stock nats-server ended:\n%s", s.Output())
		default:
		}
		return s.readPorts(portsFile)
	})
	return s
}

// readPorts takes the addresses from the file that the server writes when all
// its listeners are up.
func (s *Server) readPorts(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var ports struct {
		Nats       []string `json:"nats"`
		Monitoring []string `json:"monitoring"`
		WebSocket  []string `json:"websocket"`
	}
	if err := json.Unmarshal(content, &ports); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if len(ports.Nats) == 0 || len(ports.Monitoring) == 0 {
		return fmt.Errorf("%s names no client or monitoring address", file)
	}
	s.URL, s.Monitor = ports.Nats[0], ports.Monitoring[0]
	if len(ports.WebSocket) > 0 {
		s.WebSocket = ports.WebSocket[0]
	}
	return nil
}

// LeafOptions says what a leaf node looks like. Only Remotes is required.
type LeafOptions struct {
	Remotes []string // leaf-node URLs of the hub
	Creds   string   // credentials file for the hub
	Domain  string   // JetStream domain; "" runs the leaf without JetStream
	Name    string   // server name, "leaf" if empty
	Dir     string   // JetStream folder, a temporary one if empty
	Extra   string   // further configuration lines
}

// StartLeaf runs the stock nats-server as a leaf node of a hub and returns when
// it listens; Linked tells when the link to the hub is up. After a cut it tries
// to connect again every 100 ms.
func StartLeaf(t testing.TB, opts LeafOptions) *Server {
	t.Helper()
	if opts.Name == "" {
		opts.Name = "leaf"
	}
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	return StartServer(t, opts.config())
}

// config returns the leaf's configuration file.
func (o LeafOptions) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "server_name: %q\n", o.Name)
	if o.Domain != "" {
		fmt.Fprintf(&b, "jetstream { store_dir: %q, domain: %q, max_mem: 64MB, max_file: 256MB }\n", o.Dir, o.Domain)
	}
	urls, err := json.Marshal(o.Remotes) // the language reads JSON lists
	if err != nil {
		panic(err) // a list of strings always encodes
	}
	fmt.Fprintf(&b, "leafnodes {\n  reconnect: \"100ms\"\n  remotes [ { urls: %s", urls)
	if o.Creds != "" {
		fmt.Fprintf(&b, ", credentials: %q", o.Creds)
	}
	fmt.Fprintf(&b, " } ]\n}\n%s\n", o.Extra)
	return b.String()
}

// Links returns the number of leaf-node connections of the server.
func (s *Server) Links() (int, error) {
	var leafz struct {
		NumLeafs int `json:"leafnodes"`
	}
	err := s.Monitoring("/leafz", &leafz)
	return leafz.NumLeafs, err
}

// Linked returns nil if the server has a leaf-node connection, and says that it
// has none otherwise.
func (s *Server) Linked() error {
	n, err := s.Links()
	if err == nil && n == 0 {
		err = fmt.Errorf("%s has no leaf-node connection", s.URL)
	}
	return err
}

// Unlinked returns nil if the server has no leaf-node connection.
func (s *Server) Unlinked() error {
	n, err := s.Links()
	if err == nil && n != 0 {
		err = fmt.Errorf("%s has %d leaf-node connections", s.URL, n)
	}
	return err
}

// RoutedTo returns nil if the server has routes to n others.
func (s *Server) RoutedTo(n int) error {
	var page struct {
		Routes []struct {
			Name string `json:"remote_name"`
		} `json:"routes"`
	}
	if err := s.Monitoring("/routez", &page); err != nil {
		return err
	}
	others := map[string]bool{}
	for _, r := range page.Routes {
		others[r.Name] = true
	}
	if len(others) != n {
		return fmt.Errorf("%s has routes to %d servers", s.URL, len(others))
	}
	return nil
}

// Monitoring reads the monitoring page at path, such as /leafz, into the value
// that into points to.
func (s *Server) Monitoring(path string, into any) error {
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(s.Monitor + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("read %s: %s", path, resp.Status)
	}
	return json.Unmarshal(body, into)
}
