package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// logger carries the server's log to slog. What the server holds for fatal
// does not end the process: it is kept, and Start returns it.
type logger struct {
	to    *slog.Logger
	once  sync.Once
	fatal chan struct{} // closed at the first fatal message
	msg   string        // set before fatal is closed
}

func newLogger(to *slog.Logger) *logger { return &logger{to: to, fatal: make(chan struct{})} }

func (l *logger) log(level slog.Level, format string, args []any) {
	ctx := context.Background()
	if l.to.Enabled(ctx, level) {
		l.to.Log(ctx, level, fmt.Sprintf(format, args...))
	}
}

// Fatalf keeps the first message.
func (l *logger) Fatalf(format string, args ...any) {
	l.log(slog.LevelError, format, args)
	l.once.Do(func() {
		l.msg = fmt.Sprintf(format, args...)
		close(l.fatal)
	})
}

// Noticef logs at level info.
func (l *logger) Noticef(format string, args ...any) { l.log(slog.LevelInfo, format, args) }

// Warnf logs at level warn.
func (l *logger) Warnf(format string, args ...any) { l.log(slog.LevelWarn, format, args) }

// Errorf logs at level error.
func (l *logger) Errorf(format string, args ...any) { l.log(slog.LevelError, format, args) }

// Debugf logs at level debug.
func (l *logger) Debugf(format string, args ...any) { l.log(slog.LevelDebug, format, args) }

// Tracef drops the message: traces carry what clients send.
func (l *logger) Tracef(string, ...any) {}
