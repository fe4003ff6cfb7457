// Command nsc creates and publishes the accounts and users of a NATS operator.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/accountd/accountd/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, os.Args[1:], env())
}

// env is the world that the program runs in.
func env() cli.Env {
	dir, _ := os.Getwd()
	home, _ := os.UserHomeDir()
	host, _ := os.Hostname()
	e := cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Now: time.Now, Dir: dir, Home: home, Host: host,
		Terminal: isTerminal(os.Stdin) && isTerminal(os.Stdout), Progress: isTerminal(os.Stderr), Version: "(devel)",
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		e.Version = info.Main.Version
	}
	return e
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
