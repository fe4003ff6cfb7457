package cli_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
)

// official names a binary of the official tool: with it the test records what
// that makes of every command line, instead of comparing with the record.
var official = flag.String("official", "", "record testdata/official.json with this official nsc")

const recordFile = "testdata/official.json"

// parity is a sequence of command lines, after an operator O with account A and
// its user u were added, and whose claims it is about.
type parity struct {
	name  string
	of    string // operator, account, or the name of a user
	lines []string

	// The deliberate difference, as in docs/differences.md: what to leave out of
	// the comparison, as paths.
	except []string
}

func parities() []parity {
	return []parity{
		{name: "limits", of: "account", lines: []string{
			"edit account A --conns 500 --leaf-conns 3 --data 1GiB --payload 64k --subscriptions 1.5k --exports 4 --imports 5"}},
		{name: "limits back", of: "account", lines: []string{
			"edit account A --conns 500 --payload 1kib", "edit account A --conns -1 --payload -1 --subscriptions -1"}},
		{name: "wildcards and bearer", of: "account", lines: []string{"edit account A --wildcard-exports=false --disallow-bearer"}},
		{name: "texts", of: "account", lines: []string{"edit account A --description text --info-url https://example.com/x", "edit account -n A --description="}},
		{name: "tags", of: "account", lines: []string{"edit account A --tag b,A:x --tag c", "edit account A --rm-tag C"}},
		{name: "times", of: "account", lines: []string{"edit account A --start 2026-01-02 --expiry 2040-02-03"}},
		{name: "times back", of: "account", lines: []string{"edit account A --expiry 2040-02-03", "edit account A --expiry 0 --start 0"}},
		{name: "default permissions", of: "account", lines: []string{
			"edit account A --allow-pub b,a --allow-pubsub c --deny-pub d --deny-pubsub e --deny-sub f --allow-pub-response=5 --response-ttl 2s",
			"edit account A --rm c,e"}},
		{name: "response default", of: "account", lines: []string{"edit account A --allow-pub-response"}},
		{name: "response old name", of: "account", lines: []string{"edit account A --max-responses 7"}},
		{name: "response removed", of: "account", lines: []string{"edit account A --allow-pub-response=5", "edit account A --rm-response-perms"}},
		{name: "js global", of: "account", lines: []string{
			"edit account A --js-mem-storage 1M --js-disk-storage 10G --js-streams 5 --js-consumer 6 --js-max-mem-stream 7k --js-max-disk-stream 8k --js-max-ack-pending 9 --js-max-bytes-required"}},
		{name: "js one limit", of: "account", lines: []string{"edit account A --js-disk-storage 1GiB"}},
		{name: "js one limit later", of: "account", lines: []string{"edit account A --js-disk-storage 1GiB --js-streams 5", "edit account A --js-consumer 3"}},
		{name: "js old names", of: "account", lines: []string{"edit account A --mem-storage 1M --disk-storage 2M --streams 3 --consumer 4"}},
		{name: "js tiers", of: "account", lines: []string{"edit account A --js-tier 1 --js-disk-storage 5G", "edit account A --js-tier 3 --js-mem-storage 1G --js-streams 2"}},
		{name: "js enable", of: "account", lines: []string{"edit account A --js-enable 0"}},
		{name: "js enable tier", of: "account", lines: []string{"edit account A --js-enable 3"}},
		{name: "js remove tier", of: "account", lines: []string{
			"edit account A --js-tier 1 --js-disk-storage 5G", "edit account A --js-tier 3 --js-disk-storage 5G", "edit account A --rm-js-tier 1"}},
		{name: "js remove global", of: "account", lines: []string{"edit account A --js-disk-storage 5G", "edit account A --rm-js-tier 0"}},
		{name: "js disable", of: "account", lines: []string{"edit account A --js-disk-storage 5G --js-streams 4", "edit account A --js-disable"}},
		{name: "trace", of: "account", lines: []string{"edit account A --trace-context-subject traces --trace-context-sampling 20"}},
		{name: "trace off", of: "account", lines: []string{"edit account A --trace-context-subject traces", "edit account A --trace-context-subject="}},
		{name: "cluster traffic", of: "account", lines: []string{"edit account A --host-cluster-traffic"}},
		{name: "signing key", of: "account", lines: []string{"edit account A --sk generate"}},
		{name: "role", of: "account", lines: []string{
			"edit signing-key --account A --sk generate --role r --allow-pub x.> --allow-sub q --deny-pubsub z --subs 5 --payload 1k --data 2k --bearer --description text " +
				"--conn-type standard,MQTT --source-network 10.0.0.0/8 --time 08:00:00-09:00:00 --locale UTC --allow-pub-response=3 --response-ttl 4s"}},
		{name: "role changed", of: "account", lines: []string{
			"edit signing-key --account A --sk generate --role r --allow-pub x --subs 1 --data 2 --payload 3", "edit signing-key --account A --role r --deny-sub y --conn-type LEAFNODE"}},
		{name: "user", of: "u", lines: []string{
			"edit user u --account A --allow-pub b,a --allow-pubsub c --deny-sub d --subs 5 --payload 1k --data 2k --bearer --conn-type standard,mqtt_ws " +
				"--source-network 192.168.0.0/16,10.0.0.0/8 --time 08:00:00-09:00:00 --time 10:00:00-11:00:00 --tag B,a --allow-pub-response --response-ttl 3s"}},
		{name: "user back", of: "u", lines: []string{
			"edit user --name u --account A --allow-pubsub c,d --conn-type standard,mqtt --source-network 10.0.0.0/8 --time 08:00:00-09:00:00 --tag b --bearer --subs 4",
			"edit user u --account A --rm c --rm-conn-type MQTT --rm-source-network 10.0.0.0/8 --rm-time 08:00:00 --rm-tag B --bearer=false --subs -1"}},
		{name: "user of a role", of: "s", lines: []string{
			"edit signing-key --account A --sk generate --role r --allow-pub x", "add user s -a A -K r", "edit user s --account A --tag x --expiry 2040-01-01"}},
		{name: "user of a signing key", of: "s", lines: []string{"edit account A --sk generate", "add user s -a A", "edit user s --account A --subs 4"}},
		{name: "user times", of: "u", lines: []string{"edit user u --account A --expiry 2040-01-01 --start 2026-05-06"}},
		{name: "operator", of: "operator", lines: []string{
			"edit operator --tag B,a --account-jwt-server-url nats://host:4222 --service-url nats://Host:4222 -n tls://host:4223 --expiry 2040-01-01 --sk generate"}},
		{name: "operator back", of: "operator", lines: []string{
			"edit operator --tag b --service-url nats://host:4222 --account-jwt-server-url http://host/jwt/v1",
			"edit operator --rm-tag b --rm-service-url nats://host:4222 --rm-account-jwt-server-url"}},
		{name: "system account", of: "operator", lines: []string{"edit operator --system-account A"}},

		// Deliberate differences.
		{name: "kept by later edits", of: "account", except: []string{"nats.limits.wildcards", "nats.limits.disallow_bearer"}, lines: []string{
			"edit account A --wildcard-exports=false --disallow-bearer", "edit account A --tag x"}},
		{name: "trace rate kept", of: "account", except: []string{"nats.trace.sampling"}, lines: []string{
			"edit account A --trace-context-subject a --trace-context-sampling 20", "edit account A --trace-context-subject b"}},
		{name: "response removed with others", of: "account", except: []string{"nats.default_permissions.pub.allow"}, lines: []string{
			"edit account A --rm-response-perms --allow-pub x"}},
		{name: "max bytes later", of: "account", except: []string{"nats.limits.max_bytes_required"}, lines: []string{
			"edit account A --js-disk-storage 5G", "edit account A --js-max-bytes-required"}},
	}
}

// TestParity: the claims come out as the official tool makes them, field by
// field, but for deliberate differences.
func TestParity(t *testing.T) {
	t.Parallel()
	if *official != "" {
		record(t)
		return
	}
	raw, err := os.ReadFile(recordFile)
	if err != nil {
		t.Fatal(err)
	}
	var recorded map[string]any
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range parities() {
		names[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			compare(t, c, recorded[c.name])
		})
	}
	for name := range recorded {
		if !names[name] {
			t.Errorf("%s is recorded and not in the table", name)
		}
	}
}

func compare(t *testing.T, c parity, want any) {
	t.Helper()
	if want == nil {
		t.Fatalf("nothing is recorded; record with: go test -run TestParity -official <nsc>")
	}
	p := alone(t)
	for _, line := range slices.Concat(base(), c.lines) {
		p.ok(append(strings.Fields(line), "--no-push")...) // the account server that a line names is nowhere
	}
	var token string
	switch c.of {
	case "account":
		doc, _ := p.account("A")
		token = doc.Token
	case "operator":
		doc, _ := p.operatorClaims()
		token = doc.Token
	default:
		doc, _ := p.user("A", c.of)
		token = doc.Token
	}
	got := normal(t, token)
	for _, path := range c.except {
		was, is := cut(want, path), cut(got, path)
		if cmp.Equal(was, is) {
			t.Errorf("%s is a deliberate difference, and both have %v", path, is)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("- official, + ours:\n%s", diff)
	}
}

// base are the command lines before every case.
func base() []string {
	return []string{"add operator O", "add account A", "add user u -a A"}
}

// record runs the official tool on every case.
func record(t *testing.T) {
	t.Helper()
	out := map[string]any{}
	for _, c := range parities() {
		dir := t.TempDir()
		for _, line := range slices.Concat(base(), c.lines) {
			cmd := exec.Command(*official, strings.Fields(line)...)
			cmd.Dir = dir
			cmd.Env = []string{"HOME=" + dir}
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: nsc %s: %v\n%s", c.name, line, err, text)
			}
		}
		file := "accounts/A/users/" + c.of + ".jwt"
		switch c.of {
		case "account":
			file = "accounts/A/A.jwt"
		case "operator":
			file = "O.jwt"
		}
		token, err := os.ReadFile(filepath.Join(dir, ".local/share/nats/nsc/stores/O", file))
		if err != nil {
			t.Fatal(err)
		}
		out[c.name] = normal(t, string(token))
	}
	data, err := json.MarshalIndent(out, "", " ")
	if err == nil {
		err = os.WriteFile(recordFile, append(data, '\n'), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// keyForm is the form of a public key.
var keyForm = regexp.MustCompile(`\b[AOU][A-Z2-7]{55}\b`)

// normal decodes a token as the library of the servers does, without what every
// signature changes, with names for keys, and without the limits of -1 that the
// official tool leaves in accounts without JetStream.
func normal(t *testing.T, token string) any {
	t.Helper()
	c, err := jwt.Decode(token)
	if err != nil {
		t.Fatal(err)
	}
	if ac, ok := c.(*jwt.AccountClaims); ok && !ac.Limits.IsJSEnabled() {
		js := &ac.Limits.JetStreamLimits
		for _, n := range []*int64{&js.Streams, &js.Consumer, &js.MaxAckPending, &js.MemoryMaxStreamBytes, &js.DiskMaxStreamBytes} {
			if *n == jwt.NoLimit {
				*n = 0
			}
		}
	}
	if ac, ok := c.(*jwt.AccountClaims); ok && len(ac.Limits.JetStreamTieredLimits) > 0 {
		ac.Limits.JetStreamLimits = jwt.JetStreamLimits{}
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(keyForm.ReplaceAll(data, []byte("KEY")), &tree); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iat", "jti"} {
		delete(tree, name)
	}
	return tree
}

// cut removes the value at a path of names and returns it.
func cut(tree any, path string) any {
	names := strings.Split(path, ".")
	for i, name := range names {
		m, ok := tree.(map[string]any)
		if !ok {
			return nil
		}
		if i == len(names)-1 {
			v := m[name]
			delete(m, name)
			return v
		}
		tree = m[name]
	}
	return nil
}
