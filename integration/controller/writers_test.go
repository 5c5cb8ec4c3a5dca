package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/service"
)

// writeStatus writes the addresses of a Service as another controller would.
func writeStatus(t *testing.T, s *corev1.Service, manager string, ips ...string) {
	t.Helper()
	ingress := []corev1.LoadBalancerIngress{}
	for _, ip := range ips {
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: ip})
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": ingress}}})
	require.NoError(t, err)
	require.NoError(t, bed.Client.Status().Patch(t.Context(), s, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(manager)))
}

// TestSecondWriter: somebody else writes to a status that is ours. The controller names the field manager in the condition and in
// one event, writes nothing over it, not even after a restart, serves everybody else, and takes up its own address again when the
// other gives way.
func TestSecondWriter(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.71.0.0/30")
	p := i.start()
	s := i.service("web")
	has(t, s, "10.71.0.0")

	writeStatus(t, s, "other-lb", "203.0.113.9")
	says := `False ForeignStatus: status.loadBalancer.ingress holds 203.0.113.9, which was not assigned here but written by field manager "other-lb"; it is left alone`
	refused(t, s, says)
	assert.Equal(t, "203.0.113.9", testbed.IPs(s))
	hasEvents(t, s, "Normal IPAllocated", "Warning ForeignStatus")
	has(t, i.service("next"), "10.71.0.1")

	// Its next write gets no answer: the condition says all there is to say.
	testbed.Edit(t, bed, s, func(s *corev1.Service) { s.Labels = map[string]string{"touched": "yes"} })
	has(t, i.service("more"), "10.71.0.2")
	version := s.ResourceVersion
	_, err := p.Stop()
	require.NoError(t, err)
	i.start()
	has(t, i.service("last"), "10.71.0.3") // 10.71.0.0 is kept for web, over the restart, too
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s))
	assert.Equal(t, version, s.ResourceVersion, "the restarted controller wrote: %s", testbed.Condition(s, service.ConditionAllocated))
	hasEvents(t, s, "Normal IPAllocated", "Warning ForeignStatus")

	writeStatus(t, s, "other-lb")
	has(t, s, "10.71.0.0")
}

// TestEmptiedStatus: somebody keeps emptying a status, as a CNI's allocator does. After three more writes the controller lets it
// be, and says who may have been it.
func TestEmptiedStatus(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.71.1.0/30")
	i.start()
	s := i.service("web")
	for range 4 {
		has(t, s, "10.71.1.0")
		emptyAs(t, s, "cni-operator")
	}
	refused(t, s, "False StatusContended: somebody keeps emptying status.loadBalancer.ingress after 10.71.1.0 was written; "+
		"others who write to the status are cni-operator; it is written again every 10m0s")
	assert.Empty(t, testbed.IPs(s))
	testbed.Eventually(t, "one event", func(ctx context.Context) error {
		all, err := events(ctx, i.namespace, s.UID)
		if err != nil {
			return err
		}
		if n := strings.Count(strings.Join(all, "\n"), "StatusContended"); n != 1 {
			return fmt.Errorf("%d StatusContended in %q", n, all)
		}
		return nil
	})
	// Its address is still its own.
	has(t, i.service("next"), "10.71.1.1")
}

// emptyAs empties the status and, as Cilium's operator does, writes a condition of its own.
func emptyAs(t *testing.T, s *corev1.Service, manager string) {
	t.Helper()
	patch := fmt.Sprintf(`[{"op":"remove","path":"/status/loadBalancer/ingress"},
		{"op":"add","path":"/status/conditions/-","value":{"type":"example.com/%s","status":"False","reason":"No","message":"no","lastTransitionTime":"2026-01-01T00:00:00Z"}}]`, s.ResourceVersion)
	require.NoError(t, bed.Client.Status().Patch(t.Context(), s, client.RawPatch(types.JSONPatchType, []byte(patch)), client.FieldOwner(manager)))
}
