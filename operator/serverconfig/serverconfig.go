// Package serverconfig writes the part of a nats-server's configuration that
// follows from an operator's claims: whom the server trusts and where it finds
// accounts. It is pure; what it returns holds no secret.
package serverconfig

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/accountd/accountd/fault"
)

// Account is one account that a server knows from its configuration.
type Account struct{ Name, Key, JWT string }

// Trust is what every form begins with.
type Trust struct {
	Name, JWT string   // of the operator
	System    *Account // nil for none
}

// Memory returns the configuration of a server that knows the accounts given,
// and no others until it is restarted.
func Memory(t Trust, accounts []Account) string {
	var b strings.Builder
	t.write(&b)
	b.WriteString("resolver: MEMORY\n\n")
	preload(&b, accounts)
	return b.String()
}

// Files returns the files of a folder: what [Memory] returns as resolver.conf,
// and each claim by the name of its holder.
func Files(t Trust, accounts []Account) map[string]string {
	out := map[string]string{"resolver.conf": Memory(t, accounts), t.Name + ".jwt": t.JWT}
	for _, ac := range accounts {
		name := ac.Name + ".jwt"
		if _, taken := out[name]; taken { // the operator's name
			name = ac.Key + ".jwt"
		}
		out[name] = ac.JWT
	}
	return out
}

// Directory says how a server keeps the accounts that it is given later.
type Directory struct {
	Cache       bool // keep what was asked for and fetch the rest, instead of keeping all
	AllowDelete bool // take deletions of accounts, which an operator's key signs
}

// Resolver returns the configuration of a server with a directory of accounts,
// which starts with the system account. Without one it is fault.Invalid: such
// servers take accounts from its users.
func Resolver(t Trust, d Directory) (string, error) {
	if t.System == nil {
		return "", noSystemAccount(t)
	}
	var b strings.Builder
	t.write(&b)
	b.WriteString("resolver {\n")
	if d.Cache {
		b.WriteString("  type: cache\n  dir: \"./jwt\"\n  # how long an account is kept that nobody asks for\n  ttl: \"1h\"\n")
	} else {
		fmt.Fprintf(&b, "  type: full\n  dir: \"./jwt\"\n  # whether deletions are taken, which a key of the operator signs\n  allow_delete: %t\n", d.AllowDelete)
		b.WriteString("  # how often servers compare what they hold\n  interval: \"2m\"\n")
	}
	b.WriteString("  # how long to wait for another server's copy\n  timeout: \"1.9s\"\n}\n\n")
	preload(&b, []Account{*t.System})
	return b.String(), nil
}

func noSystemAccount(t Trust) error {
	return fault.New(fault.Invalid, "operator %q has no system account, from whose users these servers take accounts", t.Name).
		About("operator", t.Name).ByRule("system-account").WithHint("name one with: nsc edit operator --system-account <name>")
}

// Remote is a link of a leaf node to its hub: the local clients of an account
// speak to the hub as the user of the credentials.
type Remote struct {
	Account Account
	Creds   string   // path of the credentials file
	Keep    []string // subjects that the leaf node neither sends nor asks for
}

// LeafOptions say more of a leaf node.
type LeafOptions struct {
	Domain string // of its own JetStream, "" for none
}

// Leaf returns the configuration of a leaf node: the remotes' accounts and the
// system account, and no other tenant's. The hub's URLs are those of its
// leaf-node listeners.
func Leaf(t Trust, hub []string, remotes []Remote, o LeafOptions) string {
	var b strings.Builder
	t.write(&b)
	b.WriteString("resolver: MEMORY\n\n")
	known := make([]Account, 0, len(remotes)+1)
	if t.System != nil {
		known = append(known, *t.System)
	}
	for _, r := range remotes {
		if !slices.Contains(known, r.Account) {
			known = append(known, r.Account)
		}
	}
	preload(&b, known)
	if o.Domain != "" {
		fmt.Fprintf(&b, "\n# its own streams: nats --js-domain %s\njetstream {\n  store_dir: \"./jetstream\"\n  domain: %s\n}\n", o.Domain, quoted(o.Domain))
	}
	b.WriteString("\nleafnodes {\n  remotes [\n")
	for _, r := range remotes {
		fmt.Fprintf(&b, "    { # account %s\n      urls: %s\n      account: %s\n      credentials: %s\n",
			comment(r.Account.Name), quoted(hub), r.Account.Key, quoted(r.Creds))
		if len(r.Keep) > 0 {
			fmt.Fprintf(&b, "      deny_imports: %s\n      deny_exports: %[1]s\n", quoted(r.Keep))
		}
		b.WriteString("    }\n")
	}
	b.WriteString("  ]\n}\n")
	return b.String()
}

// Tags are what the placement of JetStream can ask of a server.
func Tags(tags []string) string { return "\nserver_tags: " + quoted(tags) + "\n" }

func (t Trust) write(b *strings.Builder) {
	fmt.Fprintf(b, "# operator %s\noperator: %s\n\n", comment(t.Name), t.JWT)
	if t.System != nil {
		fmt.Fprintf(b, "# account %s\nsystem_account: %s\n\n", comment(t.System.Name), t.System.Key)
	}
}

func preload(b *strings.Builder, accounts []Account) {
	b.WriteString("resolver_preload {\n")
	sorted := slices.SortedFunc(slices.Values(accounts), func(x, y Account) int { return cmp.Compare(x.Key, y.Key) })
	for _, ac := range sorted {
		fmt.Fprintf(b, "  # account %s\n  %s: %s\n", comment(ac.Name), ac.Key, ac.JWT)
	}
	b.WriteString("}\n")
}

// comment is a name that cannot end the comment it stands in.
func comment(name string) string {
	if strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\u2028' || c == '\u2029' }) {
		return quoted(name)
	}
	return name
}

// percent is a share in the form of the configuration language.
func percent(n uint8) string { return fmt.Sprintf("%d%%", n) }

// quoted is v in the server's configuration language, which reads JSON.
func quoted(v any) string { return encoded(v, "") }

// indented is [quoted] over several lines.
func indented(v any) string { return encoded(v, "  ") }

func encoded(v any, indent string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return `""` // what is encoded here always encodes
	}
	return strings.TrimSpace(b.String())
}
