package assign

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// overwrite has another manager write the addresses in the status of a Service.
func (w *world) overwrite(o allocator.Owner, manager string, ips ...string) {
	s := w.services[o].DeepCopy()
	s.Status.LoadBalancer.Ingress = nil
	for _, ip := range ips {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
	}
	s.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: "status",
		FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`)},
	}}
	w.clock++
	w.services[o] = s
	w.queue = append(w.queue, o)
}

func (w *world) shown(name string) string {
	return strings.Join(addrStrings(w.addrs(named(name))), " ")
}

// TestSecondWriter: a status that somebody else wrote is named and left alone, also over a restart; the Service gets its address
// back when that writer gives way, and everybody else is served all the time.
func TestSecondWriter(t *testing.T) {
	for _, theirs := range []string{"203.0.113.7", "10.0.0.3"} { // outside every pool, and inside one
		t.Run(theirs, func(t *testing.T) {
			w := newWorld(t, standard()...)
			w.put(loadBalancer("web"))
			w.settle()
			mine := w.shown("web")
			require.NotEmpty(t, mine)
			w.takeEvents()

			w.overwrite(named("web"), "other-controller", theirs)
			w.put(loadBalancer("next"))
			w.settle()
			assert.Equal(t, theirs, w.shown("web"))
			assert.NotEqual(t, mine, w.shown("next"), "the address was given away")
			assert.Contains(t, w.condition(named("web")), `False ForeignStatus: status.loadBalancer.ingress holds `+theirs+
				`, which was not assigned here but written by field manager "other-controller"; it is left alone`)
			events := w.takeEvents()
			assert.Len(t, events, 2)
			assert.Contains(t, strings.Join(events, "\n"), "default/web Warning ForeignStatus")

			w.overwrite(named("web"), "other-controller")
			w.settle()
			assert.Equal(t, mine, w.shown("web"))
		})
	}
}

// TestSecondWriterWhileAway: what somebody wrote over our addresses while no controller ran is theirs.
func TestSecondWriterWhileAway(t *testing.T) {
	w := newWorld(t, standard()...)
	w.put(loadBalancer("web"))
	w.settle()
	w.overwrite(named("web"), "other-controller", "203.0.113.7")
	for range 2 {
		w.start()
		w.settle()
		assert.Equal(t, "203.0.113.7", w.shown("web"))
		assert.Contains(t, w.condition(named("web")), `written by field manager "other-controller"`)
	}
}

// TestTakenOver: addresses that another product wrote before are taken over, and are ours to change from then on.
func TestTakenOver(t *testing.T) {
	w := newWorld(t, standard()...)
	s := loadBalancer("web")
	s.Annotations = map[string]string{service.AnnotationFromPool: standard()[0].Name}
	w.put(s)
	w.queue = nil
	w.overwrite(named("web"), "controller", "10.0.0.3")
	w.start()
	w.settle()
	assert.Equal(t, "10.0.0.3", w.shown("web"))
	assert.Contains(t, w.condition(named("web")), "True Allocated")

	asks := w.services[named("web")].DeepCopy()
	asks.Annotations[service.Prefix+service.AskAddresses] = "10.0.0.2"
	w.put(asks)
	w.settle()
	assert.Equal(t, "10.0.0.2", w.shown("web"))
}

// TestReleaseLeavesForeignAddresses: a Service that stops being ours keeps what somebody else wrote.
func TestReleaseLeavesForeignAddresses(t *testing.T) {
	w := newWorld(t, standard()...)
	w.put(loadBalancer("web"))
	w.settle()
	s := w.services[named("web")].DeepCopy()
	class := "example.com/other"
	s.Spec.LoadBalancerClass = &class
	w.put(s)
	w.overwrite(named("web"), "other-controller", "203.0.113.7")
	w.settle()
	assert.Equal(t, "203.0.113.7", w.shown("web"))
	assert.NotContains(t, w.services[named("web")].Labels, service.LabelPool)
	assert.Empty(t, w.services[named("web")].Status.Conditions)
}

func TestContention(t *testing.T) {
	var c contention
	now := time.Unix(1000, 0)
	svc := loadBalancer("web")
	svc.Annotations = map[string]string{service.AnnotationFromPool: "pool"}
	for range contentionLimit {
		assert.Zero(t, c.pause(svc, now))
		c.wrote(svc, now)
		now = now.Add(time.Second)
	}
	assert.Equal(t, contentionPause-time.Second, c.pause(svc, now))
	now = now.Add(contentionPause)
	assert.Zero(t, c.pause(svc, now), "no try after the pause")
	c.wrote(svc, now)
	assert.Equal(t, contentionPause, c.pause(svc, now))
	now = now.Add(contentionEnd + time.Second)
	c.wrote(svc, now)
	assert.Zero(t, c.pause(svc, now), "old trouble is not forgotten")

	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	for range 2 * contentionLimit {
		c.wrote(svc, now)
	}
	assert.Zero(t, c.pause(svc, now), "writes over addresses count")
}

// TestTrimKeepsDecisions: a trimmed Service is decided on like the whole one.
func TestTrimKeepsDecisions(t *testing.T) {
	s := loadBalancer("web")
	s.Annotations = map[string]string{
		"kubectl.kubernetes.io/last-applied-configuration": "{}", service.Prefix + service.AskSharing: "key", service.AnnotationHold: "1m",
	}
	s.Spec.Ports = []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, NodePort: 30080}}
	ingress := &metav1.FieldsV1{Raw: []byte(`{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`)}
	s.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: service.FieldManager, Subresource: "status", FieldsV1: ingress},
		{Manager: "kubectl", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{}}`)}},
		{Manager: "cilium-operator", Subresource: "status", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:status":{"f:conditions":{}}}`)}},
	}
	whole, wholeErr := Rules{}.requestOf(s, nil)
	o, err := service.Trim(s)
	require.NoError(t, err)
	trimmed, trimmedErr := Rules{}.requestOf(o.(*corev1.Service), nil)
	assert.Equal(t, whole, trimmed)
	assert.Equal(t, wholeErr, trimmedErr)
	assert.NotContains(t, s.Annotations, "kubectl.kubernetes.io/last-applied-configuration")
	assert.Empty(t, service.WriterOf(s))
	assert.Equal(t, []string{"cilium-operator"}, service.Suspects(s))
}
