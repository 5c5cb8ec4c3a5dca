package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// pace is the time between two creates: 50 a second.
const pace = 20 * time.Millisecond

// paced measures the time from a create to its address in a watch, beside the time that the API server itself takes: the same
// program creates, and writes the address as soon as the create has returned.
func (w *world) paced(ctx context.Context) error {
	progress("%s: the bare loop", namePaced)
	bare, err := w.atPace(ctx, unserved, "bare", w.patch)
	if err != nil {
		return err
	}
	if err := w.remove(ctx, "bare", services); err != nil {
		return err
	}
	c, err := w.start(ctx)
	if err != nil {
		return err
	}
	defer c.Kill()
	if err := c.settle(ctx); err != nil {
		return err
	}
	cpu, err := c.cpu()
	if err != nil {
		return err
	}
	progress("%s: the controller", namePaced)
	times, err := w.atPace(ctx, served, "s", nil)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.Log())
	}
	result := row{Case: fmt.Sprint(namePaced, " 50/s"), What: "create to address, p50", Unit: "ms", Value: percentile(times, 50), Bare: percentile(bare, 50)}
	if err := c.usage(&result, cpu); err != nil {
		return err
	}
	w.add(above(result, 10),
		above(row{Case: result.Case, What: "create to address, p99", Unit: "ms", Value: percentile(times, 99), Bare: percentile(bare, 99)}, 50))
	if _, err := w.state(ctx); err != nil {
		return err
	}
	return c.stop()
}

// atPace creates 1,000 Services, calls then for each that exists, unless it is nil, and returns how long each took to have an
// address.
func (w *world) atPace(ctx context.Context, class, prefix string, then func(context.Context, string, int) error) ([]time.Duration, error) {
	x, err := w.watch(ctx, class)
	if err != nil {
		return nil, err
	}
	defer x.stop()
	// A Service that a controller has served before this begins is waited for, too.
	extra := 0
	if class == served {
		extra = 1
	}
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	g, gctx := errgroup.WithContext(ctx)
	began := make([]time.Time, services)
	all := make([]func() time.Time, services)
	for i := range services {
		select {
		case <-ticker.C:
		case <-gctx.Done():
			return nil, g.Wait()
		}
		g.Go(func() error {
			s := service(class, name(prefix, i))
			began[i] = time.Now()
			all[i] = func() time.Time { return x.at(s.UID) }
			if err := w.client.Create(gctx, s); err != nil {
				return err
			}
			if then == nil {
				return nil
			}
			return then(gctx, s.Name, i)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if _, err := x.wait(ctx, services+extra); err != nil {
		return nil, err
	}
	out := make([]time.Duration, services)
	for i := range out {
		out[i] = all[i]().Sub(began[i])
	}
	return out, nil
}
