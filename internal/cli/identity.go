package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// lockFiles name what opens and closes: an identity, or a passphrase.
type lockFiles struct{ identity, passphrase string }

func (l lockFiles) empty() bool { return l.identity == "" && l.passphrase == "" }

// configured returns the files that flags name, else the environment.
func (a *app) configured() lockFiles {
	l := lockFiles{a.flags.identityFile, a.flags.passphraseFile}
	if l.empty() {
		l = lockFiles{a.env.Getenv("NSC_AGE_IDENTITY_FILE"), a.env.Getenv("NSC_AGE_PASSPHRASE_FILE")}
	}
	return l
}

// readSecret reads a small file of secrets, or stdin for -.
func (a *app) readSecret(name, what string) ([]byte, error) {
	data, err := a.readSeed(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.NotFound, "there is no %s file %s", what, name).About("file", name)
	case err != nil:
		return nil, fault.New(fault.Denied, "read the %s file %s: %w", what, name, err).About("file", name)
	}
	return data, nil
}

// identities returns the identities in a file.
func (a *app) identities(name string) ([]string, error) {
	data, err := a.readSecret(name, "identity")
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(data)
	list, err := operator.ParseIdentities(string(data))
	if f := fault.As(err); f != nil {
		return nil, fault.New(f.Code, "%s: %s", name, f.Msg).About("file", name).ByRule("identity").WithHint("make one with: nsc keys identity <file>")
	}
	return list, err
}

// passphrase returns the first line of a file.
func (a *app) passphrase(name string) ([]byte, error) {
	data, err := a.readSecret(name, "passphrase")
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return nil, fault.New(fault.Invalid, "the passphrase file %s is empty", name).About("file", name).ByRule("passphrase")
	}
	return line, nil
}

// unlock returns what opens the sealed seeds of a keystore: the identities of
// the configured file, or those in the keystore that the passphrase opens.
func (a *app) unlock(ks *nscstore.Keystore) ([]string, error) {
	l := a.configured()
	if l.identity != "" {
		return a.identities(l.identity)
	}
	if l.passphrase == "" {
		return nil, nil
	}
	sealing, err := ks.Sealing()
	if err != nil {
		return nil, err
	}
	if sealing == nil || sealing.Identity == nil {
		return nil, fault.New(fault.Denied, "the keystore is sealed to an identity, not by a passphrase").ByRule("sealed").
			WithHint("name the file of the identity with --identity-file")
	}
	return a.byPassphrase(l.passphrase, sealing.Identity)
}

// byPassphrase returns the identities that the passphrase in a file opens.
func (a *app) byPassphrase(file string, sealed []byte) ([]string, error) {
	pass, err := a.passphrase(file)
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(pass)
	text, err := operator.OpenWithPassphrase(sealed, pass)
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(text)
	return operator.ParseIdentities(string(text))
}

// sealing says how a keystore is to be sealed with l. The identity of a
// passphrase is made anew; older ones are kept beside it in between.
func (a *app) sealing(l lockFiles, older []string) (to, between nscstore.Sealing, err error) {
	if l.identity != "" {
		list, err := a.identities(l.identity)
		if err != nil {
			return to, between, err
		}
		to.Recipient, err = operator.Recipient(list[0])
		return to, to, err
	}
	pass, err := a.passphrase(l.passphrase)
	if err != nil {
		return to, between, err
	}
	defer nscstore.Wipe(pass)
	identity, err := operator.NewIdentity()
	if err != nil {
		return to, between, err
	}
	if to.Recipient, err = operator.Recipient(identity); err != nil {
		return to, between, err
	}
	if to.Identity, err = operator.SealWithPassphrase([]byte(identity+"\n"), pass, a.env.PassphraseWork); err != nil || len(older) == 0 {
		return to, to, err
	}
	between.Recipient = to.Recipient
	text := identity + "\n"
	for _, id := range older {
		text += id + "\n"
	}
	between.Identity, err = operator.SealWithPassphrase([]byte(text), pass, a.env.PassphraseWork)
	return to, between, err
}

func newKeysIdentity(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "identity <file>", Short: "Make an age identity, which opens what is sealed to it",
		Long: `Make an age identity in a new file that its owner alone can read, and print the
recipient. Keep a copy in another place: without it nothing that was sealed to it
can be opened.`,
		Example: `  nsc keys identity ./identity.txt
  nsc keys identity ./identity.txt --dry-run
  nsc keys identity ./identity.txt --json`,
		Args: args(1, 1, "the file"),
		RunE: func(_ *cobra.Command, given []string) error { return a.makeIdentity(given[0]) },
	}
}

// madeIdentity is the result of keys identity.
type madeIdentity struct {
	Schema    int    `json:"schema"`
	File      string `json:"file"`
	Recipient string `json:"recipient"`
}

func (a *app) makeIdentity(name string) error {
	identity, err := operator.NewIdentity()
	if err != nil {
		return err
	}
	recipient, err := operator.Recipient(identity)
	if err != nil {
		return err
	}
	if !a.flags.dryRun {
		if err := a.createFile(name, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "# public key: %s\n%s\n", recipient, identity)
			return err
		}); err != nil {
			return err
		}
	}
	if a.flags.json {
		return a.printStructured(madeIdentity{api.Schema, a.path(name), recipient})
	}
	fmt.Fprintln(a.env.Stdout, recipient)
	return nil
}

// createFile makes a file that its owner alone can read, whole and durable, or
// not at all. One that exists is fault.Conflict.
func (a *app) createFile(name string, fill func(io.Writer) error) error {
	err := durable.Create(a.path(name), 0o600, fill)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fault.New(fault.Conflict, "the file %s exists already", name).About("file", name).ByRule("file-exists").WithHint("name another one")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Denied, "write %s: %w", name, err).About("file", name).WithHint("name a file in a folder that exists and is yours")
	}
	return err
}

func newKeysSeal(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "seal", Short: "Seal the seeds in the keystore with age",
		Long: `Seal the seeds in the keystore, and those that are added from now on, with age: to
the identity in --identity-file (NSC_AGE_IDENTITY_FILE), or by the passphrase in
the first line of --passphrase-file (NSC_AGE_PASSPHRASE_FILE). Commands that sign
then need the same file. Credentials files stay as they are, since clients read
them, and the official tool cannot read a sealed keystore.`,
		Example: `  nsc keys seal --identity-file ./identity.txt
  nsc keys seal --passphrase-file ./passphrase
  nsc keys seal --identity-file ./identity.txt --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.sealKeys(cmd.Context()) },
	}
}

func (a *app) sealKeys(ctx context.Context) error {
	l := a.configured()
	if l.empty() {
		return usage("what the keystore is sealed with is missing").
			WithHint("make an identity with: nsc keys identity <file>, and name it with --identity-file; or write a passphrase into a file for --passphrase-file")
	}
	s, err := a.session()
	if err != nil {
		return err
	}
	ks := s.store.Keystore()
	was, err := ks.Sealing()
	if err != nil {
		return err
	}
	var to nscstore.Sealing
	switch {
	case was != nil && was.Identity != nil && l.identity == "": // go on with what the passphrase opens
		if _, err := a.unlock(ks); err != nil {
			return err
		}
		to = *was
	default:
		if to, _, err = a.sealing(l, nil); err != nil {
			return err
		}
	}
	res := &keysResult{Outcome: "sealed", Dir: ks.Dir()}
	if a.flags.dryRun {
		res.Keys, err = s.seedsThat(false)
	} else {
		res.Keys, err = ks.Seal(ctx, to)
	}
	if err != nil {
		return err
	}
	if len(res.Keys) == 0 {
		res.Outcome = outcomeSame
	}
	res.lines = append(res.lines, "keep what opens them in a second place: without it the keys are lost")
	return a.finishKeys(res, "sealed")
}

// seedsThat returns the keys whose seeds are sealed, or are not.
func (s *session) seedsThat(sealed bool) ([]string, error) {
	ks := s.store.Keystore()
	all, err := ks.Seeds()
	var out []string
	for _, key := range all {
		if ks.IsSealed(key) == sealed {
			out = append(out, key)
		}
	}
	return out, err
}

func newKeysUnseal(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "unseal", Short: "Open the seeds in the keystore and leave them open",
		Example: `  nsc keys unseal --identity-file ./identity.txt
  nsc keys unseal --passphrase-file ./passphrase
  nsc keys unseal --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			res := &keysResult{Outcome: "unsealed", Dir: s.store.Keystore().Dir()}
			if a.flags.dryRun {
				res.Keys, err = s.seedsThat(true)
			} else {
				res.Keys, err = s.store.Keystore().Unseal(cmd.Context())
			}
			if err != nil {
				return err
			}
			if len(res.Keys) == 0 {
				res.Outcome = outcomeSame
			}
			return a.finishKeys(res, "unsealed")
		},
	}
}

func newKeysRotate(a *app) *cobra.Command {
	var to lockFiles
	cmd := &cobra.Command{
		Use: "rotate", Short: "Seal the keystore to another identity or passphrase",
		Long: `Seal the seeds in the keystore anew: the flags and variables of nsc keys seal open
them, and --new-identity-file or --new-passphrase-file closes them. With the
passphrase alone it stays, and the identity that it opens is made anew. A command
that was interrupted is repeated; an identity file may hold the old and the new.`,
		Example: `  nsc keys rotate --identity-file ./old.txt --new-identity-file ./new.txt
  nsc keys rotate --passphrase-file ./old --new-passphrase-file ./new
  nsc keys rotate --passphrase-file ./passphrase`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.rotateKeys(cmd.Context(), to) },
	}
	f := cmd.Flags()
	f.StringVar(&to.identity, "new-identity-file", "", "file with the new age identity")
	f.StringVar(&to.passphrase, "new-passphrase-file", "", "file whose first line is the new passphrase")
	return cmd
}

func (a *app) rotateKeys(ctx context.Context, to lockFiles) error {
	s, err := a.session()
	if err != nil {
		return err
	}
	ks := s.store.Keystore()
	was, err := ks.Sealing()
	if err != nil {
		return err
	}
	if was == nil {
		return fault.New(fault.Conflict, "the keystore is not sealed").ByRule("sealed").WithHint("nsc keys seal --identity-file <file>")
	}
	if to.empty() {
		if to.passphrase = a.configured().passphrase; to.passphrase == "" || was.Identity == nil {
			return usage("the new identity is missing").WithHint("make it with: nsc keys identity <file>, and name it with --new-identity-file")
		}
	}
	older, err := a.unlock(ks)
	if err != nil {
		return err
	}
	ks.Unlock(func() ([]string, error) { return older, nil })
	next, between, err := a.sealing(to, older)
	if err != nil {
		return err
	}
	if between.Identity == nil {
		between.Identity = was.Identity // until all seeds are sealed anew
	}
	res := &keysResult{Outcome: "sealed", Dir: ks.Dir()}
	if a.flags.dryRun {
		res.Keys, err = ks.Seeds()
	} else {
		res.Keys, err = ks.Rotate(ctx, between, next)
	}
	if err != nil {
		return err
	}
	return a.finishKeys(res, "sealed anew")
}
