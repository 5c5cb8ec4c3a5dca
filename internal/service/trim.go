package service

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Trim drops from an object that goes into a cache what is never read: of a Service, what decides neither its request nor its
// status, and of every object the managed fields. What remains of a Service's managed fields is who else wrote its status.
func Trim(o any) (any, error) {
	switch x := o.(type) {
	case *corev1.Service:
		TrimService(x)
	case *v1alpha1.AddressReservation:
		x.ManagedFields = nil
	case *metav1.PartialObjectMetadata:
		x.ManagedFields, x.Annotations = nil, nil
	case client.Object:
		x.SetManagedFields(nil)
	}
	return o, nil
}

// TrimWriters drops from the managed fields of a Service all but who else wrote its status.
func TrimWriters(svc *corev1.Service) { svc.ManagedFields = otherWriters(svc.ManagedFields) }

// TrimService is Trim for a Service.
func TrimService(svc *corev1.Service) {
	TrimWriters(svc)
	maps.DeleteFunc(svc.Annotations, func(key, _ string) bool {
		return !strings.HasPrefix(key, Prefix) && !strings.HasPrefix(key, deprecatedPrefix) && !strings.HasPrefix(key, ownPrefix) &&
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
	if OfGateway(svc) {
		svc.Spec.ExternalIPs = s.ExternalIPs
	}
	for _, p := range s.Ports {
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Protocol: p.Protocol, Port: p.Port})
	}
}
