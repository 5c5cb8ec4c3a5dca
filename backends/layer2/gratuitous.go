package layer2

import (
	"container/heap"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// series is when, after a takeover, an address is announced unasked: often at first, because the first frames can be lost while a
// switch relearns, and once more when slow links have settled.
var series = []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

const (
	// burst is how many frames are sent before a pause; many addresses must neither fill queues nor delay answers.
	burst = 20
	pause = time.Millisecond
	// defendAfter is how long a claim of somebody else is left unanswered. In a planned hand-over the successor announces while
	// this node still holds the address: it withdraws within that time, and must not take the neighbours back before.
	defendAfter = time.Second
	// defendEvery is how often at most an address is defended (DEFEND_INTERVAL in RFC 5227 section 1.1).
	defendEvery = 10 * time.Second
)

// place is an address on a link.
type place struct {
	link int // index
	addr netip.Addr
}

// job is the series of an address on a link.
type job struct {
	place
	begun    time.Time // when the series began
	step     int       // what is sent next; len(series) if it is over
	due      time.Time
	at       int // in the queue; -1 if nothing is due
	defended time.Time
}

// scheduler sends unsolicited announcements when they are due. It rests when none is.
type scheduler struct {
	interval time.Duration // of repetitions after the series; 0: none
	// send announces once and returns how many frames that took; errBusy if it has to be done again. It must not wait.
	send func(place) (frames int, err error)
	sent func(addr netip.Addr, frames int) // told afterwards, without a lock held
	wake chan struct{}

	mu    sync.Mutex // protects all the following
	jobs  map[place]*job
	queue queue
	began time.Time // when the burst began that is under way
	spent int       // how many frames of it have been sent
}

func newScheduler(interval time.Duration, send func(place) (int, error), sent func(netip.Addr, int)) *scheduler {
	return &scheduler{interval: interval, send: send, sent: sent, wake: make(chan struct{}, 1), jobs: map[place]*job{}}
}

// start begins the series of an address on a link, anew if it has begun.
func (s *scheduler) start(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.jobs[p]
	if !ok {
		j = &job{place: p, at: -1}
		s.jobs[p] = j
	}
	s.restartLocked(j, 0)
}

// stop ends it. When stop returns, no frame of it is sent any more.
func (s *scheduler) stop(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.jobs[p]
	if !ok {
		return
	}
	delete(s.jobs, p)
	if j.at >= 0 {
		heap.Remove(&s.queue, j.at)
	}
}

// repeat begins the series of addrs anew, or every series if there are none.
func (s *scheduler) repeat(addrs []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, j := range s.jobs {
		if len(addrs) == 0 || slices.Contains(addrs, p.addr) {
			s.restartLocked(j, 0)
		}
	}
}

// defend begins a series soon because somebody else claims the address on the link. A series that is under way goes on as it is.
func (s *scheduler) defend(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.jobs[p]
	if now := time.Now(); ok && j.step >= len(series) && (j.defended.IsZero() || now.Sub(j.defended) >= defendEvery) {
		j.defended = now
		s.restartLocked(j, defendAfter)
	}
}

func (s *scheduler) restartLocked(j *job, after time.Duration) {
	j.step, j.begun = 0, time.Now().Add(after)
	s.enqueueLocked(j, j.begun)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *scheduler) enqueueLocked(j *job, due time.Time) {
	j.due = due
	if j.at >= 0 {
		heap.Fix(&s.queue, j.at)
	} else {
		heap.Push(&s.queue, j)
	}
}

// run sends until ctx ends.
func (s *scheduler) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := s.turn()
		timer.Reset(next.wait)
		expired, wake := timer.C, s.wake
		switch {
		case next.idle:
			expired = nil
		case next.pausing:
			wake = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-expired:
		case <-wake:
		}
	}
}

// rest says what to do after a turn: wait for so long, or, if idle is set, until something begins. A pause is not cut short.
type rest struct {
	wait          time.Duration
	idle, pausing bool
}

// turn sends what is due, up to a burst.
func (s *scheduler) turn() rest {
	type done struct {
		addr   netip.Addr
		frames int
	}
	var all []done
	defer func() {
		for _, d := range all {
			s.sent(d.addr, d.frames)
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.began) >= pause {
		s.began, s.spent = now, 0
	}
	for len(s.queue) > 0 {
		j := s.queue[0]
		if wait := j.due.Sub(now); wait > 0 {
			return rest{wait: wait}
		}
		if s.spent >= burst {
			return rest{wait: pause, pausing: true}
		}
		frames, err := s.send(j.place)
		if err == errBusy {
			return rest{wait: pause, pausing: true}
		}
		s.spent += frames
		if err == nil && frames > 0 {
			all = append(all, done{j.addr, frames})
		}
		s.nextLocked(j, now)
	}
	return rest{idle: true}
}

// nextLocked puts a job where it belongs after it has sent.
func (s *scheduler) nextLocked(j *job, now time.Time) {
	if j.step < len(series) {
		j.step++
	}
	switch {
	case j.step < len(series):
		s.enqueueLocked(j, j.begun.Add(series[j.step]))
	case s.interval > 0:
		s.enqueueLocked(j, now.Add(s.interval))
	default:
		heap.Remove(&s.queue, j.at)
	}
}

// queue holds the jobs that have something to send, the earliest first.
type queue []*job

func (q queue) Len() int           { return len(q) }
func (q queue) Less(a, b int) bool { return q[a].due.Before(q[b].due) }
func (q queue) Swap(a, b int)      { q[a], q[b] = q[b], q[a]; q[a].at, q[b].at = a, b }

// Push adds a job.
func (q *queue) Push(x any) {
	j := x.(*job)
	j.at = len(*q)
	*q = append(*q, j)
}

// Pop removes the last job.
func (q *queue) Pop() any {
	old := *q
	j := old[len(old)-1]
	*q = old[:len(old)-1]
	j.at = -1
	return j
}
