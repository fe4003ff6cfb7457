package nscstore

import (
	"strings"

	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/suggest"
)

// ioFault gives an error of the file system a code: fault.Denied without
// permission, fault.Unavailable when the disk takes no more. It keeps faults.
func ioFault(op string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case fault.As(err) != nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", op, err) // these have codes of their own
	case errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Denied, "%s: %w", op, err).WithHint("check the owner and the mode of the folder")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fault.New(fault.Unavailable, "%s: %w", op, err).WithHint("make room on the disk, then repeat the command")
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fault.New(fault.Unavailable, "%s: %w", op, err).WithHint("allow more open files: ulimit -n 1024")
	case errors.Is(err, syscall.EROFS):
		return fault.New(fault.Unavailable, "%s: %w", op, err).WithHint("the file system is read-only")
	}
	return fault.New(fault.Internal, "%s: %w", op, err)
}

// damaged is the error of a file that cannot be understood.
func damaged(name string, err error) *fault.Error {
	return fault.New(fault.Invalid, "%s is damaged: %w", name, err).About("file", name).ByRule("file-damaged").
		WithHint("restore it from a copy")
}

// missing is the error of a name that does not exist among others; in says
// where, "" if that is clear.
func missing(kind, name, in string, among []string) error {
	where := ""
	if in != "" {
		where = " in " + in
	}
	f := fault.New(fault.NotFound, "%s %q not found%s", kind, name, where).About(kind, name)
	if near := suggest.Nearest(name, among); near != "" {
		return f.WithHint("did you mean %q?", near)
	}
	if account, ok := strings.CutPrefix(in, "account "); ok {
		return f.WithHint("list them with: nsc list %ss -a %s", kind, account)
	}
	return f.WithHint("list them with: nsc list %ss", kind)
}
