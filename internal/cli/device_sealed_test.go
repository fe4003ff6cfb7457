package cli_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/operator/nscstore"
)

var aSeed = regexp.MustCompile("SU[A-Z2-7]{56}")

// holdsSeed names the files below a folder that hold a seed as it is.
func (p *person) holdsSeed(dir string) (files []string) {
	p.t.Helper()
	root := filepath.Join(p.dir, dir)
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if aSeed.Match(data) {
			files = append(files, filepath.Base(name))
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return files
}

// TestSealedDevice: what a device keeps is sealed, with an identity or by a
// passphrase; clients read another folder, which a restart may empty.
func TestSealedDevice(t *testing.T) {
	t.Parallel()
	p := enrolling(t, "sealed")
	p.ok("keys", "identity", "identity.txt")
	p.ok("keys", "identity", "other.txt")
	p.put("passphrase", "correct horse\n")
	token := p.token("sealed", "a.token", "--uses", "5")
	if got := p.holdsSeed("."); len(got) == 0 {
		t.Fatal("the seeds of tokens are not found")
	}
	for name, open := range map[string][]string{
		"one": {"--identity-file", "identity.txt"},
		"two": {"--passphrase-file", "passphrase"},
	} {
		run := filepath.Join("run", name)
		with := func(args ...string) []string { return append(append(args, "--dir", name), open...) }
		p.ok(with("device", "enroll", "--token", token, "--id", name, "--clients", run)...).says("credentials in ./" + filepath.Join(run, "device.creds"))
		if got := p.holdsSeed(name); got != nil {
			t.Errorf("%s holds seeds in %v", name, got)
		}
		creds := filepath.Join(p.dir, run, "device.creds")
		if !p.may(nats.UserCredentials(creds), publishing("sealed."+name+".x")) {
			t.Errorf("%s may not publish", name)
		}
		before := p.read(creds)
		p.ok(with("device", "renew", "--clients", run)...)
		if bytes.Equal(before, p.read(creds)) {
			t.Errorf("clients of %s have the old credentials", name)
		}
		for _, verb := range []string{"status", "renew"} {
			p.run("device", verb, "--dir", name).exits(4).complains("is sealed (sealed)", "--identity-file")
			p.run("device", verb, "--dir", name, "--identity-file", "other.txt").exits(7).complains("cannot be opened with this identity")
		}
		p.ok(with("device", "status")...).says("device "+name, "credentials sealed", "--clients")
		if err := os.RemoveAll(filepath.Join(p.dir, "run")); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		agent, ended := *p, make(chan result, 1)
		agent.ctx = ctx
		go func() { ended <- agent.run(with("device", "run", "--clients", run)...) }()
		natstest.Eventually(t, 20*time.Second, func() error { _, err := os.Stat(creds); return err })
		stop()
		<-ended
		p.run(with("device", "run", "--clients", name)...).exits(2).complains("--clients")
	}

	plain, creds := "three", filepath.Join("three", "device.creds")
	p.ok("device", "enroll", "--token", token, "--dir", plain, "--id", plain)
	if got := p.holdsSeed(plain); len(got) != 3 {
		t.Errorf("%v hold seeds", got)
	}
	_, seed, err := nscstore.ParseCreds(p.read(filepath.Join(p.dir, creds)))
	if err != nil {
		t.Fatal(err)
	}
	p.ok("device", "renew", "--dir", plain, "--identity-file", "identity.txt") // seals it
	if got := p.holdsSeed(plain); got != nil {
		t.Errorf("%v hold seeds still", got)
	}
	p.ok("device", "renew", "--dir", plain, "--identity-file", "identity.txt", "--clients", "run")
	_, same, err := nscstore.ParseCreds(p.read(filepath.Join(p.dir, "run", "device.creds")))
	if err != nil || !bytes.Equal(seed, same) {
		t.Errorf("the device has another key: %v", err)
	}
	p.run("device", "status", "--dir", "nobody", "--passphrase-file", "passphrase").exits(3)
	p.run("device", "renew", "--dir", "nobody", "--passphrase-file", "passphrase").exits(3)
	if _, err := os.Stat(filepath.Join(p.dir, "nobody")); err == nil {
		t.Error("a folder was made for a device that is not enrolled")
	}
}
