package testbed

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/client-go/discovery"
)

// Request is a kind of request that the API server counts. Resource names the subresource, too: services/status.
type Request struct{ Verb, Resource string }

// Writes reports whether such requests change objects.
func (r Request) Writes() bool {
	return slices.Contains([]string{"POST", "PUT", "PATCH", "APPLY", "DELETE"}, r.Verb)
}

// A line of the API server's metrics; its labels are in alphabetical order.
var requestLine = regexp.MustCompile(
	`^apiserver_request_total\{(?:.*,)?resource="([^"]*)",(?:.*,)?subresource="([^"]*)",(?:.*,)?verb="([A-Z]+)".*\} ([0-9.e+]+)$`)

// Requests returns how many requests of each kind the API server has served since it started.
func (b *Bed) Requests(ctx context.Context) (map[Request]float64, error) {
	d, err := discovery.NewDiscoveryClientForConfig(b.Config)
	if err != nil {
		return nil, err
	}
	metrics, err := d.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	out := map[Request]float64{}
	for line := range strings.Lines(string(metrics)) {
		m := requestLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		n, err := strconv.ParseFloat(m[4], 64)
		if err != nil {
			return nil, err
		}
		resource := m[1]
		if m[2] != "" {
			resource += "/" + m[2]
		}
		out[Request{Verb: m[3], Resource: resource}] += n
	}
	if len(out) == 0 {
		return nil, errors.New("/metrics counts no requests")
	}
	return out, nil
}
