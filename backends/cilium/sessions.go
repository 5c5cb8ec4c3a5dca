package cilium

import (
	"cmp"
	"net/netip"
	"strings"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/backends"
)

// SessionsResource is the resource, in the first of Groups, in which the agent of each node tells of its sessions.
const SessionsResource = v2.BGPNCPluralName

// ReportOf returns what a CiliumBGPNodeConfig says of the sessions of its node, which has its name; false if the agent has not said
// anything: it is not there, too old, or does not report (enable-bgp-control-plane-status-report).
func ReportOf(u *unstructured.Unstructured) (backends.SessionReport, bool) {
	out := backends.SessionReport{Node: u.GetName()}
	var o v2.CiliumBGPNodeConfig
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o); err != nil {
		return out, false
	}
	for i := range o.Status.BGPInstances {
		for j := range o.Status.BGPInstances[i].PeerStatuses {
			out.Sessions = append(out.Sessions, sessionOf(&o.Status.BGPInstances[i].PeerStatuses[j]))
		}
	}
	return out, len(o.Status.BGPInstances) > 0
}

func sessionOf(p *v2.CiliumBGPNodePeerStatus) backends.Session {
	s := backends.Session{Peer: p.Name, State: "Idle"}
	s.Router, _ = netip.ParseAddr(p.PeerAddress)
	if p.PeeringState != nil {
		s.State = stateName(*p.PeeringState)
	}
	s.Up = s.State == backends.Established
	if p.EstablishedTime != nil && s.Up {
		s.Since = *p.EstablishedTime
	}
	for _, c := range p.RouteCount {
		s.IPv4 = s.IPv4 || c.Afi == "ipv4" && c.Safi == "unicast"
		s.IPv6 = s.IPv6 || c.Afi == "ipv6" && c.Safi == "unicast"
		if c.Advertised != nil && s.Up {
			s.Prefixes += int64(*c.Advertised)
		}
	}
	if !s.IPv4 && !s.IPv6 { // nothing is said of families until the session is up
		s.IPv4, s.IPv6 = s.Router.Is4(), s.Router.Is6()
	}
	return s
}

// states are those of RFC 4271 as Cilium writes them (pkg/bgp/types/bgp.go: SessionState).
var states = map[string]string{
	"idle": "Idle", "connect": "Connect", "active": "Active", "open_sent": "OpenSent", "open_confirm": "OpenConfirm",
	"established": backends.Established,
}

func stateName(s string) string { return cmp.Or(states[strings.ToLower(s)], s) }
