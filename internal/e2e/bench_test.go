package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
)

// BenchmarkAddAccount measures a new account on three servers, from the start of
// the command's process to its end: nsc add account, which ends with the proof,
// and, if OFFICIAL_NSC names that program, the official add followed by the
// official push to a cluster of stock servers with full resolvers, which proves
// nothing.
func BenchmarkAddAccount(b *testing.B) {
	b.Run("way=accountd", func(b *testing.B) {
		c := newCloud(b)
		add := func(name string) error { return succeeds(c.run("nsc", "add", "account", name)) }
		measure(b, add)
	})
	if official := os.Getenv("OFFICIAL_NSC"); official != "" {
		b.Run("way=stock", func(b *testing.B) {
			s := newStock(b, official)
			measure(b, func(name string) error {
				if err := s.nsc("add", "account", name); err != nil {
					return err
				}
				return s.nsc("push", "-a", name)
			})
		})
	}
}

func measure(b *testing.B, add func(name string) error) {
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		begin := time.Now()
		if err := add(fmt.Sprintf("b%d", i)); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	at := func(q float64) float64 {
		return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
}

// stock is a cluster of three stock servers with full resolvers, and the
// official nsc with a store of its own.
type stock struct {
	program, home string
}

func newStock(b *testing.B, program string) *stock {
	b.Helper()
	s := &stock{program: program, home: b.TempDir()}
	port := natstest.FreePort(b)
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(s.nsc("add", "operator", "OP", "--sys"))
	must(s.nsc("edit", "operator", "--account-jwt-server-url", fmt.Sprintf("nats://127.0.0.1:%d", port)))
	file := filepath.Join(s.home, "resolver.conf")
	must(s.nsc("generate", "config", "--nats-resolver", "--sys-account", "SYS", "--config-file", file))
	resolver, err := os.ReadFile(file)
	must(err)
	routes := natstest.FreePorts(b, 3)
	var routeURLs []string
	for _, r := range routes {
		routeURLs = append(routeURLs, fmt.Sprintf("\"nats-route://127.0.0.1:%d\"", r))
	}
	var servers []*natstest.Server
	for i, route := range routes {
		conf := fmt.Sprintf("server_name: stock-%d\ncluster { name: stock, listen: \"127.0.0.1:%d\", routes: [ %s ] }\n",
			i, route, strings.Join(routeURLs, ", "))
		if i == 0 {
			conf += fmt.Sprintf("listen: \"127.0.0.1:%d\"\n", port)
		}
		dir := filepath.Join(s.home, fmt.Sprintf("jwt-%d", i))
		conf += strings.ReplaceAll(string(resolver), "'./jwt'", "'"+dir+"'")
		servers = append(servers, natstest.StartServer(b, conf))
	}
	s.together(b, servers)
	return s
}

// together waits until the servers are one cluster.
func (s *stock) together(b *testing.B, servers []*natstest.Server) {
	b.Helper()
	sys := filepath.Join(s.home, "keys", "creds", "OP", "SYS", "sys.creds")
	for _, server := range servers {
		natstest.Eventually(b, patience, func() error {
			nc, err := tryDial(server.URL, sys)
			if err != nil {
				return err
			}
			defer nc.Close()
			inbox, err := nc.SubscribeSync(nats.NewInbox())
			if err != nil {
				return err
			}
			if err := nc.PublishRequest("$SYS.REQ.SERVER.PING", inbox.Subject, nil); err != nil {
				return err
			}
			for i := range servers {
				if _, err := inbox.NextMsg(time.Second); err != nil {
					return fmt.Errorf("%d of %d servers answer: %w", i, len(servers), err)
				}
			}
			return nil
		})
	}
}

// nsc runs the official nsc on the store.
func (s *stock) nsc(args ...string) error {
	cmd := exec.Command(s.program, args...)
	cmd.Env = []string{
		"HOME=" + s.home, "NKEYS_PATH=" + filepath.Join(s.home, "keys"), "NSC_HOME=" + filepath.Join(s.home, "config"),
		"NSC_NO_GIT_IGNORE=1", "PATH=" + os.Getenv("PATH"),
	}
	cmd.Dir = s.home
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("official nsc %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return nil
}
