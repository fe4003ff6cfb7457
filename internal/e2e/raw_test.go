package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// raw is the cheapest client there is: a bearer token on a TCP connection. It
// costs no signature, and no goroutine while it is idle.
type raw struct {
	net.Conn
	in *bufio.Reader
}

// errRefused says that the server refused the credentials.
var errRefused = errors.New("refused")

// dialRaw connects to a nats:// URL with a bearer user's JWT.
func dialRaw(url, jwt string) (*raw, error) {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "nats://"), patience)
	if err != nil {
		return nil, err
	}
	r := &raw{Conn: conn, in: bufio.NewReaderSize(conn, 1<<10)}
	if err := r.hello(jwt); err != nil {
		conn.Close()
		return nil, err
	}
	return r, nil
}

func (r *raw) hello(jwt string) error {
	if err := r.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for { // the INFO of the server is longer than the buffer
		if _, err := r.in.ReadSlice('\n'); err == nil {
			break
		} else if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	connect, err := json.Marshal(map[string]any{"jwt": jwt, "verbose": false, "lang": "raw", "version": "1", "protocol": 1})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(r, "CONNECT %s\r\nPING\r\n", connect); err != nil {
		return err
	}
	return r.pong()
}

// alive returns nil if the server still answers on the connection.
func (r *raw) alive() error {
	if err := r.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(r, "PING\r\n"); err != nil {
		return err
	}
	return r.pong()
}

// pong reads up to the answer to a ping.
func (r *raw) pong() error {
	for {
		line, err := r.in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return err
		case string(line) == "PONG\r\n":
			return nil
		case strings.HasPrefix(string(line), "-ERR") && strings.Contains(strings.ToLower(string(line)), "authorization"),
			strings.HasPrefix(string(line), "-ERR") && strings.Contains(strings.ToLower(string(line)), "authentication"):
			return errRefused
		case strings.HasPrefix(string(line), "-ERR"):
			return errors.New(strings.TrimSpace(string(line)))
		}
	}
}
