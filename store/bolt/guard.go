package bolt

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// guard calls f, which touches pages of the file, and turns a panic or a memory
// fault into an error: that is how bbolt meets a damaged page, or one that the
// file has lost. It must not be used around a caller's function.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error: // where it fell over says nothing to a person
			err = damaged("a page cannot be read")
		default:
			err = damaged("%v", p)
		}
	}()
	return f()
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}
