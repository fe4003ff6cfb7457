package cli

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"golang.org/x/sync/errgroup"

	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// world reads the claims that are to be judged. wanted tells of which accounts,
// by name or key, the users matter; nil for none.
func (a *app) world(ctx context.Context, o verifyOptions, wanted map[string]bool) (*isolation.World, error) {
	c := collected{byKey: map[string]*claims.Document{}}
	read, operator := func() error { return a.readStore(ctx, o, wanted, &c) }, ""
	switch {
	case o.jwtDir != "" && o.served:
		return nil, usage("--jwt-dir and --served exclude each other")
	case o.jwtDir != "":
		read, operator = func() error { return c.readDir(a.path(o.jwtDir)) }, o.operator
	}
	if err := read(); err != nil {
		return nil, err
	}
	cfg, err := c.config(operator)
	if err != nil {
		return nil, err
	}
	cfg.Now = a.started
	cfg.Cluster, cfg.Domain, cfg.JetStream = o.cluster, o.domain, o.jetStream
	return isolation.New(cfg), nil
}

// collected is the newest version of each claim, in the order of their finding.
type collected struct {
	order []string
	byKey map[string]*claims.Document
}

func (c *collected) add(doc *claims.Document) {
	old := c.byKey[doc.Subject]
	if old == nil {
		c.order = append(c.order, doc.Subject)
	}
	if old == nil || doc.IssuedAt >= old.IssuedAt {
		c.byKey[doc.Subject] = doc
	}
}

// config sorts the claims by their kind. Of several accounts, or users, of one
// name the newest is meant. operator names the operator where there are several.
func (c *collected) config(operator string) (cfg isolation.Config, err error) {
	for _, key := range c.order {
		doc := c.byKey[key]
		switch doc.Type {
		case claims.TypeOperator:
			if operator != "" && operator != doc.Name && operator != doc.Subject {
				continue
			}
			if cfg.Operator != nil {
				return cfg, fault.New(fault.Invalid, "there are claims of two operators, %s and %s", cfg.Operator.Name, doc.Name).ByRule("operators").
					WithHint("name one with --operator")
			}
			cfg.Operator, err = claims.As[jwt.OperatorClaims](doc)
		case claims.TypeAccount:
			var ac *jwt.AccountClaims
			ac, err = claims.As[jwt.AccountClaims](doc)
			cfg.Accounts = append(cfg.Accounts, ac)
		case claims.TypeUser:
			var uc *jwt.UserClaims
			uc, err = claims.As[jwt.UserClaims](doc)
			cfg.Users = append(cfg.Users, uc)
		}
		if err != nil {
			return cfg, fault.New(fault.CodeOf(err), "%s %s: %w", doc.Type, doc.Name, err).About(doc.Type, doc.Subject)
		}
	}
	if operator != "" && cfg.Operator == nil {
		return cfg, fault.New(fault.NotFound, "operator %q is not among the claims", operator).About("operator", operator)
	}
	slices.SortStableFunc(cfg.Accounts, func(a, b *jwt.AccountClaims) int { return cmp.Compare(b.IssuedAt, a.IssuedAt) })
	slices.SortStableFunc(cfg.Users, func(a, b *jwt.UserClaims) int { return cmp.Compare(b.IssuedAt, a.IssuedAt) })
	return cfg, nil
}

// readDir reads every *.jwt file below a folder, several at a time.
func (c *collected) readDir(dir string) error {
	tree := os.DirFS(dir)
	var names []string
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && path.Ext(name) == ".jwt" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return fault.New(fault.NotFound, "read the folder of JWTs %s: %w", dir, err).About("file", dir)
	}
	docs := make([]*claims.Document, len(names))
	err = inChunks(len(names), func(begin, end int) (err error) {
		for i := begin; i < end && err == nil; i++ {
			docs[i], err = readJWT(tree, dir, names[i])
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, doc := range docs {
		c.add(doc)
	}
	if !slices.ContainsFunc(docs, func(doc *claims.Document) bool { return doc.Type == claims.TypeAccount }) {
		return fault.New(fault.NotFound, "no *.jwt file below %s is of an account", dir).About("file", dir)
	}
	return nil
}

func readJWT(tree fs.FS, dir, name string) (*claims.Document, error) {
	data, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read %s: %w", name, err).About("file", filepath.Join(dir, name))
	}
	doc, err := claims.Decode(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "file %s: %w", name, err).About("file", filepath.Join(dir, name))
	}
	return doc, nil
}

// readStore reads the operator, its accounts and the users of wanted accounts.
func (a *app) readStore(ctx context.Context, o verifyOptions, wanted map[string]bool, c *collected) error {
	s, r, err := a.operatorAt(ctx, o.operator)
	if err != nil {
		return err
	}
	c.add(r.doc)
	names, err := r.Accounts()
	if err != nil {
		return err
	}
	loaded, err := r.loadAll(names)
	if err != nil {
		return err
	}
	local := map[string]*account{}
	for i, ac := range loaded {
		local[ac.key] = ac
		if !o.served {
			c.add(ac.doc)
		}
		if !wanted[ac.key] && !wanted[ac.claims.Name] {
			continue
		}
		err = r.eachUser(names[i], func(_ string, doc *claims.Document) error {
			c.add(doc)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if o.served {
		return s.readServed(ctx, r, local, c)
	}
	return nil
}

// maxGets bounds the versions that are asked for at the same time.
const maxGets = 16

// readServed reads the accounts that accountd holds. A version that the local
// store has too is taken from there.
func (s *session) readServed(ctx context.Context, r *root, local map[string]*account, c *collected) error {
	if r.tenant {
		return fault.New(fault.Denied, "accountd shows a tenant no accounts of others").ByRule("managed").
			WithHint("judge a folder of JWTs with --jwt-dir")
	}
	client, err := s.client(ctx, r)
	if err != nil {
		return err
	}
	versions, err := s.versions(ctx, client)
	if err != nil {
		return err
	}
	docs := make([]*claims.Document, len(versions))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxGets)
	for i, v := range versions {
		if ac := local[v.Key]; ac != nil && ac.doc.ID == v.ID {
			docs[i] = ac.doc
		}
		if v.Deleted || docs[i] != nil {
			continue
		}
		g.Go(func() error {
			got, err := s.get(ctx, client, v.Key)
			if err == nil && !got.Version.Deleted {
				docs[i], err = r.trusted(v.Key, got.Version.JWT)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, doc := range docs {
		if doc != nil && !versions[i].Deleted {
			c.add(doc)
		}
	}
	return nil
}
