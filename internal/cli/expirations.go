package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

// expirationsOptions are the flags of expirations.
type expirationsOptions struct {
	within string
	skip   bool
}

func newExpirations(a *app) *cobra.Command {
	var o expirationsOptions
	cmd := &cobra.Command{
		Use:   "expirations",
		Short: "Show what expires: claims, credentials files, activations of imports, offers",
		Example: `  nsc expirations
  nsc expirations --within 2w --skip
  nsc expirations --within 2030-01-01
  nsc expirations --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.expirations(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.within, "within", "e", "1M", "what ends until then expires soon: a date, or a time from now such as 90d or 1M")
	f.BoolVar(&o.skip, "skip", false, "leave out what neither has expired nor expires soon")
	return cmd
}

// expiration is one line of the report. Its JSON has the official form, with
// kind and error added.
type expiration struct {
	Resource string `json:"resource"` // path below the stores, or of the file
	Kind     string `json:"kind"`     // operator, account, user, credentials or activation
	Key      string `json:"id"`
	When     string `json:"when"`
	Expires  int64  `json:"expiry"` // Unix seconds, 0 for never
	Date     string `json:"expiration_date"`
	Soon     bool   `json:"expires_soon"`
	Expired  bool   `json:"expired"`
	Error    string `json:"error,omitempty"` // why it cannot be read
}

// expirationReport is the result of expirations.
type expirationReport struct {
	Threshold string       `json:"expiration_threshold"`
	Report    []expiration `json:"report"`
}

func (a *app) expirations(ctx context.Context, o expirationsOptions) error {
	threshold, err := accounts.ParseTime(o.within, a.started.UTC())
	if err != nil {
		return usage("--within: %s", message(err))
	}
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	names, err := r.Accounts()
	if err != nil {
		return err
	}
	all, err := r.held(ctx, names)
	if err != nil {
		return err
	}
	var list []expiration
	for _, h := range all {
		list = append(list, s.expirationsOf(r, h)...)
	}
	if list, err = s.creds(r, names, list); err != nil {
		return err
	}
	if list, err = s.offers(r, list); err != nil {
		return err
	}
	report := expirationReport{Threshold: rfc3339(threshold), Report: []expiration{}}
	var failed error
	for _, e := range list {
		e.judge(s.now, threshold)
		if e.Error != "" && failed == nil {
			failed = fault.New(fault.Invalid, "%s cannot be read: %s", e.Resource, e.Error).WithHint("nsc validate --all-accounts")
		}
		if !o.skip || e.Soon || e.Error != "" {
			report.Report = append(report.Report, e)
		}
	}
	if done, err := a.structured(report, false); done {
		return firstErr(err, failed)
	}
	return firstErr(a.printExpirations(report), failed)
}

// expirationsOf returns the claim h and, of an account, the activations in its
// imports.
func (s *session) expirationsOf(r *root, h held) []expiration {
	e := expiration{Resource: h.path(r.Name()), Kind: h.kind}
	if h.err != nil {
		e.Error = message(h.err)
		return []expiration{e}
	}
	e.Key, e.Expires = h.doc.Subject, h.doc.Expires
	list := []expiration{e}
	if h.kind != kindAccount {
		return list
	}
	for _, im := range h.of.claims.Imports {
		if im == nil || im.Token == "" {
			continue
		}
		one := expiration{Resource: e.Resource + "/import " + string(im.Subject), Kind: claims.TypeActivation, Key: im.Account}
		if act, err := jwt.DecodeActivationClaims(im.Token); err != nil {
			one.Error = "its activation cannot be read"
		} else {
			one.Expires = act.Expires
		}
		list = append(list, one)
	}
	return list
}

// offers adds the offers that nobody has accepted here.
func (s *session) offers(r *root, list []expiration) ([]expiration, error) {
	cs, err := r.contracts(s.now)
	if err != nil {
		return nil, err
	}
	for _, c := range cs.all {
		if c.Local == "" {
			list = append(list, expiration{
				Resource: r.Name() + "/" + cs.word(c.Exporter) + "/offer " + c.ID(), Kind: claims.TypeActivation, Key: c.Importer, Expires: c.Expires,
			})
		}
	}
	return list, nil
}

// creds adds the credentials files of the accounts, those of users that the
// store has forgotten included.
func (s *session) creds(r *root, accounts []string, list []expiration) ([]expiration, error) {
	ks := s.store.Keystore()
	for _, account := range accounts {
		users, err := ks.CredsOf(r.Name(), account)
		if err != nil {
			return nil, err
		}
		for _, user := range users {
			e := expiration{Kind: "credentials"}
			if e.Resource, err = ks.CredsPath(r.Name(), account, user); err != nil {
				return nil, err
			}
			doc, err := s.credsClaims(r.Name(), account, user)
			if err != nil {
				e.Error = message(err)
			} else {
				e.Key, e.Expires = doc.Subject, doc.Expires
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// credsClaims decodes the JWT in a credentials file of the keystore.
func (s *session) credsClaims(operatorName, account, user string) (*claims.Document, error) {
	data, err := s.store.Keystore().Creds(operatorName, account, user)
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(data)
	token, seed, err := nscstore.ParseCreds(data)
	if err != nil {
		return nil, err
	}
	nscstore.Wipe(seed)
	return claims.Decode(token)
}

// judge says when e ends, seen from now.
func (e *expiration) judge(now, threshold int64) {
	if e.When = "Never"; e.Error != "" || e.Expires == 0 {
		return
	}
	e.Date, e.Expired, e.Soon = rfc3339(e.Expires), e.Expires <= now, e.Expires <= threshold
	words := strings.Fields(humanize.RelTime(time.Unix(e.Expires, 0), time.Unix(now, 0), "ago", ""))
	if !e.Expired {
		words = append([]string{"in"}, words...)
	}
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	e.When = strings.Join(words, " ")
}

func rfc3339(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

func (a *app) printExpirations(report expirationReport) error {
	rows := [][]string{{"EXPIRED", "KIND", "RESOURCE", "EXPIRES"}}
	for _, e := range report.Report {
		if a.flags.output == "name" {
			fmt.Fprintln(a.env.Stdout, e.Resource)
			continue
		}
		state, ends := "no", strings.ToLower(e.When)
		switch {
		case e.Error != "":
			state, ends = "?", e.Error
		case e.Expired:
			state = "yes"
		case e.Soon:
			state = "soon"
		}
		if e.Date != "" {
			ends = clock(e.Expires) + ", " + ends
		}
		if e.Kind == "credentials" {
			e.Resource = a.shown(e.Resource)
		}
		rows = append(rows, []string{state, e.Kind, e.Resource, ends})
	}
	if a.flags.output == "name" {
		return nil
	}
	if len(rows) == 1 {
		fmt.Fprintf(a.env.Stderr, "nothing expires before %s\n", report.Threshold)
		return nil
	}
	return printTable(a.env.Stdout, rows)
}
