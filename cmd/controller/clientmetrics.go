package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	clientmetrics "k8s.io/client-go/tools/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// countRequests has the requests to the API server counted in rest_client_requests_total. controller-runtime means to do so, but
// client-go takes only the first who asks, and a package of Cilium's types (pkg/k8s/watchers/metrics) is first.
func countRequests() error {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rest_client_requests_total", Help: "Number of HTTP requests, partitioned by status code, method, and host.",
	}, []string{"code", "method", "host"})
	if err := metrics.Registry.Register(c); err != nil {
		existing, ok := errors.AsType[prometheus.AlreadyRegisteredError](err)
		if !ok {
			return fmt.Errorf("register metrics: %w", err)
		}
		if c, ok = existing.ExistingCollector.(*prometheus.CounterVec); !ok {
			return fmt.Errorf("register metrics: rest_client_requests_total is a %T", existing.ExistingCollector)
		}
	}
	clientmetrics.RequestResult = requestResult{c}
	return nil
}

type requestResult struct{ *prometheus.CounterVec }

// Increment counts a request.
func (r requestResult) Increment(_ context.Context, code, method, host string) {
	r.WithLabelValues(code, method, host).Inc()
}
