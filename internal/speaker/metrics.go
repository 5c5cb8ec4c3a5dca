package speaker

import (
	"errors"
	"net"
	"net/netip"
	"slices"
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
	announced                      *prometheus.GaugeVec
	received, answered, gratuitous *prometheus.CounterVec
	conflicts                      *prometheus.CounterVec
	takeovers                      prometheus.Counter
	failover                       prometheus.Histogram
	sessions                       sessionMetrics
	shown                          map[series]bool                       // touched by show alone
	shownRoutes                    map[types.NamespacedName][]netip.Addr // touched by showRoutes alone
}

type series struct{ service, ip string }

// NewMetrics returns the series of the speaker on a node.
func NewMetrics(r prometheus.Registerer, node string) (*Metrics, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"ip"})
	}
	m := &Metrics{
		announced: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "metallb_speaker_announced", Help: "Services announced from this node.", ConstLabels: prometheus.Labels{"node": node},
		}, []string{"service", "protocol", "ip"}),
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
	for _, c := range []prometheus.Collector{m.announced, m.received, m.answered, m.gratuitous, m.conflicts, m.takeovers, m.failover,
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
	for s := range m.shown {
		if now[s] {
			continue
		}
		m.announced.DeleteLabelValues(s.service, protocolLayer2, s.ip)
		if !ips[s.ip] {
			for _, c := range []*prometheus.CounterVec{m.received, m.answered, m.gratuitous, m.conflicts} {
				c.DeleteLabelValues(s.ip)
			}
		}
	}
	for s := range now {
		if !m.shown[s] {
			m.announced.WithLabelValues(s.service, protocolLayer2, s.ip).Set(1)
		}
	}
	m.shown = now
}

// showRoutes makes the series tell of exactly what this node advertises by BGP. services are all on which something has been decided anew.
func (m *Metrics) showRoutes(services []types.NamespacedName, d *announce.RouteTable) {
	for _, id := range services {
		var now []netip.Addr
		if len(d.Peers(id)) > 0 {
			now = d.Service(id).Addrs
		}
		was := m.shownRoutes[id]
		if slices.Equal(was, now) {
			continue
		}
		for _, addr := range was {
			if !slices.Contains(now, addr) {
				m.announced.DeleteLabelValues(id.String(), protocolBGP, addr.String())
			}
		}
		for _, addr := range now {
			m.announced.WithLabelValues(id.String(), protocolBGP, addr.String()).Set(1)
		}
		if m.shownRoutes[id] = now; len(now) == 0 {
			delete(m.shownRoutes, id)
		}
	}
}
