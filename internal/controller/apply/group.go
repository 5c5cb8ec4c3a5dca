package apply

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/backends"
)

// Group is the loops of all backends, in use or not. What moves from one to another is announced by the new one, and heard as far as
// anybody says so, before the old one lets go of it.
type Group struct {
	loops []*Loop

	mu     sync.Mutex // protects number
	number uint64
}

// NewGroup returns a Group of loops; each wakes the others when it has finished something.
func NewGroup(loops ...*Loop) *Group {
	g := &Group{loops: loops}
	for _, l := range loops {
		told := l.Changed
		l.Changed = func(r Result) {
			if told != nil {
				told(r)
			}
			g.Reconsider()
		}
	}
	return g
}

// Wanted is the desired set of one backend, and the kinds of advertisement that it serves.
type Wanted struct {
	Desired backends.Desired
	Serves  []string
}

// Set replaces all desired sets, by the name of the backend; one that is not named wants nothing. Until it is called for the first
// time, the loops do nothing: an unknown set is not an empty one.
func (g *Group) Set(wanted map[string]Wanted) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.number++
	// First every target is known, then somebody acts on one.
	for _, l := range g.loops {
		l.mu.Lock()
	}
	gainers := g.allGainers(wanted)
	for _, l := range g.loops {
		w := wanted[l.Name]
		if l.target.number > 0 && l.same(w) {
			// Nothing new for this one: what is in place or under way is it, and what failed is tried again when its time comes.
			l.target.want = w.Desired // with the newest Services, should they matter again
			continue
		}
		t := target{number: g.number, want: w.Desired, serves: w.Serves}
		if gain := gainers[l]; len(gain) > 0 {
			t.waits = func() lack { return g.waits(gain) }
		}
		l.target = t
		l.wake()
	}
	for _, l := range g.loops {
		l.mu.Unlock()
	}
}

// waits returns what a loop has to wait for of those that take over something of it.
func (g *Group) waits(gain map[*Loop]map[backends.Source]bool) lack {
	var unproven lack
	for _, other := range g.loops {
		taken, gains := gain[other]
		if !gains {
			continue
		}
		w := other.lacks(taken)
		w.other = other.Name
		if w.open() {
			return w
		}
		if w.why != "" {
			unproven = w
		}
	}
	return unproven
}

// Reconsider has those look again that wait for others to be heard.
func (g *Group) Reconsider() {
	for _, l := range g.loops {
		l.wakeIfWaiting()
	}
}

// Look has a backend look now whether what it wrote is still there, and what else has changed around it. One that does not know yet what is
// wanted does nothing.
func (g *Group) Look(name string) {
	for _, l := range g.loops {
		if l.Name == name {
			l.wake()
		}
	}
}

// same reports whether w differs from the target of l by nothing that matters to its backend.
func (l *Loop) same(w Wanted) bool {
	old := Wanted{l.target.want, l.target.serves}
	if l.outcome != nil && l.outcome.IgnoresServices {
		old.Desired.Services, w.Desired.Services = heeded(l.outcome, old.Desired.Services), heeded(l.outcome, w.Desired.Services)
	}
	return reflect.DeepEqual(w, old)
}

// heeded returns the Services that matter to a backend that ignores the others. Of those with externalTrafficPolicy Local it matters
// for which pools there are any: it may have to tell that their routes are not what is asked for.
func heeded(o *backends.Outcome, all []backends.Service) []backends.Service {
	var out []backends.Service
	local := map[string]bool{}
	for _, s := range all {
		if o.WholeServices && strings.Contains(s.Pool, ",") {
			out = append(out, s)
		}
		if s.Local {
			local[s.Pool] = true
		}
	}
	for _, pool := range slices.Sorted(maps.Keys(local)) {
		out = append(out, backends.Service{Pool: pool, Local: true})
	}
	return out
}

// allGainers returns the gainers of all loops. Of two that would wait for each other, the first one does not wait.
func (g *Group) allGainers(wanted map[string]Wanted) map[*Loop]map[*Loop]map[backends.Source]bool {
	out := map[*Loop]map[*Loop]map[backends.Source]bool{}
	for _, l := range g.loops {
		out[l] = g.gainers(l, wanted[l.Name].Desired, wanted)
	}
	for _, l := range g.loops {
		for other := range out[l] {
			if _, mutual := out[other][l]; mutual {
				delete(out[l], other)
			}
		}
	}
	return out
}

// gainers returns the loops that take over something which l is to let go of, and what that is. What a backend has at the start is not
// known, so one that is to be empty waits for all others.
func (g *Group) gainers(l *Loop, want backends.Desired, wanted map[string]Wanted) map[*Loop]map[backends.Source]bool {
	had := sources(l.target.want) // which may not be in place yet
	maps.Copy(had, l.inPlace)
	for s := range sources(want) {
		delete(had, s)
	}
	unknown := l.done == 0 && want.IsEmpty()
	out := map[*Loop]map[backends.Source]bool{}
	for _, other := range g.loops {
		w := wanted[other.Name].Desired
		if other == l || w.IsEmpty() {
			continue
		}
		takes := sources(w)
		maps.DeleteFunc(takes, func(s backends.Source, _ bool) bool { return !unknown && !had[s] })
		if unknown || len(takes) > 0 {
			out[other] = takes
		}
	}
	return out
}

func sources(d backends.Desired) map[backends.Source]bool {
	out := map[backends.Source]bool{}
	for i := range d.BGPAdvertisements {
		out[d.BGPAdvertisements[i].Source] = true
	}
	for i := range d.L2Advertisements {
		out[d.L2Advertisements[i].Source] = true
	}
	return out
}

// Run serves all loops until ctx ends.
func (g *Group) Run(ctx context.Context) error {
	eg, ctx := errgroup.WithContext(ctx)
	for _, l := range g.loops {
		eg.Go(func() error { return l.Run(ctx) })
	}
	return eg.Wait()
}
