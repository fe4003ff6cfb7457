package enroll

import (
	"os"
	"path/filepath"
	"sync"
	"time"
)

// issuance writes down which ids took which keys: a line "id key" in a file for
// each account and day, in the form that nsc revoke device --file reads. Nothing
// reads it here, and whoever wants may remove files.
type issuance struct {
	dir string // "" writes nothing
	mu  sync.Mutex
}

// add notes an enrolment. A line is written at once or not at all, and survives
// the process, not the loss of power.
func (l *issuance) add(account, id, key string, now time.Time) error {
	if l.dir == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	name := filepath.Join(l.dir, account+"-"+now.UTC().Format(time.DateOnly)+".list")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(id + " " + key + "\n"); err != nil {
		_ = f.Close() // the first error says more
		return err
	}
	return f.Close()
}
