package cli_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
)

// proposed returns what the shell would propose for the last word.
func (p *person) proposed(args ...string) []string {
	p.t.Helper()
	out := p.ok(append([]string{"__completeNoDesc"}, args...)...).out
	words, _, _ := strings.Cut(out, ":")
	return strings.Fields(words)
}

// TestCompletion: the shell proposes names of the store that the command line
// means, for arguments and flags of every command.
func TestCompletion(t *testing.T) {
	t.Parallel()
	p := local(t)
	plain := p.addRole("app", "")
	p.addRole("app", "reader")
	writer := p.addRole("app", "writer")
	p.editAccount("app", func(c *jwt.AccountClaims) {
		c.Exports.Add(&jwt.Export{Subject: "orders.>", Type: jwt.Stream})
		c.DefaultPermissions.Pub.Deny.Add("admin.>")
		scope, _ := c.SigningKeys[writer].(*jwt.UserScope)
		scope.Template.Sub.Allow.Add("data.>")
	})
	p.ok("add", "user", "ann", "-a", "app")
	p.ok("add", "user", "anton", "-a", "app")
	p.ok("add", "account", "billing")
	p.ok("add", "export", "-a", "app", "-s", "price.get", "--private")
	p.ok("offer", "--from", "app", "--to", "billing", "--subject", "price.get")
	contract := strings.TrimSpace(p.ok("contracts", "-o", "name").out)
	p.ok("add", "mapping", "-a", "app", "--from", "in", "--to", "out")
	p.ok("add", "fleet", "sensors", "-a", "billing", "--cohorts", "1")
	p.ok("add", "station", "line4", "-a", "billing")
	p.ok("add", "enrollment-group", "phones", "-a", "billing")
	p.ok("add", "operator", "zeta")
	p.ok("select", "operator", "acme")
	_, oc := p.operatorClaims()
	signers := append([]string{}, oc.SigningKeys...)
	signers = append(signers, oc.Subject)
	slices.Sort(signers)
	roles := []string{plain, "reader", "writer"}
	slices.Sort(roles)

	for _, c := range []struct {
		line string
		want []string
	}{
		{"select operator ", []string{"acme", "zeta"}},
		{"list users --operator ", []string{"acme", "zeta"}},
		{"describe account ", []string{"SYS", "app", "billing"}},
		{"describe account b", []string{"billing"}},
		{"describe account app ", nil},
		{"edit account -n ", []string{"SYS", "app", "billing"}},
		{"push -a ", []string{"SYS", "app", "billing"}},
		{"push -a app,b", []string{"app,billing"}},
		{"rename account app ", nil},
		{"describe export -a app ", []string{"orders.>", "price.get"}},
		{"describe mapping -a app ", []string{"in"}},
		{"delete mapping -a app --from ", []string{"in"}},
		{"add import -a billing --src-account app --remote-subject ", []string{"orders.>", "price.get"}},
		{"offer --to b", []string{"billing"}},
		{"verify isolation app ", []string{"SYS", "billing"}},
		{"contracts close ", []string{contract}},
		{"accept ", []string{contract}},
		{"describe enrollment-group -a billing ", []string{"phones"}},
		{"token create -a billing --group ", []string{"phones"}},
		{"edit fleet -a billing ", []string{"sensors"}},
		{"revoke device -a billing --station ", []string{"line4"}},
		{"edit account app --rm-sk ", roles},
		{"allow account ", nil},
		{"list users -o zeta -a ", nil},
		{"edit operator --system-account s", nil},
		{"edit operator --system-account S", []string{"SYS"}},
		{"edit user --account app -n anto", []string{"anton"}},
		{"edit user --account app an", []string{"ann", "anton"}},
		{"delete user -a app ann ", []string{"anton"}},
		{"revocations add-user -a app -u ann", []string{"ann"}},
		{"generate creds -a SYS ", []string{"sys"}},
		{"push --sys-user ", []string{"sys"}},
		{"edit signing-key --account app --role ", []string{"reader", "writer"}},
		{"edit signing-key --account app r", []string{"reader"}},
		{"add user x -a app -K ", roles},
		{"add account x -K ", signers},
		{"edit account app --rm ", []string{"admin.>", "data.>", "in", "orders.>", "price.get"}},
		{"add user x -a app --allow-pub or", []string{"orders.>"}},
		{"edit user ann --conn-type STANDARD,LEAF", []string{"STANDARD,LEAFNODE", "STANDARD,LEAFNODE_WS"}},
		{"status --output y", []string{"yaml"}},
		{"add account ", nil},
		{"restore account ", nil},
		{"rename acc", []string{"account"}},
	} {
		if got := p.proposed(strings.Split(c.line, " ")...); !slices.Equal(got, c.want) {
			t.Errorf("nsc %s: proposed %q, want %q", c.line, got, c.want)
		}
	}
	p.put("nsc.json", "damaged")
	if got := p.proposed("describe", "account", ""); len(got) != 0 {
		t.Errorf("proposed %q", got)
	}
	p.ok("completion", "bash").says("__start_nsc nsc")
}
