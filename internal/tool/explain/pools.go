package explain

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Pools is how full the pools are.
type Pools struct {
	// Pools are in the order in which they are tried; those that are set aside come last.
	Pools []PoolUse `json:"pools"`
	Gaps  []string  `json:"gaps,omitempty"`
}

// PoolUse is how full one pool is.
type PoolUse struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	// AutoAssign is set if Services that ask for nothing get addresses from it; Restricted, if only those that serviceAllocation admits.
	AutoAssign bool `json:"autoAssign"`
	Restricted bool `json:"restricted"`
	// Priority orders restricted pools; 0 comes last.
	Priority      int  `json:"priority"`
	AvoidBuggyIPs bool `json:"avoidBuggyIPs"`
	// Families has an entry for each family that the pool has addresses of.
	Families []FamilyUse `json:"families"`
	// Holders are the addresses that somebody has, in their order.
	Holders []Holder `json:"holders"`
	// Reservations are the AddressReservations that have addresses of the pool.
	Reservations []string `json:"reservations,omitempty"`
	// Waiting are the Services that the pool could not serve.
	Waiting int `json:"waiting"`
	// Allocator gives out the addresses; absent: the built-in one does.
	Allocator *AllocatorUse `json:"allocator,omitempty"`
	// Problem says why the pool is set aside; absent: it is in force.
	Problem string `json:"problem,omitempty"`
}

// AllocatorUse is an allocator, and how full its pool is.
type AllocatorUse struct {
	Name string `json:"name"`
	Pool string `json:"pool"`
	// Free of Total addresses are free, for all who ask it; absent: that is not known.
	Free  *document.Count `json:"free,omitempty"`
	Total *document.Count `json:"total,omitempty"`
	// Problem says why there is no such pool; absent: there is.
	Problem string `json:"problem,omitempty"`
}

// FamilyUse counts the addresses of one family. A count that does not fit is 9223372036854775807.
type FamilyUse struct {
	// Family is IPv4 or IPv6.
	Family   string         `json:"family"`
	Capacity document.Count `json:"capacity"`
	InUse    document.Count `json:"inUse"`
	Reserved document.Count `json:"reserved"`
	Free     document.Count `json:"free"`
}

// Percent returns how much of the capacity is in use or reserved.
func (f FamilyUse) Percent() int {
	if f.Capacity == 0 || f.Free == math.MaxInt64 {
		return 0
	}
	taken := float64(f.Capacity - f.Free)
	if percent := int(taken / float64(f.Capacity) * 100); percent > 0 || taken == 0 {
		return percent
	}
	return 1 // not nothing
}

// Holder is an address and the Services that have it, as namespace/name.
type Holder struct {
	IP       string   `json:"ip"`
	Services []string `json:"services"`
}

// OfPools tells of the pools of these names, or of all.
func OfPools(m *survey.Model, only ...string) *Pools {
	out := &Pools{Pools: []PoolUse{}, Gaps: gaps(m.Survey, "IPAddressPools", "Services", "AddressReservations", "Namespaces", survey.IPAddressClaims)}
	wanted := func(name string) bool {
		for _, o := range only {
			if o == name {
				return true
			}
		}
		return len(only) == 0
	}
	holdings := m.Assigner.Holdings()
	specs := map[string][]string{}
	for i := range m.Config.Pools {
		specs[m.Config.Pools[i].Name] = m.Config.Pools[i].Spec.Addresses
	}
	waiting := waitingFor(m)
	for _, name := range m.Assigner.PoolOrder() {
		if !wanted(name) {
			continue
		}
		p := m.Snapshot.Pool(name)
		u := PoolUse{
			Name: name, Addresses: append([]string{}, specs[name]...), AutoAssign: p.AutoAssign, Restricted: p.Restricted, Priority: p.Priority,
			AvoidBuggyIPs: p.AvoidBuggy,
			Families:      families(m, name), Holders: []Holder{}, Waiting: len(waiting[name]),
		}
		if p.Allocator != "" {
			u.Allocator = allocatorUse(m, p)
		}
		for _, h := range holdings[name] {
			x := Holder{IP: h.Addr.String()}
			for _, o := range h.Owners {
				x.Services = append(x.Services, o.String())
			}
			u.Holders = append(u.Holders, x)
		}
		for _, r := range m.Snapshot.Reservations() {
			if reserves(&r, p) {
				u.Reservations = append(u.Reservations, r.Name)
			}
		}
		out.Pools = append(out.Pools, u)
	}
	for _, name := range m.Snapshot.SetAsidePools() {
		if wanted(name) {
			fault, _ := m.Snapshot.SetAside(name)
			out.Pools = append(out.Pools, PoolUse{
				Name: name, Addresses: append([]string{}, specs[name]...), Families: []FamilyUse{}, Holders: []Holder{},
				Problem: fmt.Sprintf("%s: %s", fault.Field, fault.Problem),
			})
		}
	}
	return out
}

func allocatorUse(m *survey.Model, p *config.Pool) *AllocatorUse {
	out := &AllocatorUse{Name: p.Allocator, Pool: p.AllocatorPool}
	if s, known := m.AllocatorPools[p.AllocatorPool]; known {
		out.Problem = s.Why
		if s.Counted {
			out.Free, out.Total = new(document.Count(s.Free)), new(document.Count(s.Total))
		}
	}
	return out
}

func families(m *survey.Model, pool string) []FamilyUse {
	s, _ := m.Assigner.Stats(pool)
	out := []FamilyUse{}
	for _, f := range []struct {
		family                          allocator.Family
		total, assigned, reserved, free int64
	}{
		{allocator.IPv4, s.TotalIPv4, s.AssignedIPv4, s.ReservedIPv4, s.AvailableIPv4},
		{allocator.IPv6, s.TotalIPv6, s.AssignedIPv6, s.ReservedIPv6, s.AvailableIPv6},
	} {
		if f.total > 0 {
			out = append(out, FamilyUse{f.family.String(), document.Count(f.total), document.Count(f.assigned), document.Count(f.reserved), document.Count(f.free)})
		}
	}
	return out
}

func reserves(r *config.Reservation, p *config.Pool) bool {
	for _, x := range r.Ranges {
		for _, y := range p.Ranges {
			if x.Overlaps(y) {
				return true
			}
		}
	}
	return false
}

// Waiting is a Service that waits for an address.
type Waiting struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Reason, Message and Since are of its condition fairlead.io/Allocated.
	Reason  string     `json:"reason"`
	Message string     `json:"message,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
}

// Queue returns the Services without an address that a pool was tried for, those first that have waited longest.
func Queue(m *survey.Model, pool string) []Waiting {
	out := []Waiting{}
	for _, svc := range waitingFor(m)[pool] {
		w := Waiting{Namespace: svc.Namespace, Name: svc.Name, Reason: FixNotJudged}
		if c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated); c != nil {
			w.Reason, w.Message, w.Since = c.Reason, c.Message, &c.LastTransitionTime.Time
		}
		out = append(out, w)
	}
	since := func(w *Waiting) int64 {
		if w.Since == nil {
			return math.MaxInt64
		}
		return w.Since.Unix()
	}
	slices.SortStableFunc(out, func(a, b Waiting) int { return cmp.Compare(since(&a), since(&b)) })
	return out
}

// waitingFor returns, by pool, the Services without an address that the pool was tried for.
func waitingFor(m *survey.Model) map[string][]*corev1.Service {
	out := map[string][]*corev1.Service{}
	for i := range m.Services {
		svc := &m.Services[i]
		if !m.Rules.Serves(svc) || len(service.ShownAddresses(svc)) > 0 || !m.Assigner.Held(ownerOf(svc)).IsZero() {
			continue
		}
		for _, p := range poolsFor(m, svc) {
			if p.Verdict == PoolRefuses {
				out[p.Name] = append(out[p.Name], svc)
			}
		}
	}
	return out
}
