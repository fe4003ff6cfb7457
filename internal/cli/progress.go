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

// progress shows on stderr how far a long push has come.
type progress struct {
	total int
	stop  func() // clears the line

	mu          sync.Mutex
	out         io.Writer
	redraw      bool
	began       time.Time
	pushed, now int // sent, and answered with a proof
	drawn       int // length of the line on the terminal
}

// progress begins to show how far a push of accounts has come, until stop.
func (a *app) progress(accounts int) *progress {
	p := &progress{total: accounts, out: a.env.Stderr, redraw: a.env.Progress, began: time.Now()}
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

// sent counts accounts that were sent.
func (p *progress) sent(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushed += n
}

// proven counts accounts of which a proof has come.
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
		fmt.Fprintf(p.out, "nsc: %d of %d accounts pushed, %d proven, %.0f/s\n", p.pushed, p.total, p.now, rate)
		return
	}
	full := progressWidth * p.now / max(p.total, 1)
	line := fmt.Sprintf("[%s%s] %d of %d proven, %.0f/s", strings.Repeat("#", full), strings.Repeat(" ", progressWidth-full), p.now, p.total, rate)
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
