package calico

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/fairlead/fairlead/backends"
)

// newcomers are the nodes that do not tell anybody of some pools yet, and must not before the communities of these are in force.
type newcomers struct {
	pools  map[string]bool
	before backends.Desired // what was wanted until now
}

// wait reports whether a node does not tell a peer of a pool yet.
func (w *newcomers) wait(p *backends.Peer, node, pool string) bool {
	if !w.pools[pool] {
		return false
	}
	i := slices.IndexFunc(w.before.Nodes, func(n backends.Node) bool { return n.Name == node })
	return i < 0 || !slices.ContainsFunc(w.before.BGPAdvertisements, func(a backends.BGPAdvertisement) bool {
		return (len(a.Peers) == 0 || slices.Contains(a.Peers, p.Source.Name)) && a.SelectsNode(w.before.Nodes[i].Labels) &&
			slices.ContainsFunc(a.Pools, func(x backends.Pool) bool { return x.Name == pool })
	})
}

// groupNodes returns the nodes that hold a session with p, by the pools that the advertisements hide from p on them (names with
// commas between them). Without advertisements that select nodes there is one group, whose nodes do not matter; byName says
// whether they do: a node that is new has no session then until it is known what it may tell.
func groupNodes(p *backends.Peer, want backends.Desired, late newcomers) (groups map[string][]string, byName bool) {
	hidden := func(selected func(*backends.BGPAdvertisement) bool, waits func(pool string) bool) string {
		shown, all := map[string]bool{}, map[string]bool{}
		for i := range want.BGPAdvertisements {
			a := &want.BGPAdvertisements[i]
			hears := (len(a.Peers) == 0 || slices.Contains(a.Peers, p.Source.Name)) && selected(a)
			for _, pool := range a.Pools {
				all[pool.Name] = true
				shown[pool.Name] = shown[pool.Name] || hears && !waits(pool.Name)
			}
		}
		maps.DeleteFunc(all, func(pool string, _ bool) bool { return shown[pool] })
		return strings.Join(slices.Sorted(maps.Keys(all)), ",")
	}
	selects := func(a backends.BGPAdvertisement) bool { return len(a.NodeSelectors) > 0 }
	if !slices.ContainsFunc(want.BGPAdvertisements, selects) &&
		(len(late.pools) == 0 || !slices.ContainsFunc(late.before.BGPAdvertisements, selects)) {
		return map[string][]string{hidden(
			func(*backends.BGPAdvertisement) bool { return true }, func(string) bool { return false }): nil}, false
	}
	groups = map[string][]string{}
	for _, n := range want.Nodes {
		if !p.SelectsNode(n.Labels) {
			continue
		}
		name := n.Labels[labelHostname]
		if name == "" {
			name = n.Name
		}
		h := hidden(func(a *backends.BGPAdvertisement) bool { return a.SelectsNode(n.Labels) },
			func(pool string) bool { return late.wait(p, n.Name, pool) })
		groups[h] = append(groups[h], name)
	}
	for h := range groups {
		slices.Sort(groups[h])
	}
	return groups, true
}

// rule is one that rejects the routes within a prefix, or, if exact, the one of that prefix.
type rule struct {
	netip.Prefix
	source v3.BGPFilterMatchSource
	exact  bool
}

func (r rule) operator() v3.BGPFilterMatchOperator {
	if r.exact {
		return v3.Equal
	}
	return v3.In
}

// spec returns the rules that keep routes from being exported.
func spec(rules []rule) (out v3.BGPFilterSpec) {
	for _, r := range rules {
		if r.Addr().Is4() {
			out.ExportV4 = append(out.ExportV4, v3.BGPFilterRuleV4{CIDR: r.Prefix.String(), MatchOperator: r.operator(), Source: r.source,
				Action: v3.Reject})
		} else {
			out.ExportV6 = append(out.ExportV6, v3.BGPFilterRuleV6{CIDR: r.Prefix.String(), MatchOperator: r.operator(), Source: r.source,
				Action: v3.Reject})
		}
	}
	return out
}

// rulesOf returns those of a filter that was written here; nil if there is none.
func rulesOf(f *v3.BGPFilter) (out []rule) {
	if f == nil {
		return nil
	}
	add := func(cidr string, source v3.BGPFilterMatchSource, operator v3.BGPFilterMatchOperator) {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			out = append(out, rule{p, source, operator == v3.Equal})
		}
	}
	for _, r := range f.Spec.ExportV4 {
		add(r.CIDR, r.Source, r.MatchOperator)
	}
	for _, r := range f.Spec.ExportV6 {
		add(r.CIDR, r.Source, r.MatchOperator)
	}
	return out
}

// with adds rules that are not there yet, and sorts.
func with(rules []rule, more ...rule) []rule {
	rules = slices.Concat(rules, more)
	slices.SortFunc(rules, func(a, b rule) int {
		return cmp.Or(comparePrefixes(a.Prefix, b.Prefix), cmp.Compare(a.source, b.source), cmp.Compare(a.operator(), b.operator()))
	})
	return slices.Compact(rules)
}

// remote returns the filter that all sessions have in common: routes of ours that come from other nodes stay here, because they
// would lead traffic to nodes without a pod. Nil if there are none, or this Calico cannot tell.
func (s *sessions) remote() *v3.BGPFilter {
	if !s.filters || !s.has.filterSource {
		return nil
	}
	var rules []rule
	for _, prefixes := range s.prefixes {
		for _, p := range prefixes {
			rules = append(rules, rule{Prefix: p, source: v3.BGPFilterSourceRemotePeers})
		}
	}
	before := rulesOf(s.world.filters[remoteFilter])
	if s.narrowing {
		rules = append(rules, before...)
	}
	for _, p := range s.rest {
		kept := covering(before, p)
		if len(kept) == 0 {
			kept = []rule{{Prefix: p, source: v3.BGPFilterSourceRemotePeers}}
		}
		rules = append(rules, kept...)
	}
	if len(rules) == 0 {
		return nil
	}
	return &v3.BGPFilter{ObjectMeta: s.meta(remoteFilter, ""), Spec: spec(with(rules))}
}

// hide returns the filter of a session, which keeps the routes of hidden pools from a peer; nil if it is to hear everything.
func (s *sessions) hide(p *backends.Peer, o *v3.BGPPeer, hidden string) *v3.BGPFilter {
	name := o.Name
	if !s.filters {
		return nil
	}
	var rules []rule
	if hidden != "" {
		for pool := range strings.SplitSeq(hidden, ",") {
			for _, prefix := range s.prefixes[pool] {
				rules = append(rules, rule{Prefix: prefix})
				rules = append(rules, s.wider(pool, prefix)...)
			}
		}
	}
	if s.narrowing {
		rules = append(rules, rulesOf(s.world.filters[name])...)
	}
	// Prefixes that no announcement covers are hidden from those that they were hidden from, and from sessions that are new.
	before, knew := s.before(p, name)
	have := s.world.peers[name]
	changesNodes := have != nil && have.Spec.NodeSelector != o.Spec.NodeSelector
	for _, prefix := range s.rest {
		if changesNodes && slices.Contains(s.going, prefix) { // also as it was hidden from the nodes that come
			rules = append(rules, covering(s.all(p), prefix)...)
		} else if knew {
			rules = append(rules, covering(before, prefix)...)
		} else {
			rules = append(rules, rule{Prefix: prefix})
		}
	}
	if len(rules) == 0 {
		return nil
	}
	return &v3.BGPFilter{ObjectMeta: s.meta(name, p.Source.String()), Spec: spec(with(rules))}
}

// before returns the rules that the filter of that name has; if it is that of nodes that had others until now, theirs. It is false if
// there are no sessions with the peer yet.
func (s *sessions) before(p *backends.Peer, name string) (rules []rule, knew bool) {
	if s.world.peers[name] != nil {
		return rulesOf(s.world.filters[name]), true
	}
	for _, o := range s.world.peers {
		knew = knew || o.Annotations[backends.AnnotationSource] == p.Source.String()
	}
	return s.all(p), knew
}

// all returns the rules that the filters of all sessions with a peer have.
func (s *sessions) all(p *backends.Peer) (rules []rule) {
	for name, o := range s.world.peers {
		if o.Annotations[backends.AnnotationSource] == p.Source.String() {
			rules = append(rules, rulesOf(s.world.filters[name])...)
		}
	}
	return rules
}

// wider returns rules for the routes that advertisements make of a prefix of a pool and that are wider than it. What else is in them
// may be another pool's.
func (s *sessions) wider(pool string, prefix netip.Prefix) []rule {
	var out []rule
	for i := range s.want.BGPAdvertisements {
		a := &s.want.BGPAdvertisements[i]
		route := a.Route(prefix.Addr())
		if route.Bits() < prefix.Bits() && slices.ContainsFunc(a.Pools, func(p backends.Pool) bool { return p.Name == pool }) {
			out = append(out, rule{Prefix: route, exact: true})
		}
	}
	return out
}

// covering returns the rules for prefixes that p is in, or that are in p.
func covering(rules []rule, p netip.Prefix) []rule {
	var out []rule
	for _, r := range rules {
		if r.Overlaps(p) {
			out = append(out, r)
		}
	}
	return out
}
