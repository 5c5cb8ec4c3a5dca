package assign

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// narrow makes a request for one address one for one family, if svc is of a Gateway and prefers dual stack: Istio makes all of its
// Services so, and cannot put a second address on them.
func narrow(req *allocator.Request, svc *corev1.Service) {
	if req.Policy != allocator.PreferDualStack || req.IPv4.IsValid() == req.IPv6.IsValid() || !service.OfGateway(svc) {
		return
	}
	f := allocator.IPv4
	if req.IPv6.IsValid() {
		f = allocator.IPv6
	}
	req.Families, req.Policy = allocator.Families{Primary: f}, allocator.SingleStack
}

// prefer makes of the preferred addresses of svc a request, if it holds none yet, asks for none and for no pool, if all of them are in
// pools, and if there is one for each of its families. Anything else leaves the request as it is: MetalLB, which never reads these
// fields, would have given the Service some address, and so it gets one.
func (a *Assigner) prefer(svc *corev1.Service, req *allocator.Request) {
	if !a.engine.Held(req.Owner).IsZero() || req.IPv4.IsValid() || req.IPv6.IsValid() || req.Pool != "" || len(req.Pools) > 0 {
		return
	}
	asked := *req
	for _, addr := range service.Preferred(svc) {
		if pool, ok := a.engine.PoolOf(addr); !ok || a.snapshot.Pool(pool).Allocator != "" {
			return // nobody chooses for an allocator
		}
		at := &asked.IPv4
		if allocator.FamilyOf(addr) == allocator.IPv6 {
			at = &asked.IPv6
		}
		if at.IsValid() {
			return
		}
		*at = addr
	}
	narrow(&asked, svc)
	if (asked.IPv4.IsValid() || asked.IPv6.IsValid()) && checkFamilies(&asked, svc, "") == nil {
		*req = asked
	}
}
