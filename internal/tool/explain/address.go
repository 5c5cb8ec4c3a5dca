package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// The states of an address.
const (
	AddressHeld     = "held"     // a Service has it
	AddressKept     = "kept"     // a Service that is gone has a hold on it
	AddressReserved = "reserved" // an AddressReservation keeps it
	AddressNode     = "node"     // a node has it itself, so no Service is given it
	AddressShown    = "shown"    // a Service shows it that was not given it here
	AddressAvoided  = "avoided"  // its pool does not give it out, because it ends in .0 or .255
	AddressFree     = "free"
	AddressOutside  = "outside" // no pool has it
	AddressUnknown  = "unknown" // too little may be read to tell
)

// OneAddress is the story of one address.
type OneAddress struct {
	IP     string `json:"ip"`
	Family string `json:"family"`
	// State is held, kept, reserved, node, shown, avoided, free, outside or unknown.
	State string `json:"state"`
	// Pool has the address, in Range; absent: none has.
	Pool  string `json:"pool,omitempty"`
	Range string `json:"range,omitempty"`
	// Notes say what follows from the pool: that it does not assign automatically, or not to everybody.
	Notes []string `json:"notes,omitempty"`
	// Nearest are the ranges below and above an address that is in no pool.
	Nearest []Near `json:"nearest,omitempty"`
	// Holders are the Services that have it, as namespace/name.
	Holders []string `json:"holders"`
	// AlsoShown are Services whose status shows the address although they do not hold it.
	AlsoShown []string `json:"alsoShown,omitempty"`
	// AskedBy are Services that ask for the address and do not have it.
	AskedBy []string `json:"askedBy,omitempty"`
	// Reservations keep it.
	Reservations []Reservation `json:"reservations"`
	// Claim is the one that an allocator has answered with the address; absent: none was.
	Claim *Claim `json:"claim,omitempty"`
	// Advertisements are those that select a Service that has the address.
	Advertisements []Advertisement `json:"advertisements"`
	// Nodes announce it.
	Nodes []Node   `json:"nodes"`
	Gaps  []string `json:"gaps,omitempty"`
}

// Near is a range of a pool.
type Near struct {
	Pool  string `json:"pool"`
	Range string `json:"range"`
	// Side is below or above.
	Side string `json:"side"`
}

// Reservation is an AddressReservation that has an address.
type Reservation struct {
	Name string `json:"name"`
	// For is the Service that the address is kept for, as namespace/name; absent: nobody.
	For string `json:"for,omitempty"`
	// HoldAfterDelete is set if it was made for a Service with fairlead.io/hold-address; ExpiresAt is when such a hold ends.
	HoldAfterDelete string `json:"holdAfterDelete,omitempty"`
	ExpiresAt       string `json:"expiresAt,omitempty"`
}

// OfAddress tells the story of one address.
func OfAddress(m *survey.Model, addr netip.Addr) *OneAddress {
	addr = addr.Unmap()
	out := &OneAddress{
		IP: addr.String(), Family: allocator.FamilyOf(addr).String(), Holders: []string{}, Advertisements: []Advertisement{}, Nodes: []Node{},
		Reservations: reservationsOf(m, addr), Claim: claimOf(m, addr),
	}
	pool, usable := m.Assigner.PoolOf(addr)
	if pool != nil {
		out.Pool, out.Range, out.Notes = pool.Name, rangeOf(pool, addr), poolNotes(pool)
	} else {
		out.Nearest = nearest(m.Snapshot, addr)
		out.Notes = setAsideNotes(m.Snapshot)
	}
	holders := m.Assigner.Holders(addr)
	gone := true
	for _, o := range holders {
		out.Holders = append(out.Holders, o.String())
		if svc := m.Service(o.Namespace, o.Name); svc != nil {
			gone = false
			out.addAdvertisers(m, svc)
		}
	}
	out.addAskers(m, addr, holders)
	out.State = elsewhere(m, addr, stateOf(len(holders) > 0, gone, pool, usable, len(out.Reservations) > 0))
	for _, node := range m.Assigner.NodesOf(addr) {
		if pool != nil {
			out.Notes = append(out.Notes, fmt.Sprintf("it is an address of node %q; no Service is given it", node))
		}
	}
	if m.Need("Services") != nil && pool != nil || m.Need("IPAddressPools") != nil && len(holders) == 0 {
		out.State = AddressUnknown
	}
	out.Gaps = gaps(m.Survey, "IPAddressPools", "AddressReservations", "Services", "ServiceL2Statuses", "ServiceBGPStatuses", survey.IPAddressClaims)
	return out
}

// stateOf returns the state of an address; gone is set if all its holders are.
func stateOf(held, gone bool, pool *config.Pool, usable, reserved bool) string {
	switch {
	case held && gone:
		return AddressKept
	case held:
		return AddressHeld
	case pool == nil:
		return AddressOutside
	case !usable:
		return AddressAvoided
	case reserved:
		return AddressReserved
	}
	return AddressFree
}

// elsewhere returns the state of an address, or that it is in use where nobody here has given it.
func elsewhere(m *survey.Model, addr netip.Addr, state string) string {
	switch {
	case len(m.Assigner.NodesOf(addr)) > 0 && (state == AddressFree || state == AddressReserved || state == AddressAvoided):
		return AddressNode
	case len(m.Assigner.ShownBy(addr)) > 0 && (state == AddressFree || state == AddressReserved):
		return AddressShown
	}
	return state
}

// addAdvertisers adds who advertises a Service that has the address.
func (a *OneAddress) addAdvertisers(m *survey.Model, svc *corev1.Service) {
	for _, x := range AdvertisementsOf(m, svc) {
		if x.Selects && !slices.ContainsFunc(a.Advertisements, func(y Advertisement) bool { return x.Kind == y.Kind && x.Name == y.Name }) {
			a.Advertisements = append(a.Advertisements, x)
		}
	}
	_, nodes := EndpointsOf(m, svc)
	for _, n := range nodes {
		if (n.Layer2 || len(n.Peers) > 0) && !slices.ContainsFunc(a.Nodes, func(y Node) bool { return y.Name == n.Name }) {
			a.Nodes = append(a.Nodes, n)
		}
	}
}

// addAskers adds the Services that show the address or ask for it, and do not hold it.
func (a *OneAddress) addAskers(m *survey.Model, addr netip.Addr, holders []allocator.Owner) {
	for i := range m.Services {
		svc := &m.Services[i]
		owner := ownerOf(svc)
		if svc.Spec.Type != corev1.ServiceTypeLoadBalancer || slices.Contains(holders, owner) {
			continue
		}
		if slices.Contains(service.ShownAddresses(svc), addr) {
			a.AlsoShown = append(a.AlsoShown, owner.String())
		}
		for _, ask := range service.Asked(svc) {
			if !ask.Hidden && strings.Contains(ask.Field, "loadBalancerIP") && names(ask.Value, addr) {
				a.AskedBy = append(a.AskedBy, owner.String())
				break
			}
		}
	}
}

// names reports whether a list of addresses has one.
func names(list string, addr netip.Addr) bool {
	for s := range strings.SplitSeq(list, ",") {
		if a, err := netip.ParseAddr(strings.TrimSpace(s)); err == nil && a.Unmap() == addr {
			return true
		}
	}
	return false
}

func rangeOf(p *config.Pool, addr netip.Addr) string {
	for _, r := range p.Ranges {
		if r.Contains(addr) {
			return rangeText(r)
		}
	}
	return ""
}

func rangeText(r netipx.IPRange) string {
	if p, ok := r.Prefix(); ok {
		return p.String()
	}
	return r.String()
}

func poolNotes(p *config.Pool) []string {
	var out []string
	if !p.AutoAssign {
		out = append(out, "the pool assigns only to Services that ask for it (autoAssign: false)")
	}
	if p.Restricted {
		out = append(out, "the pool serves only what its serviceAllocation admits")
	}
	if p.AvoidBuggy {
		out = append(out, "the pool does not give out addresses that end in .0 or .255 (avoidBuggyIPs)")
	}
	if p.Allocator != "" {
		out = append(out, fmt.Sprintf("allocator %s gives out the addresses of the pool, from %s", p.Allocator, p.AllocatorPool))
	}
	return out
}

func setAsideNotes(s *config.Snapshot) []string {
	var out []string
	for _, name := range s.SetAsidePools() {
		fault, _ := s.SetAside(name)
		out = append(out, fmt.Sprintf("pool %q is faulty and set aside; it may contain the address: %s: %s", name, fault.Field, fault.Problem))
	}
	return out
}

// nearest returns the ranges of the address's family right below and above it.
func nearest(s *config.Snapshot, addr netip.Addr) []Near {
	var below, above *Near
	var belowTo, aboveFrom netip.Addr
	for _, p := range s.Pools() {
		for _, r := range p.Ranges {
			switch {
			case allocator.FamilyOf(r.From()) != allocator.FamilyOf(addr):
			case r.To().Less(addr) && (below == nil || belowTo.Less(r.To())):
				below, belowTo = &Near{Pool: p.Name, Range: rangeText(r), Side: "below"}, r.To()
			case addr.Less(r.From()) && (above == nil || r.From().Less(aboveFrom)):
				above, aboveFrom = &Near{Pool: p.Name, Range: rangeText(r), Side: "above"}, r.From()
			}
		}
	}
	var out []Near
	for _, n := range []*Near{below, above} {
		if n != nil {
			out = append(out, *n)
		}
	}
	return out
}

// reservationsOf returns what keeps an address: reservations that users made, and holds.
func reservationsOf(m *survey.Model, addr netip.Addr) []Reservation {
	out := []Reservation{}
	for _, r := range m.Assigner.Reserved(addr) {
		if r.Use != "" {
			continue // that is no object
		}
		x := Reservation{Name: r.Name}
		if r.Owner != (allocator.Owner{}) {
			x.For = r.Owner.String()
		}
		out = append(out, x)
	}
	for i := range m.Config.Reservations {
		o := &m.Config.Reservations[i]
		if !config.Hold(o) || o.Spec.Service == nil || !holds(o, addr) {
			continue
		}
		x := Reservation{Name: o.Name, For: o.Spec.Service.Namespace + "/" + o.Spec.Service.Name,
			HoldAfterDelete: o.Spec.HoldAfterDelete.Duration.String()}
		if e := o.Status.ExpiresAt; e != nil {
			x.ExpiresAt = e.UTC().Format("2006-01-02T15:04:05Z")
		}
		out = append(out, x)
	}
	return out
}

func holds(o *v1alpha1.AddressReservation, addr netip.Addr) bool {
	return slices.ContainsFunc(o.Spec.Addresses, func(s string) bool {
		p, err := netip.ParsePrefix(s)
		return err == nil && p.Contains(addr)
	})
}
