// Package apply is the loop around a backend: it hands each new desired set to the backend, tries again after a failure, looks
// at intervals whether the world has drifted, and keeps the backend's Backend object true.
package apply

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/calico"
)

const (
	// coalesce is how long a change waits for others to come along.
	coalesce = 50 * time.Millisecond
	// resync is how often the backend looks whether what it wrote is still there. It reads; it writes only what is missing.
	resync = time.Minute
)

// retries are the pauses between tries that fail.
var retries = wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 6, Cap: time.Minute}

// Reporter is told how each try went.
type Reporter interface {
	Report(ctx context.Context, err error) error
}

// Loop drives one backend towards the newest desired set.
type Loop struct {
	Name     string
	Backend  backends.Backend
	Reporter Reporter
	Log      *slog.Logger

	mu      sync.Mutex // protects the following
	want    *backends.Desired
	changed chan struct{} // holds one token while want has not been looked at
}

// NewLoop returns a Loop; it starts nothing.
func NewLoop(name string, b backends.Backend, r Reporter, log *slog.Logger) *Loop {
	return &Loop{Name: name, Backend: b, Reporter: r, Log: log, changed: make(chan struct{}, 1)}
}

// Set replaces the desired set. Until it is called for the first time, the loop does nothing: an unknown set is not an empty one.
func (l *Loop) Set(d backends.Desired) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.want = &d
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// Run serves until ctx ends. It withdraws nothing.
func (l *Loop) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.Backend.Run(ctx) })
	g.Go(func() error { return l.follow(ctx) })
	return g.Wait()
}

func (l *Loop) follow(ctx context.Context) error {
	if !l.pause(ctx, nil) {
		return nil
	}
	for backoff := retries; ; {
		err := l.try(ctx)
		wakeAfter := resync
		if err != nil {
			wakeAfter = backoff.Step()
		} else {
			backoff = retries
		}
		timer := time.NewTimer(wakeAfter)
		more := l.pause(ctx, timer.C)
		timer.Stop()
		if !more {
			return nil
		}
	}
}

// pause waits for a new desired set or for timer, and then for further changes to come along; it is false when ctx ends.
func (l *Loop) pause(ctx context.Context, timer <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-timer:
		return true
	case <-l.changed:
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(coalesce):
		return true
	}
}

func (l *Loop) try(ctx context.Context) error {
	l.mu.Lock()
	want := *l.want
	select {
	case <-l.changed: // what came along while we waited is in want
	default:
	}
	l.mu.Unlock()
	err := l.Backend.Apply(ctx, want)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		l.Log.Error("backend could not apply everything", "backend", l.Name, "err", message(err))
	}
	if reportErr := l.Reporter.Report(ctx, err); reportErr != nil && ctx.Err() == nil {
		l.Log.Error("backend state not written", "backend", l.Name, "err", reportErr)
		if err == nil {
			err = reportErr
		}
	}
	return err
}

// Withdraw takes back everything that a backend which is not in use any more has left behind, and then its Backend object. It
// tries until it succeeds or ctx ends.
func Withdraw(ctx context.Context, b backends.Backend, s *State, log *slog.Logger) error {
	for backoff := retries; ; {
		err := withdraw(ctx, b, s)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		log.Error("backend that is switched off could not be cleaned up", "backend", s.Name, "err", message(err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff.Step()):
		}
	}
}

func withdraw(ctx context.Context, b backends.Backend, s *State) error {
	err := b.Apply(ctx, backends.Desired{})
	if errors.Is(err, calico.ErrUnavailable) {
		err = s.Save(ctx, calico.Record{}) // with its API, everything that was written is gone too
	}
	if err != nil {
		return err
	}
	return s.Remove(ctx)
}
