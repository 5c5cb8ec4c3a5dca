package assign

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// LeaveGrace is how long a Service keeps an address that has left its pool: a configuration is applied object by object, and the pool
// that takes the address in may be the next one.
const LeaveGrace = 5 * time.Second

// grace remembers since when addresses that Services hold are in no pool. One whose time is nil lets nobody keep anything.
type grace struct {
	now    func() time.Time
	left   map[allocator.Owner]time.Time
	ending bool // letGo is at work
}

// leftPoolError says that an address is kept for a moment although no pool has it.
type leftPoolError struct {
	addr netip.Addr
	pool string
}

func (e *leftPoolError) Error() string {
	from := "its pool"
	if e.pool != "" {
		from = fmt.Sprintf("pool %q", e.pool)
	}
	return fmt.Sprintf("%s has left %s; if no other pool takes it in within %s, it is taken back", e.addr, from, LeaveGrace)
}

// LetLeave has Services keep an address that leaves its pool from now on for LeaveGrace by this clock.
func (a *Assigner) LetLeave(now func() time.Time) { a.grace.now = now }

// leaver returns what notes that an address of an owner is in no pool. Those whose addresses leave together leave at the same time.
func (g *grace) leaver() func(allocator.Owner) {
	if g.now == nil {
		return func(allocator.Owner) {}
	}
	since := g.now()
	return func(owner allocator.Owner) { g.left[owner] = since }
}

// remaining returns for how long owner may still keep what has left its pool.
func (g *grace) remaining(owner allocator.Owner) time.Duration {
	since, leaves := g.left[owner]
	if !leaves {
		return 0
	}
	return LeaveGrace - g.now().Sub(since)
}

// lingers returns the address that svc holds, that is in no pool any more and that it keeps for a moment, and for how long; nil if
// there is none, or if the Service has come to ask for something that the address may stand against.
func (a *Assigner) lingers(svc *corev1.Service, req *allocator.Request, held allocator.Assignment) (*leftPoolError, time.Duration) {
	for _, g := range held.Grants() {
		if g.Pool != "" {
			continue
		}
		left := a.grace.remaining(req.Owner)
		if left <= 0 {
			delete(a.grace.left, req.Owner)
			return nil, 0
		}
		if !a.stillAsks(req, held) {
			return nil, 0
		}
		from, from6 := service.PoolsByFamily(svc)
		if allocator.FamilyOf(g.Addr) == allocator.IPv6 {
			from = from6
		}
		return &leftPoolError{addr: g.Addr, pool: from}, left
	}
	delete(a.grace.left, req.Owner)
	return nil, 0
}

// letGo decides on svc, if its time is over, and on all others whose time is: the oldest first, so that who gets what does not depend on
// whose timer comes first. None of them is looked for again.
func (a *Assigner) letGo(svc *corev1.Service, namespace labels.Set) {
	self := ownerOf(svc)
	if _, leaves := a.grace.left[self]; !leaves || a.grace.ending || a.grace.remaining(self) > 0 {
		return
	}
	due := []*waiter{{owner: self, service: svc, namespace: namespace}}
	for owner := range a.grace.left {
		if x := a.waiting.byOwner[owner]; x != nil && owner != self && a.grace.remaining(owner) <= 0 {
			due = append(due, x)
		}
	}
	slices.SortFunc(due, func(x, y *waiter) int { return ByAge(x.service, y.service) })
	a.grace.ending = true
	for _, x := range due {
		a.decide(x.service, x.namespace)
		if x.owner != self {
			a.notify.Service(x.owner)
		}
	}
	a.grace.ending = false
}

// stillAsks reports whether req is for families and addresses that held has, with the sharing that it has them with.
func (a *Assigner) stillAsks(req *allocator.Request, held allocator.Assignment) bool {
	for _, x := range []struct {
		asked netip.Addr
		grant allocator.Grant
		f     allocator.Family
	}{{req.IPv4, held.IPv4, allocator.IPv4}, {req.IPv6, held.IPv6, allocator.IPv6}} {
		wanted := req.Families.Primary == x.f || req.Policy != allocator.SingleStack && req.Families.Secondary == x.f
		if x.grant.IsValid() && !wanted || x.asked.IsValid() && x.asked != x.grant.Addr {
			return false
		}
	}
	sharing, ports := a.engine.Shares(req.Owner)
	return sharing == req.Sharing && (sharing.Key == "" || ports == req.Ports)
}
