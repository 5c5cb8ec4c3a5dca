package speaker

import (
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/backends/bgp/bfd"
)

// sessionMetrics are the series of BGP and BFD sessions, as they are when somebody asks. Names and labels are those of MetalLB's FRR mode:
// peer is the address and port of a BGP peer, or its interface; for BFD the address. vrf is empty outside a VRF, which to Prometheus is
// no label.
type sessionMetrics struct {
	sessions func() []bgp.Session
	bfd      func() map[string]bfd.Status // by the name of the BGPPeer
}

// series is one of them.
type sessionSeries[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) float64
}

func newSeries[T any](name, help string, kind prometheus.ValueType, value func(T) float64) sessionSeries[T] {
	return sessionSeries[T]{prometheus.NewDesc(name, help, []string{"peer", "vrf"}, nil), kind, value}
}

func isTrue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

const gauge, count = prometheus.GaugeValue, prometheus.CounterValue

var bgpSeries = []sessionSeries[bgp.Session]{
	newSeries("metallb_bgp_session_up", "BGP session state: 1 is up, 0 is down.", gauge,
		func(s bgp.Session) float64 { return isTrue(s.State == bgp.Established) }),
	newSeries("metallb_bgp_announced_prefixes_total", "Prefixes that a BGP peer has been told.", gauge,
		func(s bgp.Session) float64 { return float64(s.Prefixes) }),
	newSeries("metallb_bgp_pending_prefixes_total", "Prefixes that a BGP peer is to hear and has not been told.", gauge,
		func(s bgp.Session) float64 { return float64(s.Pending) }),
	newSeries("metallb_bgp_updates_total", "BGP UPDATE messages sent to a peer.", count,
		func(s bgp.Session) float64 { return float64(s.Sent.Update) }),
	newSeries("metallb_bgp_updates_total_received", "BGP UPDATE messages received, none of which is looked into.", count,
		func(s bgp.Session) float64 { return float64(s.Received.Update) }),
	newSeries("metallb_bgp_opens_sent", "BGP OPEN messages sent.", count, func(s bgp.Session) float64 { return float64(s.Sent.Open) }),
	newSeries("metallb_bgp_opens_received", "BGP OPEN messages received.", count,
		func(s bgp.Session) float64 { return float64(s.Received.Open) }),
	newSeries("metallb_bgp_notifications_sent", "BGP NOTIFICATION messages sent.", count,
		func(s bgp.Session) float64 { return float64(s.Sent.Notification) }),
	newSeries("metallb_bgp_keepalives_sent", "BGP KEEPALIVE messages sent.", count,
		func(s bgp.Session) float64 { return float64(s.Sent.Keepalive) }),
	newSeries("metallb_bgp_keepalives_received", "BGP KEEPALIVE messages received.", count,
		func(s bgp.Session) float64 { return float64(s.Received.Keepalive) }),
	newSeries("metallb_bgp_route_refresh_sent", "BGP ROUTE-REFRESH messages sent: always 0, there is nothing to ask for.", count,
		func(s bgp.Session) float64 { return float64(s.Sent.Refresh) }),
	newSeries("metallb_bgp_total_sent", "BGP messages sent.", count, func(s bgp.Session) float64 { return float64(s.Sent.Total()) }),
	newSeries("metallb_bgp_total_received", "BGP messages received.", count,
		func(s bgp.Session) float64 { return float64(s.Received.Total()) }),
}

var bfdSeries = []sessionSeries[bfd.Status]{
	newSeries("metallb_bfd_session_up", "BFD session state: 1 is up, 0 is down.", gauge,
		func(s bfd.Status) float64 { return isTrue(s.State == bfd.Up) }),
	newSeries("metallb_bfd_session_up_events", "How often a BFD session came up.", count,
		func(s bfd.Status) float64 { return float64(s.SessionUp) }),
	newSeries("metallb_bfd_session_down_events", "How often a BFD session went down.", count,
		func(s bfd.Status) float64 { return float64(s.SessionDown) }),
	newSeries("metallb_bfd_control_packet_input", "BFD control packets received.", count,
		func(s bfd.Status) float64 { return float64(s.ControlReceived) }),
	newSeries("metallb_bfd_control_packet_output", "BFD control packets sent.", count,
		func(s bfd.Status) float64 { return float64(s.ControlSent) }),
	newSeries("metallb_bfd_echo_packet_input", "BFD echo packets received: always 0, the kernel returns a peer's own.", count,
		func(s bfd.Status) float64 { return float64(s.EchoReceived) }),
	newSeries("metallb_bfd_echo_packet_output", "BFD echo packets sent: always 0.", count,
		func(s bfd.Status) float64 { return float64(s.EchoSent) }),
}

// Describe implements prometheus.Collector.
func (*sessionMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, s := range bgpSeries {
		out <- s.desc
	}
	for _, s := range bfdSeries {
		out <- s.desc
	}
}

// Collect implements prometheus.Collector.
func (m *sessionMetrics) Collect(out chan<- prometheus.Metric) {
	watched := m.bfd()
	told := map[[2]string]bool{} // BFD sessions: two BGP sessions may have one
	for _, s := range m.sessions() {
		peer, router := s.Interface, s.Interface
		if s.Address.IsValid() {
			peer, router = netip.AddrPortFrom(s.Address, s.Port).String(), s.Address.String()
		}
		for _, x := range bgpSeries {
			out <- prometheus.MustNewConstMetric(x.desc, x.kind, x.value(s), peer, s.VRF)
		}
		if status, is := watched[s.Peer]; is && !told[[2]string{router, s.VRF}] {
			told[[2]string{router, s.VRF}] = true
			for _, x := range bfdSeries {
				out <- prometheus.MustNewConstMetric(x.desc, x.kind, x.value(status), router, s.VRF)
			}
		}
	}
}
