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
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/text"
	"github.com/fairlead/fairlead/internal/service"
)

// Change is the one write that brings a Service to its Verdict, and what to say about it once it is written.
type Change struct {
	// Patch is a JSON merge patch (RFC 7386) of the status subresource; it carries the resourceVersion it was made from.
	Patch []byte
	// Makes is the Service as the patch makes it.
	Makes  *corev1.Service
	Events []Event
	// AddressesChanged is set if the patch changes which addresses the Service has.
	AddressesChanged bool
}

// Event is an event on a Service.
type Event struct{ Type, Reason, Message string }

// Plan returns the change that svc needs, or nil if it is as it should be. It is a pure function.
func Plan(svc *corev1.Service, v Verdict) *Change {
	want := svc.DeepCopy()
	var events []Event
	switch {
	case v.Later:
		return nil
	case v.Ours && len(v.Foreign) > 0:
		events = planForeign(want, v)
	case v.Ours && v.Claimed != "":
		events = planClaimed(want, v)
	case v.Ours && v.Contended && !v.Held.IsZero():
		events = planContended(want, v)
	case v.Ours && v.Dropping:
		planDropping(want, v)
	case v.Ours:
		events = planOurs(want, v)
	case v.Borrowed:
		delete(want.Labels, service.LabelPool)
	case v.Released:
		events = planRelease(want, v)
	}
	patch := service.Patch(svc, want)
	if patch == nil {
		return nil
	}
	changed := !slices.Equal(service.ShownAddresses(svc), service.ShownAddresses(want))
	if keys := service.DeprecatedAnnotations(svc); changed && len(keys) > 0 {
		events = append(events, Event{corev1.EventTypeWarning, service.EventDeprecatedAnnotation, fmt.Sprintf(
			"annotations %s are deprecated; use the prefix %s instead", strings.Join(keys, ", "), service.Prefix)})
	}
	return &Change{Patch: patch, Makes: want, Events: events, AddressesChanged: changed}
}

// planClaimed says that the CNI's own allocator serves the Service, and leaves the rest of the status to it.
func planClaimed(want *corev1.Service, v Verdict) []Event {
	message := "the CNI's own allocator would replace the addresses, so nothing is written: " + v.Claimed
	if !setCondition(want, metav1.ConditionFalse, service.ReasonIPAMConflict, message) {
		return nil
	}
	return []Event{{corev1.EventTypeWarning, service.EventIPAMConflict, message}}
}

// planAdvertised keeps the condition about what has been done with the addresses.
func planAdvertised(want *corev1.Service, v Verdict) []Event {
	if v.Advertised == nil || v.Held.IsZero() {
		meta.RemoveStatusCondition(&want.Status.Conditions, service.ConditionAdvertised)
		return nil
	}
	now := metav1.Condition{
		Type: service.ConditionAdvertised, Status: v.Advertised.Status, Reason: v.Advertised.Reason,
		Message: text.Cut(v.Advertised.Message, text.MaxMessage),
	}
	was := meta.FindStatusCondition(want.Status.Conditions, service.ConditionAdvertised)
	transition := was == nil || was.Status != now.Status || was.Reason != now.Reason
	meta.SetStatusCondition(&want.Status.Conditions, now)
	switch {
	case !transition, now.Status == metav1.ConditionUnknown: // nobody knows: that is no news
		return nil
	case now.Status == metav1.ConditionTrue:
		return []Event{{corev1.EventTypeNormal, service.EventAdvertised, now.Message}}
	}
	return []Event{{corev1.EventTypeWarning, service.EventNotAdvertised, now.Message}}
}

func planContended(want *corev1.Service, v Verdict) []Event {
	who := "managedFields names nobody else who writes to the status"
	if s := service.Suspects(want); len(s) > 0 {
		who = fmt.Sprintf("others who write to the status are %s", strings.Join(s, ", "))
	}
	message := fmt.Sprintf("somebody keeps emptying status.loadBalancer.ingress after %s was written; %s; it is written again every %s",
		joinAddrs(v.Held.Addrs()), who, contentionPause)
	if !setCondition(want, metav1.ConditionFalse, service.ReasonStatusContended, message) {
		return nil
	}
	return []Event{{corev1.EventTypeWarning, service.EventStatusContended, message}}
}

// planRelease removes everything that was written here, and nothing that somebody else wrote.
func planRelease(want *corev1.Service, v Verdict) []Event {
	had := service.TakeBack(want, len(v.Foreign) > 0)
	if len(had) == 0 {
		return nil
	}
	return []Event{{corev1.EventTypeNormal, service.EventClearAssignment, fmt.Sprintf("released %s", joinAddrs(had))}}
}

func planOurs(want *corev1.Service, v Verdict) []Event {
	had := service.ShownAddresses(want)
	has := v.Held.Addrs()
	service.SetIngress(want, has)
	setMarks(want, v.Held)

	gained := slices.DeleteFunc(slices.Clone(has), func(a netip.Addr) bool { return slices.Contains(had, a) })
	dropped := slices.DeleteFunc(slices.Clone(had), func(a netip.Addr) bool { return slices.Contains(has, a) })
	var events []Event
	if len(dropped) > 0 {
		events = append(events, Event{corev1.EventTypeNormal, service.EventClearAssignment, clearMessage(dropped, gained, v)})
	}
	if v.Lost != nil {
		events = append(events, Event{corev1.EventTypeWarning, service.EventAddressConflict, v.Lost.Error()})
	}
	if len(gained) > 0 {
		verb := "Assigned IP"
		if len(dropped) == 0 && len(had) > 0 {
			verb = "Assigned additional IP"
		}
		events = append(events, Event{corev1.EventTypeNormal, service.EventIPAllocated,
			fmt.Sprintf("%s %q from pool %q", verb, addrStrings(gained), poolNames(v.Held))})
	}

	status, reason, message := verdictCondition(v)
	if v.Lost != nil && v.Held.IsZero() {
		reason, message = service.ReasonAddressConflict, fmt.Sprintf("%s; %s", v.Lost, message)
	} else if len(dropped) > 0 {
		message = fmt.Sprintf("%s; %s", message, clearMessage(dropped, gained, v))
	}
	if setCondition(want, status, reason, message) {
		if e := refusalEvent(v, message); e != nil {
			events = append(events, *e)
		}
	}
	return append(events, planAdvertised(want, v)...)
}

func clearMessage(dropped, gained []netip.Addr, v Verdict) string {
	switch {
	case v.Lost != nil && len(gained) > 0:
		return fmt.Sprintf("%s belongs to %s and is replaced by %s", joinAddrs(dropped), v.Lost.Holder, joinAddrs(gained))
	case len(gained) > 0:
		return fmt.Sprintf("%s is replaced by %s", joinAddrs(dropped), joinAddrs(gained))
	default:
		return fmt.Sprintf("%s is taken back", joinAddrs(dropped))
	}
}

// refusalEvent returns the event that goes with a condition that tells of a refusal; nil if there is none.
func refusalEvent(v Verdict, message string) *Event {
	switch {
	case v.OfNode != "" && v.Err == nil:
		return &Event{corev1.EventTypeWarning, service.EventAddressOfNode, message}
	case v.Disagrees != "" && v.Err == nil:
		return &Event{corev1.EventTypeWarning, service.EventAllocatorDisagrees, message}
	case v.Missing != 0:
		return &Event{corev1.EventTypeNormal, service.EventAdditionalAssignFailed, message}
	case v.Err == nil, errors.Is(v.Err, errCNIUnknown), errors.Is(v.Err, allocator.ErrAwaitsProvider):
		return nil
	case errors.Is(v.Err, errNoClusterIP):
		return &Event{corev1.EventTypeWarning, service.EventNoClusterIPs, message}
	case errors.Is(v.Err, errNotEnoughClusterIPs):
		return &Event{corev1.EventTypeWarning, service.EventNotEnoughClusterIPs, message}
	case v.Held.IsZero():
		return &Event{corev1.EventTypeWarning, service.EventAllocationFailed, message}
	default:
		return &Event{corev1.EventTypeWarning, service.EventLoadBalancerFailed, message}
	}
}

// verdictCondition returns status, reason and message of ConditionAllocated.
func verdictCondition(v Verdict) (metav1.ConditionStatus, string, string) {
	var held []string
	for _, g := range v.Held.Grants() {
		held = append(held, fmt.Sprintf("%s from pool %q", g.Addr, g.Pool))
	}
	has := strings.Join(held, ", ")
	switch {
	case v.OfNode != "" && v.Err != nil && !v.Held.IsZero():
		return metav1.ConditionTrue, service.ReasonAddressKept, fmt.Sprintf("%s is kept: %v; %s", has, v.Err, v.OfNode)
	case v.OfNode != "":
		return metav1.ConditionTrue, service.ReasonAddressOfNode, fmt.Sprintf("%s; %s", has, v.OfNode)
	case v.Disagrees != "" && v.Err == nil:
		return metav1.ConditionTrue, service.ReasonAllocatorDisagrees, v.Disagrees
	case v.Missing != 0:
		return metav1.ConditionTrue, service.ReasonAllocated,
			fmt.Sprintf("%s; pool %q has no %s address to add", has, strings.Join(v.MissingFrom, ","), v.Missing)
	case v.Err == nil:
		return metav1.ConditionTrue, service.ReasonAllocated, has
	case !v.Held.IsZero():
		return metav1.ConditionTrue, service.ReasonAddressKept, fmt.Sprintf("%s is kept: %v", has, v.Err)
	default:
		return metav1.ConditionFalse, reasonOf(v.Err), v.Err.Error()
	}
}

// reasons maps what a refusal unwraps to, the first that matches, to the reason that a user sees.
var reasons = []struct {
	err    error
	reason string
}{
	{errCNIUnknown, service.ReasonCNIUnknown},
	{errNoClusterIP, service.ReasonNoClusterIP},
	{errNotEnoughClusterIPs, service.ReasonNotEnoughClusterIPs},
	{allocator.ErrInvalidRequest, service.ReasonInvalidRequest},
	{allocator.ErrUnknownPool, service.ReasonPoolNotFound},
	{allocator.ErrPoolMismatch, service.ReasonPoolMismatch},
	{allocator.ErrNotAdmitted, service.ReasonPoolNotAdmitting},
	{allocator.ErrBuggyAddress, service.ReasonAddressNotUsable},
	{allocator.ErrReserved, service.ReasonAddressReserved},
	{allocator.ErrSharingConflict, service.ReasonSharingConflict},
	{allocator.ErrInUse, service.ReasonAddressInUse},
	{allocator.ErrNotGiven, service.ReasonAllocatorRefused},
	{allocator.ErrAwaitsProvider, service.ReasonWaitingForAllocator},
	{allocator.ErrUnfitAnswer, service.ReasonAllocatorDisagrees},
	{allocator.ErrRefused, service.ReasonAllocatorRefused},
	{allocator.ErrPoolExhausted, service.ReasonPoolExhausted},
	{allocator.ErrNoMatchingPool, service.ReasonNoMatchingPool},
	{allocator.ErrNotInPool, service.ReasonAddressNotInPool},
}

func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return service.ReasonInvalidRequest
}

// ReasonOf returns the condition reason for an error that Consider has told.
func ReasonOf(err error) string { return reasonOf(err) }

// setCondition reports whether the condition is new: its status, reason or message is another. A message that only says less
// than the one that is there, because it does not know the history, is not.
func setCondition(svc *corev1.Service, status metav1.ConditionStatus, reason, message string) bool {
	old := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated)
	if old != nil && old.Status == status && old.Reason == reason &&
		(old.Message == message || strings.HasPrefix(old.Message, message+"; ")) {
		return false
	}
	return meta.SetStatusCondition(&svc.Status.Conditions, metav1.Condition{
		Type: service.ConditionAllocated, Status: status, Reason: reason, Message: text.Cut(message, text.MaxMessage),
	})
}

func setMarks(svc *corev1.Service, held allocator.Assignment) {
	if held.IsZero() {
		delete(svc.Labels, service.LabelPool)
		delete(svc.Annotations, service.AnnotationFromPool)
		return
	}
	metav1.SetMetaDataLabel(&svc.ObjectMeta, service.LabelPool, backends.PoolLabel(poolNames(held)))
	metav1.SetMetaDataAnnotation(&svc.ObjectMeta, service.AnnotationFromPool, poolNames(held))
}

// poolNames returns the pool of what is held, or "pool4,pool6" if the families come from different pools.
func poolNames(held allocator.Assignment) string {
	if held.IPv4.IsValid() && held.IPv6.IsValid() && held.IPv4.Pool != held.IPv6.Pool {
		return held.IPv4.Pool + "," + held.IPv6.Pool
	}
	return held.Pool()
}

func addrStrings(addrs []netip.Addr) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}

func joinAddrs(addrs []netip.Addr) string { return strings.Join(addrStrings(addrs), ", ") }
