// Package daemon is the command line of accountd. It turns flags into options of
// package server and errors into exit codes, and does nothing else.
package daemon
