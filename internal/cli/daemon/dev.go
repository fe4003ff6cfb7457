package daemon

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/enroll"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/server"
)

const defaultDir = "accountd-dev"

// devFlags are the flags of accountd dev as given.
type devFlags struct {
	dir, host, http, ready, level, store, tools, policy string
	nodes, port                                         int
	insecure                                            bool
	devices                                             enroll.Options
}

func newDev(env Env) *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run an operator, a cluster of NATS servers and the service, and make what is missing",
		Long: `accountd dev runs everything in one process: a cluster of nats-servers in operator
mode with JetStream, leaf-node, WebSocket and MQTT listeners, and the service
that holds the claims and brings them into force.

The first start makes operator dev, its system account and the system user sys
in an official nsc store under the folder; later starts resume. Ports of node i,
from --port P on: client P+i, cluster P+10+i, leaf P+20+i, WebSocket P+30+i,
MQTT P+40+i. They are recorded: later starts use the same ones.

DIR/env sets NSC_HOME, NKEYS_PATH, PATH and all addresses for a shell:
. DIR/env. Stock tools find the system account in a context of the nats tool
under the folder: XDG_CONFIG_HOME=DIR nats --context accountd-dev rtt. What the
servers log is in DIR/nodes/servers.log.

It ends at SIGTERM or an interrupt: clients are sent away, and it exits 0 within
10 seconds. A second signal ends it at once.

With --policy every change that would break what the file demands is refused
(rule policy); what is broken at the start is said in the log and by nsc status.
It is read again when the file changes, and at SIGHUP; one that cannot be read
leaves the old one, and nsc status says so.

Exit codes: 2 the command line is wrong; 3 the policy does not exist; 4 the
folder cannot be written; 5 another process runs on the folder; 6 a port or the
HTTP address is taken, or the cluster does not become ready; 7 the folder or the
store is not ours, or is damaged, the clock is before the claims, or the policy
is none.`,
		Example: `  accountd dev
  accountd dev --nodes 1
  accountd dev --dir ./demo --port 0
  accountd dev --policy policy.yaml
  accountd dev --ready-file /tmp/ready.json --http off`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := f.options(env, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			return server.Dev(cmd.Context(), opts)
		},
	}
	cmd.PersistentFlags().StringVar(&f.dir, "dir", "./"+defaultDir, "folder of everything")
	fl := cmd.Flags()
	fl.IntVar(&f.nodes, "nodes", 3, "number of servers, 1 to 10; fixed at the first start")
	fl.IntVar(&f.port, "port", 4222, "client port of the first server; 0 picks free ones and records them")
	fl.StringVar(&f.host, "host", "127.0.0.1", "address that the servers listen on")
	fl.StringVar(&f.http, "http", "127.0.0.1:9222", "address of the HTTP listener; off for none")
	fl.BoolVar(&f.insecure, "insecure-http", false, "allow HTTP without TLS beyond this machine")
	fl.StringVar(&f.store, "store", "", "bolt:PATH or postgres://…; fixed at the first start (default bolt:DIR/accountd.db)")
	fl.StringVar(&f.tools, "account-server", "nats", "how tools find the service: nats or http")
	fl.StringVar(&f.policy, "policy", "", "YAML file of what no change may break, as of nsc verify -f; given at every start")
	deviceFlags(fl, &f.devices)
	fl.StringVar(&f.ready, "ready-file", "", "file to write when all servers are healthy and the claims in force")
	fl.StringVar(&f.level, "log-level", "warn", "what to log on stderr: debug, info, warn or error")
	cmd.AddCommand(newNode(env, &f.dir))
	return cmd
}

// options turns the flags into options; what was not given is left to what an
// earlier start recorded.
func (f devFlags) options(env Env, given func(string) bool) (server.DevOptions, error) {
	log, err := env.logger(f.level)
	if err != nil {
		return server.DevOptions{}, err
	}
	opts := server.DevOptions{
		Dir: env.absolute(f.dir), Show: show(f.dir), ReadyFile: env.absolute(f.ready),
		InsecureHTTP: f.insecure, RuntimeDir: env.RuntimeDir,
		Policy: env.absolute(f.policy), Reload: env.Reload, Devices: deviceOptions(env, f.devices),
		Out: env.Stdout, Logger: log, Now: env.Now,
	}
	if f.dir == "" {
		return opts, fault.New(fault.Usage, "--dir is empty").WithHint("accountd dev --dir ./%s", defaultDir)
	}
	if env.Program != "" {
		opts.BinDir = filepath.Dir(env.Program)
	}
	if given("nodes") {
		if opts.Nodes = f.nodes; f.nodes < 1 {
			return opts, fault.New(fault.Usage, "--nodes %d: expected 1 to 10", f.nodes)
		}
	}
	if given("port") {
		if opts.Port = f.port; f.port == 0 {
			opts.Port = server.FreePorts
		} else if f.port < 0 {
			return opts, fault.New(fault.Usage, "--port %d: expected a port, or 0 for free ones", f.port)
		}
	}
	if given("account-server") {
		opts.AccountServer = f.tools
	}
	if given("store") {
		opts.Store = env.storeSpec(f.store)
	}
	if given("host") {
		opts.Host = f.host
	}
	if given("http") {
		if opts.HTTP = f.http; f.http == "" {
			opts.HTTP = "off"
		}
	}
	return opts, nil
}

// deviceFlags are those about devices that ask for credentials.
func deviceFlags(fl *pflag.FlagSet, o *enroll.Options) {
	fl.IntVar(&o.SourceRate, "device-rate", 50, "requests of devices a second from one address over HTTP, four times as many at once; more for those behind one proxy")
	fl.IntVar(&o.Clones, "device-clones", 0, "of how many devices to remember what they renewed, about 150 bytes each, to notice a key that two have; 0 for none")
	fl.StringVar(&o.Log, "device-log", "", "folder to list there, by account and day, which device enrolled with which key; nothing is kept without it")
}

// deviceOptions names files as the service needs them.
func deviceOptions(env Env, o enroll.Options) enroll.Options {
	if o.Log != "" {
		o.Log = env.absolute(o.Log)
	}
	return o
}

// show is dir as a person types it in a shell.
func show(dir string) string {
	if filepath.IsAbs(dir) || strings.HasPrefix(dir, ".") {
		return dir
	}
	return "./" + dir
}
