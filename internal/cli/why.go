package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// What servers say to a credential.
const (
	verdictAccepted = "accepted"
	verdictRefused  = "refused"
	verdictCallout  = "decided by the account's authentication service"
)

// explanation is the answer of why. Its JSON is documented in docs/json-output.md.
type explanation struct {
	Schema      int                       `json:"schema"`
	Verdict     string                    `json:"verdict"`
	User        string                    `json:"user"`
	Key         string                    `json:"key"`
	Account     string                    `json:"account,omitempty"`
	AccountKey  string                    `json:"account_key"`
	Basis       string                    `json:"basis"` // served: by what accountd serves; local: by the local store
	Revision    uint64                    `json:"revision,omitempty"`
	Issued      int64                     `json:"issued"`
	Expires     int64                     `json:"expires,omitempty"`
	Chain       []chainLink               `json:"chain"`
	Refusals    []accounts.Refusal        `json:"refusals,omitempty"`
	Doors       []accounts.Door           `json:"doors,omitempty"`
	May         *jwt.UserPermissionLimits `json:"may,omitempty"`
	Source      string                    `json:"permissions_of,omitempty"` // user, role or account
	Role        string                    `json:"role,omitempty"`
	Nodes       []whyNode                 `json:"nodes,omitempty"`
	Connections int                       `json:"connections,omitempty"` // of the user, live
	Notes       []string                  `json:"notes,omitempty"`
}

// chainLink is one signer, or the user at the end.
type chainLink struct {
	Kind string `json:"kind"` // operator, signing key, account, role or user
	Name string `json:"name,omitempty"`
	Key  string `json:"key"`
}

// whyNode is what one server says.
type whyNode struct {
	Server  string    `json:"server"`
	Verdict string    `json:"verdict"` // that of the whole, or "unknown" where the version served is not in force
	State   api.State `json:"state"`
	Reason  string    `json:"reason,omitempty"`
}

func newWhy(a *app) *cobra.Command {
	var accountName string
	cmd := &cobra.Command{
		Use:   "why <credentials file | user | public key>",
		Short: "Explain whether servers accept a credential, and what it may do",
		Long: `Explain a credential: whether servers accept it now and on which nodes, who signed
for it, what it may do with the templates of its role filled in, and by which
types of connection. If servers refuse it, name the rule and what would help.
The exit code is 9 if they refuse it, and 8 if some node has yet to catch up.`,
		Example: `  nsc why device1.creds
  nsc why device1 -a app
  nsc why UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 -a app
  nsc why device1 -a app --json`,
		Args: args(1, 1, "a credentials file, a user or a public key"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.why(cmd.Context(), given[0], accountName)
		},
	}
	accountFlag(cmd, &accountName)
	return cmd
}

func (a *app) why(ctx context.Context, what, accountName string) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	doc, err := s.credential(r, what, accountName)
	if err != nil {
		return err
	}
	uc, err := claims.As[jwt.UserClaims](doc)
	if err != nil {
		return err
	}
	now := a.env.Now()
	ex := &explanation{
		Schema: api.Schema, User: uc.Name, Key: uc.Subject, AccountKey: accounts.IssuerAccount(uc),
		Issued: uc.IssuedAt, Expires: uc.Expires,
	}
	login := accounts.Login{Trust: r.trust, User: uc}
	local := r.localAccount(ex.AccountKey)
	if err := s.servedAccount(ctx, r, ex, &login, local); err != nil {
		return err
	}
	ex.judge(r, login, accounts.Judge(login, now))
	s.compareLocal(ex, login, local, now)
	if a.flags.json {
		err = a.printStructured(ex)
	} else {
		fmt.Fprint(a.env.Stdout, a.whyText(ex))
	}
	return firstErr(err, ex.exit())
}

// credential finds the user's JWT: in a file, by public key, or by name.
func (s *session) credential(r *root, what, accountName string) (*claims.Document, error) {
	if _, err := keys.ParseUser(what); err == nil {
		return s.userByKey(r, what, accountName)
	}
	_, err := os.Stat(s.path(what))
	if isFile := strings.ContainsRune(what, filepath.Separator) || strings.HasSuffix(what, ".creds") || strings.HasSuffix(what, ".jwt"); isFile {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.NotFound, "no file %s", what).About("file", what).WithHint("name a credentials file, a user or a public key")
		}
		return s.credentialFile(what)
	}
	ac, aerr := s.account(r, accountName)
	if aerr != nil {
		return nil, aerr
	}
	name, uerr := r.User(ac.name, what)
	if fault.Is(uerr, fault.NotFound) && err == nil {
		return s.credentialFile(what)
	}
	if uerr != nil {
		return nil, uerr
	}
	return r.user(ac.name, name)
}

// credentialFile reads the JWT of a credentials file, or one that stands alone.
func (s *session) credentialFile(name string) (*claims.Document, error) {
	data, err := s.readSeed(name) // a credentials file is no larger, and holds one
	if err != nil {
		return nil, fault.New(fault.Denied, "read %s: %w", name, err).About("file", name)
	}
	defer nscstore.Wipe(data)
	token := strings.TrimSpace(string(data))
	if strings.HasPrefix(token, "-----") {
		var seed []byte
		if token, seed, err = nscstore.ParseCreds(data); err != nil {
			return nil, fault.New(fault.CodeOf(err), "%s: %w", name, err).About("file", name)
		}
		nscstore.Wipe(seed)
	}
	doc, err := claims.Decode(token)
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "%s: %w", name, err).About("file", name)
	}
	return doc, nil
}

// userByKey looks for a user in one account, or in all of them. Of one that is
// nowhere the store knows at most that it was revoked.
func (s *session) userByKey(r *root, key, accountName string) (*claims.Document, error) {
	names, err := r.Accounts()
	if accountName != "" && err == nil {
		var ac *account
		if ac, err = s.account(r, accountName); err == nil {
			names = []string{ac.name}
		}
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if user, err := r.User(name, key); err == nil {
			return r.user(name, user)
		}
	}
	for _, name := range names {
		ac, err := r.load(name)
		if err != nil {
			continue
		}
		if at, ok := ac.claims.Revocations[key]; ok {
			return nil, fault.New(fault.No, "user %s was revoked in account %s: what was issued until %s is refused", keys.Short(key), name, clock(at)).
				About("user", key).ByRule("revoked").WithHint("for more, name its credentials file: nsc why <file>")
		}
	}
	return nil, fault.New(fault.NotFound, "no user with the key %s in the store, which holds users by name only", keys.Short(key)).
		About("user", key).WithHint("name its credentials file: nsc why <file>")
}

// localAccount returns the account of a key in the local store, nil without one.
func (r *root) localAccount(key string) *account {
	name, err := r.Account(key)
	if err != nil {
		return nil
	}
	ac, err := r.load(name)
	if err != nil {
		return nil
	}
	return ac
}

// servedAccount fills in the account as accountd serves it, and what each node
// holds; without an accountd, as the local store has it.
func (s *session) servedAccount(ctx context.Context, r *root, ex *explanation, login *accounts.Login, local *account) error {
	ex.Basis = "local"
	if local != nil {
		ex.Account, login.Account = local.name, local.claims
	}
	online, why := s.online(r)
	if !online {
		ex.Notes = append(ex.Notes, "judged by the local store: "+why)
		return nil
	}
	c, err := s.client(ctx, r)
	if noService(err) {
		ex.Notes = append(ex.Notes, "judged by the local store: no accountd answers, so nobody knows what servers hold")
		return nil
	}
	if err != nil {
		return err
	}
	ex.Basis = "served"
	login.Account = nil
	got, err := s.get(ctx, c, ex.AccountKey)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	}
	ex.Account, ex.Revision, login.Deleted, login.Retired = got.Version.Name, got.Version.Revision, got.Version.Deleted, got.Retired
	status, err := s.askStatus(ctx, r, ex.AccountKey)
	if err != nil {
		return err
	}
	for _, ac := range status.Accounts {
		for _, n := range ac.Nodes {
			ex.Nodes = append(ex.Nodes, whyNode{Server: n.Server, State: n.State, Reason: reasonText(n.Server, n.Reason)})
		}
	}
	if login.Deleted {
		return nil
	}
	doc, err := r.trusted(ex.AccountKey, got.Version.JWT)
	if err != nil {
		return err
	}
	if login.Account, err = claims.As[jwt.AccountClaims](doc); err != nil {
		return err
	}
	return s.liveConnections(ctx, c, ex)
}

func (s *session) liveConnections(ctx context.Context, c *api.Client, ex *explanation) error {
	ctx, end := s.patience(ctx)
	defer end()
	seen, err := c.Seen(ctx, api.SeenRequest{Account: ex.AccountKey, User: ex.Key})
	if err == nil {
		err = seen.Error.Fault()
	}
	if fault.Is(err, fault.Unavailable) {
		ex.Notes = append(ex.Notes, "not all servers said who is connected")
		return nil
	}
	ex.Connections = seen.Connections
	return err
}

// judge takes a verdict over.
func (ex *explanation) judge(r *root, login accounts.Login, v accounts.Verdict) {
	ex.Verdict = verdictOf(v)
	ex.Refusals, ex.Doors = v.Refusals, v.Doors
	if login.Account != nil {
		ex.May, ex.Source, ex.Role = &v.May, v.Source, v.Role
	}
	ex.Chain = chain(r, login, v.Role)
	for i, n := range ex.Nodes {
		ex.Nodes[i].Verdict = ex.Verdict
		if !n.State.Done() {
			ex.Nodes[i].Verdict = "unknown"
		}
	}
}

func verdictOf(v accounts.Verdict) string {
	switch {
	case v.Callout:
		return verdictCallout
	case v.Accepted():
		return verdictAccepted
	}
	return verdictRefused
}

// chain names who signed what, from the operator down.
func chain(r *root, login accounts.Login, role string) []chainLink {
	ac, uc := login.Account, login.User
	user := chainLink{"user", uc.Name, uc.Subject}
	if ac == nil {
		return []chainLink{user}
	}
	var out []chainLink
	if r.trust.Speaks(ac.Issuer) {
		out = append(out, chainLink{"operator", r.Name(), string(r.trust.Key)})
	}
	if ac.Issuer != string(r.trust.Key) {
		out = append(out, chainLink{"signing key", "", ac.Issuer})
	}
	out = append(out, chainLink{"account", ac.Name, ac.Subject})
	switch {
	case role != "":
		out = append(out, chainLink{"role", role, uc.Issuer})
	case uc.Issuer != ac.Subject:
		out = append(out, chainLink{"signing key", "", uc.Issuer})
	}
	return append(out, user)
}

// compareLocal notes what an unpublished version of the account would change.
func (s *session) compareLocal(ex *explanation, login accounts.Login, local *account, now time.Time) {
	if ex.Basis == "local" || local == nil || login.Account != nil && login.Account.ID == local.doc.ID {
		return
	}
	login.Account, login.Deleted = local.claims, false
	v := accounts.Judge(login, now)
	note := fmt.Sprintf("the local version of %s is not what is served; with it the user would be %s", local.name, verdictOf(v))
	if len(v.Refusals) > 0 {
		note += ": " + v.Refusals[0].Why
	}
	ex.Notes = append(ex.Notes, note)
}

// exit is the error that carries the exit code of the answer.
func (ex *explanation) exit() error {
	if ex.Verdict == verdictRefused {
		return told{fault.New(fault.No, "servers refuse user %s", ex.User)}
	}
	for _, n := range ex.Nodes {
		if n.Verdict == "unknown" {
			return told{fault.New(fault.Pending, "node %s has yet to catch up", n.Server)}
		}
	}
	return nil
}
