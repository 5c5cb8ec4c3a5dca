package observe

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/internal/service"
)

// TestTrimService: a speaker knows of a trimmed Service what it would know of the whole.
func TestTrimService(t *testing.T) {
	vip := corev1.LoadBalancerIPModeVIP
	for name, change := range map[string]func(*corev1.Service){
		"local": func(*corev1.Service) {},
		"cluster": func(s *corev1.Service) {
			s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
		},
		"dual stack from two pools": func(s *corev1.Service) {
			s.Annotations[service.AnnotationFromPool] = "v4,v6"
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: "2001:db8::1", IPMode: &vip})
		},
		"shares":                         func(s *corev1.Service) { s.Annotations["metallb.io/allow-shared-ip"] = "key" },
		"shares, by the deprecated name": func(s *corev1.Service) { s.Annotations["metallb.universe.tf/allow-shared-ip"] = "key" },
		"a hostname as well": func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{Hostname: "web.example.com"})
		},
		"none of ours":    func(s *corev1.Service) { delete(s.Annotations, service.AnnotationFromPool) },
		"no pool's label": func(s *corev1.Service) { delete(s.Labels, service.LabelPool) },
		"a ClusterIP":     func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP },
	} {
		t.Run(name, func(t *testing.T) {
			svc := local("web")
			svc.UID = "1"
			svc.Labels["team"] = "a"
			svc.Annotations["metallb.io/address-pool"] = "main"
			svc.Annotations[corev1.LastAppliedConfigAnnotation] = "{}"
			svc.OwnerReferences = []metav1.OwnerReference{{Name: "a"}}
			svc.Status.Conditions = []metav1.Condition{{Type: service.ConditionAllocated}}
			change(svc)
			whole, ours := Service(svc)
			trimmed, err := TrimFor("n1")(svc.DeepCopy())
			require.NoError(t, err)
			got, is := Service(trimmed.(*corev1.Service))
			assert.Equal(t, ours, is)
			assert.Equal(t, whole, got)
			assert.EqualValues(t, "1", trimmed.(*corev1.Service).UID, "events name it")
			assert.NotContains(t, trimmed.(*corev1.Service).Annotations, corev1.LastAppliedConfigAnnotation)
		})
	}
}
