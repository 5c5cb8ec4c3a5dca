package config

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"go4.org/netipx"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

// Objects are the configuration objects of one namespace, in any order.
type Objects struct {
	Pools             []v1beta1.IPAddressPool
	BGPAdvertisements []v1beta1.BGPAdvertisement
	Reservations      []v1alpha1.AddressReservation
	Communities       []v1beta1.Community
	L2Advertisements  []v1beta1.L2Advertisement
	BFDProfiles       []v1beta1.BFDProfile
	BGPPeers          []v1beta2.BGPPeer
	// Unreadable are the faults of BGPPeers that cannot be decoded, which are not in BGPPeers.
	Unreadable []Fault
}

// Snapshot is the configuration in force. It is immutable and safe for concurrent use. The zero value has no pools.
type Snapshot struct {
	pools             map[string]*Pool
	bgpAdvertisements map[string]*BGPAdvertisement
	reservations      []Reservation
	communities       map[string]*Community
	aliases           map[string]CommunityValue
	l2Advertisements  map[string]*L2Advertisement
	bfdProfiles       map[string]*BFDProfile
	bgpPeers          map[string]*BGPPeer
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
	s.communities, faults = settleCommunities(objects.Communities, last.communities)
	s.aliases, s.faults = aliases(s.communities), append(s.faults, faults...)
	s.bgpAdvertisements, faults = settleBGPAdvertisements(objects.BGPAdvertisements, s.Pools(), s.aliases, last.bgpAdvertisements)
	s.faults = append(s.faults, faults...)
	s.l2Advertisements, faults = settleL2Advertisements(objects.L2Advertisements, last.l2Advertisements)
	s.faults = append(s.faults, faults...)
	s.bfdProfiles, faults = settleBFDProfiles(objects.BFDProfiles, last.bfdProfiles)
	s.faults = append(s.faults, faults...)
	s.bgpPeers, faults = settleBGPPeers(objects.BGPPeers, objects.Unreadable, s.bfdProfiles, last.bgpPeers)
	s.faults = append(s.faults, faults...)
	s.reservations, faults = settleReservations(objects.Reservations)
	s.faults = append(s.faults, faults...)
	slices.SortFunc(s.faults, func(a, b Fault) int {
		return cmp.Or(a.Object.Compare(b.Object), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Problem, b.Problem))
	})
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

// Reservations returns the reservations that users made, by name.
func (s *Snapshot) Reservations() []Reservation { return s.reservations }

// AnyTaken reports whether somebody else was seen to have an address on the local network.
func (s *Snapshot) AnyTaken() bool {
	return slices.ContainsFunc(s.reservations, func(r Reservation) bool { return r.Use != "" })
}

// Taken says who else has an address on the local network; empty: nobody that was seen.
func (s *Snapshot) Taken(addr netip.Addr) string {
	for i := range s.reservations {
		r := &s.reservations[i]
		if r.Use != "" && slices.ContainsFunc(r.Ranges, func(ipr netipx.IPRange) bool { return ipr.Contains(addr) }) {
			return r.Use
		}
	}
	return ""
}

// BGPAdvertisements returns the advertisements in force, by name.
func (s *Snapshot) BGPAdvertisements() []*BGPAdvertisement { return byName(s.bgpAdvertisements) }

// L2Advertisements returns the advertisements in force, by name.
func (s *Snapshot) L2Advertisements() []*L2Advertisement { return byName(s.l2Advertisements) }

// BGPPeers returns the peers in force, by name.
func (s *Snapshot) BGPPeers() []*BGPPeer { return byName(s.bgpPeers) }

// BFDProfiles returns the profiles in force, by name.
func (s *Snapshot) BFDProfiles() []*BFDProfile { return byName(s.bfdProfiles) }

// Communities returns the Communities in force, by name.
func (s *Snapshot) Communities() []*Community { return byName(s.communities) }

// Refs returns references to the advertisements and peers in force.
func (s *Snapshot) Refs() []Ref {
	var out []Ref
	for _, a := range s.bgpAdvertisements {
		out = append(out, a.Ref)
	}
	for _, a := range s.l2Advertisements {
		out = append(out, a.Ref)
	}
	for _, p := range s.bgpPeers {
		out = append(out, p.Ref)
	}
	return out
}

// NamesBackends reports whether any advertisement names the backend that serves it.
func (s *Snapshot) NamesBackends() bool {
	for _, a := range s.bgpAdvertisements {
		if a.Backend != "" {
			return true
		}
	}
	for _, a := range s.l2Advertisements {
		if a.Backend != "" {
			return true
		}
	}
	return false
}

// Alias returns the community that a Community in force gives this name.
func (s *Snapshot) Alias(name string) (CommunityValue, bool) {
	v, ok := s.aliases[name]
	return v, ok
}

// Admitted returns the names of the restricted pools that admit a Service, sorted.
func (s *Snapshot) Admitted(namespace string, namespaceLabels, serviceLabels labels.Set) []string {
	var out []string
	for name, p := range s.pools {
		if p.Restricted && p.admits(namespace, namespaceLabels, serviceLabels) {
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
