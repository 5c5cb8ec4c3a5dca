package speaker

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/backends/bgp/bfd"
	"github.com/fairlead/fairlead/internal/announce"
)

// protocolLayer2 is the value of the label protocol, and what events say.
const protocolLayer2 = "layer2"

// Metrics are the series of a speaker. It implements layer2.Observer. The names that begin with metallb are MetalLB's.
type Metrics struct {
	announced                      *prometheus.Desc
	received, answered, gratuitous *prometheus.CounterVec
	conflicts                      *prometheus.CounterVec
	takeovers                      prometheus.Counter
	failover                       prometheus.Histogram
	sessions                       sessionMetrics

	mu          sync.Mutex      // protects all the following
	shown       map[series]bool // on the local network
	shownRoutes map[types.NamespacedName][]netip.Addr
}

// announcedSeries are the series of what is announced, made when somebody asks for them: there may be tens of thousands.
type announcedSeries struct{ of *Metrics }

// Describe implements prometheus.Collector.
func (a announcedSeries) Describe(ch chan<- *prometheus.Desc) { ch <- a.of.announced }

// Collect implements prometheus.Collector.
func (a announcedSeries) Collect(ch chan<- prometheus.Metric) {
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	send := func(service, protocol, ip string) {
		ch <- prometheus.MustNewConstMetric(a.of.announced, prometheus.GaugeValue, 1, service, protocol, ip)
	}
	for s := range a.of.shown {
		send(s.service, protocolLayer2, s.ip)
	}
	for id, addrs := range a.of.shownRoutes {
		for i, addr := range addrs {
			if !slices.Contains(addrs[:i], addr) {
				send(id.String(), protocolBGP, addr.String())
			}
		}
	}
}

type series struct{ service, ip string }

// NewMetrics returns the series of the speaker on a node.
func NewMetrics(r prometheus.Registerer, node string) (*Metrics, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"ip"})
	}
	m := &Metrics{
		announced: prometheus.NewDesc("metallb_speaker_announced", "Services announced from this node.",
			[]string{"service", "protocol", "ip"}, prometheus.Labels{"node": node}),
		received: counter("metallb_layer2_requests_received",
			"ARP requests and neighbour solicitations received for an address that is announced."),
		answered:   counter("metallb_layer2_responses_sent", "ARP replies and neighbour advertisements sent in answer."),
		gratuitous: counter("metallb_layer2_gratuitous_sent", "Gratuitous ARP packets and unsolicited neighbour advertisements sent."),
		conflicts: counter("fairlead_layer2_conflicts_total",
			"Frames in which somebody else claims an address that is announced from this node."),
		takeovers: prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_layer2_takeovers_total",
			Help: "Addresses taken over from another node."}),
		failover: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fairlead_layer2_failover_seconds",
			Help:    "From noticing that an address has lost its node to its first announcement from this one.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
		}),
		shown: map[series]bool{}, shownRoutes: map[types.NamespacedName][]netip.Addr{},
		sessions: sessionMetrics{
			sessions: func() []bgp.Session { return nil }, bfd: func() map[string]bfd.Status { return nil },
		},
	}
	var errs []error
	for _, c := range []prometheus.Collector{announcedSeries{m}, m.received, m.answered, m.gratuitous, m.conflicts, m.takeovers, m.failover,
		&m.sessions} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

// Watch has the series of sessions tell of a router's. It is to be called before anybody asks for them.
func (m *Metrics) Watch(router Router, b *BFD) {
	m.sessions = sessionMetrics{sessions: router.Sessions, bfd: b.states}
}

// Received counts a request.
func (m *Metrics) Received(addr netip.Addr) { m.received.WithLabelValues(addr.String()).Inc() }

// Answered counts an answer.
func (m *Metrics) Answered(addr netip.Addr) { m.answered.WithLabelValues(addr.String()).Inc() }

// Gratuitous counts an unsolicited announcement.
func (m *Metrics) Gratuitous(addr netip.Addr) { m.gratuitous.WithLabelValues(addr.String()).Inc() }

// Conflict counts a frame of another owner. The backend logs it.
func (m *Metrics) Conflict(addr netip.Addr, _ net.HardwareAddr, _ string) {
	m.conflicts.WithLabelValues(addr.String()).Inc()
}

// tookOver counts an address that came from another node; after is how long that took since it was noticed.
func (m *Metrics) tookOver(after time.Duration) {
	m.takeovers.Inc()
	m.failover.Observe(after.Seconds())
}

// show makes the series tell of exactly what is announced, and drops those of other addresses.
func (m *Metrics) show(announced map[netip.Addr]bool, d decided) {
	now := map[series]bool{}
	ips := map[string]bool{}
	for addr := range announced {
		p := d.Placement(addr)
		if p == nil {
			continue
		}
		ips[addr.String()] = true
		for _, id := range p.Services {
			now[series{id.String(), addr.String()}] = true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.shown {
		if now[s] || ips[s.ip] {
			continue
		}
		for _, c := range []*prometheus.CounterVec{m.received, m.answered, m.gratuitous, m.conflicts} {
			c.DeleteLabelValues(s.ip)
		}
	}
	m.shown = now
}

// showRoutes makes the series tell of exactly what this node advertises by BGP. services are all on which something has been decided anew.
func (m *Metrics) showRoutes(services []types.NamespacedName, d *announce.RouteTable) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range services {
		if len(d.Peers(id)) > 0 {
			m.shownRoutes[id] = d.Service(id).Addrs
		} else {
			delete(m.shownRoutes, id)
		}
	}
}
