package config

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1beta2"
)

// about returns those of the faults that concern a node with these labels: not those of BGPPeers that other nodes connect to. A peer
// whose own nodeSelectors are faulty concerns every node.
func about(faults []Fault, peers []v1beta2.BGPPeer, node labels.Set) []Fault {
	elsewhere := map[Ref]bool{}
	for i := range peers {
		o := &peers[i]
		if len(o.Spec.NodeSelectors) == 0 {
			continue
		}
		selected, err := selectors("", o.Spec.NodeSelectors, func(string, string) {})
		if err == nil && !matchesAny(selected, node) {
			elsewhere[refOf(v1beta2.GroupVersion, "BGPPeer", o.ObjectMeta)] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool { return elsewhere[f.Object] })
}
