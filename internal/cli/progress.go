package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// When progress is shown: not before progressAfter, redrawn on a terminal, else
// a line now and then.
const (
	progressAfter  = time.Second
	progressRedraw = 100 * time.Millisecond
	progressLine   = 5 * time.Second
	progressWidth  = 30
)

// progress shows on stderr how far something long has come.
type progress struct {
	total int
	what  string // what is done to what, such as accounts pushed
	done  string // how the end is called, such as proven
	stop  func() // clears the line

	mu          sync.Mutex
	out         io.Writer
	redraw      bool
	began       time.Time
	pushed, now int // sent, and answered with a proof
	drawn       int // length of the line on the terminal
}

// progress begins to show how many of total things are done, until stop: first
// what, as of accounts pushed, if that is counted, and in the end done.
func (a *app) progress(total int, what, done string) *progress {
	p := &progress{total: total, what: what, done: done, out: a.env.Stderr, redraw: a.env.Progress, began: time.Now()}
	every := progressLine
	if p.redraw {
		every = progressRedraw
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-end:
				p.clear()
				return
			case <-tick.C:
				p.show()
			}
		}
	}()
	p.stop = sync.OnceFunc(func() { close(end); <-ended })
	return p
}

// sent counts things that are half done.
func (p *progress) sent(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushed += n
}

// proven counts things that are done.
func (p *progress) proven(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now += n
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := time.Since(p.began)
	if took < progressAfter {
		return
	}
	rate := float64(p.now) / took.Seconds()
	if !p.redraw {
		text := fmt.Sprintf("%d of %d %s", max(p.pushed, p.now), p.total, p.what)
		if p.pushed > 0 {
			text += fmt.Sprintf(", %d %s", p.now, p.done)
		}
		fmt.Fprintf(p.out, "nsc: %s, %.0f/s\n", text, rate)
		return
	}
	full := progressWidth * p.now / max(p.total, 1)
	line := fmt.Sprintf("[%s%s] %d of %d %s, %.0f/s", strings.Repeat("#", full), strings.Repeat(" ", progressWidth-full), p.now, p.total, p.done, rate)
	fmt.Fprintf(p.out, "\r%-*s", p.drawn, line)
	p.drawn = len(line)
}

// clear takes the line from the terminal.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn > 0 {
		fmt.Fprintf(p.out, "\r%*s\r", p.drawn, "")
	}
}
