package assign

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/service"
)

// edit changes a Service as a user would.
func (w *world) edit(name string, change ...func(*corev1.Service)) {
	s := w.services[named(name)].DeepCopy()
	for _, c := range change {
		c(s)
	}
	w.put(s)
}

// overlap returns the addresses that more than one Service shows.
func (w *world) overlap() []string {
	holders := map[string][]string{}
	for o := range w.services {
		for _, a := range w.addrs(o) {
			holders[a.String()] = append(holders[a.String()], o.Name)
		}
	}
	var out []string
	for a, by := range holders {
		if len(by) > 1 {
			out = append(out, fmt.Sprint(a, by))
		}
	}
	return out
}

var (
	preferDual = policy(corev1.IPFamilyPolicyPreferDualStack)
	sixFirst   = clusterIPs("fd00:96::1", "10.96.0.1")
	sixOnly    = []func(*corev1.Service){clusterIPs("fd00:96::1"), policy(corev1.IPFamilyPolicySingleStack)}
)

// TestExchangedFamily: a Service that has the one family and now wants only the other, which nobody has, ends with nothing.
func TestExchangedFamily(t *testing.T) {
	w := newWorld(t, ipPool("v4only", "10.0.0.0/30"))
	w.put(loadBalancer("web", sixFirst, preferDual))
	w.settle()
	require.Equal(t, "10.0.0.0", w.shown("web"))
	w.edit("web", sixOnly...)
	w.settle()
	assert.Empty(t, w.shown("web"))
	assert.Contains(t, w.condition(named("web")), "False PoolExhausted")
	w.start()
	w.settle()
	assert.Empty(t, w.shown("web"))
}

// TestHandover: an address goes to the next Service only when the status of the last one is without it, whatever is reconciled first.
func TestHandover(t *testing.T) {
	w := newWorld(t, ipPool("pool", "10.0.0.0/32", "2001:db8::/120"))
	w.put(loadBalancer("first", sixFirst, preferDual))
	w.put(loadBalancer("second", sixFirst, preferDual))
	w.settle()
	require.Equal(t, "10.0.0.0 2001:db8::", w.shown("first"))
	require.Equal(t, "2001:db8::1", w.shown("second"))

	w.edit("first", sixOnly...)
	w.assigner.Decide(w.services[named("first")], nil) // decided, not yet written
	w.queue = append([]allocator.Owner{named("second"), named("third")}, w.queue...)
	w.put(loadBalancer("third"))
	for len(w.queue) > 0 {
		w.reconcile(false)
		require.Empty(t, w.overlap())
	}
	assert.Equal(t, "2001:db8::1 10.0.0.0", w.shown("second"), "the longest-waiting")
	assert.Empty(t, w.shown("third"))
	assert.Contains(t, w.condition(named("third")), "False PoolExhausted")
}

// TestPartingEndsWithTheService: what a Service lost is free at once when it goes, written or not.
func TestPartingEndsWithTheService(t *testing.T) {
	w := newWorld(t, ipPool("pool", "10.0.0.0/32", "2001:db8::/120"))
	w.put(loadBalancer("first", sixFirst, preferDual))
	w.settle()
	w.edit("first", sixOnly...)
	w.assigner.Decide(w.services[named("first")], nil)
	w.put(loadBalancer("second"))
	w.delete(named("first"))
	w.settle()
	assert.Equal(t, "10.0.0.0", w.shown("second"))
	s, ok := w.assigner.Stats("pool")
	require.True(t, ok)
	assert.EqualValues(t, 1, s.AssignedIPv4)
	assert.Zero(t, s.AssignedIPv6)
}

// TestWaiterWithAHoldIsDeleted: an address that was given in memory only, with no hold recorded, does not outlive its Service.
func TestWaiterWithAHoldIsDeleted(t *testing.T) {
	w := newWorld(t, ipPool("pool", "10.0.0.0/32"))
	w.put(loadBalancer("first"))
	w.settle()
	w.put(loadBalancer("held", annotated(service.AnnotationHold, "1h")))
	w.settle()
	w.queue = nil
	delete(w.services, named("first"))
	delete(w.services, named("held"))
	w.assigner.Forget(named("first")) // which gives the address to the other, whose end is not known yet
	w.assigner.Forget(named("held"))
	w.put(loadBalancer("next"))
	w.settle()
	assert.Equal(t, "10.0.0.0", w.shown("next"))
}

// TestNoNewAddressWithoutAdmission: of two addresses the one that has left every pool is not replaced from a pool that does not
// admit the Service any more.
func TestNoNewAddressWithoutAdmission(t *testing.T) {
	w := newWorld(t, ipPool("pool", "10.0.0.0/32", "2001:db8::/126"))
	w.put(loadBalancer("web", clusterIPs("10.96.0.1", "fd00:96::1"), preferDual))
	w.settle()
	require.Equal(t, "10.0.0.0 2001:db8::", w.shown("web"))
	closed := ipPool("pool", "10.0.0.1/32", "2001:db8::/126")
	closed.Spec.AllocateTo = &v1beta1.ServiceAllocation{ServiceSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"no": "body"}}}}
	w.setPools(closed)
	w.settle()
	assert.Equal(t, "2001:db8::", w.shown("web"))
}

// TestReasonFollowsTheCause: a Service that still cannot be served is told the new reason when the old one is gone.
func TestReasonFollowsTheCause(t *testing.T) {
	w := newWorld(t, ipPool("pool", "10.0.0.0/30"))
	w.put(loadBalancer("holder"))
	w.settle()
	w.put(loadBalancer("web", clusterIPs("10.96.0.1", "fd00:96::1"), preferDual,
		annotated("metallb.io/loadBalancerIPs", "10.0.0.0,2001:db8:91::1")))
	w.settle()
	require.Contains(t, w.condition(named("web")), "False AddressInUse")
	w.delete(named("holder"))
	w.settle()
	assert.Contains(t, w.condition(named("web")), "False AddressNotInPool")
}

// TestPendingServiceLeaves: a Service that waits and is no load balancer any more loses its condition.
func TestPendingServiceLeaves(t *testing.T) {
	w := newWorld(t)
	w.put(loadBalancer("web"))
	w.settle()
	require.Contains(t, w.condition(named("web")), "False NoMatchingPool")
	w.edit("web", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
	w.settle()
	assert.Empty(t, strings.TrimSpace(w.condition(named("web"))))
}
