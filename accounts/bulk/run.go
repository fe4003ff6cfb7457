package bulk

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"
)

// batchSize is how many devices go from hand to hand at once.
const batchSize = 256

// Source gives the devices to issue, in order. It is read by one goroutine.
type Source interface {
	// Read fills dst from its beginning and returns how many there were: io.EOF
	// comes with or after the last ones.
	Read(dst []Device) (int, error)
}

// Run is one run over many devices. Workers may be busy with several at a time;
// what they made is written in the order of the source.
type Run struct {
	Issuer  *Issuer
	Source  Source
	Workers int

	// Known reports whether d was issued before, and then fills c. It may be nil.
	// Workers call it, like Each and Encode.
	Known func(d Device, c *Credential) (bool, error)
	// Each takes a new credential, and copies what it keeps. It may be nil.
	Each func(c *Credential) error
	// Encode appends the text of a credential. It may be nil.
	Encode func(dst []byte, c *Credential) []byte
	// Write takes the credentials of a batch and their text, in order, and copies
	// what it keeps.
	Write func(batch []Credential, text []byte) error
}

// batch is a number of devices on their way.
type batch struct {
	devices []Device
	made    []Credential
	text    []byte
	n       int
	done    chan struct{} // gets a value when a worker is done with it
}

// Do issues all devices. On an error what was written is a beginning of the
// whole.
func (r Run) Do(ctx context.Context) error {
	inFlight := 2*r.Workers + 2
	free := make(chan *batch, inFlight)
	for range inFlight {
		free <- &batch{devices: make([]Device, batchSize), made: make([]Credential, batchSize), done: make(chan struct{}, 1)}
	}
	todo, order := make(chan *batch, inFlight), make(chan *batch, inFlight)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(todo)
		defer close(order)
		return r.read(ctx, free, todo, order)
	})
	for range r.Workers {
		g.Go(func() error {
			m := &maker{Issuer: r.Issuer}
			for b := range todo {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err := r.work(m, b); err != nil {
					return err
				}
				b.done <- struct{}{}
			}
			return nil
		})
	}
	g.Go(func() error { return r.write(ctx, free, order) })
	return g.Wait()
}

// read fills batches and gives each to the workers and to the writer. Both
// channels have room for all batches there are.
func (r Run) read(ctx context.Context, free <-chan *batch, todo, order chan<- *batch) error {
	for {
		var b *batch
		select {
		case b = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		n, err := r.Source.Read(b.devices)
		if b.n = n; n > 0 {
			order <- b
			todo <- b
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r Run) work(m *maker, b *batch) error {
	if err := m.refill(b.n); err != nil {
		return err
	}
	for i, d := range b.devices[:b.n] {
		c := &b.made[i]
		known := false
		var err error
		if r.Known != nil {
			known, err = r.Known(d, c)
		}
		if err == nil && !known {
			if err = m.make(c, d, i); err == nil && r.Each != nil {
				err = r.Each(c)
			}
		}
		if err != nil {
			return err
		}
		if r.Encode != nil {
			b.text = r.Encode(b.text, c)
		}
	}
	return nil
}

// write hands batches on in order and wipes them.
func (r Run) write(ctx context.Context, free chan<- *batch, order <-chan *batch) error {
	for b := range order {
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		err := r.Write(b.made[:b.n], b.text)
		clear(b.text)
		b.text = b.text[:0]
		for i := range b.made {
			clear(b.made[i].Seed)
		}
		if err != nil {
			return err
		}
		free <- b
	}
	return nil
}
