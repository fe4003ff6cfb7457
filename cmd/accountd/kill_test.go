package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// A kill at any instant of a first start is followed by a start that works.
func TestKillInFirstStart(t *testing.T) {
	t.Parallel()
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "dev")
			flags := ports(t)
			for range 6 {
				p := accountd(t, append([]string{"dev", "--dir", dir}, flags...)...)
				timer := time.NewTimer(time.Duration(rand.IntN(400)) * time.Millisecond)
				select {
				case <-timer.C:
				case <-p.Ended():
					t.Fatalf("it ended by itself:\n%s", p.Output())
				}
				p.Kill()
			}
			d := dev(t, dir, flags...)
			d.connect(t, 0)
			opJWT := read(t, dir, "nsc/stores/dev/dev.jwt")
			if _, served := d.get(t, "/jwt/v1/operator"); served != opJWT {
				t.Error("the served operator is not the one in the store of nsc")
			}
			if _, err := os.Stat(filepath.Join(dir, ".founding")); err == nil {
				t.Error("the staging folder is still there")
			}
			d.ends(t)
		})
	}
}

// signer is nsc's signing key of the made-up operator.
func signer(t *testing.T, dir string) keys.OperatorPair {
	t.Helper()
	oc, err := jwt.DecodeOperatorClaims(read(t, dir, "nsc/stores/dev/dev.jwt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range oc.SigningKeys {
		seed, err := os.ReadFile(filepath.Join(dir, "nsc/keys/keys/O", key[1:3], key+".nk"))
		if err != nil {
			continue
		}
		pair, err := keys.OperatorFromSeed(seed)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	t.Fatal("the keystore has no signing key")
	return keys.OperatorPair{}
}

// putAccount puts a new account with JetStream and returns its key.
func (r *running) putAccount(t *testing.T, name string, edits ...func(*jwt.AccountClaims)) keys.AccountPair {
	t.Helper()
	account, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	ac := jwt.NewAccountClaims(account.PublicKey())
	ac.Name = name
	for _, edit := range edits {
		edit(ac)
	}
	draft, err := claims.New(ac)
	if err != nil {
		t.Fatal(err)
	}
	op := signer(t, r.Dir)
	doc, err := draft.Sign(op, time.Now().Unix())
	if err != nil {
		t.Fatal(err)
	}
	re, err := r.client(t).Put(t.Context(), op, api.PutRequest{Items: []api.Item{{JWT: doc.Token}}})
	if err != nil || re.Error != nil || len(re.Results) != 1 || re.Results[0].Outcome != api.OutcomePut {
		t.Fatalf("put account: %+v, %v", re, err)
	}
	return account
}

// client speaks to the service as sys, over the first node.
func (r *running) client(t *testing.T) *api.Client {
	t.Helper()
	client, err := api.Dial(t.Context(), r.Nodes[0].URL, time.Now, nats.UserCredentials(r.Creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// proofs asks for the proof of the first revision of key.
func (r *running) proofs(t *testing.T, key string, wait time.Duration) []api.NodeProof {
	t.Helper()
	re, err := r.client(t).Proof(t.Context(), api.ProofRequest{Key: key, Revision: 1, WaitMs: int(wait.Milliseconds())})
	if err != nil || re.Error != nil || len(re.Nodes) != len(r.Nodes) {
		t.Fatalf("proof: %+v, %v", re, err)
	}
	return re.Nodes
}

// userOf connects a new user of account to a node.
func (r *running) userOf(t *testing.T, account keys.AccountPair, node int) *nats.Conn {
	t.Helper()
	user, err := keys.NewUser()
	if err != nil {
		t.Fatal(err)
	}
	uc := jwt.NewUserClaims(user.PublicKey())
	draft, err := claims.New(uc)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := draft.Sign(account, time.Now().Unix())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(r.Nodes[node].URL, nats.UserJWT(func() (string, error) { return doc.Token, nil }, user.Sign))
	if err != nil {
		t.Fatalf("connect a user to %s: %v", r.Nodes[node].Name, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// What was acknowledged before a kill is there after the next start, on every
// node.
func TestKillAndResume(t *testing.T) {
	t.Parallel()
	d := fresh(t, "--nodes", "3")
	account := d.putAccount(t, "qcon")
	d.Kill()
	again := dev(t, d.Dir)
	for i := range again.Nodes {
		again.userOf(t, account, i)
	}
	if _, body := again.get(t, "/jwt/v1/accounts/"+account.PublicKey()); strings.Count(body, ".") != 2 {
		t.Errorf("the account is served as %q", body)
	}
	again.ends(t)
}

// Kills at random moments of later starts do no harm either.
func TestKillInLaterStarts(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	account := d.putAccount(t, "qcon")
	d.Kill()
	for range 6 {
		p := accountd(t, "dev", "--dir", d.Dir)
		timer := time.NewTimer(time.Duration(rand.IntN(500)) * time.Millisecond)
		select {
		case <-timer.C:
		case <-p.Ended():
			t.Fatalf("it ended by itself:\n%s", p.Output())
		}
		p.Kill()
	}
	again := dev(t, d.Dir)
	again.userOf(t, account, 0)
	again.ends(t)
}

// A node that was down while an account came serves it when it is back.
func TestNodeCatchesUp(t *testing.T) {
	t.Parallel()
	d := fresh(t, "--nodes", "3")
	exits(t, 0, []string{"dev", "node", "stop", "nats-2", "--dir", d.Dir})
	account := d.putAccount(t, "late")
	for _, proof := range d.proofs(t, account.PublicKey(), 300*time.Millisecond) {
		switch {
		case proof.Server == "nats-2" && (proof.State != api.Pending || !strings.HasPrefix(proof.Reason, "not reachable since ")):
			t.Errorf("the stopped node shows %+v", proof)
		case proof.Server != "nats-2" && proof.State != api.InForce:
			t.Errorf("%s shows %+v", proof.Server, proof)
		}
	}
	exits(t, 0, []string{"dev", "node", "start", "nats-2", "--dir", d.Dir})
	for _, proof := range d.proofs(t, account.PublicKey(), 10*time.Second) {
		if proof.State != api.InForce {
			t.Errorf("%s shows %+v", proof.Server, proof)
		}
	}
	d.userOf(t, account, 2)
	d.ends(t)
}
