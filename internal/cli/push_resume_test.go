package cli_test

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPushResumes: a push that was killed goes on where it was: what accountd
// has is only proven, and recorded where that is missing.
func TestPushResumes(t *testing.T) {
	t.Parallel()
	c := own(t)
	p := c.person(t)
	for _, name := range []string{"c", "a", "b"} {
		p.ok("add", "account", name, "--no-push")
	}
	p.ok("push", "-a", "c", "-a", "a")
	if err := os.RemoveAll(filepath.Join(p.operator().Dir(), ".accountd", "published")); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Results []struct {
			Name, Outcome string
			Revision      uint64
			Proven        bool
		}
	}
	p.run("push", "-A", "--json").exits(0).json(&got)
	want := map[string]string{"SYS": "unchanged", "a": "unchanged", "b": "committed", "c": "unchanged"}
	if len(got.Results) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, r := range got.Results {
		if r.Outcome != want[r.Name] || !r.Proven || i > 0 && got.Results[i-1].Name > r.Name {
			t.Errorf("%+v", r)
		}
		if pub := p.published(r.Name); pub.Revision != r.Revision || pub.ID == "" || pub.Unpublished {
			t.Errorf("account %s is recorded as %+v", r.Name, pub)
		}
	}
	p.unchanged(func() { p.ok("push", "-A") })
}
