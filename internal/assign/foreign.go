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
)

// What the message of ReasonForeignStatus says and, after a restart, is read again: nothing else survives.
const (
	// inOurPool says that a pool has the addresses, and that they are left alone all the same.
	inOurPool = ", although it lies in pool "
	// keptMark follows the addresses that the Service had before, and has again when the other writer gives way.
	keptMark = " is kept for the Service"
)

// judge returns the addresses in the status of a Service that are left to somebody else, who wrote them. What else the status shows is
// taken over, if the Service holds nothing: the addresses are ours if they lie in our pools, or if the status is marked as written here
// and was not written by somebody else since. What the status says and who wrote it decide, so a restart makes no difference.
func (a *Assigner) judge(svc *corev1.Service, req *allocator.Request) (foreign []netip.Addr) {
	held := a.engine.Held(req.Owner)
	if held.IsZero() {
		shown := slices.DeleteFunc(ShownAddresses(svc), func(addr netip.Addr) bool { return slices.Contains(a.parting[req.Owner], addr) })
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
	_, marked := svc.Annotations[AnnotationFromPool]
	switch {
	case twoOfOneFamily(shown) && (!marked || writerOf(svc) != ""):
		return true // nobody can hold two addresses of one family here
	case a.adoptable(svc, shown):
		return false
	case overwritten(svc, shown):
		return true
	}
	return !marked && !a.inPools(shown)
}

// adoptable reports whether a status that was left alone because its addresses were in no pool can be taken over: now they are.
func (a *Assigner) adoptable(svc *corev1.Service, shown []netip.Addr) bool {
	said := meta.FindStatusCondition(svc.Status.Conditions, ConditionAllocated)
	if said == nil || said.Reason != ReasonForeignStatus || strings.Contains(said.Message, inOurPool) || twoOfOneFamily(shown) || !a.inPools(shown) {
		return false
	}
	return !slices.ContainsFunc(shown, func(addr netip.Addr) bool {
		return slices.ContainsFunc(a.engine.Holders(addr), func(o allocator.Owner) bool { return o != ownerOf(svc) })
	})
}

func (a *Assigner) inPools(addrs []netip.Addr) bool {
	return !slices.ContainsFunc(addrs, func(addr netip.Addr) bool { _, in := a.engine.PoolOf(addr); return !in })
}

func twoOfOneFamily(addrs []netip.Addr) bool { return len(onePerFamily(addrs)) < len(addrs) }

// onePerFamily returns the first address of each family.
func onePerFamily(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, addr := range addrs {
		if !slices.ContainsFunc(out, func(t netip.Addr) bool { return allocator.FamilyOf(t) == allocator.FamilyOf(addr) }) {
			out = append(out, addr)
		}
	}
	return out
}

// restore has a Service that holds nothing hold what its status shows. If another Service holds one of the addresses, nothing is taken
// over and the conflict is remembered until the status shows the address no longer.
func (a *Assigner) restore(svc *corev1.Service, req *allocator.Request, shown []netip.Addr) {
	if writerOf(svc) != "" {
		a.taken[req.Owner] = shown
	}
	if conflict, ok := errors.AsType[*allocator.ConflictError](a.engine.Restore(*req, onePerFamily(shown)...)); ok {
		a.lost[req.Owner] = conflict
	}
}

// leaveAlone notes that the status of a Service is somebody else's: what it shows goes to nobody, and it waits for nothing.
func (a *Assigner) leaveAlone(owner allocator.Owner, v *Verdict) {
	a.foreign[owner] = true
	a.waiting.drop(owner)
	v.Kept = a.engine.Held(owner).Addrs()
	a.shows(owner, slices.DeleteFunc(slices.Clone(v.Foreign), func(addr netip.Addr) bool { return slices.Contains(v.Kept, addr) }))
	if a.inPools(v.Foreign) {
		v.ForeignPool, _ = a.engine.PoolOf(v.Foreign[0])
	}
}

// trust orders the Services whose addresses are taken over: first those whose addresses our own condition names, then those that
// MetalLB or an earlier version marked, then those of whom nothing is known but what they show.
func trust(svc *corev1.Service) int {
	said := meta.FindStatusCondition(svc.Status.Conditions, ConditionAllocated)
	_, marked := svc.Annotations[AnnotationFromPool]
	switch {
	case said != nil && (said.Reason == ReasonForeignStatus || said.Status == metav1.ConditionTrue && names(said.Message, ShownAddresses(svc))):
		return 0
	case marked:
		return 1
	}
	return 2
}

// kept returns the addresses that were kept for a Service whose status is somebody else's.
func kept(svc *corev1.Service) []netip.Addr {
	said := meta.FindStatusCondition(svc.Status.Conditions, ConditionAllocated)
	if said == nil || said.Reason != ReasonForeignStatus {
		return nil
	}
	before, _, found := strings.Cut(said.Message, keptMark)
	if !found {
		return nil
	}
	var out []netip.Addr
	for s := range strings.SplitSeq(before[strings.LastIndex(before, ". ")+1:], ",") {
		addr, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil {
			return nil
		}
		out = append(out, addr)
	}
	return onePerFamily(out)
}

// EmptyStatus is the command that empties the status of a Service, so that it gets an address from here.
func EmptyStatus(svc *corev1.Service) string {
	return fmt.Sprintf(`kubectl -n %s patch service %s --subresource=status --type=merge -p '{"status":{"loadBalancer":{"ingress":null}}}'`, svc.Namespace, svc.Name)
}

// planForeign says whose the status is. The label goes: by it, Cilium would advertise whatever the status shows.
func planForeign(want *corev1.Service, v Verdict) []Event {
	if delete(want.Labels, LabelPool); v.Fading {
		metav1.SetMetaDataLabel(&want.ObjectMeta, LabelPool, "")
	}
	meta.RemoveStatusCondition(&want.Status.Conditions, ConditionAdvertised)
	message := fmt.Sprintf("status.loadBalancer.ingress holds %s, which was not assigned here", joinAddrs(v.Foreign))
	if writer := writerOf(want); writer != "" {
		message += fmt.Sprintf(" but written by field manager %q", writer)
	}
	message += "; it is left alone"
	if v.ForeignPool != "" {
		message += fmt.Sprintf("%s%q", inOurPool, v.ForeignPool)
	}
	message += ". "
	if len(v.Kept) > 0 {
		message += joinAddrs(v.Kept) + keptMark + ". "
	}
	switch {
	case twoOfOneFamily(v.Foreign):
		message += "A Service has at most one address of each family here. "
	case v.ForeignPool == "":
		message += fmt.Sprintf("To have the status taken over, add %s to a pool. ", joinAddrs(v.Foreign))
	}
	message += "To have an address assigned here, stop the other writer and empty the status: " + EmptyStatus(want)
	if !setCondition(want, metav1.ConditionFalse, ReasonForeignStatus, message) {
		return nil
	}
	return []Event{{corev1.EventTypeWarning, EventForeignStatus, message}}
}
