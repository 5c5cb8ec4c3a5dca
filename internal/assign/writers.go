package assign

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Trim drops from an object that goes into a cache what is never read: of a Service, what decides neither its request nor its
// status, and of every object the managed fields. What remains of a Service's managed fields is who else wrote its status.
func Trim(o any) (any, error) {
	switch x := o.(type) {
	case *corev1.Service:
		trimService(x)
	case *v1alpha1.AddressReservation:
		x.ManagedFields = nil
	case *metav1.PartialObjectMetadata:
		x.ManagedFields, x.Annotations = nil, nil
	case client.Object:
		x.SetManagedFields(nil)
	}
	return o, nil
}

func trimService(svc *corev1.Service) {
	svc.ManagedFields = otherWriters(svc.ManagedFields)
	maps.DeleteFunc(svc.Annotations, func(key, _ string) bool {
		return !strings.HasPrefix(key, annotationPrefix) && !strings.HasPrefix(key, deprecatedPrefix) && !strings.HasPrefix(key, ownPrefix) &&
			!slices.Contains(ciliumAnnotations, key)
	})
	svc.OwnerReferences, svc.Finalizers = nil, nil
	s := svc.Spec
	svc.Spec = corev1.ServiceSpec{Type: s.Type, LoadBalancerClass: s.LoadBalancerClass}
	if s.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	svc.Spec.ClusterIP, svc.Spec.ClusterIPs, svc.Spec.IPFamilyPolicy = s.ClusterIP, s.ClusterIPs, s.IPFamilyPolicy
	svc.Spec.LoadBalancerIP, svc.Spec.ExternalTrafficPolicy, svc.Spec.Selector = s.LoadBalancerIP, s.ExternalTrafficPolicy, s.Selector
	if ofGateway(svc) {
		svc.Spec.ExternalIPs = s.ExternalIPs
	}
	for _, p := range s.Ports {
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Protocol: p.Protocol, Port: p.Port})
	}
}

// ingressField is how managed fields name status.loadBalancer.ingress; the list is atomic: who changes one entry owns all.
const ingressField = `"f:ingress"`

// wroteIngress stands for that field in what otherWriters keeps.
var wroteIngress = &metav1.FieldsV1{Raw: []byte(`{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`)}

// otherWriters returns who apart from us wrote to the status, with no more of the fields than whether the addresses were among them.
func otherWriters(in []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	var out []metav1.ManagedFieldsEntry
	for _, e := range in {
		if e.Subresource != "status" || e.Manager == FieldManager {
			continue
		}
		kept := metav1.ManagedFieldsEntry{Manager: e.Manager, Subresource: e.Subresource}
		if e.FieldsV1 != nil && strings.Contains(e.FieldsV1.GetRawString(), ingressField) {
			kept.FieldsV1 = wroteIngress
		}
		out = append(out, kept)
	}
	return out
}

// writerOf returns the field manager that put the addresses in the status of svc there; empty if it is us, or unknown.
func writerOf(svc *corev1.Service) string {
	for _, e := range otherWriters(svc.ManagedFields) {
		if e.FieldsV1 != nil {
			return e.Manager
		}
	}
	return ""
}

// suspects returns the field managers apart from us that wrote to the status of svc. One of them may have emptied a list:
// what is gone has no manager.
func suspects(svc *corev1.Service) []string {
	var out []string
	for _, e := range otherWriters(svc.ManagedFields) {
		if !slices.Contains(out, e.Manager) {
			out = append(out, e.Manager)
		}
	}
	return out
}

// takenOver remembers, for statuses whose addresses another manager wrote and which were taken over all the same (a MetalLB that
// was here before), which addresses those were: any others that turn up are a second writer's.
type takenOver map[allocator.Owner][]netip.Addr

// foreign returns the addresses in the status of svc if somebody put them there who is neither us nor whom they were taken over
// from.
func (t takenOver) foreign(svc *corev1.Service, held []netip.Addr) []netip.Addr {
	owner := ownerOf(svc)
	if writerOf(svc) == "" {
		delete(t, owner)
		return nil
	}
	shown := ShownAddresses(svc)
	if sameAddrs(shown, held) || !slices.ContainsFunc(shown, func(x netip.Addr) bool { return !slices.Contains(t[owner], x) }) {
		return nil
	}
	return shown
}

// overwritten reports whether somebody else replaced the addresses in the status of svc while no controller ran: they are not
// those that our own condition, which went with our last write, speaks of.
func overwritten(svc *corev1.Service, shown []netip.Addr) bool {
	said := meta.FindStatusCondition(svc.Status.Conditions, ConditionAllocated)
	if writerOf(svc) == "" || said == nil {
		return false
	}
	return said.Reason == ReasonForeignStatus && !sameAddrs(shown, kept(svc)) || said.Status == metav1.ConditionTrue && !names(said.Message, shown)
}

// names reports whether a message names all of the addresses.
func names(message string, addrs []netip.Addr) bool {
	words := strings.Fields(strings.ReplaceAll(message, ",", " "))
	return !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !slices.Contains(words, a.String()) })
}

// sameAddrs reports whether both hold the same addresses, in any order.
func sameAddrs(a, b []netip.Addr) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x netip.Addr) bool { return !slices.Contains(b, x) })
}
