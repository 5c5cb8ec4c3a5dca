// Package wake has loops told that there is news: once, however much there is, and without waiting for them.
package wake

import (
	"context"
	"time"
)

// Signal holds the word that there is news until it is taken. It is made by New.
type Signal struct{ c chan struct{} }

// New returns a Signal without news.
func New() Signal { return Signal{make(chan struct{}, 1)} }

// Set says that there is news. It does not block.
func (s Signal) Set() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// C is ready while there is news; who receives from it takes the news.
func (s Signal) C() <-chan struct{} { return s.c }

// Clear forgets that there is news, if there is any.
func (s Signal) Clear() {
	select {
	case <-s.c:
	default:
	}
}

// Loop does one thing whenever there is news, and again in time.
type Loop struct {
	News Signal
	// Gather is how long news waits for more to come along; what comes in meanwhile is looked at together with it.
	Gather time.Duration
	// Rest is how long the loop waits after each step, so that news that comes in meanwhile is looked at together.
	Rest time.Duration
	// Ease is how many times as long as a step took the loop rests after it, for at most EaseMost. While there is news all the time, steps that
	// take no longer than EaseMost/Ease are under way for one part in 1+Ease of the time; after a quiet moment no news waits for that.
	Ease     int
	EaseMost time.Duration
	// A step that fails is done again after First, after twice as long each time, and at least every Last.
	First, Last time.Duration
	// Failed is told of an error, unless the loop ends; nil: nobody is.
	Failed func(error)
}

// Run calls step until ctx ends. step returns after which time it is to be called although there is no news; 0: it is not.
func (l Loop) Run(ctx context.Context, step func(context.Context) (again time.Duration, err error)) {
	var wait time.Duration
	var timer <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.News.C():
			if !sleep(ctx, l.Gather) {
				return
			}
		case <-timer:
		}
		l.News.Clear() // what has come along is looked at now
		began := time.Now()
		again, err := step(ctx)
		rest := max(l.Rest, min(time.Duration(l.Ease)*time.Since(began), l.EaseMost))
		if err == nil {
			wait = 0
		} else {
			if l.Failed != nil && ctx.Err() == nil {
				l.Failed(err)
			}
			wait = min(max(2*wait, l.First), l.Last)
			again = Sooner(again, wait)
		}
		timer = nil
		if again > 0 {
			timer = time.After(again)
		}
		if !sleep(ctx, rest) {
			return
		}
	}
}

// sleep is false if ctx ends before the time is over.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// Until returns how long a step has to wait for a time, as a Loop takes it; 0 for the zero time.
func Until(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(time.Until(t), 1)
}

// Sooner returns the shorter of two times to wait, of which 0 is none.
func Sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
