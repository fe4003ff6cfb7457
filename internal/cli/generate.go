package cli

import (
	"context"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

func newGenerate(a *app) *cobra.Command {
	cmd := group("generate", "Generate credentials, keys, and configurations of servers and tools")
	cmd.AddCommand(newGenerateCreds(a), newGenerateNkey(a), newGenerateConfig(a), newGenerateContext(a), newGenerateProfile(a), newGenerateDiagram(a),
		newGenerateActivation(a))
	return cmd
}

// credsOptions are the flags of generate creds.
type credsOptions struct{ account, name, output string }

func newGenerateCreds(a *app) *cobra.Command {
	var o credsOptions
	cmd := &cobra.Command{
		Use: "creds [name]", Short: "Write the credentials of a user: its JWT and its seed",
		Example: `  nsc generate creds -a app -n device1 -o device1.creds
  nsc generate creds -a app -n device1
  nsc generate creds device1`,
		Args: args(0, 1, "the user's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = optionalName(o.name, given, "the user's name"); err != nil {
				return err
			}
			return a.generateCreds(cmd.Context(), o)
		},
	}
	nameFlag(cmd, &o.name, "user name (default the only one)")
	accountFlag(cmd, &o.account)
	outputFlag(cmd, &o.output)
	return cmd
}

func (a *app) generateCreds(ctx context.Context, o credsOptions) error {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	name, err := r.oneUser(ac, o.name)
	if err != nil {
		return err
	}
	doc, err := r.user(ac.name, name)
	if err != nil {
		return err
	}
	if uc, err := claims.As[jwt.UserClaims](doc); err != nil {
		return err
	} else if err := accounts.CheckLiteral(uc, ac.claims, ac.claims.SigningKeys[doc.Issuer]); err != nil {
		return err
	}
	seed, err := s.store.Keystore().Seed(doc.Subject)
	if err != nil {
		return err
	}
	defer nscstore.Wipe(seed)
	creds, err := nscstore.FormatCreds(doc.Token, seed)
	if err != nil {
		return err
	}
	defer nscstore.Wipe(creds)
	if o.output == stdoutName {
		creds = append(creds, '\n') // as the official tool
	}
	if err := a.writeResult(o.output, creds); err != nil {
		return err
	}
	if why := s.warnsOf(r, ac, doc); why != "" {
		fmt.Fprintf(a.env.Stderr, "nsc: warning: servers refuse user %s: %s\n", name, why)
	}
	return nil
}

// nkeyOptions are the flags of generate nkey.
type nkeyOptions struct{ operator, account, user, curve, store bool }

func newGenerateNkey(a *app) *cobra.Command {
	var o nkeyOptions
	cmd := &cobra.Command{
		Use: "nkey", Short: "Generate key pairs: the seed, then the public key",
		Example: `  nsc generate nkey --user
  nsc generate nkey --account --store
  nsc generate nkey --operator --curve`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.generateNkeys(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.operator, "operator", "o", false, "a key of an operator")
	f.BoolVarP(&o.account, "account", "a", false, "a key of an account")
	f.BoolVarP(&o.user, "user", "u", false, "a key of a user")
	f.BoolVarP(&o.curve, "curve", "x", false, "a curve key, which encrypts authentication callouts")
	f.BoolVarP(&o.store, "store", "S", false, "keep the seed in the keystore instead of printing it")
	return cmd
}

func (a *app) generateNkeys(ctx context.Context, o nkeyOptions) error {
	kinds := []struct {
		want   bool
		name   string
		prefix nkeys.PrefixByte
	}{
		{o.operator, kindOperator, nkeys.PrefixByteOperator}, {o.account, kindAccount, nkeys.PrefixByteAccount},
		{o.user, kindUser, nkeys.PrefixByteUser}, {o.curve, kindCurve, nkeys.PrefixByteCurve},
	}
	if a.flags.json && !o.store {
		return usage("JSON holds no secret, and a seed that is not shown is lost").WithHint("keep it with --store")
	}
	var made []string
	for _, k := range kinds {
		if !k.want {
			continue
		}
		public, err := a.generateNkey(ctx, k.name, k.prefix, o.store)
		if err != nil {
			return err
		}
		made = append(made, public)
	}
	switch {
	case made == nil:
		return usage("the kind of key is missing").WithHint("name one: --operator, --account, --user or --curve")
	case a.flags.json:
		s, err := a.session()
		if err != nil {
			return err
		}
		return a.finishKeys(&keysResult{Outcome: "stored", Dir: s.store.Keystore().Dir(), Keys: made}, "stored")
	}
	return nil
}

// generateNkey makes one key, shows or keeps it, and returns its public side.
func (a *app) generateNkey(ctx context.Context, kind string, prefix nkeys.PrefixByte, store bool) (string, error) {
	pair, err := nkeys.CreatePair(prefix)
	if err != nil {
		return "", fault.New(fault.Internal, "make a key: %w", err)
	}
	defer pair.Wipe()
	public, err := pair.PublicKey()
	if err != nil {
		return "", fault.New(fault.Internal, "make a key: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return "", fault.New(fault.Internal, "make a key: %w", err)
	}
	defer nscstore.Wipe(seed)
	text := fmt.Sprintf("%s\n%s\n\n", seed, public)
	switch {
	case store && a.flags.dryRun:
		text = public + "\ndry run: nothing was stored\n"
	case store:
		s, err := a.session()
		if err != nil {
			return "", err
		}
		if _, err := s.store.Keystore().AddSeed(ctx, seed); err != nil {
			return "", err
		}
		path, err := s.store.Keystore().SeedPath(public)
		if err != nil {
			return "", err
		}
		text = fmt.Sprintf("%s\n%s key stored %s\n\n", public, kind, path)
	}
	if !a.flags.json {
		fmt.Fprint(a.env.Stdout, text)
	}
	return public, nil
}
