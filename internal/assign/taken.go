package assign

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// fresh is for how long after a Service was given its addresses they may be replaced because somebody else turns out to have one on the
// local network. Later they are in names and firewalls: the Service keeps them, and is told.
const fresh = 10 * time.Minute

// leaveTaken takes from svc an address that somebody else has on the local network, if it was given to it lately and it did not ask for it.
func (a *Assigner) leaveTaken(svc *corev1.Service, req *allocator.Request) {
	held := a.engine.Held(req.Owner)
	taken := func(g allocator.Grant) bool {
		return a.snapshot.Taken(g.Addr) != "" && g.Addr != req.IPv4 && g.Addr != req.IPv6
	}
	grants := held.Grants()
	if !slices.ContainsFunc(grants, taken) || !a.givenLately(svc) {
		return
	}
	var kept []netip.Addr
	for _, g := range grants {
		if !taken(g) {
			kept = append(kept, g.Addr)
		}
	}
	sharing, ports := a.engine.Shares(req.Owner)
	a.engine.Release(req.Owner)
	if len(kept) > 0 {
		// It was its own a moment ago: this cannot fail.
		_ = a.engine.Restore(allocator.Request{Owner: req.Owner, Sharing: sharing, Ports: ports}, kept...)
	}
}

// givenLately reports whether svc is new, and so are its addresses. One that is older may have had them from somebody else before. Without
// a clock nothing is replaced.
func (a *Assigner) givenLately(svc *corev1.Service) bool {
	c := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated)
	if c == nil || a.grace.now == nil {
		return false
	}
	now := a.grace.now()
	return now.Sub(c.LastTransitionTime.Time) < fresh && now.Sub(svc.CreationTimestamp.Time) < fresh
}
