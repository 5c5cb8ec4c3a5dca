package main

import (
	"context"
	"fmt"
	"time"
)

// burst measures how soon after the last of 1,000 creates the last address is there.
func (w *world) burst(ctx context.Context) error {
	parallel := []int{8, workers}
	bare := make([]time.Duration, len(parallel))
	for i, p := range parallel {
		progress("%s: the bare loop, %d creators", nameBurst, p)
		var err error
		if bare[i], err = w.create(ctx, unserved, fmt.Sprint("bare", p), services, p); err != nil {
			return err
		}
		if err := w.remove(ctx, fmt.Sprint("bare", p), services); err != nil {
			return err
		}
	}
	c, err := w.start(ctx)
	if err != nil {
		return err
	}
	defer c.Kill()
	x, err := w.watch(ctx, served)
	if err != nil {
		return err
	}
	defer x.stop()
	for i, p := range parallel {
		progress("%s: the controller, %d creators", nameBurst, p)
		cpu, err := c.cpu()
		if err != nil {
			return err
		}
		took, err := w.create(ctx, served, fmt.Sprint("s", p), services, p)
		if err != nil {
			return err
		}
		created := time.Now()
		times, err := x.wait(ctx, 1+services)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, c.Log())
		}
		result := row{
			Case: fmt.Sprintf("%s %d by %d", nameBurst, services, p), What: "last create to last address", Unit: "ms",
			Value: max(0, millis(times[len(times)-1].Sub(created))),
		}
		if err := c.usage(&result, cpu); err != nil {
			return err
		}
		w.add(atMost(result, 100), faster(row{
			Case: result.Case, What: "creates meanwhile", Unit: "/s", Value: services / took.Seconds(), Bare: services / bare[i].Seconds(),
		}, 0))
		if _, err := w.state(ctx); err != nil {
			return err
		}
		if err := w.remove(ctx, fmt.Sprint("s", p), services); err != nil {
			return err
		}
		if _, err := x.wait(ctx, 1); err != nil {
			return err
		}
		if err := c.settle(ctx); err != nil {
			return err
		}
	}
	return c.stop()
}
