package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/live"
	"github.com/fairlead/fairlead/internal/tool/status"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

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
	reading, cancel := cli.Within(ctx, w.timeout) // what allocators are asked is not watched
	defer cancel()
	s, err := survey.ReadAt(reading, w.cluster, w.installation, w.clock.running(), w.spare...)
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
