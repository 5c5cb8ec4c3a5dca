package delegate

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/announce"
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

// InForce reports whether Cilium has heard of what is to be done with the addresses of pools, as it is to be done now.
func (t *Task) InForce(pools []string) bool {
	known, current := t.goesBy(pools)
	return known && current
}

// Outdated reports whether Cilium may go by what was to be done with the addresses of pools before.
func (t *Task) Outdated(pools []string) bool {
	known, current := t.goesBy(pools)
	return known && !current
}

// goesBy reports whether Cilium may know all of these pools, and whether what it has heard is how they are to be advertised now.
func (t *Task) goesBy(pools []string) (known, current bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.snapshot == nil {
		return false, false
	}
	want := t.wanted.of(t.snapshot, t.choice)
	now := time.Now()
	known, current = true, true
	for _, name := range pools {
		e, listed := t.listed[name]
		known = known && listed && (e.gone.IsZero() || now.Sub(e.gone) < ciliumHears)
		same := want.held[name] || reflect.DeepEqual(e.how, want.ways[name])
		current = current && e.gone.IsZero() && now.Sub(e.since) >= ciliumHears && same
	}
	return known, current
}

// ways is how pools are to be advertised, by their names: the advertisements that have them, without other pools.
type ways map[string]way

type way struct {
	bgp    []backends.BGPAdvertisement
	layer2 []backends.L2Advertisement
}

func waysOf(d *backends.Desired) ways {
	out := ways{}
	for _, a := range d.BGPAdvertisements {
		for _, p := range a.Pools {
			w := out[p.Name]
			a.Pools = nil
			w.bgp = append(w.bgp, a)
			out[p.Name] = w
		}
	}
	for _, a := range d.L2Advertisements {
		for _, p := range a.Pools {
			w := out[p.Name]
			a.Pools = nil
			w.layer2 = append(w.layer2, a)
			out[p.Name] = w
		}
	}
	return out
}

// wantedWays is what a configuration asks of Cilium; it is worked out once for each.
type wantedWays struct {
	snapshot *config.Snapshot
	choice   announce.Choice
	ways     ways
	held     map[string]bool // pools that stay as they are, whatever they are
}

func (w *wantedWays) of(s *config.Snapshot, choice announce.Choice) *wantedWays {
	if w.snapshot != s || w.choice != choice {
		share := announce.Delegated(announce.Input{Snapshot: s, Choice: choice})[Cilium]
		*w = wantedWays{snapshot: s, choice: choice, ways: waysOf(&share.Desired), held: map[string]bool{}}
		for _, name := range share.Desired.Hold {
			w.held[name] = true
		}
	}
	return w
}

// listed is how pools are advertised by what a backend has written, and since when.
type listed map[string]advertised

type advertised struct {
	since, gone time.Time // gone is zero while the pool is advertised
	how         way
}

// heard takes what came of a try to have want written. A pool that is on hold stays as it was.
func (l listed) heard(want *backends.Desired, o *backends.Outcome, now time.Time) {
	for name, was := range l {
		switch _, still := o.Pools[name]; {
		case still:
		case was.gone.IsZero():
			was.gone = now
			l[name] = was
		case now.Sub(was.gone) >= ciliumHears:
			delete(l, name)
		}
	}
	asked := waysOf(want)
	for name := range o.Pools {
		how, wanted := asked[name]
		was, known := l[name]
		if !known || !was.gone.IsZero() || wanted && !reflect.DeepEqual(was.how, how) {
			l[name] = advertised{since: now, how: how}
		}
	}
}

// leaving is which pools are gone whose label Services have yet, or agents may believe so. Cilium goes by the label, and the pool that
// takes the addresses over may be on its way.
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
