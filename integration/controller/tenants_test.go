package controller

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

// TestTenants goes through docs/tenants.md. It is not parallel: its controller tells the Services of all other classes that it does
// not serve them.
func TestTenants(t *testing.T) {
	i := install(t)
	i.pool("main", "10.73.0.0/28")
	private := i.pool("private", "10.73.1.0/28")
	testbed.Edit(t, bed, private, func(p *v1beta1.IPAddressPool) {
		p.Spec.AutoAssign = new(bool)
		p.Spec.AllocateTo = &v1beta1.ServiceAllocation{Namespaces: []string{i.namespace}}
	})
	extra := i.class + "-extra"
	i.start("--lb-class="+i.class+","+extra, "--cross-namespace-sharing=false", "--report-other-classes")
	other := bed.Namespace(t)
	there := func(s *corev1.Service) { s.Namespace = other }
	on := func(port int32) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.Ports[0].Port = port }
	}

	// Pools.
	has(t, i.service("mine", annotated("metallb.io/loadBalancerIPs", "10.73.1.0")), "10.73.1.0")
	refused(t, i.service("theirs", there, annotated("metallb.io/loadBalancerIPs", "10.73.1.1")), "False PoolNotAdmitting")

	// Sharing.
	key := annotated("metallb.io/allow-shared-ip", "web")
	has(t, i.service("http", key, on(80)), "10.73.0.0")
	has(t, i.service("https", key, on(443)), "10.73.0.0")
	has(t, i.service("guess", there, key, on(8080)), "10.73.0.1")
	has(t, i.service("open", key, on(81), annotated("fairlead.io/share-with-namespaces", other)), "10.73.0.2")
	has(t, i.service("join", there, key, on(82), annotated("fairlead.io/share-with-namespaces", i.namespace)), "10.73.0.2")

	// Classes.
	classed := func(class string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class }
	}
	has(t, i.service("second-class", classed(extra)), "10.73.0.3")
	unknown := i.service("no-class", classed("example.org/unknown"))
	hasEvents(t, unknown, "Normal ClassNotServed")

	// How many.
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: "addresses"}}
	quota.Spec.Hard = corev1.ResourceList{corev1.ResourceServicesLoadBalancers: resource.MustParse("3")}
	require.NoError(t, bed.Client.Create(t.Context(), quota))
	// The controller manager, which does not run here, would write the status.
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: quota.Spec.Hard}
	require.NoError(t, bed.Client.Status().Update(t.Context(), quota))
	err := bed.Client.Create(t.Context(), i.define("one-too-many", there))
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	require.ErrorContains(t, err, "services.loadbalancers")
}
