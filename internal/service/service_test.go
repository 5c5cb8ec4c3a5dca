package service

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// assigned returns a Service that shows addresses of two pools, as the controller writes it.
func assigned(change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web", ResourceVersion: "7", Labels: map[string]string{LabelPool: "both", "app": "web"},
			Annotations: map[string]string{AnnotationFromPool: "four,six", deprecatedPrefix + AskSharing: "key"},
		},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}, {IP: "2001:db8::1"}, {Hostname: "web.example.com"}}
	s.Status.Conditions = []metav1.Condition{
		{Type: ConditionAllocated, Status: metav1.ConditionTrue, Message: `192.0.2.1 from pool "four", 2001:db8::1 from pool "six"`},
		{Type: ConditionAdvertised, Status: metav1.ConditionTrue},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func TestShown(t *testing.T) {
	s := assigned()
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, ShownAddresses(s))
	assert.Equal(t, []string{"four", "six"}, PoolsOf(s))
	assert.True(t, Shares(s))
	assert.Equal(t, []string{deprecatedPrefix + AskSharing}, DeprecatedAnnotations(s))
}

func TestAnnounced(t *testing.T) {
	assert.True(t, Announced(assigned()))
	for name, change := range map[string]func(*corev1.Service){
		"another type": func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP },
		"no label":     func(s *corev1.Service) { delete(s.Labels, LabelPool) },
		"no pool":      func(s *corev1.Service) { delete(s.Annotations, AnnotationFromPool) },
		"no address":   func(s *corev1.Service) { s.Status.LoadBalancer.Ingress = s.Status.LoadBalancer.Ingress[2:] },
	} {
		assert.False(t, Announced(assigned(change)), name)
	}
}

// TestLeave: what is ours goes, what others wrote stays, and a Service that is not served is not touched.
func TestLeave(t *testing.T) {
	overwritten := func(s *corev1.Service) {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.9"}}
		s.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "other", Subresource: "status", FieldsV1: wroteIngress}}
	}
	const rest = `"labels":{"fairlead.io/pool":null},"resourceVersion":"7"}`
	const unmarked = `"metadata":{` + rest
	const untold = `"metadata":{"annotations":{"metallb.io/ip-allocated-from-pool":null},` + rest
	for _, tc := range []struct {
		name    string
		change  func(*corev1.Service)
		classes []string
		release bool
		want    string // empty: nothing
	}{
		{name: "keep", classes: []string{""}, want: `{` + unmarked + `,"status":{"conditions":[]}}`},
		{name: "release", classes: []string{""}, release: true,
			want: `{` + untold + `,"status":{"conditions":[],"loadBalancer":{"ingress":[{"hostname":"web.example.com"}]}}}`},
		{name: "release what another wrote", change: overwritten, classes: []string{""}, release: true,
			want: `{` + untold + `,"status":{"conditions":[]}}`},
		{name: "another class", classes: []string{"example.com/lb"}, release: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := assigned()
			if tc.change != nil {
				tc.change(s)
			}
			got := Leave(s, tc.classes, tc.release)
			if tc.want == "" {
				require.Nil(t, got)
				return
			}
			require.JSONEq(t, tc.want, string(got))
		})
	}
}
