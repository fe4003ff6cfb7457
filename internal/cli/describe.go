package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/operator/nscstore"
)

// describeOptions are the flags of the describe commands.
type describeOptions struct {
	json, long, raw       bool
	field                 string
	output                string
	name, account, source string
}

func newDescribe(a *app) *cobra.Command {
	var o describeOptions
	cmd := group("describe", "Show operators, accounts, users, what accounts share, roles, fleets, plans and JWT files")
	f := cmd.PersistentFlags()
	f.BoolVarP(&o.json, "json", "J", false, "print the claims as JSON")
	f.BoolVarP(&o.long, "long-ids", "W", false, "show whole public keys instead of names")
	f.BoolVarP(&o.raw, "raw", "R", false, "print the JWT itself")
	f.StringVarP(&o.field, "field", "F", "", "print one field as JSON, such as nats.limits.conn or nats.exports[0].subject")
	cmd.AddCommand(
		newDescribeOperator(a, &o), newDescribeAccount(a, &o), newDescribeUser(a, &o), newDescribeJWT(a, &o),
		newDescribeFleet(a, &o), newDescribeRole(a, &o), newDescribePlan(a, &o), newDescribeGroup(a, &o),
		newDescribeExport(a, &o), newDescribeImport(a, &o), newDescribeMapping(a, &o), newDescribeSigningKey(a, &o))
	for _, c := range cmd.Commands() {
		a.longOutput(c)
	}
	return cmd
}

// outputFlag adds --output-file/-o.
func outputFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVarP(to, "output-file", "o", stdoutName, "write to this file, -- for stdout")
}

// stdoutName stands for stdout in --output-file.
const stdoutName = "--"

func newDescribeOperator(a *app, o *describeOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "operator [name or key]", Short: "Show an operator",
		Example: `  nsc describe operator
  nsc describe operator acme --json
  nsc describe operator -F nats.signing_keys
  nsc describe operator --raw -o acme.jwt`,
		Args: args(0, 1, "the operator's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = optionalName(o.name, given, "the operator's name"); err != nil {
				return err
			}
			return a.describeOperator(cmd.Context(), *o)
		},
	}
	nameFlag(cmd, &o.name, "operator name (default the current one)")
	outputFlag(cmd, &o.output)
	return cmd
}

func newDescribeAccount(a *app, o *describeOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "account [name or key]", Short: "Show an account: limits, keys, roles, exports, imports, revocations",
		Example: `  nsc describe account app
  nsc describe account app -F nats.limits.conn
  nsc describe account app --json
  nsc describe account app --raw -o app.jwt`,
		Args: args(0, 1, "the account's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = optionalName(o.name, given, "the account's name"); err != nil {
				return err
			}
			return a.describeAccount(cmd.Context(), *o)
		},
	}
	nameFlag(cmd, &o.name, "account name (default the current one)")
	outputFlag(cmd, &o.output)
	return cmd
}

func newDescribeUser(a *app, o *describeOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "user [name or key]", Short: "Show a user: what it may do, until when, and whether it is revoked",
		Example: `  nsc describe user device1 -a app
  nsc describe user device1 -a app -F nats.pub.allow
  nsc describe user device1 -a app --json
  nsc describe user device1 -a app --raw`,
		Args: args(0, 1, "the user's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = optionalName(o.name, given, "the user's name"); err != nil {
				return err
			}
			return a.describeUser(cmd.Context(), *o)
		},
	}
	nameFlag(cmd, &o.name, "user name (default the only one)")
	accountFlag(cmd, &o.account)
	outputFlag(cmd, &o.output)
	return cmd
}

func newDescribeJWT(a *app, o *describeOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "jwt <file>", Short: "Show what a JWT or credentials file says",
		Example: `  nsc describe jwt app.jwt
  nsc describe jwt device1.creds --json
  nsc describe jwt -f app.jwt
  nsc describe jwt - -F exp`,
		Args: args(0, 1, "the file"),
		RunE: func(_ *cobra.Command, given []string) error {
			if len(given) > 0 {
				if o.source != "" && o.source != given[0] {
					return usage("the file is given twice: %q and --file %q", given[0], o.source)
				}
				o.source = given[0]
			}
			return a.describeJWT(*o)
		},
	}
	cmd.Flags().StringVarP(&o.source, "file", "f", "", "file with a JWT or credentials, - for stdin")
	outputFlag(cmd, &o.output)
	return cmd
}

func (a *app) describeOperator(ctx context.Context, o describeOptions) error {
	_, r, err := a.operatorAt(ctx, o.name)
	if err != nil {
		return err
	}
	return a.show(o, r.doc, func() (string, error) { return r.operatorText(a.long(o)) })
}

func (a *app) describeAccount(ctx context.Context, o describeOptions) error {
	s, r, ac, err := a.open(ctx, o.name)
	if err != nil {
		return err
	}
	return a.show(o, ac.doc, func() (string, error) { return s.accountText(r, ac, a.long(o)) })
}

func (a *app) describeUser(ctx context.Context, o describeOptions) error {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	name, err := r.oneUser(ac, o.name)
	if err != nil {
		return err
	}
	doc, err := r.user(ac.name, name)
	if err != nil {
		return err
	}
	return a.show(o, doc, func() (string, error) { return s.userText(r, ac, doc, a.long(o)) })
}

func (a *app) describeJWT(o describeOptions) error {
	doc, err := a.decodeFile(o.source)
	if err != nil {
		return err
	}
	return a.show(o, doc, func() (string, error) { return a.claimsText(doc, a.long(o)) })
}

// decodeFile decodes the JWT in a file, bare, armoured or in credentials.
func (a *app) decodeFile(name string) (*claims.Document, error) {
	data, err := a.readJWT(name)
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(data) // it may be credentials
	return decodeJWT(name, data)
}

// decodeJWT decodes the content of the file called name.
func decodeJWT(name string, data []byte) (*claims.Document, error) {
	token, err := jwt.ParseDecoratedJWT(data)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s holds no JWT", name).About("file", name)
	}
	doc, err := claims.Decode(strings.TrimSpace(token))
	if err != nil {
		return nil, within(err, "JWT in "+name).About("file", name)
	}
	return doc, nil
}

// readJWT reads a file that is said to hold a JWT.
func (a *app) readJWT(name string) ([]byte, error) {
	in := a.env.Stdin
	switch {
	case name == "":
		return nil, usage("the file is missing").WithHint("name it, - for stdin")
	case strings.Contains(name, "://"):
		return nil, usage("JWTs are read from files").WithHint("fetch it first, such as with: curl -O %s", name)
	case name != "-":
		f, err := os.Open(a.path(name))
		if err != nil {
			return nil, fault.New(fault.NotFound, "no file %s", name).About("file", name)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, claims.MaxToken+maxSeedFile))
	if err != nil {
		return nil, fault.New(fault.Invalid, "read %s: %w", name, err).About("file", name)
	}
	return data, nil
}

// long reports whether whole public keys are wanted.
func (a *app) long(o describeOptions) bool { return o.long || a.flags.output == "wide" }

// show writes one form of a claim to where it is wanted.
func (a *app) show(o describeOptions, doc *claims.Document, text func() (string, error)) error {
	o.json = o.json || a.flags.json
	toFile := o.output != stdoutName
	var out bytes.Buffer
	switch {
	case o.raw && toFile:
		data, err := jwt.DecorateJWT(doc.Token)
		if err != nil {
			return fault.New(fault.Internal, "format the JWT: %w", err)
		}
		out.Write(data)
	case o.raw:
		out.WriteString(doc.Token + "\n")
	case o.field != "":
		value, err := field(claimsTree(doc), o.field)
		if err != nil {
			return err
		}
		if out.WriteString(value); !toFile {
			out.WriteByte('\n')
		}
	case a.flags.output == "name":
		out.WriteString(doc.Name + "\n")
	case a.flags.output == "yaml":
		if err := printYAML(&out, claimsTree(doc)); err != nil {
			return err
		}
	case o.json:
		if err := officialIndent(&out, claimsTree(doc)); err != nil {
			return err
		}
	default:
		t, err := text()
		if err != nil {
			return err
		}
		out.WriteString(t)
	}
	return a.write(o.output, out.Bytes())
}

// view prints a thing that is no JWT: as JSON or YAML, one field of that, its
// name, or as a page.
func (a *app) view(o describeOptions, v any, name string, p *page) error {
	switch {
	case o.raw:
		return usage("what is described is no JWT of its own").WithHint("print the account's with: nsc describe account --raw")
	case o.field != "":
		var tree map[string]any
		data, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(data, &tree)
		}
		if err != nil {
			return fault.New(fault.Internal, "encode the result: %w", err)
		}
		value, err := field(tree, o.field)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.env.Stdout, value)
		return nil
	case a.flags.output == "name":
		fmt.Fprintln(a.env.Stdout, name)
		return nil
	}
	if done, err := a.structured(v, o.json); done {
		return err
	}
	_, err := io.WriteString(a.env.Stdout, p.b.String())
	if err != nil {
		return fault.New(fault.Internal, "write the result: %w", err)
	}
	return nil
}

// written is the result of a command that wrote files.
type written struct {
	Schema  int      `json:"schema"`
	Outcome string   `json:"outcome"` // written or dry-run
	Files   []string `json:"files"`
}

// writeResult is write for what is the whole result of a command.
func (a *app) writeResult(to string, data []byte) error {
	if err := a.write(to, data); err != nil || to == stdoutName || !a.flags.json {
		return err
	}
	return a.printStructured(written{api.Schema, outcomeWritten, []string{a.path(to)}})
}

// write puts data on stdout or into a file that only its owner reads.
func (a *app) write(to string, data []byte) error {
	if to == stdoutName {
		if _, err := a.env.Stdout.Write(data); err != nil {
			return fault.New(fault.Internal, "write the result: %w", err)
		}
		return nil
	}
	if err := durable.WriteFile(a.path(to), data, 0o600); err != nil {
		return fault.New(fault.Denied, "write %s: %w", to, err).About("file", to).WithHint("name a file in a folder that exists and is yours")
	}
	fmt.Fprintf(a.env.Stderr, "wrote %s\n", a.shown(a.path(to)))
	return nil
}
