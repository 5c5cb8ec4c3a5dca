package assign

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/text"
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
		delete(want.Labels, LabelPool)
	case v.Released:
		events = planRelease(want, v)
	}
	patch := patchOf(svc, want)
	if patch == nil {
		return nil
	}
	changed := !slices.Equal(ShownAddresses(svc), ShownAddresses(want))
	if keys := deprecatedAnnotations(svc); changed && len(keys) > 0 {
		events = append(events, Event{corev1.EventTypeWarning, EventDeprecatedAnnotation, fmt.Sprintf(
			"annotations %s are deprecated; use the prefix %s instead", strings.Join(keys, ", "), annotationPrefix)})
	}
	return &Change{Patch: patch, Makes: want, Events: events, AddressesChanged: changed}
}

// planClaimed says that the CNI's own allocator serves the Service, and leaves the rest of the status to it.
func planClaimed(want *corev1.Service, v Verdict) []Event {
	message := "the CNI's own allocator would replace the addresses, so nothing is written: " + v.Claimed
	if !setCondition(want, metav1.ConditionFalse, ReasonIPAMConflict, message) {
		return nil
	}
	return []Event{{corev1.EventTypeWarning, EventIPAMConflict, message}}
}

// planAdvertised keeps the condition about what has been done with the addresses.
func planAdvertised(want *corev1.Service, v Verdict) []Event {
	if v.Advertised == nil || v.Held.IsZero() {
		meta.RemoveStatusCondition(&want.Status.Conditions, ConditionAdvertised)
		return nil
	}
	now := metav1.Condition{
		Type: ConditionAdvertised, Status: v.Advertised.Status, Reason: v.Advertised.Reason, Message: text.Cut(v.Advertised.Message, text.MaxMessage),
	}
	was := meta.FindStatusCondition(want.Status.Conditions, ConditionAdvertised)
	transition := was == nil || was.Status != now.Status || was.Reason != now.Reason
	meta.SetStatusCondition(&want.Status.Conditions, now)
	switch {
	case !transition, now.Status == metav1.ConditionUnknown: // nobody knows: that is no news
		return nil
	case now.Status == metav1.ConditionTrue:
		return []Event{{corev1.EventTypeNormal, EventAdvertised, now.Message}}
	}
	return []Event{{corev1.EventTypeWarning, EventNotAdvertised, now.Message}}
}

func planContended(want *corev1.Service, v Verdict) []Event {
	who := "managedFields names nobody else who writes to the status"
	if s := suspects(want); len(s) > 0 {
		who = fmt.Sprintf("others who write to the status are %s", strings.Join(s, ", "))
	}
	message := fmt.Sprintf("somebody keeps emptying status.loadBalancer.ingress after %s was written; %s; it is written again every %s",
		joinAddrs(v.Held.Addrs()), who, contentionPause)
	if !setCondition(want, metav1.ConditionFalse, ReasonStatusContended, message) {
		return nil
	}
	return []Event{{corev1.EventTypeWarning, EventStatusContended, message}}
}

// planRelease removes everything that was written here, and nothing that somebody else wrote.
func planRelease(want *corev1.Service, v Verdict) []Event {
	delete(want.Labels, LabelPool)
	delete(want.Annotations, AnnotationFromPool)
	meta.RemoveStatusCondition(&want.Status.Conditions, ConditionAllocated)
	meta.RemoveStatusCondition(&want.Status.Conditions, ConditionAdvertised)
	had := ShownAddresses(want)
	if len(had) == 0 || len(v.Foreign) > 0 {
		return nil
	}
	setIngress(want, nil)
	return []Event{{corev1.EventTypeNormal, EventClearAssignment, fmt.Sprintf("released %s", joinAddrs(had))}}
}

// Leave returns the merge patch with which this installation leaves a Service that it serves: its marks and conditions go, and with
// release the addresses, too, unless somebody else wrote them. It returns nil if there is nothing to do.
func (r Rules) Leave(svc *corev1.Service, release bool) []byte {
	_, labelled := svc.Labels[LabelPool]
	if !labelled && meta.FindStatusCondition(svc.Status.Conditions, ConditionAllocated) == nil || !r.serves(svc) {
		return nil
	}
	want := svc.DeepCopy()
	if release {
		v := Verdict{}
		if overwritten(svc, ShownAddresses(svc)) {
			v.Foreign = ShownAddresses(svc)
		}
		planRelease(want, v)
	} else {
		delete(want.Labels, LabelPool)
		meta.RemoveStatusCondition(&want.Status.Conditions, ConditionAllocated)
		meta.RemoveStatusCondition(&want.Status.Conditions, ConditionAdvertised)
	}
	return patchOf(svc, want)
}

func planOurs(want *corev1.Service, v Verdict) []Event {
	had := ShownAddresses(want)
	has := v.Held.Addrs()
	setIngress(want, has)
	setMarks(want, v.Held)

	gained := slices.DeleteFunc(slices.Clone(has), func(a netip.Addr) bool { return slices.Contains(had, a) })
	dropped := slices.DeleteFunc(slices.Clone(had), func(a netip.Addr) bool { return slices.Contains(has, a) })
	var events []Event
	if len(dropped) > 0 {
		events = append(events, Event{corev1.EventTypeNormal, EventClearAssignment, clearMessage(dropped, gained, v)})
	}
	if v.Lost != nil {
		events = append(events, Event{corev1.EventTypeWarning, EventAddressConflict, v.Lost.Error()})
	}
	if len(gained) > 0 {
		verb := "Assigned IP"
		if len(dropped) == 0 && len(had) > 0 {
			verb = "Assigned additional IP"
		}
		events = append(events, Event{corev1.EventTypeNormal, EventIPAllocated,
			fmt.Sprintf("%s %q from pool %q", verb, addrStrings(gained), poolNames(v.Held))})
	}

	status, reason, message := verdictCondition(v)
	if v.Lost != nil && v.Held.IsZero() {
		reason, message = ReasonAddressConflict, fmt.Sprintf("%s; %s", v.Lost, message)
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
		return &Event{corev1.EventTypeWarning, EventAddressOfNode, message}
	case v.Missing != 0:
		return &Event{corev1.EventTypeNormal, EventAdditionalAssignFailed, message}
	case v.Err == nil, errors.Is(v.Err, errCNIUnknown):
		return nil
	case errors.Is(v.Err, errNoClusterIP):
		return &Event{corev1.EventTypeWarning, EventNoClusterIPs, message}
	case errors.Is(v.Err, errNotEnoughClusterIPs):
		return &Event{corev1.EventTypeWarning, EventNotEnoughClusterIPs, message}
	case v.Held.IsZero():
		return &Event{corev1.EventTypeWarning, EventAllocationFailed, message}
	default:
		return &Event{corev1.EventTypeWarning, EventLoadBalancerFailed, message}
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
		return metav1.ConditionTrue, ReasonAddressKept, fmt.Sprintf("%s is kept: %v; %s", has, v.Err, v.OfNode)
	case v.OfNode != "":
		return metav1.ConditionTrue, ReasonAddressOfNode, fmt.Sprintf("%s; %s", has, v.OfNode)
	case v.Missing != 0:
		return metav1.ConditionTrue, ReasonAllocated, fmt.Sprintf("%s; pool %q has no %s address to add", has, strings.Join(v.MissingFrom, ","), v.Missing)
	case v.Err == nil:
		return metav1.ConditionTrue, ReasonAllocated, has
	case !v.Held.IsZero():
		return metav1.ConditionTrue, ReasonAddressKept, fmt.Sprintf("%s is kept: %v", has, v.Err)
	default:
		return metav1.ConditionFalse, reasonOf(v.Err), v.Err.Error()
	}
}

// reasons maps what a refusal unwraps to, the first that matches, to the reason that a user sees.
var reasons = []struct {
	err    error
	reason string
}{
	{errCNIUnknown, ReasonCNIUnknown},
	{errNoClusterIP, ReasonNoClusterIP},
	{errNotEnoughClusterIPs, ReasonNotEnoughClusterIPs},
	{allocator.ErrInvalidRequest, ReasonInvalidRequest},
	{allocator.ErrUnknownPool, ReasonPoolNotFound},
	{allocator.ErrPoolMismatch, ReasonPoolMismatch},
	{allocator.ErrNotAdmitted, ReasonPoolNotAdmitting},
	{allocator.ErrBuggyAddress, ReasonAddressNotUsable},
	{allocator.ErrReserved, ReasonAddressReserved},
	{allocator.ErrSharingConflict, ReasonSharingConflict},
	{allocator.ErrInUse, ReasonAddressInUse},
	{allocator.ErrPoolExhausted, ReasonPoolExhausted},
	{allocator.ErrNoMatchingPool, ReasonNoMatchingPool},
	{allocator.ErrNotInPool, ReasonAddressNotInPool},
}

func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return ReasonInvalidRequest
}

// ReasonOf returns the condition reason for an error that Consider has told.
func ReasonOf(err error) string { return reasonOf(err) }

// setCondition reports whether the condition is new: its status, reason or message is another. A message that only says less
// than the one that is there, because it does not know the history, is not.
func setCondition(svc *corev1.Service, status metav1.ConditionStatus, reason, message string) bool {
	old := meta.FindStatusCondition(svc.Status.Conditions, ConditionAllocated)
	if old != nil && old.Status == status && old.Reason == reason &&
		(old.Message == message || strings.HasPrefix(old.Message, message+"; ")) {
		return false
	}
	return meta.SetStatusCondition(&svc.Status.Conditions, metav1.Condition{
		Type: ConditionAllocated, Status: status, Reason: reason, Message: text.Cut(message, text.MaxMessage),
	})
}

// setIngress makes the status show exactly addrs, IPv4 first. An entry that is there already stays as it is, with the ports,
// ipMode and hostname that others gave it, and so does an entry that has only a hostname.
func setIngress(svc *corev1.Service, addrs []netip.Addr) {
	var out []corev1.LoadBalancerIngress
	var shown []netip.Addr
	for _, in := range svc.Status.LoadBalancer.Ingress {
		addr, err := netip.ParseAddr(in.IP)
		addr = addr.Unmap()
		if in.IP == "" || err == nil && slices.Contains(addrs, addr) && !slices.Contains(shown, addr) {
			out, shown = append(out, in), append(shown, addr)
		}
	}
	for _, addr := range addrs {
		if !slices.Contains(shown, addr) {
			out = append(out, corev1.LoadBalancerIngress{IP: addr.String()})
		}
	}
	svc.Status.LoadBalancer.Ingress = out
}

func setMarks(svc *corev1.Service, held allocator.Assignment) {
	if held.IsZero() {
		delete(svc.Labels, LabelPool)
		delete(svc.Annotations, AnnotationFromPool)
		return
	}
	metav1.SetMetaDataLabel(&svc.ObjectMeta, LabelPool, backends.PoolLabel(poolNames(held)))
	metav1.SetMetaDataAnnotation(&svc.ObjectMeta, AnnotationFromPool, poolNames(held))
}

// poolNames returns the pool of what is held, or "pool4,pool6" if the families come from different pools.
func poolNames(held allocator.Assignment) string {
	if held.IPv4.IsValid() && held.IPv6.IsValid() && held.IPv4.Pool != held.IPv6.Pool {
		return held.IPv4.Pool + "," + held.IPv6.Pool
	}
	return held.Pool()
}

// patchOf returns the merge patch from svc to want, or nil if they are equal.
func patchOf(svc, want *corev1.Service) []byte {
	metadata := map[string]any{}
	status := map[string]any{}
	mark := func(field, key string, from, to map[string]string) {
		before, had := from[key]
		after, has := to[key]
		switch {
		case has && (!had || before != after):
			metadata[field] = map[string]any{key: after}
		case had && !has:
			metadata[field] = map[string]any{key: nil}
		}
	}
	mark("labels", LabelPool, svc.Labels, want.Labels)
	mark("annotations", AnnotationFromPool, svc.Annotations, want.Annotations)
	if !equality.Semantic.DeepEqual(svc.Status.LoadBalancer.Ingress, want.Status.LoadBalancer.Ingress) {
		status["loadBalancer"] = map[string]any{"ingress": want.Status.LoadBalancer.Ingress}
	}
	if !equality.Semantic.DeepEqual(svc.Status.Conditions, want.Status.Conditions) {
		status["conditions"] = want.Status.Conditions
	}
	if len(metadata)+len(status) == 0 {
		return nil
	}
	metadata["resourceVersion"] = svc.ResourceVersion
	patch := map[string]any{"metadata": metadata}
	if len(status) > 0 {
		patch["status"] = status
	}
	b, err := json.Marshal(patch)
	if err != nil {
		panic("assign: a status patch does not marshal: " + err.Error())
	}
	return b
}

func addrStrings(addrs []netip.Addr) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}

func joinAddrs(addrs []netip.Addr) string { return strings.Join(addrStrings(addrs), ", ") }
