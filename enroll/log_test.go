package enroll

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
)

// TestIssuance: who enrols is listed, who renews or is refused is not, and a
// folder that went keeps nobody from enrolling.
func TestIssuance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "devices")
	if err := (Options{Log: dir}).Check(); !fault.Is(err, fault.NotFound) {
		t.Errorf("no folder: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (Options{Log: dir}).Check(); err != nil {
		t.Error(err)
	}
	w.s.issuance.dir = dir
	one := w.device("phone-1", fleet.Terms{})
	one.enrol().enrol()
	_, err := one.same("phone-1").ask()
	w.refuses("another key", err, fault.Conflict, "taken")
	two := w.device("phone-2", fleet.Terms{})
	two.enrol()
	first := w.clock.UTC().Format(time.DateOnly)
	w.clock = w.clock.Add(24 * time.Hour)
	three := w.device("phone-3", fleet.Terms{})
	three.enrol()
	for day, want := range map[string]string{
		first:                               "phone-1 " + one.pair.PublicKey() + "\nphone-2 " + two.pair.PublicKey() + "\n",
		w.clock.UTC().Format(time.DateOnly): "phone-3 " + three.pair.PublicKey() + "\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, w.account.PublicKey()+"-"+day+".list"))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", day, got, err, want)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	w.device("phone-4", fleet.Terms{}).enrol()
}
