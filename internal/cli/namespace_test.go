package cli_test

import "testing"

func TestNamespaces(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "account", "coke", "--namespace", "drinks.coke")
	if _, ac := p.account("coke"); !ac.Tags.Contains("namespace:drinks.coke") {
		t.Errorf("tags %v", ac.Tags)
	}
	p.ok("add", "account", "my account")
	p.unchanged(func() {
		for _, args := range [][]string{
			{"drinks"}, {"drinks.coke.zero"}, {"x", "--namespace", "app"}, {"x", "--namespace", "drinks.coke"},
			{"x", "--namespace", "app.x", "--dry-run"},
		} {
			p.run(append([]string{"add", "account"}, args...)...).exits(4).complains("meets that of account", "--namespace <prefix>")
		}
		for _, space := range []string{"$x", "_INBOX", "_R_.x", "a.*", "a b", "Coke"} {
			p.run("add", "account", "x", "--namespace", space).exits(7).complains("is no namespace")
		}
		p.run("edit", "account", "app", "--namespace", "drinks").exits(4)
		p.run("edit", "account", "app", "--tag", "namespace:drinks").exits(4)
		p.run("rename", "account", "app", "drinks.coke.x", "--yes").exits(4)
		p.ok("edit", "account", "coke", "--namespace", "cola", "--dry-run").says(`"namespace:cola"`)
	})
	p.ok("describe", "account", "coke").says("namespace     drinks.coke")
	p.ok("list", "accounts").says("NAMESPACE", "drinks.coke")
	p.ok("describe", "account", "my account").says("namespace     none")
	p.ok("edit", "account", "coke", "--tag", "site:1", "--conns", "5")
	p.ok("edit", "account", "coke", "--namespace", "")
	p.ok("describe", "account", "coke").says("namespace     coke")
	p.ok("add", "account", "drinks")
}
