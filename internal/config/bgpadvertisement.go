package config

import (
	"fmt"
	"slices"
	"strings"

	"go4.org/netipx"

	"github.com/fairlead/fairlead/api/v1beta1"
)

const (
	addressBits4 = 32
	addressBits6 = 128
)

// BGPAdvertisement is a BGPAdvertisement in force: which pools are advertised by BGP, and how.
type BGPAdvertisement struct {
	origin
	selection
	// PoolsOnly is set if the advertisement is faulty and only which pools it selects is in force: the rest is empty.
	PoolsOnly bool
	// Restricts is set if it names peers, nodes, Services or communities, readable or not: not everybody may hear its routes, or pass
	// them on (no-export).
	Restricts bool
	// AggregationLength and AggregationLengthV6 are the lengths in bits of the prefixes to advertise.
	AggregationLength, AggregationLengthV6 int
	LocalPref                              uint32
	Communities                            []CommunityValue
	// Peers are the names of the BGPPeers that hear the routes; empty means all.
	Peers []string
}

// poolsOnly returns the part of the advertisement that says which pools are advertised.
func (a *BGPAdvertisement) poolsOnly() *BGPAdvertisement {
	return &BGPAdvertisement{origin: a.origin, selection: selection{pools: a.pools, poolSelectors: a.poolSelectors}, PoolsOnly: true,
		Restricts: a.Restricts}
}

// parseBGPAdvertisement returns nil if it cannot be known which pools the advertisement selects.
func parseBGPAdvertisement(o *v1beta1.BGPAdvertisement, aliases map[string]CommunityValue) (*BGPAdvertisement, []Fault) {
	a := &BGPAdvertisement{
		origin: originOf(v1beta1.GroupVersion, "BGPAdvertisement", o.ObjectMeta, o.Spec), LocalPref: o.Spec.LocalPref, Peers: o.Spec.Peers,
		Restricts: len(o.Spec.Peers)+len(o.Spec.NodeSelectors)+len(o.Spec.ServiceSelectors)+len(o.Spec.Communities) > 0,
	}
	f := &findings{ref: a.Ref}
	a.checkBackend(f)
	poolsKnown := a.selectPools(o.Spec.IPAddressPools, o.Spec.IPAddressPoolSelectors, f.add)
	a.selectNodes(o.Spec.NodeSelectors, f.add)
	a.selectServices(o.Spec.ServiceSelectors, f.add)
	distinct("spec.peers", o.Spec.Peers, f.add)
	distinct("spec.communities", o.Spec.Communities, f.add)
	a.parseCommunities(o.Spec.Communities, aliases, f)

	length := func(field string, in *int32, least, most int) int {
		if in == nil {
			return most
		}
		if n := int(*in); n < least || n > most {
			f.add(field, fmt.Sprintf("%d is not a prefix length; use %d to %d", n, least, most))
		}
		return int(*in)
	}
	a.AggregationLength = length("spec.aggregationLength", o.Spec.AggregationLength, 1, addressBits4)
	a.AggregationLengthV6 = length("spec.aggregationLengthV6", o.Spec.AggregationLengthV6, 0, addressBits6)
	if len(o.Spec.ServiceSelectors) > 0 && (a.AggregationLength != addressBits4 || a.AggregationLengthV6 != addressBits6) {
		f.add("spec.serviceSelectors", "serviceSelectors need whole addresses: leave aggregationLength at 32 and aggregationLengthV6 at 128")
	}
	if !poolsKnown {
		return nil, f.list
	}
	return a, f.list
}

func (a *BGPAdvertisement) parseCommunities(in []string, aliases map[string]CommunityValue, f *findings) {
	for i, text := range in {
		field := fmt.Sprintf("spec.communities[%d]", i)
		v, known := aliases[text]
		if !known {
			var err error
			if v, err = parseCommunityValue(text); err != nil {
				if strings.Contains(text, ":") {
					f.add(field, err.Error())
				} else {
					f.addMissing(field, fmt.Sprintf("no valid Community defines the alias %q; define it, or use a value like 64512:100", text))
				}
				continue
			}
		}
		if !slices.Contains(a.Communities, v) {
			a.Communities = append(a.Communities, v)
		}
	}
}

// suits reports the prefix lengths that are shorter than every prefix of an entry of a pool: such a prefix would cover addresses
// that are not in the pool.
func (a *BGPAdvertisement) suits(p *Pool, f *findings) {
	for _, r := range p.Ranges {
		field, length, whole := "spec.aggregationLength", a.AggregationLength, addressBits4
		if r.From().Is6() {
			field, length, whole = "spec.aggregationLengthV6", a.AggregationLengthV6, addressBits6
		}
		if length == whole {
			continue
		}
		shortest := addressBits6
		for _, prefix := range r.Prefixes() {
			shortest = min(shortest, prefix.Bits())
		}
		if length < shortest {
			f.add(field, fmt.Sprintf("%d is too short for %s of pool %q: the prefix would cover addresses outside; use at least %d", length, r,
				p.Name, shortest))
			return
		}
	}
}

// contradicts reports whether both are certain to advertise the same prefix of p to the same peer, from the same node.
func (a *BGPAdvertisement) contradicts(b *BGPAdvertisement, p *Pool) bool {
	if a.LocalPref == b.LocalPref || len(a.serviceSelectors)+len(b.serviceSelectors) > 0 || !shareNodes(a.nodeSelectors, b.nodeSelectors) {
		return false
	}
	if len(a.Peers) > 0 && len(b.Peers) > 0 && !slices.ContainsFunc(a.Peers,
		func(name string) bool { return slices.Contains(b.Peers, name) }) {
		return false
	}
	return slices.ContainsFunc(p.Ranges, func(r netipx.IPRange) bool {
		if r.From().Is6() {
			return a.AggregationLengthV6 == b.AggregationLengthV6
		}
		return a.AggregationLength == b.AggregationLength
	})
}

// advertised collects the advertisements that are in force, and which of the pools each one selects.
type advertised struct {
	pools []*Pool
	taken map[string][]*BGPAdvertisement // by the name of a pool
}

// fit takes in an advertisement unless it does not suit a pool, or contradicts one taken in before.
func (t *advertised) fit(a *BGPAdvertisement) []Fault {
	f := &findings{ref: a.Ref}
	var mine []*Pool
	for _, p := range t.pools {
		if !a.Selects(p) {
			continue
		}
		mine = append(mine, p)
		a.suits(p, f)
		for _, b := range t.taken[p.Name] {
			if a.contradicts(b, p) {
				f.add("spec.localPref", fmt.Sprintf("%d differs from %d of BGPAdvertisement %q, which advertises pool %q to the same peers; "+
					"give both the same localPref, or other pools, peers, nodes or aggregation lengths", a.LocalPref, b.LocalPref, b.Ref.Name, p.Name))
				break
			}
		}
		if len(f.list) > 0 {
			return f.list
		}
	}
	for _, p := range mine {
		t.taken[p.Name] = append(t.taken[p.Name], a)
	}
	return nil
}

// settleBGPAdvertisements keeps the last valid version of each faulty advertisement in force or, if there is none, which pools it
// selects: a fault in the rest does not end the advertising of a pool. pools are those in force, by name.
func settleBGPAdvertisements(objects []v1beta1.BGPAdvertisement, pools []*Pool, aliases map[string]CommunityValue,
	last map[string]*BGPAdvertisement) (map[string]*BGPAdvertisement, []Fault) {
	lastValid := make(map[string]*BGPAdvertisement, len(last))
	for name, a := range last {
		if !a.PoolsOnly {
			lastValid[name] = a
		}
	}
	var valid []*BGPAdvertisement
	var rejected []Ref
	var faults []Fault
	rest := make(map[string]*BGPAdvertisement, len(objects)) // what to fall back to
	for i := range objects {
		ref := refOf(v1beta1.GroupVersion, "BGPAdvertisement", objects[i].ObjectMeta)
		a, bad := parseBGPAdvertisement(&objects[i], aliases)
		if a != nil {
			rest[ref.Name] = a
		} else if was := last[ref.Name]; was != nil && was.Ref.UID == ref.UID {
			rest[ref.Name] = was
		}
		faults = append(faults, bad...)
		if a != nil && onlyMissing(bad) {
			if was, same := unchanged(lastValid, a.from()); same {
				valid = append(valid, was)
				continue
			}
		}
		if len(bad) > 0 {
			rejected = append(rejected, ref)
			continue
		}
		valid = append(valid, a)
	}
	together := &advertised{pools: pools, taken: map[string][]*BGPAdvertisement{}}
	inForce, lost := settle(valid, rejected, lastValid, together.fit)
	faults = told(append(faults, lost...), inForce)
	for i := range faults {
		faults[i].PoolsOnly = !faults[i].LastValid && rest[faults[i].Object.Name] != nil
	}
	for name, a := range rest {
		if inForce[name] == nil {
			inForce[name] = a.poolsOnly()
		}
	}
	return inForce, faults
}
