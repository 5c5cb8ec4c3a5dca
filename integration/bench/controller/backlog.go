package main

import (
	"context"
	"fmt"
	"os"

	"github.com/fairlead/fairlead/integration/testbed"
)

// cost is the seconds of processor time of who writes, and of API server and etcd.
type cost struct{ writer, server float64 }

func (c cost) since(before cost) cost {
	return cost{c.writer - before.writer, c.server - before.server}
}

// work returns what a process, and API servers and etcds, have cost so far.
func work(pid int) (c cost, err error) {
	if c.writer, err = testbed.CPU(pid); err != nil {
		return c, err
	}
	all, err := testbed.CPUByProgram()
	c.server = all["kube-apiserver"] + all["etcd"]
	return c, err
}

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
	before, err := work(os.Getpid())
	if err != nil {
		return err
	}
	bare, err := w.assign(ctx, "s", n)
	x.stop()
	if err != nil {
		return err
	}
	loop, err := work(os.Getpid())
	if err != nil {
		return err
	}
	loop = loop.since(before)
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
	if before, err = work(c.PID()); err != nil {
		return err
	}
	times, err := x.wait(ctx, n)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.Log())
	}
	ours, err := work(c.PID())
	if err != nil {
		return err
	}
	ours = ours.since(before)
	result := row{
		Case: fmt.Sprint(nameBacklog, " ", n), What: "first to last address", Unit: "/s",
		Value: float64(n-1) / times[n-1].Sub(times[0]).Seconds(), Bare: float64(n) / bare.Seconds(),
	}
	if err := c.usage(&result, 0); err != nil {
		return err
	}
	w.add(faster(result, 0.9), row{Case: result.Case, What: "CPU of who writes", Unit: "s", Value: ours.writer, Bare: loop.writer},
		row{Case: result.Case, What: "CPU of API server and etcd", Unit: "s", Value: ours.server, Bare: loop.server},
		row{Case: result.Case, What: "process start to first address", Unit: "ms", Value: millis(times[0].Sub(c.started))})
	if _, err := w.state(ctx); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	return c.stop()
}
