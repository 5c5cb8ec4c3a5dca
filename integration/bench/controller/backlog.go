package main

import (
	"context"
	"fmt"
)

// backlog measures how fast n Services get their addresses that were created before the controller starts.
func (w *world) backlog(ctx context.Context, n int) error {
	progress("%s %d: creating", nameBacklog, n)
	if _, err := w.create(ctx, served, "s", n, workers); err != nil {
		return err
	}
	// The same watch looks on at the bare loop, so that both carry its cost.
	x, err := w.watch(ctx, served)
	if err != nil {
		return err
	}
	progress("%s %d: the bare loop", nameBacklog, n)
	bare, err := w.assign(ctx, "s", n)
	x.stop()
	if err != nil {
		return err
	}
	if err := w.clear(ctx, "s", n); err != nil {
		return err
	}

	progress("%s %d: the controller", nameBacklog, n)
	if x, err = w.watch(ctx, served); err != nil {
		return err
	}
	defer x.stop()
	c, err := w.launch()
	if err != nil {
		return err
	}
	defer c.Kill()
	times, err := x.wait(ctx, n)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.Log())
	}
	result := row{
		Case: fmt.Sprint(nameBacklog, " ", n), What: "first to last address", Unit: "/s",
		Value: float64(n-1) / times[n-1].Sub(times[0]).Seconds(), Bare: float64(n) / bare.Seconds(),
	}
	if err := c.usage(&result, 0); err != nil {
		return err
	}
	w.add(faster(result, 0.9), row{Case: result.Case, What: "process start to first address", Unit: "ms", Value: millis(times[0].Sub(c.started))})
	if _, err := w.state(ctx); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	return c.stop()
}
