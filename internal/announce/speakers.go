package announce

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// SpeakerBackend is the name of the speakers of this project among the backends.
const SpeakerBackend = "speaker"

// Node is a node of the cluster, as far as it matters to who announces.
type Node struct {
	Labels             labels.Set
	NetworkUnavailable bool // its condition of that name is True
	NotReady           bool // its condition Ready is not True
	Cordoned           bool // its spec.unschedulable is set
	// Annotations are known of the node that asks.
	Annotations map[string]string
}

// excludeLabel keeps a node from announcing, whatever its value.
const excludeLabel = backends.LabelExclude

// Speaker is a speaker, as it tells of itself.
type Speaker struct {
	// Leaving is set if it is about to end.
	Leaving bool
	// Links are the interfaces that it can announce on.
	Links []backends.Link
	// SameSubnet is set if it announces an address only on a link whose subnet contains it.
	SameSubnet bool
	// Claims are the addresses that it announces.
	Claims map[netip.Addr]bool
}

// Endpoints are the serving endpoints of a Service.
type Endpoints struct {
	// Any is set if there is one anywhere.
	Any bool
	// Nodes are those with one.
	Nodes map[string]bool
}

// Service is a Service whose addresses are to be announced.
type Service struct {
	Namespace, Name string
	Labels          labels.Set
	Pools           []string
	Addrs           []netip.Addr
	Local           bool // externalTrafficPolicy: Local
	Shares          bool // it has an annotation that lets it share its address
	Endpoints       Endpoints
}

// LocalInput is what Place decides on.
type LocalInput struct {
	Snapshot *config.Snapshot
	// Serves reports whether the speakers serve an L2Advertisement.
	Serves func(*config.L2Advertisement) bool
	// Services have an address each, and are sorted by namespace and name.
	Services []Service
	Nodes    map[string]Node
	// Speakers are those alive, by node.
	Speakers map[string]Speaker
	// IgnoreExclude has nodes announce in spite of the label that excludes them.
	IgnoreExclude bool
	// Sticky has an address stay with the eligible node that announces it, as long as no other has a higher preference.
	Sticky bool
}

// Placement says which node announces an address.
type Placement struct {
	// Node is empty if there is none.
	Node string
	// Interfaces are the names of those to announce on; empty: all.
	Interfaces []string
	// Claimants are other nodes that say they announce it too.
	Claimants []string
	// Services are those that are announced by it, sorted by namespace and name.
	Services []types.NamespacedName
	// Reason and Message say why there is no node.
	Reason, Message string
}

// Decision is what Place decides.
type Decision struct {
	Placements map[netip.Addr]*Placement
	// Refusals say of Services why they are not announced although they might have an address that is: no advertisement selects them, or
	// none of their endpoints serves.
	Refusals map[types.NamespacedName]Verdict
}

// ID returns the Service's namespace and name.
func (s *Service) ID() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

// Place decides which node announces each address on the local network. Among the nodes that may, it is the one with the highest
// sum of preferences, then, if Sticky, the one that announces it already, then the one with the smallest SHA-256 of node, "#" and
// address, as MetalLB has it.
func Place(in LocalInput) Decision {
	d := Decision{Placements: map[netip.Addr]*Placement{}, Refusals: map[types.NamespacedName]Verdict{}}
	by := map[netip.Addr]*contest{}
	var order []netip.Addr
	for i := range in.Services {
		s := &in.Services[i]
		ads, refusal := in.served(s)
		if refusal != nil {
			d.Refusals[s.ID()] = *refusal
			continue
		}
		for _, addr := range s.Addrs {
			c := by[addr]
			if c == nil {
				c = &contest{in: &in, addr: addr}
				by[addr], order = c, append(order, addr)
			}
			c.add(s, ads[addr])
		}
	}
	for _, addr := range order {
		d.Placements[addr] = by[addr].decide()
	}
	return d
}

// served returns the advertisements of each address of a Service, or why it is not announced at all.
func (in *LocalInput) served(s *Service) (map[netip.Addr][]*config.L2Advertisement, *Verdict) {
	out := map[netip.Addr][]*config.L2Advertisement{}
	var no []Verdict
	for _, addr := range s.Addrs {
		ads, refusal := in.advertisements(s, addr)
		if refusal != nil {
			no = append(no, *refusal)
			continue
		}
		out[addr] = ads
	}
	if len(out) == 0 {
		v := together(no)
		return nil, &v
	}
	if !s.Endpoints.Any {
		return nil, refuse(ReasonNoEndpoints, "no endpoint of the Service serves")
	}
	return out, nil
}

// advertisements returns those of one address of a Service, or why there is none.
func (in *LocalInput) advertisements(s *Service, addr netip.Addr) ([]*config.L2Advertisement, *Verdict) {
	pool := poolOf(in.Snapshot, s.Pools, addr)
	if pool == nil {
		return nil, refuse(ReasonNoAdvertisement, "address %s is in none of the pools %q that the Service has it from", addr, s.Pools)
	}
	var out []*config.L2Advertisement
	var selected, served bool
	for _, a := range in.Snapshot.L2Advertisements() {
		if !a.Selects(pool) {
			continue
		}
		selected = true
		if !in.Serves(a) {
			continue
		}
		served = true
		if !a.SelectsService(s.Labels) {
			continue
		}
		if s.Shares && len(a.ServiceSelectors()) > 0 {
			return nil, refuse(ReasonSharedWithSelector,
				"L2Advertisement %q has serviceSelectors, and the Service may share its address; do without one of the two", a.Ref.Name)
		}
		out = append(out, a)
	}
	switch {
	case !selected:
		return nil, refuse(ReasonNoAdvertisement, "no L2Advertisement selects pool %q", pool.Name)
	case !served:
		return nil, refuse(ReasonNoBackend, "the speakers serve no L2Advertisement that selects pool %q", pool.Name)
	case len(out) == 0:
		return nil, refuse(ReasonServiceNotSelected, "the serviceSelectors of the L2Advertisements of pool %q do not select the Service",
			pool.Name)
	}
	return out, nil
}

// poolOf returns which of the pools in force named contains addr; nil if none does. An address that has left its pool is still the pool's
// as long as the Service has it: the controller leaves it for a moment, because the pool that takes it in may be on its way, and takes it
// back then.
func poolOf(s *config.Snapshot, names []string, addr netip.Addr) *config.Pool {
	for _, belongs := range []func(*config.Pool, netip.Addr) bool{(*config.Pool).Contains, (*config.Pool).Left} {
		for _, name := range names {
			if p := s.Pool(name); p != nil && belongs(p, addr) {
				return p
			}
		}
	}
	return nil
}

// contest is for one address: who announces it?
type contest struct {
	in       *LocalInput
	addr     netip.Addr
	services []*Service
	ads      []*config.L2Advertisement
}

func (c *contest) add(service *Service, ads []*config.L2Advertisement) {
	if ads == nil {
		return // this address of the Service is not announced; another one is
	}
	c.services = append(c.services, service)
	for _, a := range ads {
		if !slices.Contains(c.ads, a) {
			c.ads = append(c.ads, a)
		}
	}
}

// candidate is a node that may announce an address.
type candidate struct {
	node    string
	weight  int
	claims  bool
	unready bool
}

// placement returns one that names no node yet.
func (c *contest) placement() *Placement {
	p := &Placement{}
	for _, s := range c.services {
		p.Services = append(p.Services, s.ID())
	}
	return p
}

func (c *contest) decide() *Placement {
	p := c.placement()
	var all []candidate
	no := refusals{}
	for node, speaker := range c.in.Speakers {
		if reason, detail := c.refuses(node, speaker); reason != "" {
			no.add(node, reason, detail)
			continue
		}
		n := c.in.Nodes[node]
		all = append(all, candidate{node: node, weight: c.weight(n.Labels), claims: speaker.Claims[c.addr], unready: n.NotReady})
	}
	if len(all) == 0 {
		p.Reason, p.Message = no.summary()
		return p
	}
	// A node that is not ready is passed over only while one is left that is.
	if slices.ContainsFunc(all, func(x candidate) bool { return !x.unready }) {
		all = slices.DeleteFunc(all, func(x candidate) bool { return x.unready })
	}
	best := slices.MinFunc(all, c.compare)
	p.Node, p.Interfaces = best.node, c.interfaces(c.in.Nodes[best.node].Labels)
	for _, x := range all {
		if x.claims && x.node != best.node {
			p.Claimants = append(p.Claimants, x.node)
		}
	}
	slices.Sort(p.Claimants)
	return p
}

// compare ranks the better candidate first.
func (c *contest) compare(a, b candidate) int {
	if by := cmp.Compare(b.weight, a.weight); by != 0 {
		return by
	}
	if c.in.Sticky && a.claims != b.claims {
		if a.claims {
			return -1
		}
		return 1
	}
	ha, hb := rank(a.node, c.addr), rank(b.node, c.addr)
	return slices.Compare(ha[:], hb[:])
}

// rank is MetalLB's hash of a node and an address.
func rank(node string, addr netip.Addr) [sha256.Size]byte {
	return sha256.Sum256([]byte(node + "#" + addr.String()))
}

// refuses says why a node does not announce the address, empty if it may.
func (c *contest) refuses(name string, s Speaker) (reason, detail string) {
	n, known := c.in.Nodes[name]
	_, excluded := n.Labels[excludeLabel]
	switch {
	case !known:
		return ReasonNodeUnknown, "there is no such Node"
	case s.Leaving:
		return ReasonSpeakerLeaving, "its speaker is stopping"
	case n.NetworkUnavailable:
		return ReasonNodeNetworkUnavailable, "its condition NetworkUnavailable is True"
	case excluded && !c.in.IgnoreExclude:
		return ReasonNodeLabeledExclude, "it has the label " + excludeLabel
	}
	if !slices.ContainsFunc(c.ads, func(a *config.L2Advertisement) bool { return a.SelectsNode(n.Labels) }) {
		return ReasonNodeNotSelected, "no L2Advertisement of the address selects it"
	}
	if !slices.ContainsFunc(c.services, func(s *Service) bool { return !s.Local || s.Endpoints.Nodes[name] }) {
		return ReasonNoLocalEndpoints, "no endpoint serves there, and externalTrafficPolicy is Local"
	}
	interfaces := c.interfaces(n.Labels)
	if !slices.ContainsFunc(s.Links, func(l backends.Link) bool { return l.Carries(c.addr, interfaces, s.SameSubnet) }) {
		return ReasonNoInterface, noInterface(c.addr, interfaces, s)
	}
	return "", ""
}

// interfaces returns the names of those to announce on at a node: of all advertisements that select it; empty: all.
func (c *contest) interfaces(node labels.Set) []string {
	names := map[string]bool{}
	for _, a := range c.ads {
		if !a.SelectsNode(node) {
			continue
		}
		if len(a.Interfaces) == 0 {
			return nil
		}
		for _, name := range a.Interfaces {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// weight is the sum of the preferences that the advertisements have for a node. One that does not select the node prefers it in vain.
func (c *contest) weight(node labels.Set) int {
	sum := 0
	for _, a := range c.ads {
		if a.SelectsNode(node) {
			sum += a.Preference(node)
		}
	}
	return sum
}
