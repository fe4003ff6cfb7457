package cli

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/internal/cli/near"
)

// globals are the flags that every command knows.
type globals struct {
	privateKey                            string
	configDir, dataDir, keysDir, allDirs  string
	json                                  bool
	output                                string // table, wide, json, yaml or name
	identityFile, passphraseFile          string
	noPush, wait, dryRun, incomplete, yes bool
	timeout                               time.Duration
	sysUser                               string
	tls                                   tlsFlags
	interactive                           bool
}

// newRoot builds the whole command tree. It is new for every run, so that runs
// do not share flags.
func newRoot(a *app) *cobra.Command {
	root := group("nsc", "Create and publish the accounts and users of a NATS operator")
	root.Long = `nsc keeps operators, accounts and users in the official store and keystore,
signs their claims, and publishes changes of accounts to accountd, which brings
them into force on every server and proves it.`
	root.Example = `  nsc add operator acme --sys
  nsc add account app
  nsc add user device1 -a app
  nsc revoke user device1 -a app
  nsc status`
	root.Version = a.env.Version
	root.SilenceErrors, root.SilenceUsage = true, true
	root.DisableSuggestions = true
	root.SetFlagErrorFunc(near.FlagError)
	a.globalFlags(root.PersistentFlags())
	root.PersistentPreRunE = func(cmd *cobra.Command, given []string) error {
		if err := a.checkFlags(); err != nil {
			return err
		}
		return a.interview(cmd, given)
	}
	root.AddCommand(
		newAdd(a),
		newEdit(a),
		newList(a),
		newDescribe(a),
		newGenerate(a),
		newRevoke(a),
		newUnrevoke(a),
		newRevocations(a),
		newCompact(a),
		newOffer(a),
		newAccept(a),
		newContracts(a),
		newSuspend(a),
		newResume(a),
		newIssue(a),
		newToken(a),
		newDevice(a),
		newDelete(a),
		newRestore(a),
		newPush(a),
		newPull(a),
		newAdopt(a),
		newStatus(a),
		newWhy(a),
		newServers(a),
		newAllow(a),
		newProposals(a),
		newSign(a),
		newValidate(a),
		newExpirations(a),
		newImport(a),
		newExport(a),
		newKeys(a),
		newRename(a),
		newReissue(a),
		newMigrate(a),
		newFix(a),
		newBackup(a),
		newVerify(a),
		newSelect(a),
		newEnv(a),
		newInit(a),
		newLoad(a),
	)
	root.AddCommand(newTool(a))
	root.AddCommand(toolCopies(a)...)
	for _, cmd := range root.Commands() {
		a.outputFlag(cmd)
		listAlone(cmd)
	}
	return root
}

// listAlone lets a noun without a verb list what there is, if it can be listed.
func listAlone(noun *cobra.Command) {
	for _, c := range noun.Commands() {
		if c.Name() != "list" {
			continue
		}
		noun.Long = noun.Short + `.
Without a verb it lists them, as "` + c.CommandPath() + `" does.`
		noun.Flags().AddFlagSet(c.LocalNonPersistentFlags())
		other := noun.RunE
		noun.RunE = func(cmd *cobra.Command, given []string) error {
			if len(given) == 0 {
				return c.RunE(cmd, given)
			}
			return other(cmd, given)
		}
	}
}

// outputFlag adds -o to the commands below cmd that have no other meaning for it.
func (a *app) outputFlag(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		a.outputFlag(c)
	}
	f := cmd.Flags()
	if cmd.HasSubCommands() || f.ShorthandLookup("o") != nil || f.Lookup("output") != nil || cmd.PersistentFlags().ShorthandLookup("o") != nil {
		return
	}
	f.StringVarP(&a.flags.output, "output", "o", "", "table, wide, json, yaml or name")
}

func (a *app) globalFlags(f *pflag.FlagSet) {
	g := &a.flags
	f.StringVarP(&g.privateKey, "private-key", "K", "", "who signs: a role, a public key, a seed file, or - for a seed on stdin")
	f.BoolVarP(&g.interactive, "interactive", "i", false, "ask for the values that are not given as flags")
	f.StringVar(&g.configDir, "config-dir", "", "folder of nsc.json")
	f.StringVar(&g.dataDir, "data-dir", "", "folder of the stores")
	f.StringVar(&g.keysDir, "keystore-dir", "", "folder of the keystore")
	f.StringVarP(&g.allDirs, "all-dirs", "H", "", "sets the three folders alike")
	f.StringVar(&g.identityFile, "identity-file", "", "file with the age identity that opens sealed keys")
	f.StringVar(&g.passphraseFile, "passphrase-file", "", "file whose first line is the passphrase that opens sealed keys")
	f.BoolVar(&g.json, "json", false, "print the result as JSON")
	f.BoolVar(&g.noPush, "no-push", false, "change the local store only")
	f.BoolVar(&g.wait, "wait", true, "wait until the servers are proven to enforce the change")
	f.BoolVar(&g.dryRun, "dry-run", false, "show the change; touch nothing, here or on servers")
	f.BoolVar(&g.incomplete, "allow-incomplete", false, "publish although an import cannot be resolved")
	f.BoolVar(&g.yes, "yes", false, "answer every question with yes")
	f.StringVar(&g.sysUser, "sys-user", "", "user of the system account that carries requests (default sys)")
	g.timeout = 10 * time.Second
	f.Var((*durationValue)(&g.timeout), "timeout", "how long to wait for accountd, and then for the proof: such as 30s, 2m, or a number of seconds")
}

// checkFlags refuses global flags that contradict each other.
func (a *app) checkFlags() error {
	switch a.flags.output {
	case "", "table", "wide", "name":
	case "json", "yaml":
		a.flags.json = true
	default:
		return usage("unknown output %q; known are table, wide, json, yaml and name", a.flags.output)
	}
	if looksSecret(a.flags.privateKey) {
		return usage("a seed does not belong on the command line, where others can read it").
			WithHint("name a file that holds it, or use -K - and give it on stdin")
	}
	return nil
}
