package cli

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

func newToken(a *app) *cobra.Command {
	cmd := group("token", "Make and revoke the tokens by which devices enrol themselves")
	cmd.AddCommand(newTokenCreate(a), newTokenRevoke(a))
	return cmd
}

// tokenOptions are the flags of token create.
type tokenOptions struct {
	account, group, bindKey, ca, out string
	terms                            fleet.Terms
	expires                          *int64
	qr                               bool
}

func newTokenCreate(a *app) *cobra.Command {
	o := tokenOptions{terms: fleet.Terms{Uses: 1}}
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token that devices exchange for credentials of their own",
		Long: `Make a token of an enrolment group: one line, to stdout or a file. Who holds it can
enrol --uses devices until it --expires, and do nothing else with it. It names the
servers to ask, the operator's unless --url says others, and with --ca the key of
the certificate that they must show, so that a device cannot be lured elsewhere.
The secret part of a token stays with the device: requests carry a proof of it. A
token for one key (--bind-key) has no secret part and may be public.`,
		Example: `  nsc token create --group phones -a app --out phone.token
  nsc token create --group phones -a app --uses 500 --expires 7d --id-pattern 'sensor-*'
  nsc token create --group phones -a app --qr
  nsc token create --group phones -a app --bind-key UDJMQ3KBL3TV3RSBUFFFNHEQJUAPZ4GRH4JLQPEHZMFLXUZBYUT6NBL7
  nsc token create --group phones -a app --url https://accountd.acme.example --ca ca.pem`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.createToken(cmd.Context(), o) },
	}
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.StringVar(&o.group, "group", "", "enrolment group (default the only one of the account)")
	f.IntVar(&o.terms.Uses, "uses", o.terms.Uses, "how many devices may enrol with it")
	f.Var(given[int64]{&o.expires, "string", a.readEnd}, "expires", "when it ends: a date, a time, or how long it is valid, such as 24h or 7d (default 1h)")
	f.StringVar(&o.bindKey, "bind-key", "", "public key of the one device that may use it")
	f.StringVar(&o.terms.Pattern, "id-pattern", "", "ids that devices may take, * for any characters (default any)")
	f.StringSliceVar(&o.terms.Tags, "tag", nil, "tag of the devices, by which they can be found later")
	f.StringSliceVar(&o.terms.Servers, "url", nil, "where devices ask: https, or nats with TLS or not (default the operator's service URLs)")
	f.StringVar(&o.ca, "ca", "", "file with the certificate whose key the servers must show, in PEM form")
	f.StringVar(&o.out, "out", stdoutName, "file to write it to")
	f.BoolVar(&o.qr, "qr", false, "show it as a QR code on stdout, in place of the line")
	return cmd
}

// tokenMade is the result of token create; see docs/json-output.md.
type tokenMade struct {
	Schema  int      `json:"schema"`
	Outcome string   `json:"outcome"`
	Account string   `json:"account"`
	Group   string   `json:"group"`
	Fleet   string   `json:"fleet"`
	ID      string   `json:"jti,omitempty"`
	Key     string   `json:"key,omitempty"` // by which it is revoked
	Expires int64    `json:"expires"`       // Unix seconds
	Uses    int      `json:"uses"`
	Pattern string   `json:"id_pattern,omitempty"`
	Servers []string `json:"urls"`
	Token   string   `json:"token,omitempty"` // of one that is bound to a key, and no secret
	Out     string   `json:"out,omitempty"`
}

func (a *app) createToken(ctx context.Context, o tokenOptions) error {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	g, err := fleet.FindGroup(ac.claims, o.group)
	if err != nil {
		return err
	}
	if err := o.resolve(a, r); err != nil {
		return err
	}
	if a.flags.json && o.qr {
		return usage("a QR code is no JSON").WithHint("leave --json or --qr out")
	}
	if a.flags.json && o.bindKey == "" && o.out == stdoutName && !a.flags.dryRun {
		return usage("JSON holds no secret, and a token that is not shown is lost").WithHint("write it to a file with --out")
	}
	expires := s.now + int64(time.Hour/time.Second)
	if o.expires != nil {
		expires = *o.expires
	}
	made := tokenMade{
		Schema: api.Schema, Outcome: outcomeDry, Account: ac.name, Group: g.Name, Fleet: g.Fleet.Name,
		Expires: expires, Uses: o.terms.Uses, Pattern: o.terms.Pattern, Servers: o.terms.Servers,
	}
	text, doc, err := s.signToken(ac, g, o, made.Expires)
	if err != nil {
		return err
	}
	defer nscstore.Wipe(text)
	if !a.flags.dryRun {
		made.Outcome, made.ID, made.Key = outcomeWritten, doc.ID, doc.Subject
		if o.bindKey != "" {
			made.Token = doc.Token
		}
		if o.out != stdoutName {
			made.Out = a.path(o.out)
		}
		if err := a.showToken(o, text); err != nil {
			return err
		}
	}
	if a.flags.json {
		return a.printStructured(made)
	}
	out := a.env.Stderr // the token itself may be on stdout
	fmt.Fprintf(out, "token of group %s, fleet %s in %s, for %s, %s\n", g.Name, g.Fleet.Name, ac.name, count(made.Uses, "device"), until(made.Expires))
	if made.Outcome == outcomeDry {
		fmt.Fprintln(out, "dry run: nothing was changed")
		return nil
	}
	fmt.Fprintf(out, "revoke it with: nsc token revoke %s -a %s\n", made.Key, shellWords([]string{ac.name}))
	return nil
}

// showToken writes a token to where it is to be.
func (a *app) showToken(o tokenOptions, text []byte) error {
	if o.out != stdoutName || !a.flags.json && !o.qr {
		if err := a.write(o.out, append(text, '\n')); err != nil {
			return err
		}
	}
	if !o.qr {
		return nil
	}
	drawn, err := qrText(string(text))
	if err != nil {
		return err
	}
	return a.write(stdoutName, []byte(drawn))
}

// resolve completes what the flags leave open.
func (o *tokenOptions) resolve(a *app, r *root) error {
	if o.bindKey != "" {
		if _, err := keys.ParseUser(o.bindKey); err != nil {
			return err
		}
		o.terms.Bound = true
	}
	for i, tag := range o.terms.Tags {
		o.terms.Tags[i] = strings.ToLower(strings.TrimSpace(tag))
	}
	if len(o.terms.Servers) == 0 {
		for _, u := range r.claims.OperatorServiceURLs {
			if isNats(u) {
				o.terms.Servers = append(o.terms.Servers, u)
			}
		}
	}
	if len(o.terms.Servers) == 0 {
		return usage("operator %s names no servers that devices could ask", r.Name()).
			WithHint("name them with --url, or for good with: nsc edit operator --service-url nats://host:4222")
	}
	for _, text := range o.terms.Servers {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || !isNats(text) && !isHTTP(text) {
			return usage("--url %s is no URL of servers", text).WithHint("it begins with nats://, tls://, wss:// or https://")
		}
		if u.User != nil {
			return usage("--url %s names a user; a token holds no password", u.Redacted())
		}
		if u.Scheme == "http" && !here(text) {
			return usage("--url %s: devices ask beyond this machine over https only", text)
		}
	}
	if o.ca == "" {
		return nil
	}
	data, err := os.ReadFile(a.path(o.ca))
	if err != nil {
		return tlsFault("--ca", o.ca, err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return fault.New(fault.Invalid, "--ca %s holds no certificate in PEM form", o.ca).About("file", o.ca).ByRule("tls")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return tlsFault("--ca", o.ca, err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	o.terms.Pin = base64.RawURLEncoding.EncodeToString(sum[:])
	return nil
}

// signToken makes the token; in a dry run it only checks that it can be.
func (s *session) signToken(ac *account, g fleet.Group, o tokenOptions, expires int64) ([]byte, *claims.Document, error) {
	if err := o.terms.Check(); err != nil {
		return nil, nil, err
	}
	seed, err := s.store.Keystore().Seed(g.Public)
	if fault.Is(err, fault.NotFound) {
		return nil, nil, fault.New(fault.Denied, "the keystore has no seed of %s, which signs for group %q", keys.Short(g.Public), g.Name).
			ByRule("signer").About("key", g.Public).WithHint("import it with: nsc import keys --dir <folder>")
	}
	if err != nil {
		return nil, nil, err
	}
	defer nscstore.Wipe(seed)
	signer, err := keys.AccountFromSeed(seed)
	if err != nil {
		return nil, nil, err
	}
	defer signer.Wipe()
	holder, secret := o.bindKey, []byte(nil)
	if holder == "" {
		pair, err := keys.NewUser()
		if err != nil {
			return nil, nil, err
		}
		defer pair.Wipe()
		holder, secret = pair.PublicKey(), pair.Seed()
		defer nscstore.Wipe(secret)
	}
	doc, err := g.Issue(ac.claims, signer, holder, o.terms, s.now, expires)
	if err != nil {
		return nil, nil, err
	}
	return fleet.FormatToken(doc, secret), doc, nil
}

func newTokenRevoke(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "revoke <file or key>...",
		Short: "Revoke tokens: no device enrols with them any more",
		Long: `Revoke tokens, each by the file that holds it or by its public key, which was shown
when it was made. Devices that have enrolled with them stay; all tokens of a group
end with "nsc delete enrollment-group".`,
		Example: `  nsc token revoke phone.token -a app
  nsc token revoke UDJMQ3KBL3TV3RSBUFFFNHEQJUAPZ4GRH4JLQPEHZMFLXUZBYUT6NBL7 -a app
  nsc token revoke phone.token -a app --dry-run`,
		Args: args(1, 1000, "the token"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.finish(a.revokeTokens(cmd.Context(), account, given))
		},
	}
	accountFlag(cmd, &account)
	return cmd
}

func (a *app) revokeTokens(ctx context.Context, accountName string, given []string) (*receipt, error) {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return nil, err
	}
	var targets []target
	for _, word := range given {
		t, err := a.tokenTarget(ac, word)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return s.revoke(ctx, r, ac, targets, 0)
}

// tokenTarget reads what names a token.
func (a *app) tokenTarget(ac *account, word string) (target, error) {
	if _, err := keys.ParseUser(word); err == nil {
		return target{name: word, key: word}, nil
	}
	data, err := os.ReadFile(a.path(word))
	if err != nil {
		return target{}, fault.New(fault.NotFound, "%s is neither a public key nor a file with a token: %w", word, err).About("token", word)
	}
	defer nscstore.Wipe(data)
	token, doc, pair, err := fleet.ParseToken(string(data))
	if err != nil {
		return target{}, fault.New(fault.CodeOf(err), "%s: %w", word, err).About("token", word)
	}
	if !token.Bound {
		pair.Wipe()
	}
	groups := fleet.Groups(ac.claims)
	if token.Account != ac.key || !slices.ContainsFunc(groups, func(g fleet.Group) bool { return g.Public == doc.Issuer }) {
		return target{}, fault.New(fault.NotFound, "%s is of no enrolment group of account %q", word, ac.name).About("token", word).
			WithHint("name its account with -a")
	}
	return target{name: token.Key, key: token.Key, iat: doc.IssuedAt}, nil
}
