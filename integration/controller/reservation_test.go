package controller

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

func (i *installation) reserve(name string, service *v1alpha1.ServiceReference, addresses ...string) *v1alpha1.AddressReservation {
	r := &v1alpha1.AddressReservation{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: name}}
	r.Spec.Addresses, r.Spec.Service = addresses, service
	require.NoError(i.t, bed.Client.Create(i.t.Context(), r))
	return r
}

// TestReservations: what is reserved is not given out automatically; what is reserved for a Service is its own.
func TestReservations(t *testing.T) {
	t.Parallel()
	i := install(t)
	p := i.pool("main", "10.60.0.0/29", "2001:db8:60::/125")
	holder := i.service("holder")
	i.start()
	has(t, holder, "10.60.0.0")
	i.reserve("gateway", nil, "10.60.0.0-10.60.0.2", "2001:db8:60::/126")
	mine := i.reserve("mine", &v1alpha1.ServiceReference{Namespace: i.namespace, Name: "later"}, "10.60.0.5/32")
	testbed.Eventually(t, "the counters to leave out what is reserved", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if want := (v1beta1.IPAddressPoolStatus{AssignedIPv4: 1, AvailableIPv4: 4, AvailableIPv6: 4}); p.Status != want {
			return fmt.Errorf("are %+v, want %+v", p.Status, want)
		}
		return nil
	})
	has(t, i.service("a"), "10.60.0.3")
	has(t, i.service("asked", annotated("metallb.io/loadBalancerIPs", "10.60.0.2")), "10.60.0.2")
	thief := i.service("thief", annotated("metallb.io/loadBalancerIPs", "10.60.0.5"))
	refused(t, thief, fmt.Sprintf(`False AddressReserved: address 10.60.0.5 is reserved for %s/later by AddressReservation "mine"`, i.namespace))
	later := i.service("later")
	has(t, later, "10.60.0.5")
	has(t, holder, "10.60.0.0")
	// A reservation that goes helps those who wait for it.
	require.NoError(t, bed.Client.Delete(t.Context(), later))
	require.NoError(t, bed.Client.Delete(t.Context(), mine))
	has(t, thief, "10.60.0.5")
	assert.Contains(t, bed.Kubectl(t, "get", "addressreservations", "-n", i.namespace), "10.60.0.0-10.60.0.2")
}

// TestHold deletes and recreates a Service 100 times, with others waiting for every address, and the controller killed at random:
// it gets its address again every time. When the hold is over, the next in line gets it.
func TestHold(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.61.0.0/30", "2001:db8:61::/126")
	rng := rand.New(rand.NewPCG(seed(t), 0))
	running := i.start("--leader-elect=false")
	dual := corev1.IPFamilyPolicyPreferDualStack
	held := func() *corev1.Service {
		return i.define("held", annotated("fairlead.io/hold-address", "1h"), func(s *corev1.Service) { s.Spec.IPFamilyPolicy = &dual })
	}
	s := held()
	require.NoError(t, bed.Client.Create(t.Context(), s))
	has(t, s, "10.61.0.0 2001:db8:61::")

	// Competitors: more than there are addresses, coming and going.
	ctx, stop := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	for k := range 4 {
		g.Go(func() error {
			for n := 0; ctx.Err() == nil; n++ {
				c := i.define(fmt.Sprintf("competitor-%d-%d", k, n%3))
				_ = bed.Client.Delete(ctx, c)
				if err := bed.Client.Create(ctx, c); client.IgnoreAlreadyExists(err) != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
	}
	again := 0
	for range 100 {
		require.NoError(t, bed.Client.Delete(t.Context(), s))
		if rng.IntN(20) == 0 {
			running.Kill()
			running = i.start("--leader-elect=false")
		}
		s = held()
		require.NoError(t, bed.Client.Create(t.Context(), s))
		has(t, s, "10.61.0.0 2001:db8:61::")
		again++
	}
	stop()
	require.NoError(t, g.Wait())
	assert.Equal(t, 100, again)
	var others corev1.ServiceList
	require.NoError(t, bed.Client.List(t.Context(), &others, client.InNamespace(i.namespace)))
	for k := range others.Items {
		if others.Items[k].Name != "held" {
			require.NoError(t, bed.Client.Delete(t.Context(), &others.Items[k]))
		}
	}

	out := bed.Kubectl(t, "get", "addressreservations", "-n", i.namespace)
	assert.Contains(t, out, "10.61.0.0/32")
	assert.Contains(t, out, "1h0m0s")

	// A shorter hold runs out, also over a restart.
	testbed.Edit(t, bed, s, func(s *corev1.Service) { s.Annotations["fairlead.io/hold-address"] = "2s" })
	list := &v1alpha1.AddressReservationList{}
	testbed.Eventually(t, "the hold to follow", func(ctx context.Context) error {
		if err := bed.Client.List(ctx, list, client.InNamespace(i.namespace)); err != nil {
			return err
		}
		if len(list.Items) != 1 || list.Items[0].Spec.HoldAfterDelete.Duration != 2*time.Second {
			return fmt.Errorf("holds %+v", list.Items)
		}
		return nil
	})
	deleted := time.Now()
	require.NoError(t, bed.Client.Delete(t.Context(), s))
	running.Kill()
	i.start("--leader-elect=false")
	next := i.service("next", annotated("metallb.io/loadBalancerIPs", "10.61.0.0"))
	refused(t, next, "False AddressInUse: address 10.61.0.0 is in use by "+i.namespace+"/held")
	has(t, next, "10.61.0.0")
	assert.GreaterOrEqual(t, time.Since(deleted), 2*time.Second)
	testbed.Eventually(t, "the hold to go", func(ctx context.Context) error { return gone(ctx, &list.Items[0]) })

	// Taking the annotation away ends a hold too.
	other := i.service("other", annotated("fairlead.io/hold-address", "1h"), annotated("metallb.io/loadBalancerIPs", "10.61.0.1"))
	refused(t, other, "")
	testbed.Edit(t, bed, other, func(s *corev1.Service) { delete(s.Annotations, "fairlead.io/hold-address") })
	testbed.Eventually(t, "no hold to be left", func(ctx context.Context) error {
		if err := bed.Client.List(ctx, list, client.InNamespace(i.namespace)); err != nil {
			return err
		}
		if len(list.Items) > 0 {
			return fmt.Errorf("%d are left", len(list.Items))
		}
		return nil
	})
}

// TestHoldEndsWithItsAddress: a Service that loses its address for good does not keep it reserved.
func TestHoldEndsWithItsAddress(t *testing.T) {
	t.Parallel()
	i := install(t)
	p := i.pool("main", "10.74.0.0/32")
	i.start("--leader-elect=false")
	s := i.service("held", annotated("fairlead.io/hold-address", "1h"), annotated("metallb.io/address-pool", "main"))
	has(t, s, "10.74.0.0")
	holds := func(want int) {
		t.Helper()
		testbed.Eventually(t, "the holds", func(ctx context.Context) error {
			var list v1alpha1.AddressReservationList
			if err := bed.Client.List(ctx, &list, client.InNamespace(i.namespace)); err != nil {
				return err
			}
			if len(list.Items) != want {
				return fmt.Errorf("there are %d, want %d", len(list.Items), want)
			}
			return nil
		})
	}
	holds(1)
	require.NoError(t, bed.Client.Delete(t.Context(), p))
	has(t, s, "")
	holds(0)
}
