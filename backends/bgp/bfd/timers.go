package bfd

import (
	"container/heap"
	"context"
	"time"
)

// timers is a heap of sessions by when each is due. The time may be too early, never too late: a detection time that every packet
// moves on is only looked at when it would have passed.
type timers []*session

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = i, j
}

// Push is heap.Interface's.
func (t *timers) Push(x any) {
	s := x.(*session)
	s.place = len(*t)
	*t = append(*t, s)
}

// Pop is heap.Interface's.
func (t *timers) Pop() any {
	old := *t
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	s.place = -1
	return s
}

// timeLocked puts a session among the timers. With exactly, also if it is due later than it was.
func (s *Server) timeLocked(x *session, exactly bool) {
	next := x.next()
	switch {
	case next.IsZero():
		if x.place >= 0 && exactly {
			heap.Remove(&s.timers, x.place)
		}
		return
	case x.place < 0:
		x.due = next
		heap.Push(&s.timers, x)
	case exactly || next.Before(x.due):
		x.due = next
		heap.Fix(&s.timers, x.place)
	}
	if s.timers[0] == x {
		select {
		case s.sooner <- struct{}{}:
		default:
		}
	}
}

// tick does what is due until ctx ends.
func (s *Server) tick(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		s.mu.Lock()
		wait := time.Hour
		for len(s.timers) > 0 {
			now := time.Now()
			x := s.timers[0]
			if wait = x.due.Sub(now); wait > 0 {
				break
			}
			s.dueLocked(now, x)
			if s.byDiscriminator[x.machine.local] == x { // it has not gone
				s.timeLocked(x, true)
			}
			wait = time.Hour
		}
		s.unlock()
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.sooner:
		case <-ctx.Done():
		}
	}
}

func (s *Server) removeTimerLocked(x *session) { heap.Remove(&s.timers, x.place) }
