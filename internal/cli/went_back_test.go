package cli_test

import (
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/operator/nscstore"
)

// record sets what the person's store knows of a publication.
func (p *person) record(account string, change func(*nscstore.Publication)) {
	p.t.Helper()
	doc, _ := p.account(account)
	pub := p.published(account)
	change(&pub)
	err := p.store().Update(p.t.Context(), p.operatorName(), func(tx *nscstore.Tx) error { return tx.SetPublished(doc.Subject, pub) })
	if err != nil {
		p.t.Fatal(err)
	}
}

// TestStoreWentBack: accountd's store is an older copy, and this one holds the
// last version with a revocation. Nothing takes it unasked, and it can be
// published again.
func TestStoreWentBack(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "back")
	p.ok("add", "user", "u1", "-a", "back")
	q := p.twin()
	q.ok("revoke", "user", "u1", "-a", "back", "--no-push")
	q.record("back", func(pub *nscstore.Publication) { // as if it had been published before
		doc, _ := q.account("back")
		*pub = nscstore.Publication{ID: doc.ID, Revision: 4}
	})
	f := q.twin()
	q.unchanged(func() {
		for _, args := range [][]string{{"pull", "-a", "back"}, {"edit", "account", "back", "--conns", "5"}} {
			q.run(args...).exits(5).complains("accountd serves revision 1 of back", "published revision 4", "store-went-back", "nsc push -a back")
		}
	})
	if r := q.run("pull", "-A").exits(5); !strings.Contains(r.out+r.err, "store-went-back") {
		t.Errorf("pull -A says\n%s%s", r.out, r.err)
	}
	f.ok("pull", "-a", "back", "--overwrite-newer").says("gave up the local version")
	if _, ac := f.account("back"); len(ac.Revocations) != 0 {
		t.Error("the local version stayed")
	}
	q.ok("push", "-a", "back").says("revision 2")
	p.ok("pull", "-a", "back")
	if _, ac := p.account("back"); len(ac.Revocations) != 1 || q.published("back").Revision != 2 {
		t.Errorf("revocations %v, publication %+v", ac.Revocations, q.published("back"))
	}
}

// TestStoreWentBackAndOn: others have published since, on the older copy.
func TestStoreWentBackAndOn(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "backon")
	p.ok("add", "user", "u1", "-a", "backon")
	q := p.twin()
	q.ok("revoke", "user", "u1", "-a", "backon", "--no-push")
	q.record("backon", func(pub *nscstore.Publication) {
		doc, _ := q.account("backon")
		*pub = nscstore.Publication{ID: doc.ID, Revision: 2}
	})
	p.ok("edit", "account", "backon", "--conns", "9")
	q.unchanged(func() {
		q.run("push", "-a", "backon").exits(5).complains("store-went-back", "nsc pull -a backon --merge")
		q.run("pull", "-a", "backon").exits(5).complains("store-went-back", "nsc pull -a backon --merge")
	})
	q.ok("pull", "-a", "backon", "--merge")
	q.ok("push", "-a", "backon").says("revision 3")
	if _, ac := q.account("backon"); len(ac.Revocations) != 1 || ac.Limits.Conn != 9 {
		t.Errorf("revocations %v, limits %+v", ac.Revocations, ac.Limits)
	}
}

// TestAccountThatAccountdLost: the copy is from before the account.
func TestAccountThatAccountdLost(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "unheard", "--no-push")
	p.record("unheard", func(pub *nscstore.Publication) {
		doc, _ := p.account("unheard")
		*pub = nscstore.Publication{ID: doc.ID, Revision: 7}
	})
	p.ok("push", "-a", "unheard").says("revision 1")
}

// TestPullLacksRevocation: a revocation that others took back leaves the local
// store only if the person says so.
func TestPullLacksRevocation(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "lifted")
	p.ok("add", "user", "u1", "-a", "lifted")
	p.ok("revoke", "user", "u1", "-a", "lifted")
	q, f := p.twin(), p.twin()
	p.ok("unrevoke", "user", "u1", "-a", "lifted")
	q.unchanged(func() {
		q.run("pull", "-a", "lifted").exits(5).complains("lacks 1 revocation", "lacks-revocation", "--overwrite-newer", "--merge")
	})
	q.ok("pull", "-a", "lifted", "--overwrite-newer")
	if _, ac := q.account("lifted"); len(ac.Revocations) != 0 {
		t.Errorf("revocations %v", ac.Revocations)
	}
	f.ok("pull", "-a", "lifted", "--merge")
	f.ok("push", "-a", "lifted").says("revision 4")
	if _, ac := f.account("lifted"); len(ac.Revocations) != 1 {
		t.Errorf("revocations %v", ac.Revocations)
	}
}

// TestMergeRedoesOwnEdits: single values, sets and removals of one's own are
// redone on theirs; where both changed one value, theirs stays and both are said.
func TestMergeRedoesOwnEdits(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "three")
	p.ok("edit", "account", "three", "--conns", "100", "--data", "10", "--tag", "old", "--tag", "stays")
	p.ok("add", "export", "-a", "three", "--subject", "a.>")
	q := p.twin()
	p.ok("edit", "account", "three", "--conns", "200", "--description", "theirs", "--tag", "p")
	q.ok("edit", "account", "three", "--conns", "300", "--subscriptions", "7", "--rm-tag", "old", "--no-push")
	q.ok("edit", "account", "three", "--data", "20", "--no-push")
	q.ok("add", "export", "-a", "three", "--subject", "b.>", "--no-push")
	q.ok("delete", "export", "-a", "three", "--subject", "a.>", "--no-push")
	q.ok("pull", "-a", "three", "--merge").says("theirs stays  nats.limits.conn: 200 (yours: 300)", "nsc push -a three")
	q.ok("push", "-a", "three")
	_, ac := q.account("three")
	if ac.Limits.Conn != 200 || ac.Limits.Subs != 7 || ac.Limits.Data != 20 || ac.Description != "theirs" {
		t.Errorf("%+v, %q", ac.Limits, ac.Description)
	}
	if len(ac.Exports) != 1 || ac.Exports[0].Subject != "b.>" || ac.Exports[0].Type != jwt.Stream {
		t.Errorf("exports %+v", ac.Exports)
	}
	if len(ac.Tags) != 2 || !ac.Tags.Contains("p") || !ac.Tags.Contains("stays") {
		t.Errorf("tags %v", ac.Tags)
	}
}

// TestOwnVersionIsRecognised: nsc was killed after accountd took a version and
// before it recorded that. Later edits of it, here and online, are no conflict.
func TestOwnVersionIsRecognised(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "killed")
	first, _ := p.account("killed")
	before := p.published("killed")
	p.ok("edit", "account", "killed", "--conns", "1")
	p.record("killed", func(pub *nscstore.Publication) { *pub = before.Edited(first.ID, first.Token) })
	q, f, g := p.twin(), p.twin(), p.twin()
	g.ok("pull", "-a", "killed").says("(already so)")
	if pub := g.published("killed"); pub.Unpublished || pub.Revision != 2 {
		t.Errorf("%+v", pub)
	}
	q.ok("edit", "account", "killed", "--data", "7", "--no-push")
	q.ok("pull", "-a", "killed").says("local edits are not published")
	q.twin().ok("push", "-a", "killed").says("revision 3")
	q.run("push", "-a", "killed").exits(0)
	f.ok("edit", "account", "killed", "--subscriptions", "9", "--no-push")
	f.run("push", "-a", "killed").exits(5).complains("nsc pull -a killed --merge")
	f.ok("pull", "-a", "killed", "--merge")
	f.ok("edit", "account", "killed", "--description", "x").says("revision 4")
	if _, ac := f.account("killed"); ac.Limits.Conn != 1 || ac.Limits.Data != 7 || ac.Limits.Subs != 9 {
		t.Errorf("%+v", ac.Limits)
	}
	h := f.twin()
	doc, _ := f.account("killed")
	pub := f.published("killed")
	f.ok("edit", "account", "killed", "--conns", "2") // recorded as not known
	f.record("killed", func(now *nscstore.Publication) { *now = pub.Edited(doc.ID, doc.Token) })
	f.ok("edit", "account", "killed", "--conns", "3", "--no-push")
	f.ok("edit", "account", "killed", "--conns", "4").says("revision 6")
	h.ok("pull", "-a", "killed")
}
