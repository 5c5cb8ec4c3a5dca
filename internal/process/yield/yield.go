// Package yield has requests to the API server that may wait give way to everybody's: what a process reports must not hold up what it reports
// on.
//
// A Pacer does with requests what LEDBAT (RFC 6817) does with packets of transfers in the background. From how much longer a request takes
// than the quickest of the last minutes it learns that others wait at the API server, too. Up to a target it makes more at a time, above it
// fewer, down to one now and then. So it takes what others leave, however many processes do the same, and nobody has to say who is busy.
//
// What a process has to tell itself has ranks: of what waits for its turn, the higher rank goes first.
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
	// most is how many jobs are under way at most, and the largest window.
	most = 16
	// least is the smallest window: from there it takes few quick requests to be back.
	least = 1.0 / 16
	// minutes is for how many the quickest request is remembered, the BASE_HISTORY of RFC 6817.
	minutes = 10
)

// Rank says which jobs of a process go first.
type Rank int

// The ranks, the highest first.
const (
	Status Rank = iota // what is so now, in the status of an object
	Event              // what happened
	ranks
)

// turn is how many jobs begin before one of a lower rank does although higher ones wait: it goes on, too.
const turn = 16

// Pacer paces the jobs of a process, of one or a few requests each. Nil paces nothing.
type Pacer struct {
	mu      sync.Mutex // protects all the following
	window  float64    // how many jobs may be under way; less than 1: one, with pauses
	busy    int
	next    time.Time     // before which no job begins
	waiting [ranks]int    // for their turn
	ahead   int           // jobs that began while one of a lower rank waited, since one did
	changed chan struct{} // closed when it may be another's turn
	history [ranks][minutes]quickest
}

// quickest is the request of a minute that took least.
type quickest struct {
	minute int64
	took   time.Duration
}

// New returns the Pacer of a process. Until it has learned better, it takes the API server to be idle.
func New() *Pacer {
	return &Pacer{window: most, changed: make(chan struct{})}
}

// Begin waits until a job may begin, and returns what is to be called when it has ended; an error only if ctx ends before.
func (p *Pacer) Begin(ctx context.Context, rank Rank) (end func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	p.mu.Lock()
	p.waiting[rank]++
	for {
		wait := time.Until(p.next)
		if wait <= 0 && float64(p.busy) < max(1, p.window) && p.isTurnLocked(rank) {
			break
		}
		changed := p.changed
		p.mu.Unlock()
		var pausing <-chan time.Time
		if wait > 0 {
			pausing = time.After(wait)
		}
		select {
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			p.waiting[rank]--
			p.changeLocked()
			return nil, ctx.Err()
		case <-changed:
		case <-pausing:
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	p.waiting[rank]--
	p.busy++
	if sum(p.waiting[:rank]) == 0 && sum(p.waiting[rank+1:]) > 0 {
		p.ahead++
	} else {
		p.ahead = 0
	}
	p.changeLocked()
	began := time.Now()
	return func() { p.end(began) }, nil
}

// isTurnLocked reports whether none of another rank that waits is to begin first.
func (p *Pacer) isTurnLocked(rank Rank) bool {
	if p.ahead < turn {
		return sum(p.waiting[:rank]) == 0
	}
	return sum(p.waiting[rank+1:]) == 0
}

func sum(of []int) (out int) {
	for _, n := range of {
		out += n
	}
	return out
}

// changeLocked has those who wait look whether it is their turn.
func (p *Pacer) changeLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Pacer) end(began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	if took := time.Since(began); p.window < 1 {
		p.next = began.Add(max(took, min(pause, time.Duration(float64(took)/p.window))))
	}
	p.changeLocked()
}

// Took tells how long a request of a job has taken.
func (p *Pacer) Took(rank Rank, d time.Duration) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	base := quickestOf(&p.history[rank], d)
	target := max(targetDelay, targetFactor*base)
	switch off := float64(target-(d-base)) / float64(target); {
	case off >= 0: // by at most one job for each window of requests, or twice as many
		p.window += min(p.window, off/p.window)
	default: // by at most half for each window of requests
		p.window *= 1 - min(1, -off)/2/max(1, p.window)
	}
	p.window = min(max(p.window, least), most)
}

// quickestOf returns how long the quickest request of a history has taken, to which it adds d.
func quickestOf(history *[minutes]quickest, d time.Duration) time.Duration {
	now := time.Now().Unix() / 60
	this := &history[now%minutes]
	if this.minute != now || d < this.took {
		*this = quickest{now, d}
	}
	out := d
	for _, q := range history {
		if now-q.minute < minutes {
			out = min(out, q.took)
		}
	}
	return out
}
