package cli

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
)

// contextOptions are the flags of generate context.
type contextOptions struct {
	account, user, name string
	force               bool
}

func newGenerateContext(a *app) *cobra.Command {
	var o contextOptions
	cmd := &cobra.Command{
		Use: "context [name]", Short: "Write a context of the nats command line tool for a user",
		Long: `Write a context with which the nats command line tool connects as a user, to the
operator's service URLs: nats --context NAME. The tool asks this program for the
credentials each time, so it follows when the user is issued anew.`,
		Example: `  nsc generate context app-device1 -a app -u device1
  nsc generate context --account app --user device1 --context app-device1
  nsc generate context app-device1 -a app -u device1 --force`,
		Args: args(0, 1, "the context's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the context's name"); err != nil {
				return err
			}
			return a.generateContext(cmd.Context(), o)
		},
	}
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.StringVarP(&o.user, "user", "u", "", "user name (default the only one)")
	f.StringVar(&o.name, "context", "", "name of the context")
	f.BoolVarP(&o.force, "force", "F", false, "replace a context that exists")
	return cmd
}

func (a *app) generateContext(ctx context.Context, o contextOptions) error {
	if strings.ContainsAny(o.name, `/\`) || strings.HasPrefix(o.name, ".") {
		return usage("%q is no name of a context", o.name)
	}
	dir, err := a.contextDir()
	if err != nil {
		return err
	}
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	user, err := r.oneUser(ac, o.user)
	if err != nil {
		return err
	}
	creds, err := s.store.Keystore().CredsPath(r.Name(), ac.name, user)
	if err != nil {
		return err
	}
	if err := s.hasCreds(r, ac, user, creds); err != nil {
		return err
	}
	url := ""
	if len(r.claims.OperatorServiceURLs) > 0 {
		url = r.claims.OperatorServiceURLs[0]
	}
	text, err := json.Marshal(struct {
		NSC   string `json:"nsc"`
		URL   string `json:"url,omitempty"`
		Creds string `json:"creds"`
	}{profileURL(r.Name(), ac.name, user), url, creds})
	if err != nil {
		return fault.New(fault.Internal, "encode the context: %w", err)
	}
	return a.writeNew(map[string]string{filepath.Join(dir, strings.TrimSuffix(o.name, ".json")+".json"): string(text)}, o.force)
}

// contextDir is where the nats tool keeps its contexts.
func (a *app) contextDir() (string, error) {
	config := a.env.Getenv("XDG_CONFIG_HOME")
	switch {
	case config == "" && a.env.Home == "":
		return "", fault.New(fault.Invalid, "the home folder is not known").WithHint("set HOME or XDG_CONFIG_HOME")
	case config == "":
		config = filepath.Join(a.env.Home, ".config")
	}
	return filepath.Join(config, "nats", "context"), nil
}
