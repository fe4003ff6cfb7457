package cli

import (
	"github.com/spf13/cobra"
)

// verifyOptions say which claims are judged, and under which servers.
type verifyOptions struct {
	operator, jwtDir string
	cluster, domain  string
	jetStream        bool
	served           bool
}

func newVerify(a *app) *cobra.Command {
	var o verifyOptions
	var file string
	cmd := group("verify", "Prove what may flow between accounts, from their claims alone")
	cmd.Long = `Proves from claims alone what may flow between accounts: one message (flow),
all of them (isolation), or whatever a policy file demands (-f), for CI:

  isolated:            # no account of a list can reach another of it
    - [coke, pepsi]
  reaches:             # the accounts that this one may reach, at most
    - from: coke
      only: [platform]
  flows:
    - from: coke:till1
      subject: orders.new
      to: platform
      pattern: 'coke.>'
      expect: delivered
      on: coke.orders.new

account:@role, in the place of account:user, stands for all users of a role,
whoever they are; what depends on their names is possible.

The claims are those of the local store; with --jwt-dir those of a folder of JWTs,
with --served the accounts that accountd holds, and the local store's users.
Exits 9 if a demand does not hold, and says why.`
	cmd.Example = `  nsc verify -f policy.yaml
  nsc verify -f policy.yaml --jwt-dir ./claims --json
  nsc verify -f policy.yaml --served
  nsc verify isolation coke pepsi
  nsc verify flow --from coke --subject orders.new --to pepsi`
	help := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if file == "" || len(given) > 0 {
			return help(cmd, given)
		}
		return a.verifyPolicy(cmd.Context(), o, file)
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "policy file in YAML")
	a.worldFlags(cmd, &o)
	cmd.AddCommand(newVerifyFlow(a), newVerifyIsolation(a))
	return cmd
}

// worldFlags adds what all kinds of verify have in common.
func (a *app) worldFlags(cmd *cobra.Command, o *verifyOptions) {
	f := cmd.Flags()
	f.StringVarP(&o.operator, "operator", "o", "", "operator to look at (default the current one, which stays)")
	f.StringVar(&o.jwtDir, "jwt-dir", "", "judge the *.jwt files below this folder, not the local store; of one name the newest")
	f.BoolVar(&o.served, "served", false, "judge the accounts that accountd holds, not the local store")
	f.StringVar(&o.cluster, "cluster", "", "name of the servers' cluster, for mappings bound to one")
	f.StringVar(&o.domain, "domain", "", "JetStream domain of the servers")
	f.BoolVar(&o.jetStream, "jetstream", true, "the servers run JetStream")
	a.longOutput(cmd)
}
