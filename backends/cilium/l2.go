package cilium

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"

	"github.com/fairlead/fairlead/backends"
)

// l2Advertisements adds the policies. A policy has one selector for nodes and one for Services, and several policies on a Service
// add up, so there is one for each pair (pkg/l2announcer/l2announcer.go, desiredEntries).
func (t *translation) l2Advertisements() {
	wanted := map[string]bool{}
	for _, a := range t.want.L2Advertisements {
		t.know(a.Pools)
		if a.PrefersNodes {
			t.unsupported(a.Source, "spec.preferredNodeSelectors", "not used: Cilium gives an address to any of the nodes that may announce it")
		}
		for _, o := range t.policiesFor(a) {
			wanted[o.Name] = true
			t.objects = append(t.objects, o)
		}
	}
	for _, o := range t.world.policies {
		if wanted[o.Name] || !owned(o, t.installation) || o.Labels[labelDrains] != "" {
			continue
		}
		if s := t.heldPools(o.Spec.ServiceSelector); s != nil {
			kept := o.DeepCopy()
			kept.Spec.ServiceSelector = s
			t.objects = append(t.objects, kept)
		}
	}
	t.beside()
}

// beside gives each of several policies on one pool an annotation that says what the others are. When one of them goes, or does not select
// a Service any more, an agent goes on announcing on its interfaces until it hears of another policy of that Service
// (pkg/l2announcer/l2announcer.go: neither delPolicy nor upsertPolicy looks at Services that are selected by others yet). So the others are
// written anew, which is all that the annotation is for; order.go has it happen when the one is gone.
func (t *translation) beside() {
	on := map[string][]string{} // what there is on a pool, by its label
	var all []*policy
	for _, o := range t.objects {
		p, ok := o.(*policy)
		if !ok {
			continue
		}
		all = append(all, p)
		text := p.Name + string(content(p))
		for _, pool := range slices.Compact(poolsIn(p.Spec.ServiceSelector)) {
			on[pool] = append(on[pool], text)
		}
	}
	digests := map[string]string{} // of pools with more than one
	for pool, texts := range on {
		if len(texts) > 1 {
			slices.Sort(texts)
			digests[pool] = backends.Hash(texts...)
		}
	}
	for _, p := range all {
		var parts []string
		for _, pool := range poolsIn(p.Spec.ServiceSelector) {
			if d := digests[pool]; d != "" {
				parts = append(parts, d)
			}
		}
		if delete(p.Annotations, annotationBeside); len(parts) > 0 {
			p.Annotations[annotationBeside] = backends.Hash(parts...)
		}
	}
}

// policiesFor returns the policies of one L2Advertisement.
func (t *translation) policiesFor(a backends.L2Advertisement) []*v2alpha1.CiliumL2AnnouncementPolicy {
	nodes := alternatives(a.NodeSelectors, func(i int, err error) {
		t.withhold(a.Source, fmt.Sprintf("spec.nodeSelectors[%d]", i), err.Error(), nil) // the other selectors stay
	})
	services := alternatives(a.ServiceSelectors, t.faultySelector(a.Source, a.Pools))
	var interfaces []string
	for _, name := range a.Interfaces {
		interfaces = append(interfaces, "^"+regexp.QuoteMeta(name)+"$")
	}
	slices.Sort(interfaces)
	var out []*v2alpha1.CiliumL2AnnouncementPolicy
	for _, n := range nodes {
		for _, s := range services {
			name := objectName("l2", a.Source.Name)
			if len(nodes)*len(services) > 1 {
				name = objectName("l2", a.Source.Name, backends.Hash(fmt.Sprint(n), fmt.Sprint(s)))
			}
			var listed []string
			if old := existing[*policy](t, kindPolicy, name); old != nil {
				listed = poolsIn(old.Spec.ServiceSelector)
			}
			pools := t.labelsOf(a.Pools, listed)
			if len(pools) == 0 {
				continue
			}
			o := &v2alpha1.CiliumL2AnnouncementPolicy{ObjectMeta: t.meta(name, a.Source)}
			o.Spec.NodeSelector = expressions(append(slices.Clone(n), notExcluded)...)
			o.Spec.ServiceSelector = expressions(append([]requirement{in(labelPool, pools...)}, s...)...)
			o.Spec.Interfaces = interfaces
			o.Spec.LoadBalancerIPs = true
			out = append(out, o)
		}
	}
	return out
}

// shared reports what the L2 announcer does otherwise than the user may expect of Services that are known: it elects a node for
// each Service, not for each address, and does not look for pods on it (pkg/l2announcer/l2announcer.go).
func (t *translation) shared() {
	byPool := map[string][]*backends.Service{}
	for i := range t.want.Services {
		s := &t.want.Services[i]
		one, other, both := strings.Cut(s.Pool, ",")
		byPool[one] = append(byPool[one], s)
		if both {
			byPool[other] = append(byPool[other], s)
		}
	}
	for _, a := range t.want.L2Advertisements {
		var local, both []string
		first := map[netip.Addr]string{}
		seen := map[*backends.Service]bool{}
		for _, p := range a.Pools {
			for _, s := range byPool[p.Name] {
				if seen[s] || !matchesAny(a.ServiceSelectors, s.Labels) {
					continue
				}
				seen[s] = true
				name := s.Namespace + "/" + s.Name
				if s.Local {
					local = append(local, name)
				}
				for _, addr := range s.Addrs {
					if other, ok := first[addr]; ok {
						both = append(both, fmt.Sprintf("%s (%s and %s)", addr, other, name))
					} else {
						first[addr] = name
					}
				}
			}
		}
		if len(both) > 0 {
			t.find(backends.Finding{
				Type: backends.SharedAddress, Object: a.Source,
				Message: fmt.Sprintf("Services share %s: Cilium elects a node for each Service, so two nodes may answer for one address. "+
					"Give each Service an address of its own, or advertise the pool by BGP", few(both)),
			})
		}
		if len(local) > 0 {
			t.unsupported(a.Source, "", fmt.Sprintf("the address of a Service with externalTrafficPolicy Local may be announced by a node without a pod, "+
				"which drops the traffic: set Cluster on %s, or advertise the pool by BGP", few(local)))
		}
	}
}
