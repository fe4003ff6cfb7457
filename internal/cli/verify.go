package cli

import (
	"github.com/spf13/cobra"
)

// verifyOptions say which claims are judged, and under which servers.
type verifyOptions struct {
	operator, jwtDir string
	cluster, domain  string
	jetStream        bool
}

func newVerify(a *app) *cobra.Command {
	cmd := group("verify", "Prove what may flow between accounts, from their claims alone")
	cmd.AddCommand(newVerifyFlow(a), newVerifyIsolation(a))
	return cmd
}

// worldFlags adds what all kinds of verify have in common.
func (a *app) worldFlags(cmd *cobra.Command, o *verifyOptions) {
	f := cmd.Flags()
	f.StringVarP(&o.operator, "operator", "o", "", "operator to look at (default the current one, which stays)")
	f.StringVar(&o.jwtDir, "jwt-dir", "", "judge the *.jwt files below this folder, not the local store")
	f.StringVar(&o.cluster, "cluster", "", "name of the servers' cluster, for mappings bound to one")
	f.StringVar(&o.domain, "domain", "", "JetStream domain of the servers")
	f.BoolVar(&o.jetStream, "jetstream", true, "the servers run JetStream")
	a.longOutput(cmd)
}
