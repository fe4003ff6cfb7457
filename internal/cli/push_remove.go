package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// requestLife is how long servers could take a request to remove accounts, in
// seconds.
const requestLife = 60

// remoteAccount is an account as accountd serves it, or as servers without
// accountd hold it.
type remoteAccount struct {
	name  string
	id    string // of the newest version
	token string // of that, where no accountd answers
	other int    // servers hold so many further versions
}

// remote returns the accounts of the other side by public key, and the client
// of accountd, nil if none answers.
func (s *session) remote(ctx context.Context, r *root) (map[string]remoteAccount, *api.Client, error) {
	out := map[string]remoteAccount{}
	c, err := s.client(ctx, r)
	if noService(err) && s.link.connect != nil {
		held, err := s.stored(ctx)
		for key, versions := range held {
			if newest, ok := newestOf(versions); ok {
				out[key] = newest
			}
		}
		return out, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	versions, err := s.versions(ctx, c)
	for _, v := range versions {
		if !v.Deleted {
			out[v.Key] = remoteAccount{name: v.Name, id: v.ID}
		}
	}
	return out, c, err
}

// newestOf returns the version that was issued last; none if none can be read.
func newestOf(versions map[string]*place) (remoteAccount, bool) {
	var newest *claims.Document
	for _, token := range sortedNames(versions) {
		doc, err := claims.Decode(token)
		if err == nil && (newest == nil || doc.IssuedAt > newest.IssuedAt) {
			newest = doc
		}
	}
	if newest == nil {
		return remoteAccount{}, false
	}
	return remoteAccount{name: newest.Name, id: newest.ID, token: newest.Token, other: len(versions) - 1}, true
}

// removeRemote removes from the servers what --account-removal or --prune says.
// The local store stays as it is.
func (s *session) removeRemote(ctx context.Context, r *root, o pushOptions) ([]*receipt, error) {
	if o.remove == "" && !o.prune {
		return nil, nil
	}
	there, c, err := s.remote(ctx, r)
	if err != nil {
		return nil, err
	}
	var going []string
	if o.prune {
		going, err = r.surplus(there)
	} else {
		going, err = r.removable(o.remove, there)
	}
	if err != nil || len(going) == 0 {
		return nil, err
	}
	recs := make([]*receipt, len(going))
	var names []string
	for i, key := range going {
		recs[i] = &receipt{Kind: "account", Name: there[key].name, Key: key, Cuts: true, Proved: "refused everywhere", Outcome: outcomeDry}
		recs[i].Title = fmt.Sprintf("removed account %s (%s) from the servers", there[key].name, keys.Short(key))
		names = append(names, there[key].name)
	}
	if s.flags.dryRun {
		return recs, nil
	}
	word := names[0]
	if o.prune {
		word = r.Name()
	}
	if err := s.confirm(fmt.Sprintf("%s (%s) will be cut and refused everywhere", count(len(going), "account"), strings.Join(names, ", ")), word); err != nil {
		return nil, err
	}
	if c == nil {
		return recs, s.removeStock(ctx, r, recs)
	}
	for _, rec := range recs {
		item := api.Item{Delete: rec.Key, Base: there[rec.Key].id, Force: o.force}
		res, proof, err := s.put(ctx, r, item, "")
		rec.Outcome, rec.Revision, rec.ID, rec.Findings = first(res.Outcome, outcomeUnknown), res.Revision, res.ID, res.Findings
		if err == nil && proof != nil {
			err = proof(rec)
		}
		rec.fail(err)
	}
	return recs, nil
}

// surplus returns the accounts of the other side that the local store does not
// have, by name. The system account is never among them.
func (r *root) surplus(there map[string]remoteAccount) ([]string, error) {
	names, err := r.Accounts()
	if err != nil {
		return nil, err
	}
	here := map[string]bool{r.claims.SystemAccount: true}
	for _, name := range names {
		ac, err := r.load(name)
		if err != nil {
			return nil, err // what cannot be read must not count as missing
		}
		here[ac.key] = true
	}
	var out []string
	for key := range there {
		if !here[key] {
			out = append(out, key)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(there[a].name+a, there[b].name+b) })
	return out, nil
}

// removable returns the account of a name or public key, which the other side
// must have.
func (r *root) removable(nameOrKey string, there map[string]remoteAccount) ([]string, error) {
	key := nameOrKey
	if _, err := keys.ParseAccount(key); err != nil {
		name, err := r.Account(nameOrKey)
		if err != nil {
			return nil, err
		}
		ac, err := r.load(name)
		if err != nil {
			return nil, err
		}
		key = ac.key
	}
	if key == r.claims.SystemAccount {
		return nil, fault.New(fault.Denied, "%s is the system account of operator %q", nameOrKey, r.Name()).
			About("account", nameOrKey).ByRule("system-account").WithHint("name another one first: nsc edit operator --system-account <name>")
	}
	if _, ok := there[key]; !ok {
		return nil, fault.New(fault.NotFound, "no server has the account %s", nameOrKey).About("account", nameOrKey).
			WithHint("compare what is there with: nsc push --diff")
	}
	return []string{key}, nil
}

// deletion signs the request to delete an account, as stock servers take it.
// expires is in Unix seconds, 0 for never.
func (s *session) deletion(by signer, account string, expires int64) (string, error) {
	doc, err := claims.Request("generic", by.PublicKey(), "", keys.Nonce(), expires, map[string]any{"accounts": []string{account}}).Sign(by, s.now)
	if err != nil {
		return "", err
	}
	return doc.Token, nil
}

// removeStock asks servers without accountd to remove accounts. An operator's
// key signs the request.
func (s *session) removeStock(ctx context.Context, r *root, recs []*receipt) error {
	pair, err := s.accountSigner(r, "")
	if err != nil {
		return err
	}
	bodies := make([]string, len(recs))
	for i, rec := range recs {
		if bodies[i], err = s.deletion(pair, rec.Key, s.now+requestLife); err != nil {
			return err
		}
	}
	answers, err := s.askStock(ctx, subjectStockDelete, bodies)
	if err != nil {
		return err
	}
	for i, rec := range recs {
		rec.Outcome, rec.Nodes = outcomePushed, answers[i]
		for _, n := range answers[i] {
			if n.State == api.Rejected {
				rec.fail(errors.Join(rec.err, notRemoved(rec, n)))
			}
		}
	}
	return nil
}

func notRemoved(rec *receipt, n api.NodeProof) error {
	f := fault.New(fault.Pending, "server %s did not remove %s: %s", n.Server, rec.Name, n.Reason).About(rec.Kind, rec.Name)
	if strings.Contains(n.Reason, "delete must be enabled") {
		return f.WithHint("let servers take deletions: allow_delete in their configuration, as nsc generate config --nats-resolver --allow-delete writes it")
	}
	return f
}
