package delegate

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/config"
)

const (
	// ciliumPace is how far apart changes of a Service have to be for Cilium's agents: they collect them for half a second, and then take some
	// tenths of one.
	ciliumPace = time.Second
	// ciliumHears is how long its agents take for an advertisement.
	ciliumHears = 400 * time.Millisecond
	// leaveWithin is for how long the label of a pool that is gone stays in the advertisements for Services that have it yet.
	leaveWithin = 10 * time.Second
)

var _ assign.Pacer = (*Task)(nil)

// Pace returns how far apart two changes of a Service have to be for those who advertise to tell them apart; 0: they always can.
func (t *Task) Pace() time.Duration {
	t.mu.Lock()
	s, choice, resolved := t.snapshot, t.choice, t.resolved
	t.mu.Unlock()
	if s == nil || !resolved || !slices.Contains(t.used(s, choice), Cilium) {
		return 0
	}
	return ciliumPace
}

// InForce reports whether Cilium has heard of what is to be done with the addresses of pools.
func (t *Task) InForce(pools []string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.ContainsFunc(pools, func(name string) bool {
		since, listed := t.listed[name]
		return !listed || time.Since(since) < ciliumHears
	})
}

// listed is since when pools are in what a backend has written.
type listed map[string]time.Time

func (l listed) heard(o *backends.Outcome, now time.Time) {
	maps.DeleteFunc(l, func(name string, _ time.Time) bool { _, still := o.Pools[name]; return !still })
	for name := range o.Pools {
		if _, known := l[name]; !known {
			l[name] = now
		}
	}
}

// leaving is which pools are gone whose label Services have yet, or agents may believe so. Cilium goes by the label, and the pool that takes the
// addresses over may be on its way (assign.LeaveGrace).
type leaving struct {
	was   *config.Snapshot // the last one
	pools map[string]left
}

// left is since when a pool is gone, and when a Service was last seen with its label.
type left struct{ since, last time.Time }

// hold returns these pools, sorted, as far as they are to stay in advertisements.
func (l *leaving) hold(s *config.Snapshot, services []backends.Service, now time.Time) []string {
	if l.pools == nil {
		l.pools = map[string]left{}
	}
	note := func(name string) {
		if s.Pool(name) == nil {
			e, known := l.pools[name]
			if e.last = now; !known {
				e.since = now
			}
			l.pools[name] = e
		}
	}
	if l.was != nil {
		for _, p := range l.was.Pools() {
			note(p.Name)
		}
	}
	l.was = s
	for i := range services {
		for name := range strings.SplitSeq(services[i].Pool, ",") {
			note(name)
		}
	}
	var out []string
	for name, e := range l.pools {
		switch {
		case s.Pool(name) != nil, now.Sub(e.last) >= ciliumPace:
			delete(l.pools, name)
		case now.Sub(e.since) < leaveWithin:
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
