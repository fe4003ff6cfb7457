package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestProgress: nothing before a second has passed; then a line that a terminal
// redraws and that goes at the end, and plain lines elsewhere.
func TestProgress(t *testing.T) {
	t.Parallel()
	for _, redraw := range []bool{true, false} {
		var out bytes.Buffer
		a := &app{env: Env{Stderr: &out, Progress: redraw}}
		p := a.progress(200, "accounts pushed", "proven")
		p.sent(100)
		p.proven(50)
		p.show()
		p.mu.Lock()
		if out.Len() > 0 {
			t.Errorf("shown at once: %q", out.String())
		}
		p.began = p.began.Add(-2 * time.Second)
		p.mu.Unlock()
		p.show()
		p.stop()
		want := "nsc: 100 of 200 accounts pushed, 50 proven, "
		if redraw {
			want = "50 of 200 proven, "
		}
		if text := out.String(); !strings.Contains(text, want) || redraw != strings.HasSuffix(text, " \r") {
			t.Errorf("redraw %v: %q", redraw, text)
		}
	}
}
