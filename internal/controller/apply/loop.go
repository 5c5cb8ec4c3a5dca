// Package apply is the loop around a backend: it hands each new desired set to the backend, tries again after a failure, looks
// at intervals whether the world has drifted, and keeps the backend's Backend object true. A Group of loops moves what is announced
// from one backend to another without a gap.
package apply

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/wake"
)

const (
	// coalesce is how long a change waits for others to come along.
	coalesce = 50 * time.Millisecond
	// resync is how often the backend looks whether what it wrote is still there. It reads; it writes only what is missing.
	resync = time.Minute
	// progress is how soon it goes on where one Apply could not do everything.
	progress = 2 * time.Second
	// A try that fails is followed by another one after firstRetry, after twice as long each time, and at least every lastRetry.
	firstRetry, lastRetry = time.Second, time.Minute
)

// Reporter keeps the public state of a backend.
type Reporter interface {
	// Report is told how each try went; outcome is nil if the CNI was not reached.
	Report(ctx context.Context, serves []string, outcome *backends.Outcome, err error) error
	// Forget is called instead when nothing is wanted any more, and nothing is left.
	Forget(ctx context.Context) error
	// Waits is told instead why the backend goes on with what it is to let go of; goesOn is false if it has nothing to go on with.
	Waits(ctx context.Context, message string) (goesOn bool, err error)
}

// Result is how the last try of a loop went.
type Result struct {
	Backend string
	// Want is what it was to come to; it must not be changed.
	Want backends.Desired
	// Outcome is what it came to; nil if the CNI was not reached.
	Outcome *backends.Outcome
	Err     error
}

// Loop drives one backend towards the newest desired set.
type Loop struct {
	Name     string
	Backend  backends.ClusterBackend
	Reporter Reporter
	Log      *slog.Logger
	// Heard says what is known of an advertisement by BGP that the backend has been told of, as part of what is wanted; nil: to be told is
	// all there is.
	Heard func(a *backends.BGPAdvertisement, want *backends.Desired) Hearing
	// Changed is told of each try; it may be nil.
	Changed func(Result)

	changed wake.Signal

	mu      sync.Mutex // protects all the following
	target  target
	outcome *backends.Outcome             // of the attempt that is under way
	last    *backends.Outcome             // of the last attempt that reached its target
	inPlace map[backends.Source]bool      // advertisements that the backend may have written something for
	since   map[backends.Source]time.Time // since when it has written all of them that it could
	waiting lack                          // what the newest target was last said to wait for
	goesOn  bool                          // it has something to go on with until then
	begun   uint64                        // the target that the last attempt found ready; 0: it did not
	done    uint64                        // the newest target that was reached
}

// target is what a loop is to achieve.
type target struct {
	number uint64 // 0: not known yet
	want   backends.Desired
	serves []string
	// waits says what has to be done before; nil means it is not waited for anything.
	waits func() lack
}

// NewLoop returns a Loop; it starts nothing.
func NewLoop(name string, b backends.ClusterBackend, r Reporter, log *slog.Logger) *Loop {
	return &Loop{Name: name, Backend: b, Reporter: r, Log: log, changed: wake.New(), inPlace: map[backends.Source]bool{}}
}

// Observe takes what the backend reports of an Apply; it is the Report function of its Config.
func (l *Loop) Observe(o backends.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcome = &o
}

func (l *Loop) wake() { l.changed.Set() }

// notYet is why somebody lacks something who has not been heard of.
const notYet = "it has not written everything yet"

// lacks returns why the newest target was not achieved, or why something of what these advertisements ask for is not advertised although it
// was, or is not known to be heard.
func (l *Loop) lacks(what map[backends.Source]bool) lack {
	l.mu.Lock()
	want, since := l.target.want, l.since
	why := l.lacksLocked(what)
	l.mu.Unlock()
	if why != "" || l.Heard == nil {
		return lack{why: why}
	}
	var unproven lack
	for i := range want.BGPAdvertisements {
		a := &want.BGPAdvertisements[i]
		if !what[a.Source] {
			continue
		}
		w := l.Heard(a, &want).lack(a.Source, since[a.Source], time.Now())
		if w.open() {
			return w
		}
		if w.why != "" {
			unproven = w
		}
	}
	return unproven
}

func (l *Loop) lacksLocked(what map[backends.Source]bool) string {
	if l.target.number == 0 || l.done != l.target.number {
		return notYet
	}
	if l.last == nil {
		return ""
	}
	for _, a := range l.target.want.BGPAdvertisements {
		if why := l.last.Silent(a.Source, a.Pools); what[a.Source] && why != "" {
			return why
		}
	}
	for _, a := range l.target.want.L2Advertisements {
		if why := l.last.Silent(a.Source, a.Pools); what[a.Source] && why != "" {
			return why
		}
	}
	return ""
}

// held reports whether the backend has to go on with what another one is to have, and tells, once, why, or why it does not any more. again
// is when to look again, 0 for not before there is news.
func (l *Loop) held(ctx context.Context, w lack) (held bool, again time.Duration, err error) {
	again, w.again = w.again, 0
	l.mu.Lock()
	told, goesOn := l.waiting == w, l.goesOn
	l.waiting = w
	l.mu.Unlock()
	switch {
	case !w.open():
		if !told && goesOn && w.why != "" {
			l.Log.Warn("lets go of what another backend was told and is not known to be heard for", "backend", l.Name, "toldOf", w.other, "because",
				w.why)
		}
		return false, 0, nil
	case w.why == notYet:
		return true, again, nil
	}
	goesOn, err = l.Reporter.Waits(ctx, w.other+": "+w.why)
	l.mu.Lock()
	l.goesOn = goesOn || err != nil
	l.mu.Unlock()
	if !told && goesOn {
		l.Log.Info("goes on advertising until another backend does", "backend", l.Name, "waitsFor", w.other, "because", w.why)
	}
	return true, again, err
}

// wakeIfWaiting wakes the loop if its newest target waits for others. One that was begun does not any more.
func (l *Loop) wakeIfWaiting() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.target.waits != nil && l.begun != l.target.number {
		l.wake()
	}
}

// Run serves until ctx ends. It withdraws nothing.
func (l *Loop) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.Backend.Run(ctx) })
	g.Go(func() error {
		wake.Loop{News: l.changed, Gather: coalesce, First: firstRetry, Last: lastRetry}.Run(ctx, l.try)
		return nil
	})
	return g.Wait()
}

// try applies the newest target. It returns after which time to look again, 0 for not before there is news. What fails has been logged.
func (l *Loop) try(ctx context.Context) (after time.Duration, err error) {
	l.mu.Lock()
	t := l.target
	l.begun = 0
	l.mu.Unlock()
	if t.number == 0 {
		return 0, nil
	}
	if t.waits != nil {
		held, again, err := l.held(ctx, t.waits())
		if err != nil && ctx.Err() == nil {
			l.Log.Error("backend state not written", "backend", l.Name, "err", err)
		}
		if held {
			return again, err
		}
	}
	l.mu.Lock()
	l.outcome, l.begun = nil, t.number
	if l.target.number == t.number {
		l.changed.Clear() // others may have said that they are ready since we asked them
	}
	l.mu.Unlock()
	err = l.Backend.Apply(ctx, t.want)
	if ctx.Err() != nil {
		return 0, nil
	}
	l.mu.Lock()
	l.outcome = withPeers(l.outcome, t.want.Peers)
	outcome := l.outcome
	l.mu.Unlock()
	idle := t.want.IsEmpty()
	if idle && errors.Is(err, ErrTaken) {
		err = nil // what there is belongs to another installation
	}
	unfinished := errors.Is(err, backends.ErrInProgress)
	failed := withoutProgress(err)
	if failed != nil {
		l.Log.Error("backend could not apply everything", "backend", l.Name, "err", message(failed))
	}
	var reportErr error
	if idle && err == nil {
		reportErr = l.Reporter.Forget(ctx)
	} else {
		reportErr = l.Reporter.Report(ctx, t.serves, outcome, failed)
	}
	if reportErr != nil && ctx.Err() == nil {
		l.Log.Error("backend state not written", "backend", l.Name, "err", reportErr)
	}
	l.mu.Lock()
	if err == nil {
		l.done, l.last, l.inPlace = t.number, outcome, sources(t.want)
		l.since = sinceThen(l.since, l.inPlace, time.Now())
	} else {
		maps.Copy(l.inPlace, sources(t.want))
	}
	l.mu.Unlock()
	if l.Changed != nil {
		l.Changed(Result{l.Name, t.want, outcome, failed})
	}
	switch {
	case failed != nil || reportErr != nil:
		return 0, errors.Join(failed, reportErr)
	case unfinished:
		return progress, nil
	case idle:
		return 0, nil
	}
	return resync, nil
}

// withPeers adds to what a backend reports which peers it could not be asked for.
func withPeers(o *backends.Outcome, peers []backends.Peer) *backends.Outcome {
	if o == nil {
		return nil
	}
	out := *o
	out.Findings = slices.Clone(o.Findings)
	for _, p := range peers {
		if p.Unready != "" {
			out.Findings = append(out.Findings, backends.Finding{
				Type: backends.PeerNotReady, Object: p.Source, Field: "spec.passwordSecret", Message: p.Unready +
					"; a session that there is stays as it is",
			})
		}
	}
	return &out
}

// withoutProgress returns err without what is no failure.
func withoutProgress(err error) error {
	if err == nil {
		return nil
	}
	var rest []error
	for _, e := range backends.Flatten(err) {
		if !errors.Is(e, backends.ErrInProgress) {
			rest = append(rest, e)
		}
	}
	return errors.Join(rest...)
}
