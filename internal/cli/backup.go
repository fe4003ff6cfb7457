package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// backupResult is the result of backup and of restore operator.
type backupResult struct {
	Schema  int    `json:"schema"`
	Outcome string `json:"outcome"` // written, restored or dry-run
	File    string `json:"file"`
	nscstore.Contents
}

func (a *app) finishBackup(res *backupResult, title string) error {
	res.Schema = api.Schema
	if a.flags.dryRun {
		res.Outcome = outcomeDry
	}
	if a.flags.json {
		return a.printStructured(res)
	}
	if a.flags.output == "name" {
		fmt.Fprintln(a.env.Stdout, res.Operator)
		return nil
	}
	fmt.Fprintln(a.env.Stdout, title)
	fmt.Fprintf(a.env.Stdout, "%s, %s, %s, %s\n", count(res.Accounts, "account"), count(res.Users, "user"),
		count(res.Seeds, "key"), count(res.Creds, "credentials file"))
	for _, key := range res.Missing {
		fmt.Fprintf(a.env.Stderr, "nsc: warning: the seed of %s is not in the keystore, and so not in the backup\n", key)
	}
	if a.flags.dryRun {
		fmt.Fprintln(a.env.Stdout, "dry run: nothing was changed")
	}
	return nil
}

func newBackup(a *app) *cobra.Command {
	var name, recipient string
	cmd := &cobra.Command{
		Use: "backup <file>", Short: "Write an operator with its keys into one encrypted file",
		Long: `Write the operator, its accounts and users, the seeds of their keys and their
credentials into one file, encrypted with age: to --recipient, to the identity in
--identity-file, or by the passphrase in --passphrase-file. A file that exists is
not replaced. nsc restore operator reads it; so does age with tar.`,
		Example: `  nsc backup acme.backup --identity-file ./identity.txt
  nsc backup acme.backup --passphrase-file ./passphrase
  nsc backup acme.backup --recipient age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg
  nsc backup acme.backup --operator acme --identity-file ./identity.txt --dry-run`,
		Args: args(1, 1, "the file"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.backup(cmd.Context(), given[0], name, recipient)
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "operator", "", "operator name (default the current one)")
	f.StringVar(&recipient, "recipient", "", "encrypt to this age recipient (age1…)")
	return cmd
}

func (a *app) backup(ctx context.Context, file, name, recipient string) error {
	s, r, err := a.operatorAt(ctx, name)
	if err != nil {
		return err
	}
	res := &backupResult{Outcome: outcomeWritten, File: a.path(file)}
	title := fmt.Sprintf("backup of operator %s  %s in %s", r.Name(), keys.Short(r.doc.Subject), a.shown(res.File))
	write := func(w io.Writer) error {
		sealed, err := a.sealWriter(w, recipient)
		if err != nil {
			return err
		}
		if res.Contents, err = s.store.Backup(ctx, r.Name(), sealed, a.started); err != nil {
			return err
		}
		return sealed.Close()
	}
	if a.flags.dryRun {
		err = write(io.Discard)
	} else {
		err = a.createFile(file, func(w io.Writer) error {
			buffered := bufio.NewWriter(w)
			return firstErr(write(buffered), buffered.Flush())
		})
	}
	if err != nil {
		return err
	}
	return a.finishBackup(res, title)
}

// sealWriter encrypts into w: to the recipient, else with what is configured.
func (a *app) sealWriter(w io.Writer, recipient string) (io.WriteCloser, error) {
	l := a.configured()
	switch {
	case recipient != "":
		return operator.SealWriter(w, recipient)
	case l.identity != "":
		list, err := a.identities(l.identity)
		if err != nil {
			return nil, err
		}
		if recipient, err = operator.Recipient(list[0]); err != nil {
			return nil, err
		}
		return operator.SealWriter(w, recipient)
	case l.passphrase != "":
		pass, err := a.passphrase(l.passphrase)
		if err != nil {
			return nil, err
		}
		defer nscstore.Wipe(pass)
		return operator.PassphraseWriter(w, pass, a.env.PassphraseWork)
	}
	return nil, usage("a backup holds secrets, and what it is encrypted with is missing").
		WithHint("name --identity-file, --recipient or --passphrase-file; make an identity with: nsc keys identity <file>")
}

func newRestoreOperator(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "operator <file>", Short: "Bring an operator back from a backup",
		Long: `Bring an operator back from a file that nsc backup wrote, with its accounts, users,
keys and credentials: all of it, or nothing. An operator of that name that the
store has is not replaced. What accountd has is newer perhaps: nsc pull.`,
		Example: `  nsc restore operator acme.backup --identity-file ./identity.txt
  nsc restore operator acme.backup --passphrase-file ./passphrase
  nsc restore operator acme.backup --identity-file ./identity.txt --data-dir ./stores --keystore-dir ./keys
  nsc restore operator acme.backup --identity-file ./identity.txt --dry-run`,
		Args: args(1, 1, "the file"),
		RunE: func(cmd *cobra.Command, given []string) error { return a.restoreOperator(cmd.Context(), given[0]) },
	}
}

func (a *app) restoreOperator(ctx context.Context, file string) error {
	s, err := a.session()
	if err != nil {
		return err
	}
	f, err := os.Open(a.path(file))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no file %s", file).About("file", file)
	}
	if err != nil {
		return fault.New(fault.Denied, "open backup: %w", err).About("file", file)
	}
	defer f.Close()
	in, err := a.sealReader(bufio.NewReader(f))
	if err != nil {
		return err
	}
	res := &backupResult{Outcome: "restored", File: a.path(file)}
	if a.flags.dryRun {
		res.Contents, err = nscstore.ReadBackup(in)
	} else {
		res.Contents, err = s.store.Restore(ctx, in)
	}
	if err != nil {
		return err
	}
	if !a.flags.dryRun {
		if err := s.remember(ctx, res.Operator, ""); err != nil {
			return err
		}
	}
	return a.finishBackup(res, fmt.Sprintf("operator %s  %s as of %s", res.Operator, keys.Short(res.Key), clock(res.Made)))
}

func (a *app) sealReader(r io.Reader) (io.Reader, error) {
	l := a.configured()
	switch {
	case l.identity != "":
		list, err := a.identities(l.identity)
		if err != nil {
			return nil, err
		}
		return operator.OpenReader(r, list...)
	case l.passphrase != "":
		pass, err := a.passphrase(l.passphrase)
		if err != nil {
			return nil, err
		}
		defer nscstore.Wipe(pass)
		return operator.OpenPassphraseReader(r, pass)
	}
	return nil, usage("what the backup was encrypted with is missing").WithHint("name --identity-file or --passphrase-file")
}
