package main

import (
	"context"
	"fmt"
	"time"
)

// steady counts what is written while nothing happens, with 1,000 Services.
func (w *world) steady(ctx context.Context) error {
	const period = time.Minute
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
	progress("%s: creating", nameSteady)
	if _, err := w.create(ctx, served, "s", services, workers); err != nil {
		return err
	}
	if _, err := x.wait(ctx, 1+services); err != nil {
		return fmt.Errorf("%w\n%s", err, c.Log())
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	cpu, err := c.cpu()
	if err != nil {
		return err
	}
	before, err := w.bed.Requests(ctx)
	if err != nil {
		return err
	}
	progress("%s: %v", nameSteady, period)
	select {
	case <-time.After(period):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := w.bed.Requests(ctx)
	if err != nil {
		return err
	}
	writes, leases := 0., 0.
	for kind, n := range after {
		n -= before[kind]
		switch {
		case n == 0 || !kind.Writes():
			continue
		case kind.Resource == "leases":
			leases += n
		default:
			writes += n
			progress("  %s %s: %g", kind.Verb, kind.Resource, n)
		}
	}
	result := row{Case: fmt.Sprint(nameSteady, " ", services), What: "writes in a minute, Leases apart", Value: writes}
	if err := c.usage(&result, cpu); err != nil {
		return err
	}
	w.add(atMost(result, 0), row{Case: result.Case, What: "writes of Leases in a minute, the API server's own included", Value: leases})
	return c.stop()
}
