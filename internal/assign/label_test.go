package assign

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/service"
)

// TestNoLabelOnForeignStatus: Cilium advertises every address of a Service with the label, so one whose status shows what was not
// assigned here has none, whether the address stands alone or beside ours; it comes back with our address.
func TestNoLabelOnForeignStatus(t *testing.T) {
	for _, theirs := range [][]string{{"203.0.113.9"}, {"2001:db8:9::9"}, {"10.0.0.0", "203.0.113.9"}} {
		w := newWorld(t, standard()...)
		w.put(loadBalancer("web"))
		w.settle()
		assert.Equal(t, "auto", w.services[named("web")].Labels[service.LabelPool])
		w.overwrite(named("web"), "other-lb", theirs...)
		w.settle()
		assert.Contains(t, w.condition(named("web")), "False ForeignStatus")
		assert.NotContains(t, w.services[named("web")].Labels, service.LabelPool, "%v", theirs)
		assert.False(t, service.Announced(w.services[named("web")]))
		w.overwrite(named("web"), "other-lb")
		w.settle()
		assert.Equal(t, "auto", w.services[named("web")].Labels[service.LabelPool])
	}
}

// TestBorrowedLabel: on a Service of another class the label is somebody's own doing and goes, with nothing else; where another
// installation has judged the Service it is that one's.
func TestBorrowedLabel(t *testing.T) {
	other := "example.com/lb"
	borrowed := loadBalancer("web", func(s *corev1.Service) {
		s.Spec.LoadBalancerClass = &other
		s.Labels = map[string]string{service.LabelPool: "auto", "app": "web"}
		s.Annotations = map[string]string{service.AnnotationFromPool: "theirs"}
	})
	judged := loadBalancer("theirs", func(s *corev1.Service) {
		s.Spec.LoadBalancerClass = &other
		s.Labels = map[string]string{service.LabelPool: "pool-of-theirs"}
	})
	w := newWorld(t, standard()...)
	w.put(borrowed)
	w.put(judged)
	shown := []corev1.LoadBalancerIngress{{IP: "203.0.113.9"}}
	w.services[named("web")].Status.LoadBalancer.Ingress = shown
	w.services[named("theirs")].Status.Conditions = []metav1.Condition{
		{Type: service.ConditionAllocated, Status: metav1.ConditionTrue, Reason: service.ReasonAllocated},
	}
	w.settle()
	web := w.services[named("web")]
	assert.Equal(t, map[string]string{"app": "web"}, web.Labels)
	assert.Equal(t, "theirs", web.Annotations[service.AnnotationFromPool])
	assert.Equal(t, shown, web.Status.LoadBalancer.Ingress)
	assert.Equal(t, "pool-of-theirs", w.services[named("theirs")].Labels[service.LabelPool])
}

// TestLabelOfTwoPools: a Service with addresses of two pools has the label of neither.
func TestLabelOfTwoPools(t *testing.T) {
	assert.Equal(t, "four", backends.PoolLabel("four"))
	both := backends.PoolLabel("four,six")
	assert.NotContains(t, []string{"four", "six", backends.PoolLabel("six,four")}, both)
	assert.LessOrEqual(t, len(both), 63)
}
