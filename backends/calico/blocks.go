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
	// foreignPeers are Calico's BGPPeers that are not ours: they hear everything.
	foreignPeers []string
	// perIP is set if the installed Calico advertises entries of a single address by the status of Services.
	perIP bool
	// canDisable is set if the installed CRD has spec.serviceLoadBalancerAggregation.
	canDisable bool
	// current is the value of that field.
	current v3.ServiceLoadBalancerAggregation
	// others says why Disabled would change the routes of others; empty if it would not.
	others string
}

// routes is what is to be in the BGPConfiguration.
type routes struct {
	entries     []Entry                           // of serviceLoadBalancerIPs, sorted
	tags        []Tag                             // of prefixAdvertisements, sorted
	aggregation v3.ServiceLoadBalancerAggregation // empty: as the user has it
	findings    []backends.Finding
	// ignoresServices is set if it does not matter which Services there are.
	ignoresServices bool
	pools           map[string]backends.PoolOutcome
}

// Tag is one entry of spec.prefixAdvertisements: the communities of a prefix.
type Tag struct {
	Prefix      netip.Prefix
	Communities []string // sorted
}

func unsupported(a *backends.BGPAdvertisement, field, message string, withheld bool) backends.Finding {
	return backends.Finding{Type: backends.UnsupportedField, Object: a.Source, Field: field, Message: message, Withheld: withheld}
}

// route decides what of want can be in the BGPConfiguration, and how. It is a pure function.
func route(want backends.Desired, s surroundings) routes {
	r := routes{pools: map[string]backends.PoolOutcome{}}
	prefixes := map[string][]netip.Prefix{}
	for _, a := range want.Announcements {
		prefixes[a.Pool] = append(prefixes[a.Pool], a.Prefix)
	}
	byPool := map[string][]*backends.BGPAdvertisement{}
	var order []string
	for i := range want.BGPAdvertisements {
		a := &want.BGPAdvertisements[i]
		if refused, findings := withheld(a, s); len(findings) > 0 {
			r.findings = append(r.findings, findings...)
			if refused {
				for _, p := range a.Pools {
					if _, told := r.pools[p.Name]; !told {
						r.pools[p.Name] = backends.PoolOutcome{Message: fmt.Sprintf("%s asks for %s, which Calico cannot do", a.Source, findings[0].Field)}
					}
				}
				continue
			}
		}
		for _, p := range a.Pools {
			if byPool[p.Name] == nil {
				order = append(order, p.Name)
			}
			byPool[p.Name] = append(byPool[p.Name], a)
		}
	}
	mode := r.settleMode(byPool, s)
	each := mode == Disabled || mode == Preserve && s.current == v3.ServiceLoadBalancerAggregationDisabled // address is a route
	r.ignoresServices = mode != PerIP
	inUse := index(want.Services)
	for _, pool := range order {
		r.add(pool, prefixes[pool], byPool[pool], inUse[pool], mode, each)
	}
	sortEntries(r.entries)
	r.entries = slices.CompactFunc(r.entries, func(a, b Entry) bool { return a.Prefix == b.Prefix })
	r.limitTags()
	r.findings = distinct(r.findings)
	return r
}

// withheld returns what of an advertisement Calico cannot express, and whether the advertisement is not served for that reason.
func withheld(a *backends.BGPAdvertisement, s surroundings) (refused bool, findings []backends.Finding) {
	why := ""
	switch {
	case !s.managesPeers:
		why = "every node advertises to all of Calico's own peers; create BGPPeers of metallb.io, whose sessions the controller manages, or leave the field out"
	case len(s.foreignPeers) > 0:
		why = fmt.Sprintf("BGPPeer %q of Calico, which is not ours, would hear the routes, too; replace it by one of metallb.io, or leave the field out", s.foreignPeers[0])
	}
	if len(a.Peers) > 0 && why != "" {
		findings = append(findings, unsupported(a, "spec.peers", why, !s.allowWider))
	}
	if len(a.NodeSelectors) > 0 && why != "" {
		findings = append(findings, unsupported(a, "spec.nodeSelectors", why, !s.allowWider))
	}
	refused = len(findings) > 0 && !s.allowWider
	if a.LocalPref != 0 {
		findings = append(findings, unsupported(a, "spec.localPref", "Calico sets no local preference; routes to peers of the same AS carry its default", false))
	}
	return refused, findings
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
	case s.mode == Auto && s.perIP:
		return PerIP
	case s.mode == Auto:
		return Preserve
	}
	return s.mode
}

// add adds what is needed for one pool, whose advertisements these are.
func (r *routes) add(pool string, prefixes []netip.Prefix, by []*backends.BGPAdvertisement, inUse []address, mode Aggregation, each bool) {
	blocks := map[netip.Prefix][]string{} // with their communities
	for _, a := range by {
		mine := prefixes
		switch {
		case mode == PerIP:
			mine = routesOf(a, inUse)
		case len(a.ServiceSelectors) > 0:
			r.findings = append(r.findings, unsupported(a, "spec.serviceSelectors",
				"Calico advertises every Service with an address from an entry; choose the aggregation per-ip, which needs Calico v3.30.7, v3.31.5 or v3.32", true))
			continue
		case !each || !a.Exact():
			r.findings = append(r.findings, unsupported(a, lengthField(a), "is not honoured: with this aggregation "+
				"Calico advertises the pools' own prefixes, or every address on its own; choose the aggregation per-ip for exact lengths", false))
		}
		var communities []string
		for _, c := range a.Communities {
			communities = append(communities, c.String())
		}
		for _, p := range mine {
			blocks[p] = append(blocks[p], communities...)
		}
	}
	for p, communities := range blocks {
		r.entries = append(r.entries, Entry{Prefix: p, Pool: pool})
		if len(communities) > 0 {
			slices.Sort(communities)
			r.tags = append(r.tags, Tag{Prefix: p, Communities: slices.Compact(communities)})
		}
	}
	r.pools[pool] = outcome(mode == PerIP, each, prefixes, len(blocks))
}

// address is an address in use, and the labels of the Service that uses it.
type address struct {
	netip.Addr
	service labels.Set
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
			if a.Is6() {
				pool = v6
			}
			out[pool] = append(out[pool], address{a, s.Labels})
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
		return backends.PoolOutcome{Advertised: true, Message: "Calico: an entry for each route"}
	case each:
		return backends.PoolOutcome{Advertised: true, Message: "Calico: every address on its own"}
	}
	var list []string
	for _, p := range prefixes {
		list = append(list, p.String())
	}
	const some = 3
	if len(list) > some {
		list = append(list[:some], fmt.Sprintf("%d more", len(list)-some))
	}
	return backends.PoolOutcome{Advertised: true, Message: "Calico: aggregated in " + strings.Join(list, ", ")}
}

func lengthField(a *backends.BGPAdvertisement) string {
	if a.AggregationLength != 32 && a.AggregationLength != 0 {
		return "spec.aggregationLength"
	}
	return "spec.aggregationLengthV6"
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

// limitTags keeps the communities within Calico's limits.
func (r *routes) limitTags() {
	slices.SortFunc(r.tags, func(a, b Tag) int { return comparePrefixes(a.Prefix, b.Prefix) })
	report := func(field, message string) {
		r.findings = append(r.findings, backends.Finding{Type: backends.UnsupportedField, Object: configurationSource, Field: field, Message: message})
	}
	if n := len(r.tags); n > maxPrefixAdvertisements {
		report("spec.prefixAdvertisements", fmt.Sprintf("holds at most %d entries, and the communities of %d prefixes are wanted; the last %d have none",
			maxPrefixAdvertisements, n, n-maxPrefixAdvertisements))
		r.tags = r.tags[:maxPrefixAdvertisements]
	}
	for i, t := range r.tags {
		if n := len(t.Communities); n > maxCommunities {
			report(fmt.Sprintf("spec.prefixAdvertisements[%s].communities", t.Prefix), fmt.Sprintf("holds at most %d, and %d are wanted; the last %d are left out",
				maxCommunities, n, n-maxCommunities))
			r.tags[i].Communities = t.Communities[:maxCommunities]
		}
	}
}
