package observe

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/service"
)

func local(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{service.LabelPool: "main"},
			Annotations: map[string]string{service.AnnotationFromPool: "main"}},
		Spec:   corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}}},
	}
}

func sliceOf(service, name string, ready bool, nodes ...string) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service},
	}}
	for _, node := range nodes {
		out.Endpoints = append(out.Endpoints, discoveryv1.Endpoint{NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
	}
	return out
}

// TestSlices: the endpoints of a Service are those of all its EndpointSlices, as they come, change and go.
func TestSlices(t *testing.T) {
	x := newCluster()
	changes := x.Watch()
	x.take(local("web"), false)
	var got map[string]bool
	for _, step := range []struct {
		name    string
		slice   *discoveryv1.EndpointSlice
		gone    bool
		changed bool
		nodes   map[string]bool
	}{
		{"the first", sliceOf("web", "a", true, "n1"), false, true, map[string]bool{"n1": true}},
		{"a second", sliceOf("web", "b", true, "n2", "n3"), false, true, map[string]bool{"n1": true, "n2": true, "n3": true}},
		{"another Service's of the same name", sliceOf("db", "a", true, "n9"), false, false, map[string]bool{"n1": true, "n2": true, "n3": true}},
		{"the same again", sliceOf("web", "b", true, "n3", "n2"), false, false, map[string]bool{"n1": true, "n2": true, "n3": true}},
		{"the first changes", sliceOf("web", "a", true, "n2"), false, true, map[string]bool{"n2": true, "n3": true}},
		{"the second is not ready", sliceOf("web", "b", false, "n2", "n3"), false, true, map[string]bool{"n2": true}},
		{"one goes that never was", sliceOf("web", "c", true, "n4"), true, false, map[string]bool{"n2": true}},
		{"the first goes", sliceOf("web", "a", true, "n2"), true, true, nil},
		{"the second goes", sliceOf("web", "b", false, "n2"), true, false, nil},
	} {
		assert.Equal(t, step.changed, x.take(step.slice, step.gone), step.name)
		changes.Take(func(_ types.NamespacedName, s *announce.Service) { got = s.Endpoints.Nodes }, func(string, *announce.Node) {})
		assert.Equal(t, step.nodes, got, step.name)
	}
	assert.NotContains(t, x.slices, types.NamespacedName{Namespace: "default", Name: "web"}, "nothing stays of it")
}

// BenchmarkTake is one endpoint that changes among 10,000 Services, all of which were new once: what a burst leaves behind must not cost.
func BenchmarkTake(b *testing.B) {
	x := newCluster()
	changes := x.Watch()
	for i := range 10_000 {
		name := fmt.Sprint("web-", i)
		x.take(local(name), false)
		x.take(sliceOf(name, name, true, "n1"), false)
	}
	take := func() {
		changes.Take(func(types.NamespacedName, *announce.Service) {}, func(string, *announce.Node) {})
	}
	take()
	ready := true
	for b.Loop() {
		ready = !ready
		x.take(sliceOf("web-1", "web-1", ready, "n1"), false)
		take()
	}
}
