package assign

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
)

// Serves reports whether svc is of the type and of a class that are served.
func (r Rules) Serves(svc *corev1.Service) bool { return service.Serves(svc, r.Classes) }

// Families returns the families that svc asks for an address of, the preferred one first, and how it does.
func Families(svc *corev1.Service) (allocator.Families, allocator.FamilyPolicy, error) {
	return familiesOf(svc)
}

// Reserves returns what holds among reservations keep.
func Reserves(reservations []v1alpha1.AddressReservation) []Reserved { return reservedBy(reservations) }

// Consider returns what svc meets at each pool (allocator.Allocator.Consider), with the rule that keeps it out of a pool spelled out.
// The error is why it asks for nothing that could be considered.
func (a *Assigner) Consider(svc *corev1.Service, namespace labels.Set) ([]allocator.Considered, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	req, err := a.rules.requestOf(svc, a.snapshot.Admitted(svc.Namespace, namespace, svc.Labels))
	if err != nil {
		return nil, err
	}
	out, err := a.engine.Consider(req)
	for i := range out {
		out[i].Err = a.explain(out[i].Err, svc, namespace)
	}
	return out, err
}

// Held returns what a Service holds.
func (a *Assigner) Held(owner allocator.Owner) allocator.Assignment {
	a.mu.Lock()
	defer a.mu.Unlock()
	return inPool(a.engine.Held(owner), "", "")
}

// Holders returns who holds an address, by namespace and name: a Service, or the name of one that is gone and has a hold.
func (a *Assigner) Holders(addr netip.Addr) []allocator.Owner {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(a.engine.Holders(addr), isParting)
}

// Holding is one address of a pool, and who holds it.
type Holding struct {
	Addr   netip.Addr
	Owners []allocator.Owner
}

// Holdings returns the addresses of each pool that are held, in their order.
func (a *Assigner) Holdings() map[string][]Holding {
	a.mu.Lock()
	defer a.mu.Unlock()
	by := map[allocator.Grant][]allocator.Owner{}
	for owner, held := range a.engine.All() {
		if isParting(owner) {
			continue
		}
		for _, g := range held.Grants() {
			by[g] = append(by[g], owner)
		}
	}
	out := map[string][]Holding{}
	for g, owners := range by {
		slices.SortFunc(owners, allocator.Owner.Compare)
		out[g.Pool] = append(out[g.Pool], Holding{g.Addr, owners})
	}
	for _, list := range out {
		slices.SortFunc(list, func(x, y Holding) int { return x.Addr.Compare(y.Addr) })
	}
	return out
}

// PoolOf returns the pool in force that contains addr, and whether that pool gives the address out.
func (a *Assigner) PoolOf(addr netip.Addr) (pool *config.Pool, usable bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name, ok := a.engine.PoolOf(addr)
	if !ok {
		return nil, false
	}
	return a.snapshot.Pool(name), a.engine.Usable(addr)
}

// Reserved returns the reservations that have an address.
func (a *Assigner) Reserved(addr netip.Addr) []allocator.Reservation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.engine.Reserved(addr)
}

// PoolOrder returns the names of the pools in the order in which they are tried.
func (a *Assigner) PoolOrder() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.engine.Pools()
}
