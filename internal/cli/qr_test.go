package cli

import (
	"strings"
	"testing"

	"rsc.io/qr"
)

// TestQRIsWhole: what is drawn is the code, module by module, with its margin.
func TestQRIsWhole(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.", 18)
	drawn, err := qrText(text)
	if err != nil {
		t.Fatal(err)
	}
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(drawn, "\n"), "\n")
	size := code.Size + 2*quiet
	if len(lines) != (size+1)/2 {
		t.Fatalf("%d lines for %d modules", len(lines), size)
	}
	for y := range size {
		row := []rune(lines[y/2])
		if len(row) != size {
			t.Fatalf("line %d has %d characters, not %d", y/2, len(row), size)
		}
		for x, c := range row {
			light := c == '█' || c == '▀' && y%2 == 0 || c == '▄' && y%2 == 1
			if light == code.Black(x-quiet, y-quiet) {
				t.Fatalf("module %d,%d is wrong", x, y)
			}
		}
	}
	if _, err := qrText(strings.Repeat("x", 3000)); err == nil {
		t.Error("3,000 bytes were drawn")
	}
}
