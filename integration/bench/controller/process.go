package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
)

// readyName is the Service that shows that a controller serves.
const readyName = "ready"

// controller is a running controller.
type controller struct {
	*testbed.Process
	started time.Time
}

// launch starts the controller and does not wait for it.
func (w *world) launch() (*controller, error) {
	start := time.Now()
	p, err := w.bed.Launch(namespace, "--lb-class", served)
	if err != nil {
		return nil, err
	}
	return &controller{Process: p, started: start}, nil
}

// start starts the controller and waits until it has served a Service of its own, which it leaves behind.
func (w *world) start(ctx context.Context) (*controller, error) {
	s := service(served, readyName)
	if err := w.client.Delete(ctx, s); client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	x, err := w.watch(ctx, served)
	if err != nil {
		return nil, err
	}
	defer x.stop()
	c, err := w.launch()
	if err != nil {
		return nil, err
	}
	if err := w.client.Create(ctx, s); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	for x.at(s.UID).IsZero() {
		select {
		case <-x.news.C():
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), c.stop())
		case <-c.Done():
			return nil, fmt.Errorf("the controller ended by itself:\n%s", c.Log())
		case <-time.After(testbed.Patience):
			return nil, errors.Join(errors.New("the controller gives no address"), c.stop())
		}
	}
	return c, nil
}

// stop ends the controller as Kubernetes would.
func (c *controller) stop() error {
	if _, err := c.Stop(); err != nil {
		return fmt.Errorf("stop the controller: %w\n%s", err, c.Log())
	}
	return nil
}

// cpu returns the CPU seconds that the controller has used.
func (c *controller) cpu() (float64, error) {
	return testbed.CPU(c.PID())
}

// rss returns the peak of the controller's resident memory in MiB.
func (c *controller) rss() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("/proc/PID/status has no VmHWM")
}

// usage adds to a row what the controller has used since it had used cpu seconds of CPU time.
func (c *controller) usage(x *row, cpu float64) error {
	now, err := c.cpu()
	rss, err2 := c.rss()
	x.CPU, x.RSS = now-cpu, rss
	return errors.Join(err, err2)
}

// settle waits until the controller has done what it has to do: until it uses less than 5 % of a core for two seconds.
func (c *controller) settle(ctx context.Context) error {
	const period, quiet = 2 * time.Second, 0.1
	for before := -quiet; ; {
		now, err := c.cpu()
		if err != nil {
			return err
		}
		if now-before < quiet {
			return nil
		}
		before = now
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(period):
		}
	}
}
