package archtest_test

import (
	"os"
	"slices"
	"testing"

	"github.com/accountd/accountd/internal/archtest"
	"github.com/accountd/accountd/internal/natstest"
)

const modulePath = "github.com/accountd/accountd"

func TestModuleKeepsItsArchitecture(t *testing.T) {
	t.Parallel()
	m, err := archtest.Load(os.DirFS(natstest.ModuleRoot(t)), modulePath)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(m.Files, func(f *archtest.File) bool { return f.Path == "fault/fault.go" }) {
		t.Fatal("the module's sources were not found")
	}
	for _, v := range archtest.Check(m, archtest.ModuleRules()) {
		t.Error(v)
	}
}
