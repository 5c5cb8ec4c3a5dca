package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

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
