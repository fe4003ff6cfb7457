package cli_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// sign signs claims as of now.
func sign[T claims.Typed](t *testing.T, v *T, by claims.Signer, at int64) string {
	t.Helper()
	draft, err := claims.New(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := draft.Sign(by, at)
	if err != nil {
		t.Fatal(err)
	}
	return doc.Token
}

// TestImportedOperatorIsChecked: an operator from a URL is taken whole, from the
// host that was named, over TLS that holds, or not at all.
func TestImportedOperatorIsChecked(t *testing.T) {
	t.Parallel()
	root, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	sk, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	oc := jwt.NewOperatorClaims(root.PublicKey())
	oc.Name = "acme"
	oc.SigningKeys.Add(sk.PublicKey())
	good, older, bySK := sign(t, oc, root, 2000), sign(t, oc, root, 1000), sign(t, oc, sk, 3000)
	oc.Name = "../acme"
	bad := sign(t, oc, root, 2000)
	ac := jwt.NewAccountClaims("ADKGAJU55CHYOIF5H432K2Z2ME3NPSJ5S3VY5Q42Q3OTYOCYRRG7WOWV")
	ac.Name = "x"
	account := sign(t, ac, sk, 2000)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, good) }))
	t.Cleanup(elsewhere.Close)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/away":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/large":
			_, _ = io.WriteString(w, good+strings.Repeat("\n", claims.MaxToken))
		default:
			text, ok := map[string]string{"/good": good + "\n", "/older": older, "/signing-key": bySK, "/name": bad, "/account": account, "/page": "<html>"}[r.URL.Path]
			if !ok {
				w.WriteHeader(http.StatusNotFound)
			}
			_, _ = io.WriteString(w, text)
		}
	}))
	t.Cleanup(srv.Close)
	p := alone(t)
	p.unchanged(func() {
		p.run("add", "operator", "-u", srv.URL+"/good").exits(6).complains("certificate")
	})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	p.vars = map[string]string{"NATS_CA": ca, "NSC_ACME_OPERATOR": srv.URL + "/good"}
	p.unchanged(func() {
		for path, c := range map[string]struct {
			code int
			why  string
		}{
			"/away": {6, "redirects to another host"}, "/large": {7, "more than"}, "/page": {7, "malformed"}, "/none": {3, "404"},
			"/account": {7, `type "account"`}, "/signing-key": {7, "not by the root key"}, "/name": {7, "name"},
		} {
			p.run("add", "operator", "-u", srv.URL+path).exits(c.code).complains(c.why)
		}
		p.run("add", "operator", "-u", deadURL(t)).exits(2)
		p.run("add", "operator", "-u", "nobody").exits(3)
		p.run("init", "x", "-o", "nobody").exits(3).complains("NSC_NOBODY_OPERATOR")
		p.run("init", "x", "-o", "acme", "-u", srv.URL).exits(2)
		p.ok("add", "operator", "-u", srv.URL+"/good", "--dry-run").says("operator acme", "nothing was changed")
		p.ok("init", "x", "-o", "acme", "--dry-run").says("operator acme", "nothing was changed")
	})
	p.ok("add", "operator", "-u", "acme").says("operator acme")
	if info, err := p.operator().Info(); err != nil || !info.Managed {
		t.Errorf("not managed: %+v, %v", info, err)
	}
	p.run("add", "operator", "-u", srv.URL+"/moved").exits(5)
	p.ok("add", "operator", "-u", srv.URL+"/moved", "--force")
	p.run("add", "operator", "-u", srv.URL+"/older", "--force").exits(5).complains("older")
	p.ok("add", "operator", "other", "-u", srv.URL+"/good").says("operator other")
	p.ok("add", "account", "app").says("names no account server")
	p.run("push", "-a", "app").exits(6).complains("names no account server", "-u https://")

	q := alone(t)
	q.vars = p.vars
	q.ok("init", "pepsi", "--remote-operator", "ACME").says("account pepsi", "operator acme", "credentials:", "names no account server")
	if doc, _ := q.account("pepsi"); doc.Issuer != doc.Subject {
		t.Errorf("signed by %s", doc.Issuer)
	}
	if user, _ := q.user("pepsi", "pepsi"); user.Issuer == "" {
		t.Error("no user")
	}
	q.unchanged(func() {
		q.run("init", "pepsi", "-o", "acme").exits(5).complains("exists already")
		q.run("init", "coke", "-u", srv.URL+"/older").exits(5).complains("older")
	})
	q.ok("init", "coke", "-u", srv.URL+"/good").says("account coke", "operator acme")
	if names, err := q.store().Operators(); err != nil || len(names) != 1 {
		t.Errorf("operators %v, %v", names, err)
	}
}

// proxied returns a server that passes what it is asked to url, unless f answers.
func proxied(t *testing.T, address string, f func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	next := httputil.NewSingleHostReverseProxy(to)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f(w, r) {
			next.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestProposalsOfATenant: without a key of accountd's own, what a tenant signs is
// kept, waits, and is replaced by what the operator signs.
func TestProposalsOfATenant(t *testing.T) {
	t.Parallel()
	p := local(t)
	url := p.offline(false)
	q := alone(t)
	q.ok("add", "operator", "-u", url+"/jwt/v1/operator")
	q.run("add", "account", "pepsi").exits(4).complains("nsc allow account")
	own, _ := q.account("pepsi")
	p.ok("allow", "account", own.Subject)
	var rec struct {
		Outcome string
		Error   struct{ Rule, Hint string }
	}
	q.run("push", "-a", "pepsi").exits(8)
	q.run("edit", "account", "pepsi", "--description", "ours", "--json").exits(8).json(&rec)
	if rec.Outcome != "waiting" || rec.Error.Rule != "proposed" || !strings.Contains(rec.Error.Hint, "nsc proposals accept pepsi") {
		t.Errorf("receipt: %+v", rec)
	}
	q.run("pull", "-a", "pepsi").exits(3)
	p.ok("proposals", "accept", "pepsi")
	q.ok("pull", "-a", "pepsi")
	doc, ac := q.account("pepsi")
	if doc.Issuer == doc.Subject || ac.Description != "ours" || q.published("pepsi").Unpublished {
		t.Errorf("what the operator signed is not here: %s", ac)
	}
	q.ok("push", "-a", "pepsi").says("countersigned")
	q.ok("edit", "account", "pepsi", "--description", "ours").says("nothing to change")

	// The operator changes it while an edit of the tenant waits.
	q.run("add", "export", "-a", "pepsi", "--subject", "orders.>").exits(8)
	p.ok("pull", "-a", "pepsi")
	p.ok("edit", "account", "pepsi", "--conns", "5")
	q.run("pull", "-a", "pepsi").exits(5)
	q.run("edit", "account", "pepsi", "--info-url", "https://pepsi.example").exits(5)
	q.ok("pull", "-a", "pepsi", "--merge").says("nsc push -a pepsi")
	if doc, ac := q.account("pepsi"); doc.Issuer != doc.Subject || ac.Limits.Conn != 5 || len(ac.Exports) != 1 {
		t.Errorf("merged: %s", ac)
	}
	q.ok("pull", "-a", "pepsi", "-F")

	// The operator has a new key, which a tenant learns of with it.
	p.ok("edit", "operator", "--sk", "generate", "--tag", "new")
	token, err := p.operator().JWT()
	if err != nil {
		t.Fatal(err)
	}
	_, oc := decode[jwt.OperatorClaims](t, token)
	p.ok("edit", "account", "pepsi", "--conns", "6", "-K", oc.SigningKeys[1])
	q.run("pull", "-a", "pepsi").exits(7).complains("nsc pull --all")
	q.ok("pull", "--all").says("+ nats.tags", "account pepsi")
	if doc, _ := q.account("pepsi"); doc.Issuer != oc.SigningKeys[1] {
		t.Errorf("issuer %s", doc.Issuer)
	}
	q.run("push", "--prune", "--yes").exits(4).complains("managed")
	q.run("rename", "account", "pepsi", "cola", "--OK").exits(4)
	q.ok("delete", "account", "pepsi", "--yes", "--force").says("its operator alone deletes it")
}

// TestAnswersOfTheOperatorAreChecked: what is not the operator's is not taken,
// and what was lost on the way is found again.
func TestAnswersOfTheOperatorAreChecked(t *testing.T) {
	t.Parallel()
	p := local(t)
	served := p.offline(false)
	var mode atomic.Value
	mode.Store("")
	foreign, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	url := proxied(t, served, func(w http.ResponseWriter, r *http.Request) bool {
		isAccount := strings.HasPrefix(r.URL.Path, "/jwt/v1/accounts/")
		switch m := mode.Load().(string); {
		case !isAccount || m == "":
			return false
		case r.Method == http.MethodPost && m == "down":
			w.WriteHeader(http.StatusBadGateway)
		case r.Method == http.MethodPost:
			_, _ = io.WriteString(w, "jwt updated: revision 7\n")
		case m == "mute":
			w.WriteHeader(http.StatusBadGateway)
		case m == "foreign":
			ac := jwt.NewAccountClaims(filepath.Base(r.URL.Path))
			ac.Name = "pepsi"
			_, _ = io.WriteString(w, sign(t, ac, foreign, 1000))
		}
		return true
	})
	p.ok("edit", "operator", "--account-jwt-server-url", url+"/jwt/v1")
	q := alone(t)
	q.ok("add", "operator", "-u", url+"/jwt/v1/operator")
	for m, c := range map[string]struct {
		code int
		why  string
	}{"down": {6, "502"}, "mute": {6, "the operator's answer did not come"}, "foreign": {7, "nsc pull --all"}} {
		mode.Store(m)
		q.run("add", "account", "pepsi-"+m).exits(c.code).complains(c.why)
		doc, _ := q.account("pepsi-" + m)
		if doc.Issuer != doc.Subject || !q.published("pepsi-"+m).Unpublished {
			t.Errorf("%s: kept as signed by %s, %+v", m, doc.Issuer, q.published("pepsi-"+m))
		}
	}
	// The answer to a post is lost: the operator's version is recognised as its own.
	mode.Store("")
	own, _ := q.account("pepsi-mute")
	p.ok("allow", "account", own.Subject)
	q.run("push", "-a", "pepsi-mute").exits(8)
	p.ok("proposals", "accept", "pepsi-mute")
	q.ok("pull", "-a", "pepsi-mute")
	q.run("edit", "account", "pepsi-mute", "--description", "ours").exits(8)
	p.ok("proposals", "accept", "pepsi-mute")
	q.ok("push", "-a", "pepsi-mute").says("countersigned")
	if doc, _ := q.account("pepsi-mute"); doc.Issuer == doc.Subject {
		t.Error("not recognised")
	}
	q.run("pull", "--all", "--dry-run").exits(3).says("operator acme", "nothing was changed").complains("nsc push -a A")
}
