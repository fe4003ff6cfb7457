package cli

import (
	"context"
	"os"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
)

// acceptOptions are the flags of accept.
type acceptOptions struct {
	account, offer, local string
}

func newAccept(a *app) *cobra.Command {
	var o acceptOptions
	cmd := &cobra.Command{
		Use:   "accept <id, file or link>",
		Short: "Import what another account offers by a contract",
		Long: `Accept an offer of nsc offer: by the id of the contract if the exporter is in this
store, else by the file, - for stdin, or the link that the other side handed over.
What is offered appears below the exporter's namespace, such as coke.orders.$1 for
orders.* of coke, unless --local-subject says otherwise. A renewed offer takes the
place of the one that was accepted.`,
		Example: `  nsc accept dwr2nkmu
  nsc accept offer.jwt -a pepsi
  nsc accept dwr2nkmu --local-subject 'partner.orders.$1'
  nsc accept dwr2nkmu --dry-run`,
		Args: args(1, 1, "the contract's id, or a file with the offer"),
		RunE: func(cmd *cobra.Command, given []string) error {
			o.offer = given[0]
			return a.finish(a.accept(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.account, "account", "a", "", "account that accepts, by name or public key (default the one that the offer is for)")
	f.StringVarP(&o.local, "local-subject", "s", "", "subject here, with $1 for the first wildcard (default below the exporter's namespace)")
	return cmd
}

func (a *app) accept(ctx context.Context, o acceptOptions) (*receipt, error) {
	s, r, cs, err := a.openContracts(ctx)
	if err != nil {
		return nil, err
	}
	c, err := a.readOffer(r, cs, o.offer)
	if err != nil {
		return nil, err
	}
	ac, err := s.account(r, first(o.account, c.Importer))
	if err != nil {
		return nil, err
	}
	space := ""
	if o.local == "" {
		if space, err = cs.space(c); err != nil {
			return nil, err
		}
	}
	rec, err := s.acceptInto(ctx, r, ac, cs, c, space, o.local)
	if rec != nil {
		rec.Title = "accepted " + rec.Title
		rec.Undo = "nsc contracts close " + c.ID() + " -a " + shellWords([]string{ac.name})
	}
	return rec, err
}

// acceptInto imports into ac what a contract is about, or puts its activation into the
// import; see [accounts.Contract.Accept].
func (s *session) acceptInto(ctx context.Context, r *root, ac *account, cs contracts, c accounts.Contract, space, local string) (*receipt, error) {
	was, err := cs.find(c.ID())
	ended := err == nil && was.Local != "" && (was.State == accounts.ContractExpired || was.State == accounts.ContractRevoked)
	if ended && c.Type == jwt.Stream && !s.flags.dryRun {
		// Servers resume live subscriptions for an import that comes, and not for
		// a new activation of one that is there.
		if rec, err := s.share(ctx, r, ac, "import "+c.Subject, change{edit: c.End}); err != nil {
			return rec, err
		}
		local = first(local, was.Local)
	}
	var missed []string
	rec, err := s.share(ctx, r, ac, "import "+c.Subject, change{edit: func(into *jwt.AccountClaims) error {
		if err := c.Accept(into, space, local, cs.known.lookup, s.now); err != nil {
			return err
		}
		for _, im := range into.Imports {
			if im != nil && im.Token == c.Token {
				c.Local = string(im.LocalSubject)
				missed = termWarnings(into, im, s.now)
			}
		}
		return nil
	}})
	if rec != nil {
		c.State = accounts.ContractActive
		rec.about(cs, c, "")
		rec.Warnings = append(rec.Warnings, missed...)
	}
	return rec, err
}

// termWarnings says which times of an import servers miss by themselves, and what
// helps.
func termWarnings(ac *jwt.AccountClaims, im *jwt.Import, now int64) []string {
	one := *ac
	one.Imports = jwt.Imports{im}
	c := accounts.Contract{Exporter: im.Account, Importer: ac.Subject, Type: im.Type, Subject: string(im.Subject)}
	var out []string
	for _, at := range accounts.Starts(&one) {
		if at > now {
			out = append(out, "at "+clock(at)+" accountd opens it, on stock servers if it has a key to sign with; otherwise servers that have loaded the account "+
				"open it with its next version: nsc contracts renew "+c.ID())
		}
	}
	for _, e := range accounts.Endings(&one) {
		if e.Unnoticed {
			out = append(out, "at "+clock(e.At)+" "+missedEnd+c.ID())
		}
	}
	return out
}

// missedEnd goes before the id of a contract.
const missedEnd = "accountd ends it, on stock servers if it has a key to sign with; otherwise servers that have loaded the importer do not notice the end " +
	"of a renamed service, nor of an activation that is wider than the import: close it then with nsc contracts close "

// readOffer finds an offer by what names it.
func (a *app) readOffer(r *root, cs contracts, offer string) (accounts.Contract, error) {
	if strings.HasPrefix(offer, "eyJ") { // a JWT
		return accounts.ContractOf(offer)
	}
	c, notFound := cs.find(offer)
	if notFound != nil {
		if _, err := os.Stat(a.path(offer)); err != nil && offer != "-" {
			return c, notFound
		}
		token, err := a.readToken(offer)
		if err != nil {
			return c, err
		}
		return accounts.ContractOf(token)
	}
	tokens, err := r.Offers()
	if err != nil {
		return c, err
	}
	for _, token := range tokens { // newer than what was accepted, perhaps
		if offered, err := accounts.ContractOf(token); err == nil && offered.ID() == c.ID() {
			return offered, nil
		}
	}
	return c, nil
}

// space is the namespace that what c offers appears below. An exporter that is
// not known here may not take that of one who is.
func (cs contracts) space(c accounts.Contract) (string, error) {
	if ac := cs.known[c.Exporter]; ac != nil {
		return accounts.RequireNamespace(ac)
	}
	choose := "choose the subject here with --local-subject"
	if c.Space == "" {
		return "", usage("the offer does not say the namespace of its account").WithHint("%s", choose)
	}
	if err := accounts.CheckNamespace(c.Space); err != nil {
		return "", err
	}
	for _, key := range sortedNames(cs.known) {
		if own, err := accounts.RequireNamespace(cs.known[key]); err == nil && accounts.Overlaps(own+".>", c.Space+".>") {
			return "", fault.New(fault.Denied, "the offer comes from another account than %q, and would appear below its namespace %q", cs.known[key].Name, own).
				About("account", c.Exporter).ByRule("namespace").WithHint("%s", choose)
		}
	}
	return c.Space, nil
}
