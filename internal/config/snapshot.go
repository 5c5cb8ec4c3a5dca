package config

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1beta1"
)

// Objects are the configuration objects of one namespace, in any order.
type Objects struct {
	Pools             []v1beta1.IPAddressPool
	BGPAdvertisements []v1beta1.BGPAdvertisement
}

// Snapshot is the configuration in force. It is immutable and safe for concurrent use. The zero value has no pools.
type Snapshot struct {
	pools             map[string]*Pool
	bgpAdvertisements map[string]*BGPAdvertisement
	faults            []Fault
	setAside          map[string]Fault // pools that exist but have no version in force
}

// Build makes a Snapshot of objects. last, which may be nil, is the snapshot that has been in force so far: it provides the last
// valid version of an object that is faulty now.
func Build(objects Objects, last *Snapshot) *Snapshot {
	if last == nil {
		last = &Snapshot{}
	}
	s := &Snapshot{setAside: map[string]Fault{}}
	s.pools, s.faults = settlePools(objects.Pools, last.pools)
	for _, f := range s.faults {
		if !f.LastValid {
			s.setAside[f.Object.Name] = f
		}
	}
	var faults []Fault
	s.bgpAdvertisements, faults = settleBGPAdvertisements(objects.BGPAdvertisements, last.bgpAdvertisements)
	s.faults = append(s.faults, faults...)
	slices.SortFunc(s.faults, func(a, b Fault) int { return cmp.Or(a.Object.Compare(b.Object), cmp.Compare(a.Field, b.Field)) })
	return s
}

// Faults returns everything that is wrong, by object and field.
func (s *Snapshot) Faults() []Fault { return s.faults }

// SetAside returns why the pool of that name exists but has no version in force; ok is false if that is not so.
func (s *Snapshot) SetAside(pool string) (f Fault, ok bool) {
	f, ok = s.setAside[pool]
	return f, ok
}

// SetAsidePools returns the names of the pools for which SetAside is true, sorted.
func (s *Snapshot) SetAsidePools() []string { return slices.Sorted(maps.Keys(s.setAside)) }

// Pool returns the pool of that name in force, or nil.
func (s *Snapshot) Pool(name string) *Pool { return s.pools[name] }

// Pools returns the pools in force, by name.
func (s *Snapshot) Pools() []*Pool {
	return slices.SortedFunc(maps.Values(s.pools), func(a, b *Pool) int { return cmp.Compare(a.Name, b.Name) })
}

// AllocatorPools returns what the engine needs to know of the pools in force, by name.
func (s *Snapshot) AllocatorPools() []allocator.Pool {
	pools := s.Pools()
	out := make([]allocator.Pool, len(pools))
	for i, p := range pools {
		out[i] = p.Pool
	}
	return out
}

// BGPAdvertisements returns the advertisements in force, by name.
func (s *Snapshot) BGPAdvertisements() []*BGPAdvertisement {
	return slices.SortedFunc(maps.Values(s.bgpAdvertisements), func(a, b *BGPAdvertisement) int { return a.Ref.Compare(b.Ref) })
}

// Admitted returns the names of the restricted pools that admit a Service, sorted.
func (s *Snapshot) Admitted(namespace string, namespaceLabels, serviceLabels labels.Set) []string {
	var out []string
	for name, p := range s.pools {
		if p.Restricted && p.Admits(namespace, namespaceLabels, serviceLabels) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// SelectsNamespaces reports whether the labels of namespaces matter to any pool.
func (s *Snapshot) SelectsNamespaces() bool {
	for _, p := range s.pools {
		if p.SelectsNamespaces() {
			return true
		}
	}
	return false
}
