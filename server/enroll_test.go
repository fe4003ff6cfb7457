package server

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/device"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
)

func need[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestEnrolBesideStockServers: devices of a cluster of stock servers enrol and
// renew over NATS, once accountd has an identity and the keys of their fleet.
func TestEnrolBesideStockServers(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	sys := jwt.NewAccountClaims(o.system.PublicKey())
	sys.Name = "SYS"
	sys.Exports = jwt.Exports{fleet.EnrollExport()}
	o.sysJWT = signed(t, sys, o.sk)
	o.options.SystemAccount = o.file("SYS.jwt", []byte(o.sysJWT))
	srv := o.server("s0")
	o.options.Servers = srv.URL
	o.options.Identity = o.file("identity.txt", []byte("# accountd's\n"+need(operator.NewIdentity())+"\n"))
	ready := o.run(o.options)

	pair, group, cohort := need(keys.NewAccount()), need(keys.NewAccount()), need(keys.NewAccount())
	ac := jwt.NewAccountClaims(pair.PublicKey())
	ac.Name = "iot"
	f := fleet.Fleet{Name: "devices", Cohorts: 1, TTL: time.Hour, Confine: fleet.ByID}
	if err := fleet.Add(ac, f, need(f.Template(ac)), []string{cohort.PublicKey()}); err != nil {
		t.Fatal(err)
	}
	if err := f.AddGroup(ac, "phones", group.PublicKey()); err != nil {
		t.Fatal(err)
	}
	fleet.Reach(ac, o.system.PublicKey())
	ctx, cancel := context.WithTimeout(t.Context(), resolverPatience)
	defer cancel()
	c := need(api.DialHTTP(ctx, ready.HTTP, time.Now, nil))
	defer c.Close()
	put := need(c.Put(ctx, o.sk, api.PutRequest{Items: []api.Item{{JWT: signed(t, ac, o.sk)}}}))
	if put.Error != nil || put.Results[0].Error != nil {
		t.Fatalf("put: %+v", put)
	}
	proof := need(c.Proof(ctx, api.ProofRequest{Key: pair.PublicKey(), Revision: put.Results[0].Revision, WaitMs: 20000}))
	if !proof.Proven {
		t.Fatalf("not in force: %+v", proof)
	}

	g := need(fleet.FindGroup(ac, ""))
	holder := need(keys.NewUser())
	now := time.Now().Unix()
	token := string(fleet.FormatToken(need(g.Issue(ac, group, holder.PublicKey(), fleet.Terms{Uses: 1, Servers: []string{srv.URL}}, now, now+600)), holder.Seed()))
	agent := device.New(device.Options{Dir: filepath.Join(o.dir, "device")})
	if _, err := agent.Enroll(ctx, token, "d1"); fault.RuleOf(err) != "cohort-key" {
		t.Errorf("without the keys of the fleet: %v", err)
	}
	bundle := need(json.Marshal(api.KeyBundle{Account: pair.PublicKey(), Seeds: [][]byte{cohort.Seed()}}))
	recipient := need(c.Recipient(ctx, func(key string) bool { return key == o.delegated.PublicKey() }))
	if done := need(c.GiveKeys(ctx, o.sk, api.KeysRequest{Account: pair.PublicKey(), Sealed: need(operator.SealTo(bundle, recipient))})); done.Error != nil {
		t.Fatalf("keys: %+v", done.Error)
	}
	if st, err := agent.Enroll(ctx, token, "d1"); err != nil || st.ID != "d1" {
		t.Fatalf("%+v, %v", st, err)
	}
	if _, err := agent.Renew(ctx); err != nil {
		t.Errorf("renew: %v", err)
	}
	nc := need(nats.Connect(srv.URL, nats.UserCredentials(filepath.Join(o.dir, "device", "device.creds"))))
	nc.Close()
}
