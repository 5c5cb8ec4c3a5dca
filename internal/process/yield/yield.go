// Package yield has requests to the API server that may wait give way to everybody's: what a process reports must not hold up what it reports
// on.
//
// A Pacer does with requests what LEDBAT (RFC 6817) does with packets of transfers in the background. From how much longer a request takes
// than the quickest of the last minutes it learns that others wait at the API server, too. Up to a target it makes more at a time, above it
// fewer, down to one now and then. So it takes what others leave, however many processes do the same, and nobody has to say who is busy.
package yield

import (
	"context"
	"sync"
	"time"
)

const (
	// A request may take longer than the quickest by targetDelay, or by targetFactor times as long as that one.
	targetDelay  = 5 * time.Millisecond
	targetFactor = 2
	// pause is how long there is nothing at most, however busy the API server is: a report is late, not lost.
	pause = 100 * time.Millisecond
	// least is the smallest window: from there it takes few quick requests to be back.
	least = 1.0 / 16
	// minutes is for how many the quickest request is remembered, the BASE_HISTORY of RFC 6817.
	minutes = 10
)

// Pacer paces jobs of one or a few requests, all of one kind. Nil paces nothing.
type Pacer struct {
	most float64

	mu      sync.Mutex // protects all the following
	window  float64    // how many jobs may be under way; less than 1: one, with pauses
	busy    int
	next    time.Time     // before which no job begins
	ended   chan struct{} // closed when one ends
	history [minutes]quickest
}

// quickest is the request of a minute that took least.
type quickest struct {
	minute int64
	took   time.Duration
}

// New returns a Pacer for at most so many jobs at a time. Until it has learned better, it takes the API server to be idle.
func New(most int) *Pacer {
	return &Pacer{most: float64(most), window: float64(most), ended: make(chan struct{})}
}

// Begin waits until a job may begin, and returns what is to be called when it has ended; an error only if ctx ends before.
func (p *Pacer) Begin(ctx context.Context) (end func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	for {
		p.mu.Lock()
		wait := time.Until(p.next)
		if wait <= 0 && float64(p.busy) < max(1, p.window) {
			p.busy++
			began := time.Now()
			p.mu.Unlock()
			return func() { p.end(began) }, nil
		}
		ended := p.ended
		p.mu.Unlock()
		var pausing <-chan time.Time
		if wait > 0 {
			pausing = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ended:
		case <-pausing:
		}
	}
}

func (p *Pacer) end(began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	if took := time.Since(began); p.window < 1 {
		p.next = began.Add(max(took, min(pause, time.Duration(float64(took)/p.window))))
	}
	close(p.ended)
	p.ended = make(chan struct{})
}

// Took tells how long a request of a job has taken.
func (p *Pacer) Took(d time.Duration) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	base := p.baseLocked(d)
	target := max(targetDelay, targetFactor*base)
	switch off := float64(target-(d-base)) / float64(target); {
	case off >= 0: // by at most one job for each window of requests, or twice as many
		p.window += min(p.window, off/p.window)
	default: // by at most half for each window of requests
		p.window *= 1 - min(1, -off)/2/max(1, p.window)
	}
	p.window = min(max(p.window, least), p.most)
}

// baseLocked returns how long the quickest request has taken, d included.
func (p *Pacer) baseLocked(d time.Duration) time.Duration {
	now := time.Now().Unix() / 60
	this := &p.history[now%minutes]
	if this.minute != now || d < this.took {
		*this = quickest{now, d}
	}
	out := d
	for _, q := range p.history {
		if now-q.minute < minutes {
			out = min(out, q.took)
		}
	}
	return out
}
