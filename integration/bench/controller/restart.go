package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// restart measures how soon a controller serves that finds n Services with their addresses, and that it leaves these alone.
func (w *world) restart(ctx context.Context, n int) error {
	before, err := w.state(ctx)
	if err != nil {
		return err
	}
	if len(before) < n {
		progress("%s %d: creating", nameRestart, n)
		if n >= seedFrom {
			err = w.seed(ctx, "s", n)
		} else if _, err = w.create(ctx, served, "s", n, workers); err == nil {
			_, err = w.assign(ctx, "s", n)
		}
		if err != nil {
			return err
		}
		if before, err = w.state(ctx); err != nil {
			return err
		}
	}

	progress("%s %d: the controller", nameRestart, n)
	x, err := w.watch(ctx, served)
	if err != nil {
		return err
	}
	defer x.stop()
	if _, err := x.wait(ctx, n); err != nil {
		return err
	}
	c, err := w.launch()
	if err != nil {
		return err
	}
	defer c.Kill()
	s := service(served, "new")
	if err := w.client.Create(ctx, s); err != nil {
		return err
	}
	times, err := x.wait(ctx, n+1)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.Log())
	}
	// What it has to do besides is done, too, before its writes are counted.
	if err := c.settle(ctx); err != nil {
		return err
	}
	after, err := w.state(ctx)
	if err != nil {
		return err
	}
	written, changed := 0, 0
	for name, was := range before {
		now := after[name]
		if now == nil || address(now) != address(was) {
			changed++
		}
		if now == nil || now.ResourceVersion != was.ResourceVersion {
			written++
		}
	}
	result := row{
		Case: fmt.Sprint(nameRestart, " ", n), What: "process start to address of a new Service", Unit: "ms", Value: millis(times[n].Sub(c.started)),
	}
	if err := c.usage(&result, 0); err != nil {
		return err
	}
	bar := 2000.
	if n > 4000 {
		bar = 5000
	}
	w.add(atMost(result, bar),
		atMost(row{Case: result.Case, What: "writes to Services that have addresses", Value: float64(written)}, 0),
		atMost(row{Case: result.Case, What: "changed addresses", Value: float64(changed)}, 0),
		atMost(row{Case: result.Case, What: "peak RSS", Unit: "MiB", Value: result.RSS}, 400))
	if err := client.IgnoreNotFound(w.client.Delete(ctx, s, client.Preconditions{UID: (*types.UID)(&s.UID)})); err != nil {
		return err
	}
	return c.stop()
}
