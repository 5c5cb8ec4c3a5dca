package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/discovery"
)

// request is a kind of request that the API server counts.
type request struct{ verb, resource string }

// A line of the API server's metrics; its labels are in alphabetical order.
var requestLine = regexp.MustCompile(`^apiserver_request_total\{(?:.*,)?resource="([^"]*)".*verb="([A-Z]+)".*\} ([0-9.e+]+)$`)

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
	before, err := w.requests(ctx)
	if err != nil {
		return err
	}
	progress("%s: %v", nameSteady, period)
	select {
	case <-time.After(period):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := w.requests(ctx)
	if err != nil {
		return err
	}
	writes, leases := 0., 0.
	for kind, n := range after {
		n -= before[kind]
		switch {
		case n == 0 || !slices.Contains([]string{"POST", "PUT", "PATCH", "APPLY", "DELETE"}, kind.verb):
			continue
		case kind.resource == "leases":
			leases += n
		default:
			writes += n
			progress("  %s %s: %g", kind.verb, kind.resource, n)
		}
	}
	result := row{Case: fmt.Sprint(nameSteady, " ", services), What: "writes in a minute, Leases apart", Value: writes}
	if err := c.usage(&result, cpu); err != nil {
		return err
	}
	w.add(atMost(result, 0), row{Case: result.Case, What: "writes of Leases in a minute, the API server's own included", Value: leases})
	return c.stop()
}

// requests returns the API server's counters.
func (w *world) requests(ctx context.Context) (map[request]float64, error) {
	d, err := discovery.NewDiscoveryClientForConfig(w.bed.Config)
	if err != nil {
		return nil, err
	}
	b, err := d.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	out := map[request]float64{}
	for line := range strings.Lines(string(b)) {
		m := requestLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		n, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return nil, err
		}
		out[request{verb: m[2], resource: m[1]}] += n
	}
	if len(out) == 0 {
		return nil, errors.New("/metrics counts no requests")
	}
	return out, nil
}
