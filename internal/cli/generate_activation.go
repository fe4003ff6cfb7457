package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// generateActivationOptions are the flags of generate activation.
type generateActivationOptions struct {
	account, subject, target, output string
	push                             bool
	starts, expires                  *int64

	kind  jwt.ExportType // of contracts
	space string
}

func newGenerateActivation(a *app) *cobra.Command {
	var o generateActivationOptions
	cmd := &cobra.Command{
		Use:   "activation",
		Short: "Make the activation that lets an account import a private export",
		Long: `Sign a token that lets one account import from a private export, or from a part of
it, and print it. The other side gives it to nsc add import --token.`,
		Example: `  nsc generate activation -a app -s 'orders.>' -t shop -o orders.jwt
  nsc generate activation -a app -s orders.eu -t shop --expiry 90d
  nsc generate activation -a app -t ABM3WJOXNAYP3QP5LQTCK7FXM2ATZO4V6FENLA3RYLP7BPY35IUGWZRN -K sharing`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.target == "" {
				return usage("the importing account is missing").WithHint("name it with --target-account, by name or public key")
			}
			return a.finish(a.generateActivation(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	outputFlag(cmd, &o.output)
	f := cmd.Flags()
	a.timeFlags(f, &o.starts, &o.expires)
	f.StringVarP(&o.subject, "subject", "s", "", "subject within a private export (default that of the only one)")
	f.StringVarP(&o.target, "target-account", "t", "", "account that may import, by name or public key")
	f.BoolVar(&o.push, "push", false, "also store it at the operator's account server, if that keeps activations")
	return cmd
}

func (a *app) generateActivation(ctx context.Context, o generateActivationOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	if o.push && !isHTTP(r.claims.AccountServerURL) {
		return nil, usage("operator %s names no account server over HTTP that could keep activations", r.Name()).
			WithHint("leave out --push and hand the activation over as a file")
	}
	doc, err := s.activation(r, ac, o)
	if err != nil {
		return nil, err
	}
	rec := &receipt{
		Kind: claims.TypeActivation, Name: doc.Name, Account: ac.name, Key: doc.Subject, ID: doc.ID, Expires: doc.Expires, Outcome: "issued",
		Title: "activation of " + doc.Name + " in " + ac.name + " for " + keys.Short(o.target) + "  " + until(doc.Expires),
	}
	if s.flags.dryRun {
		rec.Outcome, rec.ID, rec.Changes = outcomeDry, "", diffClaims(nil, payload(doc))
		return rec, nil
	}
	if o.push {
		if err := s.pushActivation(ctx, r.claims.AccountServerURL, doc, rec); err != nil {
			return nil, err
		}
	}
	return a.handOver(o.output, doc, rec)
}

// handOver writes a token where it is wanted. On stdout it stands alone, or with
// --json as part of the receipt.
func (a *app) handOver(to string, doc *claims.Document, rec *receipt) (*receipt, error) {
	data, err := jwt.DecorateJWT(doc.Token)
	switch {
	case err != nil:
		return nil, fault.New(fault.Internal, "format the JWT: %w", err)
	case to != stdoutName:
		return rec, a.write(to, data)
	case a.flags.json:
		rec.JWT = doc.Token
		return rec, nil
	}
	fmt.Fprintln(a.env.Stderr, strings.Join(append([]string{rec.Title}, rec.Lines...), "\n"))
	return nil, a.write(to, append(data, '\n')) // as the official tool
}

// activation signs the activation, later than its revocation if it has one.
func (s *session) activation(r *root, ac *account, o generateActivationOptions) (*claims.Document, error) {
	importer, err := r.accountKey(o.target)
	if err != nil {
		return nil, err
	}
	pair, _, err := s.userSigner(r, ac, "")
	if err != nil {
		return nil, err
	}
	want := accounts.Activation{Importer: importer, Subject: o.subject, Type: o.kind, Space: o.space}
	if o.starts != nil {
		want.Starts = *o.starts
	}
	if o.expires != nil {
		want.Expires = *o.expires
	}
	act, earliest, err := want.Claims(ac.claims, pair.PublicKey())
	if err != nil {
		return nil, nearExport(err, ac.claims, o.subject)
	}
	if earliest > s.now+maxAhead {
		return nil, fault.New(fault.Denied, "what is issued until %s is revoked, which is in the future", clock(earliest-1)).
			About("account", o.target).ByRule("revoked").
			WithHint("take it back first with: nsc revocations delete_activation -a %s", shellWords([]string{ac.name, "-t", o.target}))
	}
	draft, err := claims.New(act)
	if err != nil {
		return nil, err
	}
	return draft.Sign(pair, max(s.now, earliest))
}

// pushActivation stores an activation at the account server and says where.
func (s *session) pushActivation(ctx context.Context, server string, doc *claims.Document, rec *receipt) error {
	act, err := claims.As[jwt.ActivationClaims](doc)
	if err != nil {
		return err
	}
	id, err := act.HashID()
	if err != nil {
		return fault.New(fault.Internal, "name the activation: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.flags.timeout)
	defer cancel()
	where := strings.TrimSuffix(server, "/") + "/activations"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, bytes.NewReader([]byte(doc.Token)))
	if err != nil {
		return fault.New(fault.Invalid, "account server %s: %w", server, err)
	}
	req.Header.Set("Content-Type", "application/jwt")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fault.New(fault.Unavailable, "store the activation: %w", err).WithHint("hand it over as a file")
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fault.New(fault.Denied, "account server %s keeps no activation: %s %s", server, resp.Status, strings.TrimSpace(string(why))).
			ByRule("activations").WithHint("hand it over as a file, with --output-file")
	}
	rec.Lines = append(rec.Lines, "stored at "+where+"/"+id)
	return nil
}
