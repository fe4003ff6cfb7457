package daemon

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/accountd/accountd/enroll"
)

// config applies the text of a file to the flags of accountd resolver, of which
// given are on the command line.
func config(t *testing.T, text string, given ...string) (resolverFlags, int, error) {
	t.Helper()
	var f resolverFlags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.register(flags)
	if err := flags.Parse(given); err != nil {
		t.Fatal(err)
	}
	line, err := applyConfig([]byte(text), flags)
	return f, line, err
}

// TestResolverConfig: a file holds what flags do, and flags go first.
func TestResolverConfig(t *testing.T) {
	t.Parallel()
	want := resolverFlags{operator: "acme.jwt", servers: "nats://a:4222", store: "bolt:mine.db", http: "127.0.0.1:9222", insecureHTTP: true, logLevel: "warn", devices: enroll.Options{SourceRate: 50, Clones: 1000}}
	for _, text := range []string{
		"# ours\noperator: acme.jwt\nservers: nats://a:4222 # all\nstore: bolt:x.db\ninsecure_http: true\n",
		`{"operator": "acme.jwt", "servers": "nats://a:4222", "store": "bolt:x.db", "insecure_http": true}`,
		"{\n\t\"operator\": \"acme.jwt\",\n\t\"servers\": \"nats://a:4222\",\n\t\"insecure_http\": true\n}\n",
		"---\noperator: acme.jwt\nservers: \"nats://a:4222\"\ninsecure_http: true",
	} {
		f, _, err := config(t, text, "--store", "bolt:mine.db", "--device-clones", "1000")
		if err != nil || f != want {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
	}
}

// TestResolverConfigIsStrict: what is not meant is refused where it stands, and
// nothing of the file is taken.
func TestResolverConfigIsStrict(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		line int
		says string
	}{
		"store: bolt:x\noperater: x":          {2, `unknown field "operater"`},
		"system-creds: x":                     {1, "unknown field"},
		"config: x":                           {1, "unknown field"},
		"help: true":                          {1, "unknown field"},
		"\n\noperator: 1":                     {3, "operator is text"},
		"operator: true":                      {1, "operator is text"},
		"operator:":                           {1, "operator is text"},
		"operator: ~":                         {1, "operator is text"},
		"operator: [a]":                       {1, "operator is text"},
		"operator: {a: b}":                    {1, "operator is text"},
		"operator: &a x\nstore: *a":           {1, "operator is text"},
		"operator: !!binary aGVsbG8=":         {1, "operator is text"},
		"operator: \"a\\0b\"":                 {1, "operator is text"},
		"insecure_http: yes":                  {1, "true or false"},
		"insecure_http: 'true'":               {1, "true or false"},
		"insecure_http: 1":                    {1, "true or false"},
		"store: x\noperator: a\noperator: b":  {3, "already defined"},
		`{"operator": "a", "operator": "b"}`:  {1, "already defined"},
		"operator: a\n---\nstore: b":          {2, "second document"},
		`{} {}`:                               {1, ""},
		`{"operator": "x"`:                    {1, ""},
		"operator: \"x":                       {1, ""},
		"operator: a\n\tstore: b":             {2, ""},
		"<<: {operator: x}":                   {1, "plain text"},
		"1: x":                                {1, "plain text"},
		"[]":                                  {1, "name: value"},
		"":                                    {1, "name: value"},
		"# nothing":                           {1, "name: value"},
		"acme.jwt":                            {1, "name: value"},
		strings.Repeat("[", maxConfig):        {1, ""},
		strings.Repeat("{a: ", maxConfig/4):   {1, ""},
		"# " + strings.Repeat("x", maxConfig): {1, "too large"},
		"operator: " + strings.Repeat("- ", maxConfig/4): {1, ""},
	} {
		f, line, err := config(t, text)
		if err == nil || !strings.Contains(err.Error(), want.says) || line != want.line {
			t.Errorf("%.40q: line %d, %v; want line %d, %q", text, line, err, want.line, want.says)
		}
		if f.operator != "" || f.store != "" {
			t.Errorf("%.40q: some of it is taken: %+v", text, f)
		}
	}
}

// TestResolverUsage: what is missing is named, with exit code 2.
func TestResolverUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                       "--operator is missing",
		"--operator x":           "--system-creds is missing",
		"--config /nonexistent":  "cannot be read",
		"--operator x --unknown": "unknown flag",
		"serve":                  "takes no arguments",
	} {
		var out, errs bytes.Buffer
		env := Env{Stdout: &out, Stderr: &errs, Now: time.Now, Dir: t.TempDir()}
		code := Run(context.Background(), append([]string{"resolver"}, strings.Fields(args)...), env)
		if code != 2 && !(code == 3 && strings.Contains(args, "nonexistent")) {
			t.Errorf("%q: exit code %d", args, code)
		}
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%q says %q, want %q", args, errs.String(), want)
		}
	}
}

// FuzzResolverConfig: whatever a file holds, it is taken or refused at a line.
func FuzzResolverConfig(f *testing.F) {
	for _, seed := range []string{"operator: acme.jwt\ninsecure_http: true", `{"operator": "acme.jwt"}`, "a: &x [*x]", "- |\n  x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, line, err := config(t, text)
		if err != nil && (line < 1 || got.operator != "") {
			t.Fatalf("refused at line %d, with %+v: %v", line, got, err)
		}
	})
}
