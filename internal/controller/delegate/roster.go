package delegate

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/service"
)

// roster is the Services that backends are told of. It follows their events, so that one change among ten thousand costs little. The zero value is
// empty.
type roster struct {
	mu   sync.Mutex                                 // protects all the following
	all  []backends.Service                         // by namespace and name; others have it, too: it is replaced, never changed
	news map[types.NamespacedName]*backends.Service // what is not in all yet; nil: it is not told of any more
}

// take takes in a Service as it was and as it is; each may be nil.
func (r *roster) take(was, is client.Object) {
	o := is
	if o == nil {
		o = was
	}
	id := client.ObjectKeyFromObject(o)
	var told *backends.Service
	if is != nil {
		if now, tells := Service(is.(*corev1.Service)); tells {
			told = &now
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if told == nil {
		_, known := slices.BinarySearchFunc(r.all, backends.Service{Namespace: id.Namespace, Name: id.Name}, ByName)
		if _, changed := r.news[id]; !known && !changed {
			return
		}
	}
	if r.news == nil {
		r.news = map[types.NamespacedName]*backends.Service{}
	}
	r.news[id] = told
}

// list returns the Services, by namespace and name. Nobody may change them.
func (r *roster) list() []backends.Service {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.news) == 0 {
		return r.all
	}
	old := r.all
	var added []backends.Service
	for _, s := range r.news {
		if s != nil {
			added = append(added, *s)
		}
	}
	slices.SortFunc(added, ByName)
	r.all = make([]backends.Service, 0, len(old)+len(added))
	for _, s := range old {
		if _, changed := r.news[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}]; changed {
			continue
		}
		for len(added) > 0 && ByName(added[0], s) < 0 {
			r.all, added = append(r.all, added[0]), added[1:]
		}
		r.all = append(r.all, s)
	}
	r.all, r.news = append(r.all, added...), nil
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
