package delegate

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/service"
)

// TestRoster: whatever becomes of Services, the list is those that have an address, in order, and one that was handed out stays as it was.
func TestRoster(t *testing.T) {
	r, random := &roster{}, rand.New(rand.NewPCG(1, 2))
	have := map[string]*corev1.Service{}
	var before, kept []backends.Service
	for step := range 2000 {
		name := fmt.Sprint("s", random.IntN(20))
		was := have[name]
		is := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: []string{"a", "b"}[len(name)%2], Name: name}}
		is.Spec.Type = corev1.ServiceTypeLoadBalancer
		switch random.IntN(4) {
		case 0:
			is = nil
		case 1: // it waits
		default:
			is.Annotations = map[string]string{service.AnnotationFromPool: "main"}
			is.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: fmt.Sprint("192.0.2.", random.IntN(250))}}
			if random.IntN(4) == 0 {
				is.Spec.Type = corev1.ServiceTypeClusterIP
			}
		}
		switch {
		case was == nil && is == nil:
			continue
		case is == nil:
			r.take(was, nil)
			delete(have, name)
		case was == nil:
			r.take(nil, is)
			have[name] = is
		default:
			r.take(client.Object(was), is)
			have[name] = is
		}
		if step%3 > 0 {
			continue
		}
		var want []backends.Service
		for _, s := range slices.SortedFunc(maps.Values(have), func(a, b *corev1.Service) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		}) {
			if x, told := Service(s); told {
				want = append(want, x)
			}
		}
		got := r.list()
		assert.Equal(t, want, slices.Clone(got), "step %d", step)
		assert.Equal(t, kept, before, "what was handed out is not changed")
		before, kept = got, slices.Clone(got)
	}
}
