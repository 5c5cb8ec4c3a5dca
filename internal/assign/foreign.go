package assign

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// judge returns the addresses in the status of a Service that are left to somebody else, who wrote them. What else the status shows is
// taken over, if the Service holds nothing: the addresses are ours if they lie in our pools, or if the status is marked as written here
// and was not written by somebody else since. What the status says and who wrote it decide, so a restart makes no difference.
func (a *Assigner) judge(svc *corev1.Service, req *allocator.Request) (foreign []netip.Addr) {
	held := a.engine.Held(req.Owner)
	if held.IsZero() {
		shown := slices.DeleteFunc(service.ShownAddresses(svc), func(addr netip.Addr) bool { return slices.Contains(a.parting[req.Owner], addr) })
		if len(shown) == 0 {
			return nil
		}
		if a.isForeign(svc, shown) {
			return shown
		}
		a.restore(svc, req, shown)
		return nil
	}
	foreign = a.taken.foreign(svc, held.Addrs())
	if len(foreign) == 0 || !a.adoptable(svc, foreign) {
		return foreign
	}
	a.engine.Release(req.Owner)
	a.restore(svc, req, foreign)
	a.free(slices.DeleteFunc(held.Grants(), func(g allocator.Grant) bool { return slices.Contains(foreign, g.Addr) }))
	return nil
}

// isForeign reports whether the addresses in the status of a Service that holds none are somebody else's.
func (a *Assigner) isForeign(svc *corev1.Service, shown []netip.Addr) bool {
	_, marked := svc.Annotations[service.AnnotationFromPool]
	switch {
	case twoOfOneFamily(shown) && (!marked || service.WriterOf(svc) != ""):
		return true // nobody can hold two addresses of one family here
	case a.adoptable(svc, shown):
		return false
	case service.Overwritten(svc, shown):
		return true
	}
	return !marked && !a.inPools(shown)
}

// adoptable reports whether a status that was left alone because its addresses were in no pool can be taken over: now they are.
func (a *Assigner) adoptable(svc *corev1.Service, shown []netip.Addr) bool {
	said := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated)
	if said == nil || said.Reason != service.ReasonForeignStatus || strings.Contains(said.Message, service.InOurPool) ||
		twoOfOneFamily(shown) || !a.inPools(shown) {
		return false
	}
	return !slices.ContainsFunc(shown, func(addr netip.Addr) bool {
		return slices.ContainsFunc(a.engine.Holders(addr), func(o allocator.Owner) bool { return o != ownerOf(svc) })
	})
}

func (a *Assigner) inPools(addrs []netip.Addr) bool {
	return !slices.ContainsFunc(addrs, func(addr netip.Addr) bool { _, in := a.engine.PoolOf(addr); return !in })
}

func twoOfOneFamily(addrs []netip.Addr) bool { return len(service.OnePerFamily(addrs)) < len(addrs) }

// restore has a Service that holds nothing hold what its status shows. If another Service holds one of the addresses, nothing is taken
// over and the conflict is remembered until the status shows the address no longer.
func (a *Assigner) restore(svc *corev1.Service, req *allocator.Request, shown []netip.Addr) {
	if service.WriterOf(svc) != "" {
		a.taken[req.Owner] = shown
	}
	if conflict, ok := errors.AsType[*allocator.ConflictError](a.engine.Restore(*req, service.OnePerFamily(shown)...)); ok {
		a.lost[req.Owner] = conflict
	}
}

// leaveAlone notes that the status of a Service is somebody else's: what it shows goes to nobody, and it waits for nothing.
func (a *Assigner) leaveAlone(owner allocator.Owner, v *Verdict) {
	a.foreign[owner] = true
	a.waiting.drop(owner)
	a.unclaim(owner)
	v.Kept = a.engine.Held(owner).Addrs()
	a.shows(owner, slices.DeleteFunc(slices.Clone(v.Foreign), func(addr netip.Addr) bool { return slices.Contains(v.Kept, addr) }))
	if a.inPools(v.Foreign) {
		v.ForeignPool, _ = a.engine.PoolOf(v.Foreign[0])
	}
}

// trust orders the Services whose addresses are taken over: first those whose addresses our own condition names, then those that
// MetalLB or an earlier version marked, then those of whom nothing is known but what they show.
func trust(svc *corev1.Service) int {
	said := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated)
	_, marked := svc.Annotations[service.AnnotationFromPool]
	switch {
	case said != nil && (said.Reason == service.ReasonForeignStatus ||
		said.Status == metav1.ConditionTrue && service.Names(said.Message, service.ShownAddresses(svc))):
		return 0
	case marked:
		return 1
	}
	return 2
}

// planForeign says whose the status is. The label goes: by it, Cilium would advertise whatever the status shows.
func planForeign(want *corev1.Service, v Verdict) []Event {
	if delete(want.Labels, service.LabelPool); v.Fading {
		metav1.SetMetaDataLabel(&want.ObjectMeta, service.LabelPool, "")
	}
	meta.RemoveStatusCondition(&want.Status.Conditions, service.ConditionAdvertised)
	message := fmt.Sprintf("status.loadBalancer.ingress holds %s, which was not assigned here", joinAddrs(v.Foreign))
	if writer := service.WriterOf(want); writer != "" {
		message += fmt.Sprintf(" but written by field manager %q", writer)
	}
	message += "; it is left alone"
	if v.ForeignPool != "" {
		message += fmt.Sprintf("%s%q", service.InOurPool, v.ForeignPool)
	}
	message += ". "
	if len(v.Kept) > 0 {
		message += joinAddrs(v.Kept) + service.KeptMark + ". "
	}
	switch {
	case twoOfOneFamily(v.Foreign):
		message += "A Service has at most one address of each family here. "
	case v.ForeignPool == "":
		message += fmt.Sprintf("To have the status taken over, add %s to a pool. ", joinAddrs(v.Foreign))
	}
	message += "To have an address assigned here, stop the other writer and empty the status: " + service.EmptyStatus(want)
	if !setCondition(want, metav1.ConditionFalse, service.ReasonForeignStatus, message) {
		return nil
	}
	return []Event{{corev1.EventTypeWarning, service.EventForeignStatus, message}}
}
