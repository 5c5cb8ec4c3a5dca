package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/internal/tool/live"
	"github.com/fairlead/fairlead/internal/tool/screen"
	"github.com/fairlead/fairlead/internal/tool/status"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// every is how often status --wait looks, and how soon --watch tries again what has failed.
const every = 2 * time.Second

// calm is how long after a change --watch looks, so that many changes become one.
const calm = 200 * time.Millisecond

// follower looks at an installation once, until it is ready, or for ever.
type follower struct {
	wait, watch bool
	timeout     time.Duration
	// look looks, and says after what time at the latest it can see something else.
	look func(context.Context) (*status.Report, time.Duration, error)
	// changed returns what is sent on after changes; nil: nobody tells of any.
	changed  func() <-chan struct{}
	print    func(*status.Report) error
	complain func(error)
}

// errReading: it is not known yet what there is.
var errReading = errors.New("the cluster has not been read yet")

func (f *follower) follow(ctx context.Context) error {
	end := time.Now().Add(f.timeout)
	seen, complaint := "", ""
	for {
		r, again, err := f.lookBy(ctx, end)
		if ctx.Err() != nil {
			return f.ended()
		}
		over := f.wait && !time.Now().Before(end)
		done := err == nil && (!f.wait && !f.watch || f.wait && (r.Ready || r.Unknown() != nil))
		if err != nil && (!f.wait && !f.watch || errors.Is(err, survey.ErrNotInstalled) || errors.Is(err, survey.ErrAmbiguous)) {
			return err
		}
		if err == nil && (done || over || f.watch) {
			if text := digest(r); text != seen {
				seen = text
				if err := f.print(r); err != nil {
					return err
				}
			}
		}
		switch {
		case done:
			return r.Unknown()
		case over && err != nil:
			f.complain(err)
			return exitCode(exitFound)
		case over:
			return exitCode(exitFound)
		case err == nil:
			complaint = ""
		case !errors.Is(err, errReading) && err.Error() != complaint:
			complaint = err.Error()
			f.complain(fmt.Errorf("%w; trying again", err))
		}
		if f.wait {
			again = min(again, max(0, time.Until(end)))
		}
		var changed <-chan struct{}
		if f.changed != nil {
			changed = f.changed()
		}
		select {
		case <-ctx.Done():
			return f.ended()
		case <-changed:
			select {
			case <-ctx.Done():
				return f.ended()
			case <-time.After(calm):
			}
		case <-time.After(again):
		}
	}
}

// lookBy looks, and does not wait for an answer past the end; but the first look is always given a moment.
func (f *follower) lookBy(ctx context.Context, end time.Time) (*status.Report, time.Duration, error) {
	if !f.wait {
		return f.look(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, max(time.Until(end), patience))
	defer cancel()
	return f.look(ctx)
}

// ended is the result if the user has ended it.
func (f *follower) ended() error {
	if f.wait {
		return errors.New("ended before everything was ready")
	}
	return nil
}

// digest tells whether a report has changed.
func digest(r *status.Report) string {
	b, err := screen.JSON(r)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b))
}

// status looks at the installation. Each look may take --request-timeout.
func (c *connection) status(ctx context.Context) (*status.Report, time.Duration, error) {
	c.budget.set(c.timeout)
	m, err := c.model(ctx)
	if err != nil {
		return nil, every, err
	}
	r, err := statusOf(ctx, c.client, m)
	return r, every, err
}

// statusWatch looks at what watches have told of the installation. They begin with the first look that finds it.
type statusWatch struct {
	*connection
	cluster *live.Cluster
	end     context.CancelFunc
	watches sync.WaitGroup
}

// look sums up what has been heard.
func (w *statusWatch) look(ctx context.Context) (*status.Report, time.Duration, error) {
	if w.cluster == nil {
		w.budget.set(w.timeout)
		if err := w.find(ctx); err != nil {
			return nil, every, err
		}
		var err error
		if w.cluster, err = w.live(live.Options{Patience: w.timeout, Spare: append(slices.Clone(w.spare), live.Events)}); err != nil {
			return nil, every, err
		}
		var watching context.Context
		watching, w.end = context.WithCancel(context.Background()) // a look ends before the watches do
		w.watches.Go(func() { w.cluster.Run(watching) })
	}
	if err := w.read(ctx); err != nil {
		return nil, every, err
	}
	s, err := survey.ReadAt(ctx, w.cluster, w.installation, w.clock.running(), w.spare...)
	if err == nil {
		err = s.Installed()
	}
	if err != nil {
		return nil, every, err
	}
	m, err := s.Model()
	if err != nil {
		return nil, every, err
	}
	again := time.Hour
	if at := m.Expires(); !at.IsZero() {
		again = at.Sub(s.At) + time.Second
	}
	r, err := statusOf(ctx, w.cluster, m)
	return r, again, err
}

// read waits until it is known what there is, and returns an error if the API server does not tell.
func (w *statusWatch) read(ctx context.Context) error {
	for {
		if _, err := w.cluster.Lost(); err != nil {
			return fmt.Errorf("the API server does not answer: %w", cause(err))
		}
		if w.cluster.Complete() {
			return nil
		}
		select {
		case <-ctx.Done():
			return errReading
		case <-w.cluster.Changed():
		}
	}
}

// changed is sent on after changes; nil: nothing is watched yet.
func (w *statusWatch) changed() <-chan struct{} {
	if w.cluster == nil {
		return nil
	}
	return w.cluster.Changed()
}

// stop ends the watches.
func (w *statusWatch) stop() {
	if w.end != nil {
		w.end()
		w.watches.Wait()
	}
}

// cause returns an error without the request that has met it, which differs from kind to kind.
func cause(err error) error {
	if u := new(url.Error); errors.As(err, &u) {
		return u.Err
	}
	return err
}
