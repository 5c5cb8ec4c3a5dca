// Package announce decides who announces what, and says why something is not announced. It is pure: everything it needs is handed
// to it.
package announce

import (
	"slices"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// The kinds of advertisement, as Backend objects list them.
const (
	BGP    = "bgp"
	Layer2 = "layer2"
)

// Choice is who serves advertisements that do not name a backend: a backend's name, or empty for nobody.
type Choice struct{ BGP, Layer2 string }

// Input is what Delegated decides on.
type Input struct {
	Snapshot *config.Snapshot
	Choice   Choice
	// ManagePeers has the backends set up the sessions with the BGPPeers that there are.
	ManagePeers bool
	Nodes       []backends.Node
	// Services have an address from a pool. They are needed only if NeedsServices says so.
	Services []backends.Service
	// Password returns the password of a peer, or why there is none although one is asked for.
	Password func(*config.BGPPeer) (password, unready string)
}

// Share is what one backend has to advertise, and the kinds of advertisement that it serves.
type Share struct {
	Desired backends.Desired
	Serves  []string
}

// Delegated returns what each backend has to advertise: by BGP, the prefixes of every pool that a BGPAdvertisement selects, and
// what L2Advertisements say. A pool that none selects is not advertised. Backends with nothing to do are not in the result.
func Delegated(in Input) map[string]Share {
	out := map[string]Share{}
	for _, name := range in.Backends() {
		s := Share{Desired: backends.Desired{Hold: in.Snapshot.SetAsidePools()}}
		s.bgp(&in, name)
		s.layer2(&in, name)
		d := &s.Desired
		if in.Choice.BGP == name || len(d.BGPAdvertisements) > 0 {
			s.Serves = append(s.Serves, BGP)
		}
		if in.Choice.Layer2 == name || len(d.L2Advertisements) > 0 {
			s.Serves = append(s.Serves, Layer2)
		}
		if len(s.Serves) == 0 {
			continue
		}
		if len(d.BGPAdvertisements) > 0 && in.ManagePeers {
			d.Peers = Peers(in.Snapshot, in.Password)
		}
		if d.Peers != nil || slices.ContainsFunc(d.BGPAdvertisements,
			func(a backends.BGPAdvertisement) bool { return len(a.NodeSelectors) > 0 }) {
			d.Nodes = in.Nodes
		}
		if len(d.BGPAdvertisements)+len(d.L2Advertisements) > 0 {
			d.Services = in.Services
		}
		out[name] = s
	}
	return out
}

// Backend returns who serves a BGPAdvertisement.
func (c Choice) Backend(a *config.BGPAdvertisement) string { return own(a.Backend, c.BGP) }

// L2Backend returns who serves an L2Advertisement.
func (c Choice) L2Backend(a *config.L2Advertisement) string { return own(a.Backend, c.Layer2) }

// none is the value of the annotation that has nobody serve an advertisement.
const none = "none"

func own(annotation, choice string) string {
	switch annotation {
	case "":
		return choice
	case none:
		return ""
	}
	return annotation
}

// Backends returns the names of all backends that are chosen or named, sorted.
func (in *Input) Backends() []string {
	names := []string{in.Choice.BGP, in.Choice.Layer2}
	for _, a := range in.Snapshot.BGPAdvertisements() {
		names = append(names, in.Choice.Backend(a))
	}
	for _, a := range in.Snapshot.L2Advertisements() {
		names = append(names, in.Choice.L2Backend(a))
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "" })
}

func (s *Share) bgp(in *Input, name string) {
	d := &s.Desired
	advertised := map[string]bool{}
	for _, a := range in.Snapshot.BGPAdvertisements() {
		if in.Choice.Backend(a) != name {
			continue
		}
		pools := selected(in.Snapshot, a.Selects)
		if a.PoolsOnly && a.Restricts {
			// Who may hear the routes cannot be known: what is announced stays as it is.
			for _, p := range pools {
				d.Hold = append(d.Hold, p.Name)
			}
			continue
		}
		for _, p := range pools {
			advertised[p.Name] = true
		}
		d.BGPAdvertisements = append(d.BGPAdvertisements, backends.BGPAdvertisement{
			Source: source(a.Ref), Pools: pools, ServiceSelectors: a.ServiceSelectors(), NodeSelectors: a.NodeSelectors(), Peers: a.Peers,
			AggregationLength: a.AggregationLength, AggregationLengthV6: a.AggregationLengthV6, LocalPref: a.LocalPref,
			Communities: communities(a.Communities),
		})
	}
	for _, p := range in.Snapshot.Pools() {
		if !advertised[p.Name] {
			continue
		}
		for _, prefix := range p.Prefixes() {
			d.Announcements = append(d.Announcements, backends.Announcement{Prefix: prefix, Pool: p.Name})
		}
	}
}

func (s *Share) layer2(in *Input, name string) {
	for _, a := range in.Snapshot.L2Advertisements() {
		if in.Choice.L2Backend(a) != name {
			continue
		}
		s.Desired.L2Advertisements = append(s.Desired.L2Advertisements, backends.L2Advertisement{
			Source: source(a.Ref), Pools: selected(in.Snapshot, a.Selects), ServiceSelectors: a.ServiceSelectors(), NodeSelectors: a.NodeSelectors(),
			Interfaces: a.Interfaces, PrefersNodes: a.PrefersNodes(),
		})
	}
}

// Peers returns the peers of a configuration; never nil. password returns the password of one, or why there is none although one is
// asked for.
func Peers(s *config.Snapshot, password func(*config.BGPPeer) (password, unready string)) []backends.Peer {
	out := []backends.Peer{}
	for _, p := range s.BGPPeers() {
		x := backends.Peer{
			Source: source(p.Ref), MyASN: p.MyASN, PeerASN: p.PeerASN, LocalASN: p.LocalASN, DynamicASN: string(p.DynamicASN),
			Address: p.Address, Interface: p.Interface, Port: p.Port, SourceAddress: p.SourceAddress, RouterID: p.RouterID,
			HoldTime: p.HoldTime, KeepaliveTime: p.KeepaliveTime, ConnectTime: p.ConnectTime, VRF: p.VRF, NodeSelectors: p.NodeSelectors(),
			GracefulRestart: p.GracefulRestart, MultiHop: p.MultiHop, DualStack: p.DualStack, DisableMP: p.DisableMP,
			FromNode: p.FromNode.Annotations(),
		}
		x.Password, x.Unready = password(p)
		if p.BFD != nil {
			x.BFDProfile = p.BFD.Ref.Name
		}
		out = append(out, x)
	}
	return out
}

func selected(s *config.Snapshot, selects func(*config.Pool) bool) []backends.Pool {
	var out []backends.Pool
	for _, p := range s.Pools() {
		if selects(p) {
			out = append(out, backends.Pool{Name: p.Name, Label: backends.LabelValue(p.Name)})
		}
	}
	return out
}

func source(r config.Ref) backends.Source {
	return backends.Source{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

func communities(in []config.CommunityValue) []backends.Community {
	var out []backends.Community
	for _, c := range in {
		out = append(out, backends.Community(c))
	}
	return out
}
