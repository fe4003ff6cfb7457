package node

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestPipeDoesNotWaitForItsReader: what is written while nobody reads arrives, in
// order, also when the writer has closed; a writer is held up by a full buffer
// alone, and not beyond its deadline.
func TestPipeDoesNotWaitForItsReader(t *testing.T) {
	t.Parallel()
	far, near := net.Pipe()
	p := newPipe(near)
	var want bytes.Buffer
	chunk := make([]byte, 1<<20)
	if err := p.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for i := byte(0); ; i++ {
		chunk[0], chunk[len(chunk)/2], chunk[len(chunk)-1] = i, i+1, i+2
		n, err := p.Write(chunk)
		if err != nil {
			if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || want.Len() < pipeBuffer {
				t.Fatalf("a pipe with %d bytes: %d, %v", want.Len(), n, err)
			}
			break
		}
		want.Write(chunk)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes of %d arrived: %v", len(got), want.Len(), err)
	}
	if _, err := p.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("written after the end: %v", err)
	}
}

// TestPipeEndsWithItsServer: a writer that waits is told, and a reader, too.
func TestPipeEndsWithItsServer(t *testing.T) {
	t.Parallel()
	far, near := net.Pipe()
	p := newPipe(near)
	written := make(chan error)
	go func() {
		for {
			if _, err := p.Write(make([]byte, 1<<20)); err != nil {
				written <- err
				return
			}
		}
	}()
	if _, err := io.ReadFull(far, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-written; !errors.Is(err, net.ErrClosed) {
		t.Errorf("written after the end: %v", err)
	}
	if _, err := p.Read(make([]byte, 1)); err == nil {
		t.Error("the reader is not told")
	}
}
