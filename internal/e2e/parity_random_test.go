package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
)

// TestParityAtRandom draws command lines, runs each with both tools on their
// copies of one store, and compares whether it was taken, and all claims and
// credentials after it. It draws what both are to do alike: the deliberate
// differences of docs/differences.md are left to the stories of [TestParity].
func TestParityAtRandom(t *testing.T) {
	t.Parallel()
	lines, seed := 40, rand.Uint64()
	for name, to := range map[string]func(uint64){
		"ACCOUNTD_PARITY_LINES": func(n uint64) { lines = int(n) },
		"ACCOUNTD_PARITY_SEED":  func(n uint64) { seed = n },
	} {
		if v := os.Getenv(name); v != "" {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			to(n)
		}
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for lines > 0 {
		told := min(lines, 60) // a store that grows for ever draws little that is new
		lines -= told
		official := officialSide(t)
		ours := official.copy(t, filepath.Join(binDir(t), "nsc"))
		ours.flags = " --no-push"
		drawn := &drawing{Rand: random, side: official}
		p := &parity{t: t, official: official, ours: ours}
		for range told {
			drawn.tell(p)
		}
	}
}

// drawing draws command lines that suit the claims of a side.
type drawing struct {
	*rand.Rand
	side   *side
	claims map[string]jwt.Claims
	told   []string
}

// tell runs one line with both tools.
func (d *drawing) tell(p *parity) {
	d.claims = d.side.decoded()
	line := d.line()
	d.told = append(d.told, line)
	before := p.ours.files()
	was, werr := p.official.run(line)
	is, err := p.ours.run(line)
	if (werr == nil) != (err == nil) {
		p.t.Fatalf("%s\nofficial: %v\n%s\nours: %v\n%s", strings.Join(d.told, "\n"), werr, was, err, is)
	}
	if err != nil && !cmp.Equal(before, p.ours.files()) {
		p.t.Fatalf("refused, and yet it changed files:\n%s", strings.Join(d.told, "\n"))
	}
	if err == nil {
		p.compare(strings.Join(d.told, "\n"))
	}
}

func (d *drawing) line() string {
	kinds := []func() string{d.account, d.account, d.user, d.user, d.newUser, d.role, d.export, d.imports, d.mapping, d.operator, d.revocation, d.forget}
	return "nsc " + kinds[d.IntN(len(kinds))]()
}

// one draws one of the words that its argument holds.
func (d *drawing) one(words string) string {
	list := strings.Fields(words)
	return list[d.IntN(len(list))]
}

func (d *drawing) subject() string {
	return "'" + d.one("a a.b a.* a.> b b.c orders.new orders.> q.get q.*.x x.y.z") + "'"
}

func (d *drawing) number() string { return d.one("-1 1 7 100 1k 1kib 2M 1G 1.5k") }

// some returns each of the flags one time in four, at least one.
func (d *drawing) some(flags ...func() string) string {
	var out []string
	for len(out) == 0 {
		for _, f := range flags {
			if d.IntN(4) == 0 {
				out = append(out, f())
			}
		}
	}
	return strings.Join(out, " ")
}

// flag is a flag with a value that is drawn.
func flag(name string, value func() string) func() string {
	return func() string { return name + " " + value() }
}

func (d *drawing) words(words string) func() string { return func() string { return d.one(words) } }

func (d *drawing) permissions() []func() string {
	subjects := func() string {
		return strings.ReplaceAll(d.subject()+","+d.subject(), "','", ",")
	}
	out := []func() string{flag("--rm", d.subject), d.words("--allow-pub-response --allow-pub-response=3 --allow-pub-response=0"), flag("--response-ttl", d.words("5s 1m"))}
	for _, name := range []string{"--allow-pub", "--allow-sub", "--allow-pubsub", "--deny-pub", "--deny-sub", "--deny-pubsub"} {
		out = append(out, flag(name, subjects))
	}
	return out
}

func (d *drawing) limits() []func() string {
	return append(d.permissions(),
		flag("--payload", d.number), flag("--data", d.number), flag("--subs", d.words("-1 0 5 100")), d.words("--bearer --bearer=false"),
		flag("--conn-type", d.words("standard MQTT websocket,leafnode in_process")), flag("--rm-conn-type", d.words("MQTT STANDARD")),
		flag("--source-network", d.words("10.0.0.0/8 FE80::/10,192.168.1.0/24")), flag("--rm-source-network", d.words("10.0.0.0/8 ::1/128")),
		flag("--rm-time", d.words("09:00:00 10:00:00")), flag("--locale", d.words("Europe/Berlin UTC ''")))
}

func (d *drawing) tags() []func() string {
	return []func() string{flag("--tag", d.words("x Y,dep:a zone:EU")), flag("--rm-tag", d.words("x dep:a"))}
}

func (d *drawing) times() []func() string {
	return []func() string{flag("--expiry", d.words("0 2040-01-01 2041-02-03")), flag("--start", d.words("0 2020-01-01 2021-02-03"))}
}

// named draws one of the claims that it is asked about, by its name or key.
func (d *drawing) named(is func(name string, c jwt.Claims) bool) (name string, c jwt.Claims) {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(d.claims)) {
		if is(n, d.claims[n]) {
			names = append(names, n)
		}
	}
	name = names[d.IntN(len(names))]
	return name, d.claims[name]
}

func (d *drawing) anAccount() (string, *jwt.AccountClaims) {
	name, c := d.named(func(_ string, c jwt.Claims) bool { _, is := c.(*jwt.AccountClaims); return is })
	return name, c.(*jwt.AccountClaims)
}

// aUser draws a user.
func (d *drawing) aUser() (account, user string) {
	name, _ := d.named(func(name string, _ jwt.Claims) bool {
		_, file, _ := strings.Cut(name, "/")
		return file != "" && filepath.Ext(file) == ""
	})
	account, user, _ = strings.Cut(name, "/")
	return account, user
}

func (d *drawing) account() string {
	name, _ := d.anAccount()
	if d.IntN(6) == 0 {
		return fmt.Sprintf("%s account %s %s", d.one("add create"), d.one("C D E A b"), d.some(append(d.permissions()[1:], d.times()...)...))
	}
	flags := append(append(d.permissions(), d.tags()...), d.times()...)
	for _, limit := range []string{"conns", "leaf-conns", "data", "payload", "subscriptions"} {
		flags = append(flags, flag("--"+limit, d.number))
	}
	flags = append(flags, flag("--description", d.words("text 'a<b>&c' ''")), flag("--info-url", d.words("'https://example.com/?a=1&b' ''")),
		flag("--trace-context-subject", d.words("traces.a ''")))
	return fmt.Sprintf("edit account %s %s", d.one(name+" {"+name+"}"), d.some(flags...))
}

func (d *drawing) user() string {
	account, user := d.aUser()
	uc := d.claims[account+"/"+user].(*jwt.UserClaims)
	flags := append(append(d.limits(), d.tags()...), d.times()...)
	if ac := d.claims[account].(*jwt.AccountClaims); isScoped(ac, uc.Issuer) {
		flags = append(d.tags(), d.times()...)
	}
	return fmt.Sprintf("edit user -n %s --account %s %s", user, account, d.some(flags...))
}

func isScoped(ac *jwt.AccountClaims, key string) bool {
	scope, _ := ac.SigningKeys.GetScope(key)
	return scope != nil
}

// roles returns the roles of an account, sorted.
func roles(ac *jwt.AccountClaims) []string {
	var out []string
	for _, scope := range ac.SigningKeys {
		if scope, ok := scope.(*jwt.UserScope); ok {
			out = append(out, scope.Role)
		}
	}
	slices.Sort(out)
	return out
}

func (d *drawing) newUser() string {
	account, ac := d.anAccount()
	name, tag := d.one("s t u v w"), flag("--tag", d.words("x dep:a"))
	if roles := roles(ac); len(roles) > 0 && d.IntN(2) == 0 {
		return fmt.Sprintf("add user %s -a %s -K %s %s", name, account, d.one(strings.Join(roles, " ")), d.some(append(d.times(), tag)...))
	}
	flags := append(append(d.permissions()[1:], d.times()...), tag, d.words("--bearer"))
	return fmt.Sprintf("%s user %s -a %s %s", d.one("add create"), name, account, d.some(flags...))
}

func (d *drawing) role() string {
	account, ac := d.anAccount()
	flags := append(d.limits(), flag("--description", d.words("text ''")))
	if roles := roles(ac); len(roles) > 0 && d.IntN(2) == 0 {
		return fmt.Sprintf("edit signing-key -a %s --role %s %s", account, d.one(strings.Join(roles, " ")), d.some(flags...))
	}
	return fmt.Sprintf("edit signing-key -a %s --sk generate --role r%d %s", account, len(d.told), d.some(flags...))
}

func (d *drawing) export() string {
	account, ac := d.anAccount()
	if len(ac.Exports) > 0 && d.IntN(4) == 0 {
		e := ac.Exports[d.IntN(len(ac.Exports))]
		return fmt.Sprintf("delete export -a %s -s '%s'", account, e.Subject)
	}
	flags := []func() string{flag("--name", d.words("e1 ''")), d.words("--private"), d.words("--advertise")}
	kind := ""
	if d.IntN(2) == 0 {
		kind = " --service"
		flags = append(flags, flag("--response-type", d.words("Singleton Stream Chunked")), flag("--response-threshold", d.words("5s 1m")),
			d.words("--allow-trace"), func() string { return "--latency lat." + d.one("a b") + " --sampling " + d.one("1 50 100 header") })
	}
	return fmt.Sprintf("add export -a %s -s %s%s %s", account, d.exported(kind), kind, d.some(flags...))
}

// exported draws a subject to export: streams and services apart, since a
// subject that is both needs one word more from ours to be deleted.
func (d *drawing) exported(kind string) string {
	if kind == "" {
		return d.subject()
	}
	return "'svc." + d.one("a b c.* d.>") + "'"
}

func (d *drawing) imports() string {
	to, ac := d.anAccount()
	from, exporter := d.anAccount()
	if len(ac.Imports) > 0 && d.IntN(4) == 0 {
		return fmt.Sprintf("delete import -a %s -s '%s'", to, ac.Imports[d.IntN(len(ac.Imports))].Subject)
	}
	if len(exporter.Exports) == 0 {
		return d.export()
	}
	e := exporter.Exports[d.IntN(len(exporter.Exports))]
	flags := []func() string{flag("--name", d.words("i1 i2")), flag("--local-subject", d.words("my.a my.b 'my.>'"))}
	line := fmt.Sprintf("add import -a %s --src-account %s --remote-subject '%s' %s", to, d.one(from+" {"+from+"}"), e.Subject, d.some(flags...))
	if e.IsService() {
		return line + " --service " + d.one("--share --name=i3")
	}
	return line
}

func (d *drawing) mapping() string {
	account, ac := d.anAccount()
	if from := slices.Sorted(maps.Keys(ac.Mappings)); len(from) > 0 && d.IntN(3) == 0 {
		return fmt.Sprintf("delete mapping -a %s -f '%s'", account, from[d.IntN(len(from))])
	}
	flags := []func() string{flag("--weight", d.words("0 1 20 50 100")), flag("--cluster", d.words("c1 c2"))}
	return fmt.Sprintf("add mapping -a %s -f %s -t %s %s", account, d.subject(), d.one("to.a to.b"), d.some(flags...))
}

func (d *drawing) operator() string {
	flags := append(append(d.tags(), d.times()...),
		flag("--service-url", d.words("nats://localhost:4222 NATS://Example.com:4222,tls://a:1")), flag("--rm-service-url", d.words("nats://example.com:4222 tls://a:1")),
		flag("--account-jwt-server-url", d.words("nats://localhost:4222 https://example.com/jwt/v1 wss://a:1")))
	return "edit operator " + d.some(flags...)
}

func (d *drawing) revocation() string {
	account, user := d.aUser()
	ac := d.claims[account].(*jwt.AccountClaims)
	revoked := ac.Revocations[d.claims[account+"/"+user].Claims().Subject] != 0
	whom := d.one(fmt.Sprintf("-n=%s -u={%s/%s} -u=*", user, account, user))
	if all := ac.Revocations[jwt.All] != 0; whom != "-u=*" && revoked || whom == "-u=*" && all {
		return fmt.Sprintf("revocations delete-user -a %s '%s'", account, whom)
	}
	return fmt.Sprintf("revocations %s -a %s '%s' --at 2021-01-01T00:00:00Z", d.one("add-user add_user"), account, whom)
}

func (d *drawing) forget() string {
	account, user := d.aUser()
	if account == "A" && user == "u" || account == "B" { // there is always a user to draw
		return d.operator()
	}
	return fmt.Sprintf("delete user %s --account %s --revoke=false%s", user, account, d.one(" --rm-creds --rm-nkey"))
}
