package cni

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/integration/testbed/routing"
)

// every is how often the routers are looked at.
const every = 100 * time.Millisecond

// watcher looks at routers all the time, and keeps what they had since it was last reset.
type watcher struct {
	routers map[string]*router
	stop    chan struct{}
	done    chan struct{}

	mu      sync.Mutex // protects the following
	samples []sample
	came    chan struct{} // closed with the next sample
	err     error
}

type router struct {
	name     string
	listener *routing.Listener
	nodeOf   func(addr string) string
}

// sample is what the routers had at a time.
type sample struct {
	at   time.Time
	seen []sight
}

func watch(routers map[string]*router) *watcher {
	w := &watcher{routers: routers, stop: make(chan struct{}), done: make(chan struct{}), came: make(chan struct{})}
	go w.run()
	return w
}

func (w *watcher) close() {
	close(w.stop)
	<-w.done
}

func (w *watcher) run() {
	defer close(w.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		s := sample{at: time.Now()}
		var err error
		for _, r := range w.routers {
			var table []routing.Heard
			if table, err = r.listener.Table(); err != nil {
				err = fmt.Errorf("router %s: %w", r.name, err)
				break
			}
			for _, h := range table {
				s.seen = append(s.seen, sight{router: r.name, node: r.nodeOf(h.From.String()), prefix: h.Prefix, pref: h.LocalPref, communities: named(h.Communities)})
			}
		}
		w.mu.Lock()
		if w.err = err; err == nil {
			w.samples = append(w.samples, s)
		}
		close(w.came)
		w.came = make(chan struct{})
		w.mu.Unlock()
		if err != nil {
			return
		}
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
	}
}

// named returns communities by the names that RFCs give them, which FRR prints in a way of its own.
func named(all []string) []string {
	out := slices.Clone(all)
	for i, c := range out {
		switch c {
		case "noExport":
			out[i] = "no-export"
		case "noAdvertise":
			out[i] = "no-advertise"
		case "localAs":
			out[i] = "local-as"
		case "gracefulShutdown":
			out[i] = "graceful-shutdown"
		}
	}
	return out
}

// reset forgets all samples but the last one.
func (w *watcher) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.samples); n > 0 {
		w.samples = slices.Clone(w.samples[n-1:])
	}
}

// read returns the samples since the last reset, and what is closed with the next one.
func (w *watcher) read() ([]sample, <-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.samples), w.came, w.err
}

// fault is a route that was there while it was not meant to be, or the other way round.
type fault struct {
	route       string
	first, last time.Time
}

// judge returns what was wrong in samples of a time in which before became after: as lines, in a fixed order.
func judge(samples []sample, start time.Time, before, after Routes, also map[string]bool) []string {
	targets := targetsOf(before, after)
	for to := range also {
		targets[to] = true
	}
	may, must := before.and(after), before.bare().inBoth(after.bare())
	faults := map[string]*fault{}
	note := func(what string, r Route, at time.Time) {
		key := what + r.String()
		if f := faults[key]; f != nil {
			f.last = at
			return
		}
		faults[key] = &fault{route: key, first: at, last: at}
	}
	for _, s := range samples {
		has := reduce(s.seen, targets)
		for r := range has.without(may) {
			note("heard and not meant: ", r, s.at)
		}
		for r := range must.without(reachable(s.seen, targets).bare()) {
			note("meant and not heard: ", r, s.at)
		}
	}
	var out []string
	for _, f := range faults {
		out = append(out, fmt.Sprintf("%s (%.1f s, from %.1f s after the change)", f.route, (f.last.Sub(f.first)+every).Seconds(), f.first.Sub(start).Seconds()))
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
