package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/device"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

// deviceOptions are the flags of the device commands.
type deviceOptions struct {
	dir, token, id string
	bearer         bool
}

func newDevice(a *app) *cobra.Command {
	cmd := group("device", "Enrol this device and keep its credentials fresh")
	cmd.AddCommand(newDeviceEnroll(a), newDeviceRun(a), newDeviceRenew(a), newDeviceStatus(a))
	return cmd
}

func (o *deviceOptions) flags(f *pflag.FlagSet, enrols bool) {
	f.StringVar(&o.dir, "dir", "device", "folder of the device: its key, its credentials, where to ask")
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
until its credentials expire, unless the token is another than the one it keeps.`,
		Example: `  nsc device enroll --token phone.token
  nsc device enroll --token - --dir sensor --id sensor-17
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

func (a *app) deviceAgent(o deviceOptions) *device.Agent {
	return device.New(device.Options{
		Dir: a.path(o.dir), Bearer: o.bearer, Now: a.env.Now, Logger: slog.New(slog.NewTextHandler(a.env.Stderr, nil)),
	})
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
	return a.deviceAgent(o).Enroll(ctx, strings.TrimSpace(string(text)), o.id)
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
read device.creds in its folder, which is replaced as a whole. It ends when the
device is refused for good.`,
		Example: `  nsc device run --dir sensor
  nsc device run --token phone.token --dir sensor
  nsc device run --token phone.token --dir sensor --id sensor-17 --bearer`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			agent := a.deviceAgent(o)
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
	var o deviceOptions
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
			st, err := a.deviceAgent(o).Renew(ctx)
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
	var o deviceOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show this device's id, key and credentials, and when they are renewed",
		Example: `  nsc device status --dir sensor
  nsc device status
  nsc device status --json`,
		Args: args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			st, err := a.deviceAgent(o).State()
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
	fmt.Fprintf(out, "  credentials in %s\n", a.shown(st.Creds))
	return nil
}
