package node

import (
	"net"
	"os"
	"sync"
	"time"
)

// pipe is a connection inside the process that takes what is written as a socket
// does, into a buffer. Without one two ends wait for each other: a client that
// writes holds what its reader needs to answer a ping, and the server that is to
// read it is writing to that reader. The server also reads nothing while it writes
// to a client of its own that does not read.
type pipe struct {
	net.Conn

	mu       sync.Mutex
	changed  sync.Cond // on mu
	out      []byte    // waits to be carried
	closed   bool
	deadline time.Time // of writes, zero for none
}

const (
	pipeBuffer = 64 << 20         // bytes, as much as a server keeps for a client
	pipeTime   = 30 * time.Second // in which the server has to take something: three times what one slow client holds it up
	pipeChunk  = 256 << 10        // bytes at a time
)

func newPipe(conn net.Conn) *pipe {
	p := &pipe{Conn: conn}
	p.changed.L = &p.mu
	go p.carry()
	return p
}

// carry passes on what is written, also what waits when the pipe is closed.
func (p *pipe) carry() {
	defer p.Conn.Close()
	defer p.Close()
	var spare []byte
	for {
		p.mu.Lock()
		for len(p.out) == 0 && !p.closed {
			p.changed.Wait()
		}
		taken := p.out
		p.out = spare[:0]
		p.changed.Broadcast()
		p.mu.Unlock()
		if len(taken) == 0 || !p.pass(taken) {
			return
		}
		if spare = taken; cap(spare) > 1<<20 { // of a storm that is over
			spare = nil
		}
	}
}

func (p *pipe) pass(data []byte) bool {
	for len(data) > 0 {
		n := min(len(data), pipeChunk)
		_ = p.Conn.SetWriteDeadline(time.Now().Add(pipeTime)) // an unbuffered pipe has no other error than a write has
		if _, err := p.Conn.Write(data[:n]); err != nil {
			return false
		}
		data = data[n:]
	}
	return true
}

// Write implements net.Conn.
func (p *pipe) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.out) > pipeBuffer && !p.deadline.IsZero() {
		timer := time.AfterFunc(time.Until(p.deadline), p.wake)
		defer timer.Stop()
	}
	for len(p.out) > pipeBuffer && !p.closed {
		if !p.deadline.IsZero() && !time.Now().Before(p.deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		p.changed.Wait()
	}
	if p.closed {
		return 0, net.ErrClosed
	}
	p.out = append(p.out, data...)
	p.changed.Broadcast()
	return len(data), nil
}

// wake lets those that wait look again.
func (p *pipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}

// SetDeadline implements net.Conn.
func (p *pipe) SetDeadline(t time.Time) error {
	_ = p.SetWriteDeadline(t)
	return p.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	return nil
}

// Close implements net.Conn.
func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.changed.Broadcast()
	return nil
}
