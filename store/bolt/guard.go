package bolt

import (
	"fmt"
	"runtime/debug"
)

// guard calls f, which touches pages of the file, and turns a panic or a memory
// fault into an error: that is how bbolt meets a damaged page, or one that the
// file has lost. It must not be used around a caller's function.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged("%v", p)
		}
	}()
	return f()
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}
