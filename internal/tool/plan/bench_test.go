package plan

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

// crowd has a cluster with count Services of a /16, each with an EndpointSlice, that a controller has served.
func crowd(tb testing.TB, count int) *survey.Survey {
	s := surveytest.Survey(tb, surveytest.Shop, func(s *survey.Survey) {
		s.Config.Pools[0].Spec.Addresses = []string{"10.0.0.0/16"}
		s.Config.Reservations, s.Services, s.Slices = nil, nil, nil
		for i := range count {
			svc := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("s%04d", i), UID: "u", ResourceVersion: "1", CreationTimestamp: metav1.NewTime(surveytest.At)}}
			svc.Spec = corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
				Ports: []corev1.ServicePort{{Port: 80}},
			}
			s.Services = append(s.Services, svc)
			s.Slices = append(s.Slices, discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: svc.Name + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: svc.Name}},
				Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.1"}, NodeName: new("n1")}},
			})
		}
	})
	w, err := newWorld(s)
	require.NoError(tb, err)
	s.Services = w.Services
	return s
}

// BenchmarkCompare works out plans for 5,000 Services.
func BenchmarkCompare(b *testing.B) {
	now := crowd(b, 5000)
	for _, x := range []struct {
		name      string
		addresses string
	}{{"nothing", "10.0.0.0/16"}, {"renumbered", "10.7.0.0/16"}, {"shrunk", "10.0.0.0/28"}, {"moved and shrunk", "10.7.0.0/28"}} {
		then := *now
		then.Config.Pools = slices.Clone(now.Config.Pools)
		then.Config.Pools[0].Spec.Addresses = []string{x.addresses}
		b.Run(x.name, func(b *testing.B) {
			for b.Loop() {
				_, err := Compare(now, &then)
				require.NoError(b, err)
			}
		})
	}
}
