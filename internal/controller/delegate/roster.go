package delegate

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/service"
)

// roster is the Services that backends are told of. It follows their events, so that one change among ten thousand costs little. The zero value is
// empty.
type roster struct {
	mu     sync.Mutex         // protects all the following
	all    []backends.Service // by namespace and name
	shared bool               // somebody else has all, so that it must not be changed
}

// take takes in a Service as it was and as it is; each may be nil.
func (r *roster) take(was, is client.Object) {
	o := is
	if o == nil {
		o = was
	}
	name := backends.Service{Namespace: o.GetNamespace(), Name: o.GetName()}
	var now backends.Service
	told := false
	if is != nil {
		now, told = Service(is.(*corev1.Service))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i, known := slices.BinarySearchFunc(r.all, name, ByName)
	if !known && !told {
		return
	}
	if r.shared {
		r.all, r.shared = slices.Clone(r.all), false
	}
	switch {
	case !told:
		r.all = slices.Delete(r.all, i, i+1)
	case known:
		r.all[i] = now
	default:
		r.all = slices.Insert(r.all, i, now)
	}
}

// list returns the Services, by namespace and name. Nobody may change them.
func (r *roster) list() []backends.Service {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shared = true
	return r.all
}

// Service returns what backends know of a Service; false if it is none that has an address of ours.
func Service(s *corev1.Service) (backends.Service, bool) {
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return backends.Service{}, false
	}
	pool, addrs := s.Annotations[service.AnnotationFromPool], service.ShownAddresses(s)
	return backends.Service{
		Namespace: s.Namespace, Name: s.Name, Labels: s.Labels, Pool: pool, Addrs: addrs,
		Local: s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
	}, pool != "" && len(addrs) > 0
}

// ByName orders Services by namespace and name.
func ByName(a, b backends.Service) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// sameAddresses reports whether nothing has changed of a Service that matters to backends.
func sameAddresses(old, new client.Object) bool {
	a, b := old.(*corev1.Service), new.(*corev1.Service)
	return slices.EqualFunc(a.Status.LoadBalancer.Ingress, b.Status.LoadBalancer.Ingress,
		func(x, y corev1.LoadBalancerIngress) bool { return x.IP == y.IP }) &&
		maps.Equal(a.Labels, b.Labels) && a.Spec.ExternalTrafficPolicy == b.Spec.ExternalTrafficPolicy
}
