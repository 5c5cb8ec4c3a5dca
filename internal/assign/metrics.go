package assign

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/allocator"
)

// Metrics are what this package counts. The names under metallb_ and their labels are MetalLB's, so that dashboards and alerts
// made for it keep working. Gauges are read from the Assigner when they are asked for.
type Metrics struct {
	assigner *Assigner

	latency   prometheus.Histogram
	writes    *prometheus.CounterVec
	conflicts prometheus.Counter
	updates   prometheus.Counter
	failures  prometheus.Counter
}

// Results of a status write, the values of the label "result".
const (
	writeOK       = "ok"
	writeConflict = "conflict" // somebody else was faster; the decision is made anew
	writeError    = "error"
)

// NewMetrics returns the metrics of an Assigner; it registers nothing.
func NewMetrics(a *Assigner) *Metrics {
	return &Metrics{
		assigner: a,
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fairlead_allocation_duration_seconds",
			Help: "Time from looking at a Service to having written its new addresses.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_status_writes_total", Help: "Writes to the status of Services, by result.",
		}, []string{"result"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fairlead_address_conflicts_total", Help: "Services that lost an address which belongs to an older one.",
		}),
		updates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metallb_k8s_client_updates_total", Help: "Service updates that were looked at.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metallb_k8s_client_update_errors_total", Help: "Service updates that failed and are tried again.",
		}),
	}
}

// The gauges of pools, in the order in which poolValues gives their values.
var poolDescs = []*prometheus.Desc{
	poolDesc("addresses_total", "Addresses the pool can assign."),
	poolDesc("ipv4_addresses_total", "IPv4 addresses the pool can assign."),
	poolDesc("ipv6_addresses_total", "IPv6 addresses the pool can assign."),
	poolDesc("addresses_in_use_total", "Addresses of the pool that Services hold."),
	poolDesc("ipv4_addresses_in_use_total", "IPv4 addresses of the pool that Services hold."),
	poolDesc("ipv6_addresses_in_use_total", "IPv6 addresses of the pool that Services hold."),
}

func poolDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("metallb_allocator_"+name, help, []string{"pool"}, nil)
}

func poolValues(s allocator.Stats) []float64 {
	v4, v6 := float64(s.TotalIPv4), float64(s.TotalIPv6)
	used4, used6 := float64(s.AssignedIPv4), float64(s.AssignedIPv6)
	return []float64{v4 + v6, v4, v6, used4 + used6, used4, used6}
}

var pendingDesc = prometheus.NewDesc("fairlead_services_pending", "Services without an address, by the reason of their condition.",
	[]string{"reason"}, nil)

func (m *Metrics) counters() []prometheus.Collector {
	return []prometheus.Collector{m.latency, m.writes, m.conflicts, m.updates, m.failures}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range poolDescs {
		ch <- d
	}
	ch <- pendingDesc
	for _, c := range m.counters() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	pools, pending := m.assigner.gauges()
	for pool, stats := range pools {
		for i, v := range poolValues(stats) {
			ch <- prometheus.MustNewConstMetric(poolDescs[i], prometheus.GaugeValue, v, pool)
		}
	}
	for reason, n := range pending {
		ch <- prometheus.MustNewConstMetric(pendingDesc, prometheus.GaugeValue, float64(n), reason)
	}
	for _, c := range m.counters() {
		c.Collect(ch)
	}
}

// gauges returns the counters of every pool, and how many Services wait for which reason.
func (a *Assigner) gauges() (pools map[string]allocator.Stats, pending map[string]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pools, pending = map[string]allocator.Stats{}, map[string]int{}
	for _, name := range a.engine.Pools() {
		pools[name], _ = a.engine.Stats(name)
	}
	for _, w := range a.waiting.byOwner {
		if w.reason != "" {
			pending[w.reason]++
		}
	}
	return pools, pending
}
