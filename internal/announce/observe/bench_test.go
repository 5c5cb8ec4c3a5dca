package observe

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/service"
)

// BenchmarkManyPods is a Service with 5,000 pods on 500 nodes, in 50 EndpointSlices, of one of which an endpoint changes: until it is known whether
// that matters, and what the Service is then.
func BenchmarkManyPods(b *testing.B) {
	const pods, each = 5_000, 100
	for _, policy := range []corev1.ServiceExternalTrafficPolicy{corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal} {
		b.Run(string(policy), func(b *testing.B) {
			x := newCluster()
			changes := x.Watch()
			x.take(&corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", Labels: map[string]string{service.LabelPool: "main"},
					Annotations: map[string]string{service.AnnotationFromPool: "main"}},
				Spec:   corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: policy},
				Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}}},
			}, false)
			slice := func(i int, ready bool) *discoveryv1.EndpointSlice {
				out := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
					Namespace: "default", Name: fmt.Sprint("web-", i), Labels: map[string]string{discoveryv1.LabelServiceName: "web"},
				}}
				for j := range each {
					node := fmt.Sprint("node-", (i*each+j)/10)
					out.Endpoints = append(out.Endpoints, discoveryv1.Endpoint{NodeName: &node})
				}
				out.Endpoints[0].Conditions.Ready = &ready
				return out
			}
			for i := range pods / each {
				x.take(slice(i, true), false)
			}
			for i := 0; b.Loop(); i++ {
				x.take(slice(i/2%(pods/each), i%2 == 1), false)
				changes.Take(func(types.NamespacedName, *announce.Service) {}, func(string, *announce.Node) {})
			}
		})
	}
}
