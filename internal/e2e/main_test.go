package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/accountd/accountd/internal/natstest"
)

// bin holds the programs under test, once built.
var bin struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if bin.dir != "" {
			_ = os.RemoveAll(bin.dir) // a leftover in the temporary folder harms nobody
		}
		os.Exit(code)
	}))
}

// binDir returns the folder with accountd and nsc, built once a test run and
// without the race detector: as users have them.
func binDir(t testing.TB) string {
	t.Helper()
	bin.once.Do(func() {
		if bin.dir, bin.err = os.MkdirTemp("", "accountd-e2e"); bin.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-C", natstest.ModuleRoot(t), "-trimpath", "-o", bin.dir+string(filepath.Separator), "./cmd/...")
		if out, err := cmd.CombinedOutput(); err != nil {
			bin.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if bin.err != nil {
		t.Fatalf("build the programs: %v", bin.err)
	}
	return bin.dir
}
