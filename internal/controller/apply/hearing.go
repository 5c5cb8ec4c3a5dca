package apply

import (
	"fmt"
	"time"

	"github.com/fairlead/fairlead/backends"
)

// Hearing is what is known of whether routers hear an advertisement that a backend has been told of.
type Hearing struct {
	// Lacks says why it is not known that they do, and what would help; empty if they do, or if there is nobody who would ever say.
	Lacks string
	// Within is for how long that is waited for, from when the backend was told; 0: for as long as it takes.
	Within time.Duration
}

// lack is what a loop waits for of another one before it lets go of something. It is comparable.
type lack struct {
	other, why string        // empty: for nothing
	again      time.Duration // after which to look again; 0: not before there is news
	over       bool          // it has waited for long enough
}

// open reports whether it is waited for.
func (w lack) open() bool { return w.why != "" && !w.over }

// lack decides whether the backend that had an advertisement before goes on with it.
func (h Hearing) lack(a backends.Source, told, now time.Time) lack {
	if h.Lacks == "" {
		return lack{}
	}
	why := fmt.Sprintf("%s: %s", a, h.Lacks)
	if h.Within == 0 {
		return lack{why: why}
	}
	until := told.Add(h.Within)
	return lack{
		why: fmt.Sprintf("%s; this is waited for until %s", why, until.UTC().Format("15:04:05 UTC")), again: until.Sub(now),
		over: !now.Before(until),
	}
}

// sinceThen returns since when advertisements are in place, those of now since now unless they have been before.
func sinceThen(before map[backends.Source]time.Time, inPlace map[backends.Source]bool, now time.Time) map[backends.Source]time.Time {
	out := make(map[backends.Source]time.Time, len(inPlace))
	for s := range inPlace {
		if at, was := before[s]; was {
			out[s] = at
		} else {
			out[s] = now
		}
	}
	return out
}
