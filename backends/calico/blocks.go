package calico

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
)

// Aggregation says how the addresses of a pool become routes.
type Aggregation string

const (
	// Auto is Disabled where that changes nothing but our own routes, else PerIP if a prefix length or a selector asks for it, else
	// Preserve.
	Auto Aggregation = "auto"
	// Preserve writes the pools' prefixes and leaves spec.serviceLoadBalancerAggregation as it is.
	Preserve Aggregation = "preserve"
	// Disabled has Calico advertise every address on its own. It applies to the entries of others and to cluster and external IPs, too.
	Disabled Aggregation = "disabled"
	// Enabled has every node advertise the prefixes as a whole.
	Enabled Aggregation = "enabled"
	// PerIP writes an entry for each address in use, which Calico advertises as such whatever the aggregation is.
	PerIP Aggregation = "per-ip"
)

// Aggregations are all values, the default first.
var Aggregations = []Aggregation{Auto, Preserve, Disabled, Enabled, PerIP}

// maxPrefixAdvertisements and maxCommunities are the limits of spec.prefixAdvertisements (api/pkg/apis/projectcalico/v3/bgpconfig.go).
const (
	maxPrefixAdvertisements = 500
	maxCommunities          = 50
)

// surroundings is what blocks needs to know of the configuration that is there.
type surroundings struct {
	mode       Aggregation
	allowWider bool
	// managesPeers is set if the sessions are ours, so that filters can keep a route from a peer or a node.
	managesPeers bool
	// mesh is set if nodes pass routes on to each other, and sessions that are not ours pass them on to routers.
	mesh bool
	// foreignPeers are Calico's BGPPeers that are not ours: they hear everything.
	foreignPeers []string
	// filters is set if Calico has BGPFilters.
	filters bool
	// perIP is set if the installed Calico is known to advertise entries of a single address by the status of Services; never if it
	// is known not to.
	perIP, never bool
	// canDisable is set if the installed CRD has spec.serviceLoadBalancerAggregation.
	canDisable bool
	// current is the value of that field.
	current v3.ServiceLoadBalancerAggregation
	// others says why Disabled would change the routes of others; empty if it would not.
	others string
	// live are the pools that have entries.
	live map[string]bool
	// applied is set if somebody else applies the whole list, so that entries cannot follow the Services.
	applied bool
}

// routes is what is to be in the BGPConfiguration.
type routes struct {
	entries     []Entry                           // of serviceLoadBalancerIPs, sorted
	served      []backends.BGPAdvertisement       // with the pools that they are served for
	tags        []Tag                             // of prefixAdvertisements, sorted
	aggregation v3.ServiceLoadBalancerAggregation // empty: as the user has it
	findings    []backends.Finding
	// ignoresServices is set if it does not matter which Services there are.
	ignoresServices bool
	pools           map[string]backends.PoolOutcome
	crowded         map[string]bool // pools that are kept out for having too many prefixes
}

// route decides what of want can be in the BGPConfiguration, and how. It is a pure function.
func route(want backends.Desired, s surroundings) routes {
	r := routes{pools: map[string]backends.PoolOutcome{}}
	prefixes := map[string][]netip.Prefix{}
	for _, a := range want.Announcements {
		prefixes[a.Pool] = append(prefixes[a.Pool], a.Prefix)
	}
	byPool := map[string][]*backends.BGPAdvertisement{}
	names := map[string]backends.Pool{}
	var order []string
	for i := range want.BGPAdvertisements {
		a := &want.BGPAdvertisements[i]
		refused, findings := withheld(a, s)
		r.findings = append(r.findings, findings...)
		for _, p := range a.Pools {
			if refused {
				r.refuse(p.Name, a, findings[0].Field, s)
				continue
			}
			if byPool[p.Name] == nil {
				order, names[p.Name] = append(order, p.Name), p
			}
			byPool[p.Name] = append(byPool[p.Name], a)
		}
	}
	mode := r.settleMode(byPool, s)
	each := mode == Disabled || mode != Enabled && s.current == v3.ServiceLoadBalancerAggregationDisabled // address is a route
	r.ignoresServices = mode != PerIP
	inUse := index(want.Services)
	served := map[backends.Source][]backends.Pool{}
	var there crowd
	for _, pool := range liveFirst(order, s.live) {
		by := r.admit(pool, byPool[pool], mode, s)
		if with := there.with(prefixes[pool]); mode != PerIP && len(by) > 0 {
			if with.exceeds(there) {
				r.tooMany(pool, by, there, with, s.live[pool])
				if !s.live[pool] {
					continue
				}
			}
			there = with
		}
		for _, a := range by {
			served[a.Source] = append(served[a.Source], names[pool])
		}
		if len(by) > 0 {
			r.add(pool, prefixes[pool], by, inUse[pool], mode, each)
			r.checkLocal(by, inUse[pool], mode, each, s.mesh)
		}
	}
	for _, a := range want.BGPAdvertisements {
		if a.Pools = served[a.Source]; len(a.Pools) > 0 {
			r.served = append(r.served, a)
		}
	}
	sortEntries(r.entries)
	r.entries = slices.CompactFunc(r.entries, func(a, b Entry) bool { return a.Prefix == b.Prefix })
	r.limitCommunities()
	r.findings = distinct(r.findings)
	return r
}

// settleMode chooses what Auto stands for, and reports a mode that cannot be had.
func (r *routes) settleMode(byPool map[string][]*backends.BGPAdvertisement, s surroundings) Aggregation {
	exact := true
	for _, by := range byPool {
		exact = exact && !slices.ContainsFunc(by, func(a *backends.BGPAdvertisement) bool { return !a.Exact() || len(a.ServiceSelectors) > 0 })
	}
	switch {
	case len(byPool) == 0:
		return Preserve
	case s.mode == Disabled && !s.canDisable, s.mode == Enabled && !s.canDisable:
		r.findings = append(r.findings, backends.Finding{
			Type: backends.UnsupportedField, Object: configurationSource, Field: "spec.serviceLoadBalancerAggregation",
			Message: "this Calico does not have the field, which came with v3.31: the pools' prefixes are advertised as a whole",
		})
		return Preserve
	case s.mode == Disabled, s.mode == Auto && exact && s.canDisable && s.others == "":
		r.aggregation = v3.ServiceLoadBalancerAggregationDisabled
		return Disabled
	case s.mode == Enabled:
		r.aggregation = v3.ServiceLoadBalancerAggregationEnabled
		return Enabled
	case s.mode == Auto && s.perIP && !s.applied:
		return PerIP
	case s.mode == PerIP && s.never:
		r.findings = append(r.findings, backends.Finding{
			Type: backends.UnsupportedField, Object: configurationSource, Field: "spec.serviceLoadBalancerIPs",
			Message: "this Calico looks at spec.loadBalancerIP of a Service, not at its status, for entries of a single address: only Services that ask for " +
				"their address so are advertised; use v3.30.7, v3.31.5 or v3.32, or another aggregation",
		})
	case s.mode == Auto:
		return Preserve
	}
	return s.mode
}

// add adds what is needed for one pool, whose advertisements these are.
func (r *routes) add(pool string, prefixes []netip.Prefix, by []*backends.BGPAdvertisement, inUse []address, mode Aggregation, each bool) {
	blocks := map[netip.Prefix]bool{}
	tags := map[netip.Prefix][]string{}
	for _, a := range by {
		mine := prefixes
		if mode == PerIP {
			mine = routesOf(a, inUse)
		}
		r.checkLengths(a, mine, mode, each)
		for _, p := range mine {
			blocks[p] = true
		}
		tagged := mine
		if len(by) == 1 && a.Exact() && len(a.ServiceSelectors) == 0 && len(mine) > 0 {
			tagged = prefixes // a tag covers all that is within
		}
		for _, c := range a.Communities {
			for _, p := range tagged {
				tags[p] = append(tags[p], c.String())
			}
		}
	}
	for p := range blocks {
		r.entries = append(r.entries, Entry{Prefix: p, Pool: pool})
	}
	for p, communities := range tags {
		slices.Sort(communities)
		r.tags = append(r.tags, Tag{Prefix: p, Communities: slices.Compact(communities)})
	}
	r.pools[pool] = outcome(mode == PerIP, each, prefixes, len(blocks))
}

// checkLengths reports lengths that are not those of the routes that become of entries. Those of whole addresses are the API server's
// default, which nobody has to have asked for: how the pool is advertised is told in any case.
func (r *routes) checkLengths(a *backends.BGPAdvertisement, entries []netip.Prefix, mode Aggregation, each bool) {
	for _, e := range entries {
		field, asked := "spec.aggregationLength", a.Route(e.Addr()).Bits()
		if e.Addr().Is6() {
			field = "spec.aggregationLengthV6"
		}
		is := e.Bits()
		if each {
			is = e.Addr().BitLen()
		}
		if is == asked || asked == e.Addr().BitLen() {
			continue
		}
		message := fmt.Sprintf("is not honoured: Calico advertises %s as it is; choose the aggregation per-ip for routes of other lengths", e)
		if each {
			message = "is not honoured: spec.serviceLoadBalancerAggregation of BGPConfiguration \"default\" is Disabled, so that Calico advertises every address on its own"
		}
		r.findings = append(r.findings, unsupported(a, field, message, false))
	}
}

// checkLocal tells of Services with externalTrafficPolicy Local whose routes are not those that are asked for.
func (r *routes) checkLocal(by []*backends.BGPAdvertisement, inUse []address, mode Aggregation, each, mesh bool) {
	for _, a := range by {
		i := slices.IndexFunc(inUse, func(x address) bool { return x.local && a.SelectsService(x.service) })
		if i < 0 {
			continue
		}
		var what []string
		if !each && mode != PerIP {
			what = append(what, "their addresses are routes of their own, beside the prefix that every node advertises")
		}
		if mesh {
			what = append(what, "every node advertises them, not only those with an endpoint: nodes pass routes on within their mesh "+
				"(spec.nodeToNodeMeshEnabled of BGPConfiguration \"default\"), and Calico's own peers hear all of them; let BGPPeers be managed, or switch the mesh off")
		}
		if len(what) > 0 {
			r.findings = append(r.findings, unsupported(a, "", fmt.Sprintf("of Services with externalTrafficPolicy Local, such as that of %s, %s",
				inUse[i].Addr, strings.Join(what, "; ")), false))
		}
	}
}

// address is an address in use, and what matters of the Service that uses it.
type address struct {
	netip.Addr
	service labels.Set
	local   bool
}

// index returns the addresses in use by pool.
func index(services []backends.Service) map[string][]address {
	out := map[string][]address{}
	for i := range services {
		s := &services[i]
		v4, v6, two := strings.Cut(s.Pool, ",")
		if !two {
			v6 = v4
		}
		for _, a := range s.Addrs {
			pool := v4
			a = a.Unmap()
			if a.Is6() {
				pool = v6
			}
			out[pool] = append(out[pool], address{a, s.Labels, s.Local})
		}
	}
	return out
}

// routesOf returns the routes of the addresses that a selects, each at the length that a asks for, sorted.
func routesOf(a *backends.BGPAdvertisement, inUse []address) []netip.Prefix {
	var out []netip.Prefix
	for _, x := range inUse {
		if a.SelectsService(x.service) {
			out = append(out, a.Route(x.Addr))
		}
	}
	slices.SortFunc(out, comparePrefixes)
	return slices.Compact(out)
}

func outcome(perIP, each bool, prefixes []netip.Prefix, entries int) backends.PoolOutcome {
	switch {
	case entries == 0:
		return backends.PoolOutcome{Message: "no Service that a BGPAdvertisement selects has an address from it"}
	case perIP:
		return backends.PoolOutcome{Advertised: true, Message: "Calico: an entry for each route, whether or not an endpoint is ready"}
	case each:
		return backends.PoolOutcome{Advertised: true, Message: "Calico: every address on its own"}
	}
	out := backends.PoolOutcome{Advertised: true, Message: "Calico: aggregated in " + few(prefixes)}
	v4 := slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return p.Addr().Is6() })
	v6 := slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return p.Addr().Is4() })
	if len(v4) > 0 && len(v6) > 0 {
		out.MessageIPv4, out.MessageIPv6 = "Calico: aggregated in "+few(v4), "Calico: aggregated in "+few(v6)
	}
	return out
}

// few names the first of many prefixes.
func few(prefixes []netip.Prefix) string {
	var list []string
	for _, p := range prefixes {
		list = append(list, p.String())
	}
	const some = 3
	if len(list) > some {
		list = append(list[:some], fmt.Sprintf("%d more", len(list)-some))
	}
	return strings.Join(list, ", ")
}

// distinct drops findings that repeat an earlier one about the same field.
func distinct(in []backends.Finding) []backends.Finding {
	type about struct {
		kind   backends.FindingType
		object backends.Source
		field  string
	}
	told := map[about]bool{}
	return slices.DeleteFunc(in, func(f backends.Finding) bool {
		k := about{f.Type, f.Object, f.Field}
		was := told[k]
		told[k] = true
		return was
	})
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// limitCommunities sorts the tags, puts those of one prefix together, and keeps their communities within Calico's limit.
func (r *routes) limitCommunities() {
	slices.SortFunc(r.tags, func(a, b Tag) int { return comparePrefixes(a.Prefix, b.Prefix) })
	var out []Tag
	for _, t := range r.tags {
		if n := len(out); n > 0 && out[n-1].Prefix == t.Prefix {
			t.Communities = slices.Concat(out[n-1].Communities, t.Communities)
			slices.Sort(t.Communities)
			t.Communities = slices.Compact(t.Communities)
			out = out[:n-1]
		}
		out = append(out, t)
	}
	for i, t := range out {
		if n := len(t.Communities); n > maxCommunities {
			r.findings = append(r.findings, backends.Finding{
				Type: backends.UnsupportedField, Object: configurationSource, Field: fmt.Sprintf("spec.prefixAdvertisements[%s].communities", t.Prefix),
				Message: fmt.Sprintf("holds at most %d, and %d are wanted; the last %d are left out", maxCommunities, n, n-maxCommunities),
			})
			out[i].Communities = t.Communities[:maxCommunities]
		}
	}
	r.tags = out
}
