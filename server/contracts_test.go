package server

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// TestContractsStartAndEndOnStockServers: a stock server does not open an import
// when its activation starts, and goes on with a service that the importer has
// under another name when it ends; accountd, which has a key to sign with, makes
// it read the importer again.
func TestContractsStartAndEndOnStockServers(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	s := o.server("s0")
	o.options.Servers = s.URL
	ready := o.run(o.options)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	coke, _ := keys.NewAccount()
	pepsi, _ := keys.NewAccount()
	end := time.Now().Unix() + 10
	start := end - 5
	act := jwt.NewActivationClaims(pepsi.PublicKey())
	act.ImportSubject, act.ImportType, act.Expires = "price.get", jwt.Service, end
	act.NotBefore = start
	exporter, importer := jwt.NewAccountClaims(coke.PublicKey()), jwt.NewAccountClaims(pepsi.PublicKey())
	exporter.Name, importer.Name = "coke", "pepsi"
	exporter.Exports.Add(&jwt.Export{Type: jwt.Service, Subject: "price.get", TokenReq: true})
	importer.Imports.Add(&jwt.Import{
		Account: coke.PublicKey(), Type: jwt.Service, Subject: "price.get", LocalSubject: "coke.price.get", Token: signed(t, act, coke),
	})
	nc, err := nats.Connect(s.URL, nats.UserCredentials(o.creds))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, ac := range []*jwt.AccountClaims{exporter, importer} {
		if _, err := nc.Request("$SYS.REQ.CLAIMS.UPDATE", []byte(signed(t, ac, o.sk)), resolverPatience); err != nil {
			t.Fatal(err)
		}
	}
	client := func(account keys.AccountPair, name string) *nats.Conn {
		user, _ := keys.NewUser()
		creds, err := nscstore.FormatCreds(signed(t, jwt.NewUserClaims(user.PublicKey()), account), user.Seed())
		if err != nil {
			t.Fatal(err)
		}
		var nc *nats.Conn
		natstest.Eventually(t, resolverPatience, func() (err error) {
			nc, err = nats.Connect(s.URL, nats.UserCredentials(o.file(name, creds)))
			return err
		})
		t.Cleanup(nc.Close)
		return nc
	}
	if _, err := client(coke, "coke.creds").Subscribe("price.get", func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
		t.Fatal(err)
	}
	asks := client(pepsi, "pepsi.creds")
	if _, err := asks.Request("coke.price.get", nil, time.Second); err == nil && time.Now().Unix() < start {
		t.Fatal("it is open before its time")
	}
	natstest.Eventually(t, resolverPatience, func() error { _, err := asks.Request("coke.price.get", nil, time.Second); return err })
	if time.Now().Unix() < start {
		t.Fatal("it is open before its time")
	}
	natstest.Eventually(t, resolverPatience, func() error {
		page := fetch(t, ready.HTTP+"/metrics")
		if !strings.Contains(page, "accountd_contracts_ending 1\n") || strings.Contains(page, "accountd_contract_expiry_seconds +Inf") {
			return fmt.Errorf("the metrics do not know of the contract: %v", regexp.MustCompile("accountd_contract.*").FindAllString(page, -1))
		}
		return nil
	})
	for {
		_, err := asks.Request("coke.price.get", nil, time.Second)
		late := time.Since(time.Unix(end, 0))
		if err != nil && late < 0 {
			t.Fatalf("it ends %s before its time: %v", -late, err)
		}
		if err != nil {
			t.Logf("ended %s after its time", late)
			break
		}
		if late > 10*time.Second {
			t.Fatal("it goes on")
		}
	}
}
