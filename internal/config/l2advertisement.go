package config

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// L2Advertisement is an L2Advertisement in force: which pools are announced on the local network, from where and for whom.
type L2Advertisement struct {
	origin
	selection
	// Interfaces are the names of the network interfaces to announce on, each once; empty means all.
	Interfaces []string

	preferred []preference
}

type preference struct {
	weight int
	node   labels.Selector
}

// PrefersNodes reports whether any node can have a preference.
func (a *L2Advertisement) PrefersNodes() bool { return len(a.preferred) > 0 }

// Preference returns the sum of the weights that a node with these labels has. A preference that is listed twice counts twice, as
// with MetalLB.
func (a *L2Advertisement) Preference(node labels.Set) int {
	sum := 0
	for _, p := range a.preferred {
		if p.node.Matches(node) {
			sum += p.weight
		}
	}
	return sum
}

func parseL2Advertisement(o *v1beta1.L2Advertisement) (*L2Advertisement, []Fault) {
	a := &L2Advertisement{origin: originOf(v1beta1.GroupVersion, "L2Advertisement", o.ObjectMeta, o.Spec)}
	for _, name := range o.Spec.Interfaces {
		if !slices.Contains(a.Interfaces, name) { // one that is listed twice is as good as listed once
			a.Interfaces = append(a.Interfaces, name)
		}
	}
	f := findings{ref: a.Ref}
	a.checkBackend(&f)
	a.selectPools(o.Spec.IPAddressPools, o.Spec.IPAddressPoolSelectors, f.add)
	a.selectNodes(o.Spec.NodeSelectors, f.add)
	a.selectServices(o.Spec.ServiceSelectors, f.add)
	for i := range o.Spec.PreferredNodeSelectors {
		p := &o.Spec.PreferredNodeSelectors[i]
		field := fmt.Sprintf("spec.preferredNodeSelectors[%d]", i)
		if p.Weight < 1 || p.Weight > 100 {
			f.add(field+".weight", fmt.Sprintf("%d is not a weight; use a number from 1 to 100", p.Weight))
		}
		s, err := selector(&p.Preference)
		if err != nil {
			f.add(field+".preference", err.Error())
			continue
		}
		a.preferred = append(a.preferred, preference{int(p.Weight), s})
	}
	if len(f.list) > 0 {
		return nil, f.list
	}
	return a, nil
}

func settleL2Advertisements(objects []v1beta1.L2Advertisement, last map[string]*L2Advertisement) (map[string]*L2Advertisement, []Fault) {
	var valid []*L2Advertisement
	var rejected []Ref
	var faults []Fault
	for i := range objects {
		a, bad := parseL2Advertisement(&objects[i])
		if a == nil {
			rejected = append(rejected, refOf(v1beta1.GroupVersion, "L2Advertisement", objects[i].ObjectMeta))
			faults = append(faults, bad...)
			continue
		}
		valid = append(valid, a)
	}
	inForce, _ := settle(valid, rejected, last, alone)
	return inForce, told(faults, inForce)
}
