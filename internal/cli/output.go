package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// Outcomes of a mutation, beside those of package api.
const (
	outcomeLocal   = "local"   // changed in the local store, and not meant to be published now
	outcomeUnknown = "unknown" // changed locally, not known to be published
	outcomeRefused = api.OutcomeRefused
	outcomeSame    = api.OutcomeSame
	outcomeDry     = "dry-run"
	outcomeWritten = "written"
	outcomePushed  = "pushed" // servers took it, and nobody proves anything
)

// receipt is the result of a mutation. Its JSON is documented in
// docs/json-output.md; fields are only added.
type receipt struct {
	Schema   int              `json:"schema"`
	Kind     string           `json:"kind"`
	Name     string           `json:"name"`
	Account  string           `json:"account,omitempty"` // of a user
	Key      string           `json:"key,omitempty"`
	Revision uint64           `json:"revision,omitempty"`
	ID       string           `json:"jti,omitempty"`
	Outcome  string           `json:"outcome"`
	Proven   bool             `json:"proven"`
	Nodes    []api.NodeProof  `json:"nodes,omitempty"`
	Expires  int64            `json:"expires,omitempty"` // of a user, Unix seconds
	Creds    string           `json:"credentials,omitempty"`
	JWT      string           `json:"jwt,omitempty"` // an activation on stdout, or that of a contract
	Contract *contract        `json:"contract,omitempty"`
	Users    map[string]int64 `json:"revoked,omitempty"`  // users that were revoked, and the times, Unix seconds
	Devices  *deviceCut       `json:"devices,omitempty"`  // of a revocation of devices
	Returned *deviceReturn    `json:"returned,omitempty"` // of taking such revocations back
	Findings []string         `json:"findings,omitempty"`
	Warnings []string         `json:"warnings,omitempty"`
	Changes  []string         `json:"changes,omitempty"` // of an edit and of a dry run
	Note     string           `json:"note,omitempty"`
	Ms       float64          `json:"ms"` // from the start of the command
	Error    *api.Error       `json:"error,omitempty"`

	// For people only.
	Title  string   `json:"-"` // first line; "" is the usual one
	Cuts   bool     `json:"-"` // the change takes something away: show who was cut
	Proved string   `json:"-"` // what full proof means; "" is "in force"
	Undo   string   `json:"-"` // the command that takes it back
	Lines  []string `json:"-"` // more facts, one a line
	Sent   bool     `json:"-"` // accountd took it
	Waited bool     `json:"-"` // the proof was asked for

	err error // of one of several receipts
}

func localOutcome(same bool) string {
	if same {
		return outcomeSame
	}
	return outcomeLocal
}

// finish prints the result of a mutation and returns its error. A refused one
// prints nothing for people, since the error says it all.
func (a *app) finish(rec *receipt, err error) error {
	if rec == nil {
		return err
	}
	rec.Schema = api.Schema
	rec.Ms = float64(a.env.Now().Sub(a.started).Microseconds()) / 1000
	switch {
	case a.flags.output == "name":
		if err == nil || fault.Is(err, fault.Pending) {
			fmt.Fprintln(a.env.Stdout, rec.Name)
		}
		return err
	case a.flags.json:
		rec.Error = api.ToError(err)
		if werr := a.printStructured(rec); werr != nil && err == nil {
			return werr
		}
		return err
	}
	if err == nil || fault.Is(err, fault.Pending) {
		a.printReceipt(rec)
	}
	return err
}

// printStructured writes v to stdout as JSON, or as YAML with -o yaml.
func (a *app) printStructured(v any) error { return a.writeStructured(a.env.Stdout, v) }

// writeStructured is printStructured for any writer.
func (a *app) writeStructured(w io.Writer, v any) error {
	if a.flags.output == "yaml" {
		return printYAML(w, v)
	}
	return printJSON(w, v)
}

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error { return encodeJSON(w, v, "  ") }

// officialIndent writes JSON as the official tool indents it.
func officialIndent(w io.Writer, v any) error { return encodeJSON(w, v, " ") }

func encodeJSON(w io.Writer, v any, indent string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return fault.New(fault.Internal, "write the result: %w", err)
	}
	return nil
}

func (a *app) printReceipt(rec *receipt) {
	out := a.env.Stdout
	fmt.Fprintln(out, rec.title())
	if a.flags.output == "wide" {
		fmt.Fprintf(out, "  key %s\n  jti %s\n", first(rec.Key, "-"), first(rec.ID, "-"))
	}
	changes := rec.Changes
	if a.flags.output != "wide" {
		changes = changeLines(changes)
	}
	for _, line := range changes {
		fmt.Fprintln(out, "  "+line)
	}
	a.printNodes(rec)
	for _, line := range rec.Lines {
		fmt.Fprintln(out, line)
	}
	for _, line := range rec.Findings {
		fmt.Fprintln(out, "finding: "+line)
	}
	for _, line := range rec.Warnings {
		fmt.Fprintln(a.env.Stderr, "nsc: warning: "+line)
	}
	a.printVerdict(rec)
	if rec.Undo != "" && rec.Outcome != outcomeDry && rec.Outcome != outcomeSame {
		fmt.Fprintln(out, "undo: "+rec.Undo)
	}
}

// printShort prints a receipt of several in one line if there is nothing more to say.
func (a *app) printShort(rec *receipt) {
	more := slices.ContainsFunc(rec.Nodes, func(n api.NodeProof) bool { return len(n.Closed) > 0 || n.Reason != "" })
	if !rec.Proven || more || len(rec.Lines)+len(rec.Findings)+len(rec.Warnings) > 0 {
		a.printReceipt(rec)
		return
	}
	fmt.Fprintf(a.env.Stdout, "%s  %s\n", rec.title(), tally(rec.Nodes))
}

// title is the first line of a receipt.
func (r *receipt) title() string {
	title := r.Title
	if title == "" {
		title = fmt.Sprintf("%s %s  %s", r.Kind, r.Name, keys.Short(r.Key))
		if r.Revision > 0 {
			title += fmt.Sprintf("  revision %d", r.Revision)
		}
	}
	verb, rest, _ := strings.Cut(title, " ")
	switch {
	case r.Outcome == outcomeSame:
		title += "  (already so)"
	case r.Outcome == outcomeDry && strings.HasSuffix(verb, "ed"):
		title = "would be " + verb + ": " + rest
	}
	return title
}

func (a *app) printNodes(rec *receipt) {
	width := 0
	for _, n := range rec.Nodes {
		width = max(width, len(n.Server))
	}
	for _, n := range rec.Nodes {
		line := fmt.Sprintf("  %-*s  %s", width, n.Server, a.state(n.State))
		switch {
		case n.Reason != "":
			line += "   " + reasonText(n.Server, n.Reason)
		case len(n.Closed) > 0:
			line += "   " + closedText(n.Closed)
		case rec.Cuts && done(n):
			line += "   none connected"
		}
		fmt.Fprintln(a.env.Stdout, line)
	}
}

// closedText says which connections a server closed.
func closedText(closed []api.Closed) string {
	var each []string
	for i, c := range closed {
		if i == 5 {
			each = append(each, fmt.Sprintf("%d more", len(closed)-i))
			break
		}
		name := ""
		if c.Name != "" {
			name = fmt.Sprintf(" %q", c.Name)
		}
		each = append(each, fmt.Sprintf("%s%s, %.1f ms", c.Kind, name, c.Ms))
	}
	return fmt.Sprintf("closed %s (%s)", count(len(closed), "connection"), strings.Join(each, "; "))
}

// printVerdict says in one line where the change stands.
func (a *app) printVerdict(rec *receipt) {
	out := a.env.Stdout
	switch {
	case rec.Outcome == outcomeDry:
		fmt.Fprintln(out, "dry run: nothing was changed")
	case rec.Note != "":
		fmt.Fprintf(out, "local only: %s\n", rec.Note)
	case rec.Outcome == outcomePushed:
		fmt.Fprintf(out, "answered by %s, no proof: no accountd answers\n", count(len(rec.Nodes), "server"))
	case rec.Waited && rec.Proven && rec.Proved != "":
		fmt.Fprintf(out, "%s, %s\n", rec.Proved, millis(rec.Ms))
	case rec.Waited && rec.Proven:
		fmt.Fprintf(out, "%s, %s\n", tally(rec.Nodes), millis(rec.Ms))
	case rec.Waited:
		fmt.Fprintf(out, "%s; watch it complete: %s --watch\n", tally(rec.Nodes), rec.status())
	case rec.Sent:
		fmt.Fprintf(out, "committed; not waited for the proof, which %s shows\n", rec.status())
	}
}

// status is the command that shows where the change stands.
func (r *receipt) status() string {
	if r.Kind == "operator" {
		return "nsc status"
	}
	return "nsc status " + first(r.Account, r.Name)
}

// state colours a state on a terminal; nothing depends on the colour.
func (a *app) state(s api.State) string {
	text := fmt.Sprintf("%-8s", s)
	if !a.env.Terminal || a.env.Getenv("NO_COLOR") != "" {
		return text
	}
	colour := map[api.State]string{api.InForce: "32", api.Stored: "32", api.Pending: "33", api.Rejected: "31"}[s]
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func millis(ms float64) string {
	if ms < 1000 {
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// ending says when something ends, in a column; 0 is never.
func ending(unix int64) string {
	if unix == 0 {
		return "never"
	}
	return clock(unix)
}

// until says when a credential ends; 0 is never.
func until(unix int64) string {
	if unix == 0 {
		return "never expires"
	}
	return "expires " + time.Unix(unix, 0).UTC().Format("2006-01-02 15:04 UTC")
}

// clock is a time, Unix seconds, as people read it.
func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04:05 UTC") }
