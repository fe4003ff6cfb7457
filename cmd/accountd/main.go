// Command accountd holds the claims of a NATS operator, brings them into force
// on every server, and proves it.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/accountd/accountd/internal/cli/daemon"
)

func main() { os.Exit(run(context.Background(), os.Args[1:])) }

func run(ctx context.Context, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer context.AfterFunc(ctx, stop)() // a second signal ends the process at once
	return daemon.Run(ctx, args, environment())
}

func environment() daemon.Env {
	dir, _ := os.Getwd()          // relative names then fail where they are used
	program, _ := os.Executable() // "" leaves PATH alone
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	return daemon.Env{
		Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now,
		Reload: reload, Dir: dir, Program: program, RuntimeDir: os.Getenv("XDG_RUNTIME_DIR"), Version: version(),
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
