package migrate

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// set is a DaemonSet with one container.
func set(namespace, name string, labels map[string]string, host bool, c corev1.Container) *appsv1.DaemonSet {
	d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
	d.Spec.Template.Spec.HostNetwork = host
	d.Spec.Template.Spec.Containers = []corev1.Container{c}
	return d
}

// TestPorts: what is suggested is free on the nodes, and what is set back when MetalLB is gone is the usual, unless others have it.
func TestPorts(t *testing.T) {
	chart := map[string]string{"app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "speaker"}
	manifests := map[string]string{"app": "metallb", "component": "speaker"}
	ours := set("metallb-system", "fairlead-speaker", map[string]string{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": "speaker"}, true,
		corev1.Container{Ports: []corev1.ContainerPort{{ContainerPort: 7956}}})
	metallb := set("metallb-system", "speaker", manifests, true, corev1.Container{Args: []string{"--port=7472"}})
	const usual = "prometheus.metricsPort=7472,speaker.healthPort=17472,speaker.memberlist.mlBindPort=7946"
	for _, tc := range []struct {
		name           string
		sets           []client.Object
		unusual, after string
	}{
		{"nothing", nil, "", ""},
		{"manifests", []client.Object{metallb}, "prometheus.metricsPort=7482,speaker.healthPort=17482,speaker.memberlist.mlBindPort=7956", ""},
		{"chart, other ports", []client.Object{set("metallb-system", "metallb-speaker", chart, true, corev1.Container{
			Args:  []string{"--port=7482", "--frr-port=7956"},
			Env:   []corev1.EnvVar{{Name: "METALLB_ML_BIND_PORT", Value: "7957"}, {Name: "METALLB_ML_LABELS", Value: "17482"}},
			Ports: []corev1.ContainerPort{{ContainerPort: 7483}},
		})}, "prometheus.metricsPort=7484,speaker.healthPort=17482,speaker.memberlist.mlBindPort=7958", ""},
		{"health of 0.16", []client.Object{set("metallb-system", "x", chart, true, corev1.Container{Args: []string{"--health-probe-bind-address=127.0.0.1:17482"}})},
			"prometheus.metricsPort=7482,speaker.healthPort=17483,speaker.memberlist.mlBindPort=7956", ""},
		{"another program on the nodes", []client.Object{set("other", "exporter", nil, true, corev1.Container{Args: []string{"--web.listen-address=:7472"}}), ours},
			"prometheus.metricsPort=7482", "prometheus.metricsPort=7482,speaker.healthPort=17472,speaker.memberlist.mlBindPort=7946"},
		{"its own network", []client.Object{set("other", "exporter", nil, false, corev1.Container{Args: []string{"--listen=:7472"}, Ports: []corev1.ContainerPort{{ContainerPort: 7946}}})}, "", ""},
		{"a port of the node", []client.Object{set("other", "exporter", nil, false, corev1.Container{Ports: []corev1.ContainerPort{{ContainerPort: 80, HostPort: 7946}}})},
			"speaker.memberlist.mlBindPort=7956", ""},
		{"ours beside it", []client.Object{metallb, ours}, "prometheus.metricsPort=7482,speaker.healthPort=17482,speaker.memberlist.mlBindPort=7956", usual},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := New(fake.NewClientBuilder().WithObjects(tc.sets...).Build(), Options{Namespace: "metallb-system"})
			got, err := m.unusualPorts(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tc.unusual, got)
			got, err = m.usualPorts(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tc.after, got)
		})
	}
}
