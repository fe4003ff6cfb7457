package cli_test

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/accountd/accountd/api"
)

// deafProxy forwards connections to a server until a request for a change of
// claims went through; of the answer and what follows nothing comes back.
type deafProxy struct {
	url  string
	seen chan struct{} // closed when the request went through
	once sync.Once
	mu   sync.Mutex
	deaf bool
}

func newDeafProxy(t *testing.T, target string) *deafProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &deafProxy{url: "nats://" + l.Addr().String(), seen: make(chan struct{})}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				p.serve(client, strings.TrimPrefix(target, "nats://"))
			}()
		}
	}()
	return p
}

func (p *deafProxy) serve(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			if !p.isDeaf() {
				_, _ = client.Write(buf[:n])
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		if bytes.Contains(buf[:n], []byte(api.SubjectPut)) {
			p.mu.Lock()
			p.deaf = true
			p.mu.Unlock()
			p.once.Do(func() { close(p.seen) })
		}
		_, _ = server.Write(buf[:n])
	}
	server.Close()
	<-done
}

func (p *deafProxy) isDeaf() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaf
}
