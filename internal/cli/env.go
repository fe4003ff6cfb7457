package cli

import (
	"io"
	"time"
)

// Env is the world as the programs see it. Nothing below cmd/ asks the
// operating system for what stands here.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time
	Dir            string // current folder, absolute
	Home           string // home folder, "" if not known
	Host           string // name of this machine, for the log of accountd
	Version        string // of the program
	Progress       bool   // stderr is a terminal: a line may be redrawn
	Terminal       bool   // stdin and stdout are a terminal: colour and prompts are allowed
	PassphraseWork int    // of sealing with a passphrase, see operator.SealWithPassphrase; tests lower it
}
