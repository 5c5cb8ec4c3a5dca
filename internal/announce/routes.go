package announce

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// RoutesInput is what Routes decides on.
type RoutesInput struct {
	Snapshot *config.Snapshot
	// Serves reports whether the speakers serve a BGPAdvertisement.
	Serves func(*config.BGPAdvertisement) bool
	// Services have an address each, and are sorted by namespace and name.
	Services []Service
	// Self is the node that is decided for, and Node what is known of it; nil if there is no such Node.
	Self string
	Node *Node
	// IgnoreExclude has the node advertise in spite of the label that excludes it.
	IgnoreExclude bool
	// DrainCordoned has routers prefer other nodes while this one is cordoned (RFC 8326).
	DrainCordoned bool
}

// RoutesDecision is what Routes decides.
type RoutesDecision struct {
	// Routes are what each peer of the node hears, by prefix and then by attributes.
	Routes []backends.Route
	// Peers are the names of those that hear routes of a Service, sorted.
	Peers map[types.NamespacedName][]string
	// Refusals say of the other Services why this node does not advertise them.
	Refusals map[types.NamespacedName]Verdict
}

// maxCommunities is how many communities a route may have, as with MetalLB.
const maxCommunities = 63

// Routes decides what one node advertises by BGP. Every BGPAdvertisement that selects the pool of an address, the Service and the
// node adds a route; where several lead to one prefix for one peer, its communities are those of all of them. A prefix of several
// Services is there as long as one of them is.
func Routes(in RoutesInput) RoutesDecision {
	d := RoutesDecision{Peers: map[types.NamespacedName][]string{}, Refusals: map[types.NamespacedName]Verdict{}}
	table := heardRoutes{}
	for i := range in.Services {
		s := &in.Services[i]
		heard, refusal := in.advertise(s, table)
		if refusal != nil {
			d.Refusals[s.ID()] = *refusal
			continue
		}
		d.Peers[s.ID()] = slices.Sorted(maps.Keys(heard))
	}
	d.Routes = table.routes()
	if in.draining() {
		for i := range d.Routes {
			d.Routes[i].Draining = true
		}
	}
	return d
}

// draining reports whether routers are to prefer other nodes.
func (in *RoutesInput) draining() bool {
	return in.Node != nil && in.Node.Cordoned && in.DrainCordoned
}

// peers returns the names of the peers of this node that an advertisement is for, and of those among them that take routes of a
// family.
func (in *RoutesInput) peers(a *config.BGPAdvertisement, is6 bool) (all, take []string) {
	for _, p := range in.Snapshot.BGPPeers() {
		if !p.SelectsNode(in.Node.Labels) || len(a.Peers) > 0 && !slices.Contains(a.Peers, p.Ref.Name) {
			continue
		}
		all = append(all, p.Ref.Name)
		if in.carries(p, is6) {
			take = append(take, p.Ref.Name)
		}
	}
	return all, take
}

// carries reports whether this node's session with a peer takes routes of a family.
func (in *RoutesInput) carries(p *config.BGPPeer, is6 bool) bool {
	if in.Node.Annotations == nil || p.FromNode.PeerAddress == "" {
		return p.Carries(is6)
	}
	here := OnNode(backends.Peer{Address: p.Address, Interface: p.Interface, DualStack: p.DualStack}, p.FromNode, in.Self, in.Node.Annotations)
	return here.Carries(is6)
}

// contribution is what an advertisement adds to what a peer hears.
type contribution struct {
	prefix netip.Prefix
	peer   string
	ad     *config.BGPAdvertisement
}

// advertise adds the routes of a Service to the table. It returns who hears them, or why there are none.
func (in *RoutesInput) advertise(s *Service, table heardRoutes) (heard map[string]bool, _ *Verdict) {
	if refusal := in.nodeRefuses(s); refusal != nil {
		return nil, refusal
	}
	var all []contribution
	var no []Verdict
	for _, addr := range s.Addrs {
		ads, refusal := in.advertisements(s, addr)
		if refusal != nil {
			no = append(no, *refusal)
			continue
		}
		before, deaf := len(all), []string(nil)
		for _, a := range ads {
			peers, take := in.peers(a, addr.Is6())
			deaf = append(deaf, peers...)
			for _, peer := range take {
				all = append(all, contribution{route(a, addr), peer, a})
			}
		}
		if len(all) == before {
			no = append(no, *in.noPeer(deaf, addr.Is6()))
		}
	}
	if len(no) == len(s.Addrs) {
		v := together(no)
		return nil, &v
	}
	if refusal := table.take(all); refusal != nil {
		return nil, refusal
	}
	heard = map[string]bool{}
	for _, c := range all {
		heard[c.peer] = true
	}
	return heard, nil
}

// noPeer refuses addresses of a family that no peer of the node is told of. deaf are the peers that might be, but for the family.
func (in *RoutesInput) noPeer(deaf []string, is6 bool) *Verdict {
	if len(deaf) == 0 {
		return refuse(ReasonNoPeer, "node %q has no session with a BGPPeer that may hear it", in.Self)
	}
	names := map[string]bool{}
	for _, name := range deaf {
		names[name] = true
	}
	return refuse(ReasonNoPeer, "node %q has no session that carries %s routes, only with %s: add a BGPPeer with an address of that family, or set dualStackAddressFamily",
		in.Self, backends.FamilyName(is6), some("BGPPeer", names))
}

// nodeRefuses says why the node advertises nothing of a Service, nil if it may.
func (in *RoutesInput) nodeRefuses(s *Service) *Verdict {
	no := func(reason, detail string) *Verdict {
		return refuse(reason, "node %q does not advertise it: %s", in.Self, detail)
	}
	if in.Node == nil {
		return no(ReasonNodeUnknown, "there is no such Node")
	}
	_, excluded := in.Node.Labels[excludeLabel]
	switch {
	case in.Node.NetworkUnavailable:
		return no(ReasonNodeNetworkUnavailable, "its condition NetworkUnavailable is True")
	case excluded && !in.IgnoreExclude:
		return no(ReasonNodeLabeledExclude, "it has the label "+excludeLabel)
	case !s.Endpoints.Any:
		return no(ReasonNoEndpoints, "no endpoint of the Service serves")
	case s.Local && !s.Endpoints.Nodes[in.Self]:
		return no(ReasonNoLocalEndpoints, "no endpoint serves there, and externalTrafficPolicy is Local")
	}
	return nil
}

// advertisements returns those of one address of a Service on this node, or why there is none.
func (in *RoutesInput) advertisements(s *Service, addr netip.Addr) ([]*config.BGPAdvertisement, *Verdict) {
	pool := poolOf(in.Snapshot, s.Pools, addr)
	if pool == nil {
		return nil, noPool(s, addr)
	}
	return in.advertisementsOf(pool, s.Labels)
}

// noPool refuses an address that has no pool.
func noPool(s *Service, addr netip.Addr) *Verdict {
	return refuse(ReasonNoAdvertisement, "address %s is in none of the pools %q that the Service has it from", addr, s.Pools)
}

// advertisementsOf returns those of the addresses that a Service with the labels of has from a pool, or why there is none.
func (in *RoutesInput) advertisementsOf(pool *config.Pool, of labels.Set) ([]*config.BGPAdvertisement, *Verdict) {
	var out []*config.BGPAdvertisement
	var selected, served, service bool
	for _, a := range in.Snapshot.BGPAdvertisements() {
		if !a.Selects(pool) || a.PoolsOnly && a.Restricts {
			continue
		}
		selected = true
		if !in.Serves(a) {
			continue
		}
		served = true
		if !a.SelectsService(of) {
			continue
		}
		service = true
		if a.SelectsNode(in.Node.Labels) {
			out = append(out, a)
		}
	}
	switch {
	case !selected:
		return nil, refuse(ReasonNoAdvertisement, "no BGPAdvertisement selects pool %q", pool.Name)
	case !served:
		return nil, refuse(ReasonNoBackend, "the speakers serve no BGPAdvertisement that selects pool %q", pool.Name)
	case !service:
		return nil, refuse(ReasonServiceNotSelected, "the serviceSelectors of the BGPAdvertisements of pool %q do not select the Service",
			pool.Name)
	case len(out) == 0:
		return nil, refuse(ReasonNodeNotSelected, "no BGPAdvertisement of pool %q selects node %q", pool.Name, in.Self)
	}
	return out, nil
}

// route returns the prefix that an advertisement makes of an address.
func route(a *config.BGPAdvertisement, addr netip.Addr) netip.Prefix {
	b := backends.BGPAdvertisement{AggregationLength: a.AggregationLength, AggregationLengthV6: a.AggregationLengthV6}
	return b.Route(addr)
}

// heardRoutes is what each peer hears of each prefix.
type heardRoutes map[netip.Prefix]map[string]*heardRoute

type heardRoute struct {
	localPref   uint32
	communities map[backends.Community]bool
	from        string // the BGPAdvertisement that came first
}

// union returns how many communities r and o have together; o may be nil.
func (r *heardRoute) union(o *heardRoute) int {
	n := len(r.communities)
	if o == nil {
		return n
	}
	for c := range o.communities {
		if !r.communities[c] {
			n++
		}
	}
	return n
}

// take adds what one Service adds, unless something speaks against it, which it returns.
func (t heardRoutes) take(all []contribution) *Verdict {
	mine := heardRoutes{}
	for _, c := range all {
		for _, other := range []*heardRoute{t[c.prefix][c.peer], mine[c.prefix][c.peer]} {
			if other != nil && other.localPref != c.ad.LocalPref {
				return refuse(ReasonConflictingAdvertisements,
					"BGPAdvertisements %q and %q give %s different localPref for peer %q; give both the same",
					other.from, c.ad.Ref.Name, c.prefix, c.peer)
			}
		}
		mine.add(c.prefix, c.peer, c.ad)
		if mine[c.prefix][c.peer].union(t[c.prefix][c.peer]) > maxCommunities {
			return refuse(ReasonConflictingAdvertisements,
				"BGPAdvertisements, %q among them, give %s more than %d communities together for peer %q; remove some",
				c.ad.Ref.Name, c.prefix, maxCommunities, c.peer)
		}
	}
	for _, c := range all {
		t.add(c.prefix, c.peer, c.ad)
	}
	return nil
}

func (t heardRoutes) add(prefix netip.Prefix, peer string, a *config.BGPAdvertisement) {
	if t[prefix] == nil {
		t[prefix] = map[string]*heardRoute{}
	}
	r := t[prefix][peer]
	if r == nil {
		r = &heardRoute{localPref: a.LocalPref, communities: map[backends.Community]bool{}, from: a.Ref.Name}
		t[prefix][peer] = r
	}
	for _, c := range communities(a.Communities) {
		r.communities[c] = true
	}
}

// routes returns the table with one Route for all peers that hear the same of a prefix.
func (t heardRoutes) routes() []backends.Route {
	var out []backends.Route
	for prefix, peers := range t {
		alike := map[string]*backends.Route{}
		for _, peer := range slices.Sorted(maps.Keys(peers)) {
			r := peers[peer]
			list := slices.SortedFunc(maps.Keys(r.communities), func(a, b backends.Community) int { return strings.Compare(a.String(), b.String()) })
			key := fmt.Sprint(r.localPref, list)
			if alike[key] == nil {
				alike[key] = &backends.Route{Prefix: prefix, LocalPref: r.localPref, Communities: list}
			}
			alike[key].Peers = append(alike[key].Peers, peer)
		}
		for _, r := range alike {
			out = append(out, *r)
		}
	}
	slices.SortFunc(out, func(a, b backends.Route) int {
		return cmp.Or(comparePrefixes(a.Prefix, b.Prefix), strings.Compare(a.Peers[0], b.Peers[0]))
	})
	return out
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
