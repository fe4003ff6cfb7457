package cli_test

import "testing"

func TestInteractive(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.unchanged(func() {
		p.run("add", "user", "-i").exits(2).complains("asks on a terminal", "nsc add user --help")
	})
	p.tty = true

	p.in = "u1\napp\n.\n"
	p.ok("add", "user", "--interactive").complains("name: user name", "account: ", ". leaves all that follow").says("user u1 in app")

	// What is given is not asked for; what does not fit is asked for again.
	p.in = "app\n\n\n\n\nmaybe\nyes\n.\n"
	r := p.ok("edit", "user", "u1", "-i", "--tag", "x", "--payload", "5").complains("bearer: ", `"maybe" does not fit`)
	if _, uc := p.user("app", "u1"); !uc.BearerToken || uc.NatsLimits.Payload != 5 || !uc.Tags.Contains("x") {
		t.Errorf("%+v\n%s", uc, r.err)
	}

	p.unchanged(func() {
		p.in = "u2\n"
		p.run("add", "user", "-i").exits(4).complains("the answers ended; nothing was changed")
		p.in = "\napp\n.\n"
		p.run("add", "user", "-i").exits(2).complains("the user's name is missing")
	})

	// The question of a destructive command reads on where the interview ended.
	p.in = "\n.\napp\n"
	p.ok("delete", "account", "app", "-i").complains("type app to go on")
}
