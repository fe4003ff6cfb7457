package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/device"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/operator/nscstore"
)

// deviceOptions are the flags of the device commands.
type deviceOptions struct {
	dir, clients, token, id string
	bearer, enrolled        bool // enrolled: it is to be already
}

func newDevice(a *app) *cobra.Command {
	cmd := group("device", "Enrol this device and keep its credentials fresh")
	cmd.AddCommand(newDeviceEnroll(a), newDeviceRun(a), newDeviceRenew(a), newDeviceStatus(a))
	return cmd
}

func (o *deviceOptions) flags(f *pflag.FlagSet, enrols bool) {
	f.StringVar(&o.dir, "dir", "device", "folder of the device: its key, its credentials, where to ask")
	f.StringVar(&o.clients, "clients", "", "folder for what clients read, in memory if that of the device is sealed (default that of --dir; none if sealed)")
	f.BoolVar(&o.bearer, "bearer", false, "for clients that cannot sign: also write the JWT alone, and do not try it")
	if enrols {
		f.StringVar(&o.token, "token", "", "file with the token, - for stdin")
		f.StringVar(&o.id, "id", "", "id to ask for (default what the token says, else the device's public key)")
	}
}

func newDeviceEnroll(a *app) *cobra.Command {
	var o deviceOptions
	cmd := &cobra.Command{
		Use:   "enroll",
		Short: "Make this device's key and exchange a token for credentials",
		Long: `Make the key of this device, unless it has one, and exchange a token for credentials.
The key never leaves the device. What was interrupted may be repeated: the key stays,
so that it is no further use of the token. A device that is enrolled stays as it is
until its credentials expire, unless the token is another than the one it keeps.

With --identity-file or --passphrase-file what is secret in the folder is sealed with
age; every further command then needs the same. Clients read --clients, which is not.`,
		Example: `  nsc device enroll --token phone.token
  nsc device enroll --token - --dir sensor --id sensor-17
  nsc device enroll --token phone.token --dir sealed --identity-file ./identity.txt --clients ./memory
  nsc device enroll --token phone.token --dir sensor --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.enrollDevice(cmd.Context(), o)
			if err != nil {
				return err
			}
			return a.showDevice(st)
		},
	}
	o.flags(cmd.Flags(), true)
	return cmd
}

func (a *app) deviceAgent(o deviceOptions) (*device.Agent, error) {
	opts := device.Options{
		Dir: a.path(o.dir), Bearer: o.bearer, Now: a.env.Now, Logger: slog.New(slog.NewTextHandler(a.env.Stderr, nil)),
	}
	if o.clients != "" {
		opts.Clients = a.path(o.clients)
	}
	var err error
	opts.Identities, err = a.deviceIdentities(o)
	if err == nil && len(opts.Identities) > 0 && opts.Clients == opts.Dir {
		err = usage("what clients read is not sealed, and the folder of the device is").WithHint("name another folder with --clients, in memory, such as one below /run")
	}
	return device.New(opts), err
}

// deviceIdentities returns what seals the secrets of a device and opens them: the
// identities of a file, or the one in the device's folder that a passphrase opens.
func (a *app) deviceIdentities(o deviceOptions) ([]string, error) {
	l := lockFiles{a.flags.identityFile, a.flags.passphraseFile}
	switch {
	case l.identity != "":
		return a.identities(l.identity)
	case l.passphrase == "":
		return nil, nil
	}
	name := filepath.Join(a.path(o.dir), "identity.age")
	sealed, err := os.ReadFile(filepath.Clean(name))
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.enrolled:
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		if sealed, err = a.makeDeviceIdentity(name, l); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fault.New(fault.Denied, "read what the passphrase opens: %w", err).About("file", name)
	}
	defer debug.FreeOSMemory() // of 256 MB, which a small device needs
	return a.byPassphrase(l.passphrase, sealed)
}

func (a *app) makeDeviceIdentity(name string, l lockFiles) (sealed []byte, err error) {
	made, _, err := a.sealing(l, nil)
	if err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fault.New(fault.Denied, "make the folder of the device: %w", err).About("folder", filepath.Dir(name))
	}
	return made.Identity, a.createFile(name, func(w io.Writer) error { _, err := w.Write(made.Identity); return err })
}

func (a *app) enrollDevice(ctx context.Context, o deviceOptions) (device.State, error) {
	if o.token == "" {
		return device.State{}, usage("the token is missing").WithHint("name the file that holds it with --token, or give it on stdin with --token -")
	}
	text, err := a.readDeviceToken(o.token)
	if err != nil {
		return device.State{}, err
	}
	defer nscstore.Wipe(text)
	if a.flags.dryRun {
		return device.State{}, usage("a device is not enrolled on trial")
	}
	ctx, cancel := context.WithTimeout(ctx, deviceTime(a))
	defer cancel()
	agent, err := a.deviceAgent(o)
	if err != nil {
		return device.State{}, err
	}
	return agent.Enroll(ctx, strings.TrimSpace(string(text)), o.id)
}

// deviceTime bounds one exchange, of which each step has a bound of its own.
func deviceTime(a *app) time.Duration { return max(a.flags.timeout, time.Second) * 3 }

// readDeviceToken reads a token, which is a secret, from a file or stdin.
func (a *app) readDeviceToken(name string) ([]byte, error) {
	if strings.Count(name, ".") >= 2 && len(name) > 200 {
		return nil, usage("a token does not belong on the command line, where others can read it").
			WithHint("name a file that holds it, or give it on stdin with --token -")
	}
	if name == "-" {
		return io.ReadAll(io.LimitReader(a.env.Stdin, maxSeedFile))
	}
	data, err := os.ReadFile(a.path(name))
	if err != nil {
		return nil, fault.New(fault.NotFound, "read the token: %w", err).About("file", name)
	}
	return data, nil
}

func newDeviceRun(a *app) *cobra.Command {
	var o deviceOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Enrol this device if it is not, and renew its credentials in time, until stopped",
		Long: `Keep this device's credentials fresh: from about half of their life on, at a time that
accountd says, and when servers refuse them. Clients and leaf nodes of the device
read device.creds in its folder, or in that of --clients, which is replaced as a
whole. It ends when the device is refused for good.`,
		Example: `  nsc device run --dir sensor
  nsc device run --dir sensor --identity-file ./identity.txt --clients /run/sensor
  nsc device run --token phone.token --dir sensor
  nsc device run --token phone.token --dir sensor --id sensor-17 --bearer`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			agent, err := a.deviceAgent(o)
			if err != nil {
				return err
			}
			if _, err := agent.State(); fault.Is(err, fault.NotFound) && o.token != "" {
				if _, err := a.enrollDevice(cmd.Context(), o); err != nil {
					return err
				}
			}
			return agent.Run(cmd.Context(), func(st device.State) { _ = a.showDevice(st) })
		},
	}
	o.flags(cmd.Flags(), true)
	return cmd
}

func newDeviceRenew(a *app) *cobra.Command {
	o := deviceOptions{enrolled: true}
	cmd := &cobra.Command{
		Use:   "renew",
		Short: "Renew this device's credentials now",
		Example: `  nsc device renew --dir sensor
  nsc device renew
  nsc device renew --dir sensor --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.flags.dryRun {
				return usage("credentials are not renewed on trial")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), deviceTime(a))
			defer cancel()
			agent, err := a.deviceAgent(o)
			if err != nil {
				return err
			}
			st, err := agent.Renew(ctx)
			if err != nil {
				return err
			}
			return a.showDevice(st)
		},
	}
	o.flags(cmd.Flags(), false)
	return cmd
}

func newDeviceStatus(a *app) *cobra.Command {
	o := deviceOptions{enrolled: true}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show this device's id, key and credentials, and when they are renewed",
		Example: `  nsc device status --dir sensor
  nsc device status
  nsc device status --json`,
		Args: args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			agent, err := a.deviceAgent(o)
			if err != nil {
				return err
			}
			st, err := agent.State()
			if err != nil {
				return err
			}
			return a.showDevice(st)
		},
	}
	o.flags(cmd.Flags(), false)
	return cmd
}

func (a *app) showDevice(st device.State) error {
	if a.flags.json {
		st.Schema = api.Schema
		return a.printStructured(st)
	}
	if a.flags.output == "name" {
		fmt.Fprintln(a.env.Stdout, st.ID)
		return nil
	}
	out := a.env.Stdout
	fmt.Fprintf(out, "device %s  key %s\n", st.ID, st.Key)
	when := "renew from " + clock(st.Renew)
	if st.Expires <= a.env.Now().Unix() {
		fmt.Fprintf(out, "  expired %s\n", clock(st.Expires))
	} else {
		fmt.Fprintf(out, "  %s, %s\n", until(st.Expires), when)
	}
	if st.Creds != "" {
		fmt.Fprintf(out, "  credentials in %s\n", a.shown(st.Creds))
	} else {
		fmt.Fprintln(out, "  credentials sealed; clients get them with --clients FOLDER")
	}
	return nil
}
