package config

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// BGPAdvertisement is a BGPAdvertisement in force: which pools are advertised by BGP.
type BGPAdvertisement struct {
	Ref Ref

	pools     []string
	selectors []labels.Selector
}

// Selects reports whether the advertisement selects p: by name, by a selector on the pool's labels, or, with neither, always.
func (a *BGPAdvertisement) Selects(p *Pool) bool {
	if len(a.pools)+len(a.selectors) == 0 {
		return true
	}
	return slices.Contains(a.pools, p.Name) || matchesAny(a.selectors, p.Labels)
}

func parseBGPAdvertisement(o *v1beta1.BGPAdvertisement) (*BGPAdvertisement, []Fault) {
	a := &BGPAdvertisement{Ref: refOf(v1beta1.GroupVersion, "BGPAdvertisement", o.ObjectMeta), pools: o.Spec.IPAddressPools}
	var faults []Fault
	var err error
	a.selectors, err = selectors("spec.ipAddressPoolSelectors", o.Spec.IPAddressPoolSelectors, func(field, problem string) {
		faults = append(faults, Fault{Object: a.Ref, Field: field, Problem: problem})
	})
	if err != nil {
		return nil, faults
	}
	return a, nil
}

// settleBGPAdvertisements keeps the last valid version of each faulty advertisement in force.
func settleBGPAdvertisements(objects []v1beta1.BGPAdvertisement, last map[string]*BGPAdvertisement) (map[string]*BGPAdvertisement, []Fault) {
	inForce := make(map[string]*BGPAdvertisement, len(objects))
	var faults []Fault
	for i := range objects {
		o := &objects[i]
		a, bad := parseBGPAdvertisement(o)
		if a == nil {
			a = last[o.Name]
			if a != nil && a.Ref.UID != o.UID {
				a = nil
			}
		}
		for _, f := range bad {
			f.LastValid = a != nil
			faults = append(faults, f)
		}
		if a != nil {
			inForce[o.Name] = a
		}
	}
	return inForce, faults
}
