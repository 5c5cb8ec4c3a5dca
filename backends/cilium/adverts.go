package cilium

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	slimv1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
)

// bgpAdvertisements adds a CiliumBGPAdvertisement for each BGPAdvertisement.
func (t *translation) bgpAdvertisements() {
	t.contradictions()
	peers := t.peerNames()
	wanted := map[string]bool{}
	for _, a := range t.want.BGPAdvertisements {
		t.know(a.Pools)
		name := advertName(&a)
		wanted[name] = true
		if restricts(a.NodeSelectors) && t.want.Peers == nil && t.withhold(a.Source, "spec.nodeSelectors",
			"the routes of one CiliumBGPAdvertisement go out from all nodes; let the peers be managed (--manage-peers), or remove the selectors",
			a.Pools) {
			continue
		}
		if o := t.advertisement(name, a, peers); o != nil {
			t.objects = append(t.objects, o)
		}
	}
	for _, o := range t.world.adverts {
		if wanted[o.Name] || !owned(o, t.installation) {
			continue
		}
		if kept := t.heldAdvertisement(o); kept != nil {
			t.objects = append(t.objects, kept)
		}
	}
}

// advertisement returns the object for a BGPAdvertisement, or nil if it advertises nothing.
func (t *translation) advertisement(name string, a backends.BGPAdvertisement, peers []string) *v2.CiliumBGPAdvertisement {
	pools := t.labelsOf(a.Pools, t.listed(name))
	if len(pools) == 0 {
		return nil
	}
	service := &v2.BGPServiceOptions{Addresses: []v2.BGPServiceAddressType{v2.BGPLoadBalancerIPAddr}}
	service.AggregationLengthIPv4 = t.aggregation(a.Source, "spec.aggregationLength", a.AggregationLength, 32, t.noAggregation4)
	service.AggregationLengthIPv6 = t.aggregation(a.Source, "spec.aggregationLengthV6", a.AggregationLengthV6, 128, t.noAggregation6)

	o := &v2.CiliumBGPAdvertisement{ObjectMeta: t.meta(name, a.Source)}
	o.Labels[labelAdvertisement] = backends.LabelValue(a.Source.Name)
	for _, label := range slices.Concat(t.openLabels(a, peers), t.audience(name, a, peers)) {
		o.Labels[label] = yes
	}
	for _, asked := range alternatives(a.ServiceSelectors, t.faultySelector(a.Source, a.Pools)) {
		o.Spec.Advertisements = append(o.Spec.Advertisements, v2.BGPAdvertisement{
			AdvertisementType: v2.BGPServiceAdvert,
			Service:           service,
			Selector:          expressions(append([]requirement{in(labelPool, pools...)}, asked...)...),
			Attributes:        attributes(a),
		})
	}
	if len(o.Spec.Advertisements) == 0 {
		return nil
	}
	return o
}

// faultySelector reports a service selector that cannot be expressed. What it alone selects is not advertised, whatever the user
// allows: nothing is known of it that could be written.
func (t *translation) faultySelector(o backends.Source, pools []backends.Pool) func(int, error) {
	return func(i int, err error) {
		field := fmt.Sprintf("spec.serviceSelectors[%d]", i)
		t.find(backends.Finding{Type: backends.UnsupportedField, Object: o, Field: field, Message: err.Error(), Withheld: true})
		for _, p := range pools {
			s := t.pool(p.Name)
			s.withheld = append(s.withheld, o.String()+" "+field)
		}
	}
}

// aggregation returns the value for the field, nil if the routes are those of the addresses themselves: Cilium's own limits are
// 31 and 127 (pkg/k8s/apis/cilium.io/v2/bgp_advert_types.go).
func (t *translation) aggregation(o backends.Source, field string, length, bits int, missing bool) *int16 {
	if length <= 0 || length >= bits {
		return nil
	}
	if missing {
		t.unsupported(o, field, fmt.Sprintf("the installed CiliumBGPAdvertisement has no field for /%d; the routes are those of single addresses. "+
			"A newer Cilium aggregates them", length))
		return nil
	}
	l := int16(length)
	return &l
}

func attributes(a backends.BGPAdvertisement) *v2.BGPAttributes {
	var out v2.BGPAttributes
	if a.LocalPref > 0 {
		p := int64(a.LocalPref)
		out.LocalPreference = &p
	}
	var c v2.BGPCommunities
	for _, x := range a.Communities {
		if x.Large {
			c.Large = append(c.Large, v2.BGPLargeCommunity(x.String()))
		} else {
			c.Standard = append(c.Standard, v2.BGPStandardCommunity(x.String()))
		}
	}
	slices.Sort(c.Large)
	slices.Sort(c.Standard)
	c.Large, c.Standard = slices.Compact(c.Large), slices.Compact(c.Standard)
	if len(c.Large)+len(c.Standard) > 0 {
		out.Communities = &c
	}
	if out.Communities == nil && out.LocalPreference == nil {
		return nil
	}
	return &out
}

// openLabels returns the labels by which peer configs of the user's own may select the advertisement; see the package's
// documentation. One that is limited to nodes has none: such a peer config may serve any node.
func (t *translation) openLabels(a backends.BGPAdvertisement, peers []string) []string {
	if restricts(a.NodeSelectors) && !t.allowWider {
		return nil
	}
	var out []string
	if len(a.Peers) == 0 || t.allowWider {
		out = append(out, labelAdvertise)
	}
	if len(a.Peers) > 0 {
		peers = a.Peers
	}
	for _, p := range peers {
		out = append(out, peerLabel(p))
	}
	return out
}

// audience returns the labels by which the peer configs made here select an advertisement, or leave it out: of the peers that hear it, and
// of the nodes that do not advertise it.
func (t *translation) audience(name string, a backends.BGPAdvertisement, peers []string) []string {
	if t.want.Peers == nil {
		return nil
	}
	if len(a.Peers) > 0 {
		peers = a.Peers
	}
	var out []string
	for _, p := range peers {
		out = append(out, toLabel(p))
	}
	if !restricts(a.NodeSelectors) {
		return out
	}
	known := map[string]bool{}
	for _, n := range t.want.Nodes {
		label := exceptLabel(n.Name)
		known[label] = true
		if !matchesAny(a.NodeSelectors, n.Labels) {
			out = append(out, label)
		}
	}
	// A node that is going may still have its sessions.
	if old := existing[*v2.CiliumBGPAdvertisement](t, kindAdvert, name); old != nil {
		for _, node := range t.lingering() {
			if label := exceptLabel(node); !known[label] && old.Labels[label] != "" {
				out = append(out, label)
			}
		}
	}
	return out
}

// lingering returns the nodes that have sessions, or may have them yet.
func (t *translation) lingering() []string {
	var out []string
	for _, c := range t.world.nodeConfigs {
		out = append(out, c.Name)
	}
	for _, c := range t.world.clusterConfigs {
		if node, ok := strings.CutPrefix(c.Annotations[backends.AnnotationSource], "Node/"); ok && owned(c, t.installation) {
			out = append(out, node)
		}
	}
	return out
}

// peerNames returns the names of all peers that are known: those of BGPPeers, and those that advertisements name.
func (t *translation) peerNames() []string {
	set := map[string]bool{}
	for _, p := range t.want.Peers {
		set[p.Source.Name] = true
	}
	for _, a := range t.want.BGPAdvertisements {
		for _, p := range a.Peers {
			set[p] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// listed returns the labels of pools in our existing advertisement of that name.
func (t *translation) listed(name string) []string {
	o := existing[*v2.CiliumBGPAdvertisement](t, kindAdvert, name)
	if o == nil || len(t.hold) == 0 {
		return nil
	}
	var out []string
	for _, e := range o.Spec.Advertisements {
		out = append(out, poolsIn(e.Selector)...)
	}
	return out
}

// poolsIn returns the labels of pools that a selector of ours asks for.
func poolsIn(s *slimv1.LabelSelector) []string {
	if s == nil {
		return nil
	}
	for _, r := range s.MatchExpressions {
		if r.Key == labelPool {
			return r.Values
		}
	}
	return nil
}

// heldPools returns s without the pools that are not on hold, or nil if none is left.
func (t *translation) heldPools(s *slimv1.LabelSelector) *slimv1.LabelSelector {
	if s == nil {
		return nil
	}
	s = s.DeepCopy()
	for i, r := range s.MatchExpressions {
		if r.Key == labelPool {
			s.MatchExpressions[i].Values = slices.DeleteFunc(r.Values, func(l string) bool { return !t.hold[l] })
			if len(s.MatchExpressions[i].Values) > 0 {
				return s
			}
		}
	}
	return nil
}

// heldAdvertisement returns what has to stay of an advertisement that is not wanted any more: the pools on hold; nil if nothing.
func (t *translation) heldAdvertisement(o *v2.CiliumBGPAdvertisement) *v2.CiliumBGPAdvertisement {
	kept := o.DeepCopy()
	kept.Spec.Advertisements = nil
	for _, e := range o.Spec.Advertisements {
		if s := t.heldPools(e.Selector); s != nil {
			e = *e.DeepCopy()
			e.Selector = s
			kept.Spec.Advertisements = append(kept.Spec.Advertisements, e)
		}
	}
	if len(kept.Spec.Advertisements) == 0 {
		return nil
	}
	// For which nodes it is was said by what is gone. It is not for one that comes now.
	limited := slices.ContainsFunc(slices.Collect(maps.Keys(kept.Labels)),
		func(l string) bool { return strings.HasPrefix(l, exceptLabelPrefix) })
	for _, n := range t.want.Nodes {
		if limited && t.have[key{kind: kindClusterConfig, name: clusterConfigName(n.Name)}] == nil {
			kept.Labels[exceptLabel(n.Name)] = yes
		}
	}
	return kept
}

// contradictions reports advertisements that give the same routes different local preferences: Cilium sends the highest
// (pkg/bgp/manager/reconciler/policies.go).
func (t *translation) contradictions() {
	type route struct {
		pool   string
		v4, v6 int
	}
	first := map[route]backends.BGPAdvertisement{}
	for _, a := range t.want.BGPAdvertisements {
		told := false
		for _, p := range a.Pools {
			r := route{p.Name, a.AggregationLength, a.AggregationLengthV6}
			other, ok := first[r]
			if !ok {
				first[r] = a
			} else if other.LocalPref != a.LocalPref && !told {
				told = true
				t.unsupported(a.Source, "spec.localPref",
					fmt.Sprintf("%d contradicts %d of BGPAdvertisement %q, which has pool %q and the same aggregation length, too; "+
						"where both apply Cilium sends the higher", a.LocalPref, other.LocalPref, other.Source.Name, p.Name))
			}
		}
	}
}
