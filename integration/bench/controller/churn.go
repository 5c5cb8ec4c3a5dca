package main

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// churn measures how fast 20 % of 1,000 Services are deleted, created again and served.
func (w *world) churn(ctx context.Context) error {
	const replaced = services / 5
	progress("%s: creating", nameChurn)
	if _, err := w.create(ctx, served, "s", services, workers); err != nil {
		return err
	}
	progress("%s: the bare loop", nameChurn)
	bare, err := w.replace(ctx, "s", replaced)
	if err != nil {
		return err
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
	progress("%s: the controller", nameChurn)
	took, err := w.replace(ctx, "s", replaced)
	if err != nil {
		return err
	}
	created := time.Now()
	times, err := x.wait(ctx, 1+services)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.Log())
	}
	result := row{
		Case: fmt.Sprintf("%s %d of %d", nameChurn, replaced, services), What: "last create to last address", Unit: "ms",
		Value: max(0, millis(times[len(times)-1].Sub(created))),
	}
	if err := c.usage(&result, cpu); err != nil {
		return err
	}
	w.add(atMost(result, 100), faster(row{
		Case: result.Case, What: "deletes and creates meanwhile", Unit: "/s", Value: replaced / took.Seconds(), Bare: replaced / bare.Seconds(),
	}, 0))
	if _, err := w.state(ctx); err != nil {
		return err
	}
	return c.stop()
}

// replace deletes and creates again n Services.
func (w *world) replace(ctx context.Context, prefix string, n int) (time.Duration, error) {
	return loop(ctx, "replace", n, workers, func(ctx context.Context, i int) error {
		s := service(served, name(prefix, i))
		if err := w.client.Delete(ctx, s); client.IgnoreNotFound(err) != nil {
			return err
		}
		return w.client.Create(ctx, service(served, s.Name))
	})
}
