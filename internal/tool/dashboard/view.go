package dashboard

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/live"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// view is what is known of a cluster at one moment. What is told of it is worked out when it is first asked for.
type view struct {
	version uint64
	// model is nil if problem says why nothing is known.
	model   *survey.Model
	problem error
	sets    []appsv1.DaemonSet
	gaps    []string
	// lost is since when the API server does not answer, and why; the zero time: it answers.
	lost time.Time
	why  error
	// takeovers are the latest first.
	takeovers []Takeover

	mu    *sync.Mutex // protects pages, and what the model works out; views of one model share it
	pages map[string]*rendered
}

// page returns a page that has been made; nil: it has not.
func (v *view) page(key string) *rendered {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pages[key]
}

// watcher makes a new view when something has changed, and tells all who wait for one.
type watcher struct {
	cluster   *live.Cluster
	namespace string
	patience  time.Duration // 0: for ever
	now       func() time.Time
	history   history
	latest    atomic.Pointer[view]

	mu   sync.Mutex // protects next
	next chan struct{}
}

func newWatcher(o *Options) *watcher {
	w := &watcher{cluster: o.Cluster, namespace: o.Namespace, patience: o.Patience, now: o.Now, next: make(chan struct{})}
	w.history.begun = o.Now()
	w.latest.Store(&view{problem: errReading, mu: &sync.Mutex{}, pages: map[string]*rendered{}})
	return w
}

const (
	// calm is how long the next view waits at least, so that many changes become one.
	calm = 100 * time.Millisecond
	// share is how many times as long as the last view took the next one waits, so that a large cluster leaves time for everything else.
	share = 3
	// again is how soon is read again what the API server has not told.
	again = 2 * time.Second
)

// run makes views until ctx ends.
func (w *watcher) run(ctx context.Context) {
	expires := time.NewTimer(time.Hour)
	defer expires.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.cluster.Changed():
		case <-expires.C:
		}
		begun := time.Now()
		v := w.look(ctx)
		if ctx.Err() != nil {
			return
		}
		w.publish(v)
		switch {
		case v.why != nil:
			expires.Reset(again)
		case v.model != nil:
			if at := v.model.Expires(); !at.IsZero() {
				expires.Reset(at.Sub(w.now()) + time.Second)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(calm, share*time.Since(begun))):
		}
	}
}

// look makes a view of what has been heard, and of what allocators are asked, which is read. If that cannot be read, it is as it was.
func (w *watcher) look(ctx context.Context) *view {
	last := w.latest.Load()
	v := &view{version: last.version + 1, mu: &sync.Mutex{}, pages: map[string]*rendered{}}
	v.lost, v.why = w.cluster.Lost()
	if !w.cluster.Complete() {
		v.problem = errReading
		return v
	}
	reading, cancel := cli.Within(ctx, w.patience)
	defer cancel()
	s, err := survey.ReadAt(reading, w.cluster, w.namespace, w.now())
	if err != nil && last.model != nil {
		v.model, v.sets, v.gaps, v.takeovers, v.mu = last.model, last.sets, last.gaps, last.takeovers, last.mu
		if v.why == nil {
			v.lost, v.why = cmp.Or(last.lost, w.now()), err
		}
		return v
	}
	if err == nil {
		err = s.Installed()
	}
	if err == nil {
		v.model, err = s.Model()
	}
	if err != nil {
		v.model, v.problem = nil, err
		return v
	}
	var sets appsv1.DaemonSetList
	if err := w.cluster.List(ctx, &sets); err != nil {
		v.model.Gaps = append(v.model.Gaps, survey.GapOf("DaemonSets", err))
	}
	v.sets = sets.Items
	var events corev1.EventList
	if err := w.cluster.List(ctx, &events); err != nil {
		v.model.Gaps = append(v.model.Gaps, survey.GapOf("Events", err))
	}
	for _, g := range v.model.Gaps {
		v.gaps = append(v.gaps, g.String())
	}
	v.takeovers = w.history.note(v.model.L2, events.Items, w.now())
	return v
}

// publish makes a view the latest.
func (w *watcher) publish(v *view) {
	w.latest.Store(v)
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.next)
	w.next = make(chan struct{})
}

// changed is closed when there is another view than the latest.
func (w *watcher) changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}
