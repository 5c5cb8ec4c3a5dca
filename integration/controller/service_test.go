package controller

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/service"
)

func TestAddressIsOneWrite(t *testing.T) {
	t.Parallel()
	i := install(t)
	p := i.pool("main", "10.20.0.0/24", "2001:db8:20::/120")
	i.start()

	dual := corev1.IPFamilyPolicyPreferDualStack
	s := i.define("web", func(s *corev1.Service) { s.Spec.IPFamilyPolicy = &dual })
	var list corev1.ServiceList
	require.NoError(t, bed.Client.List(t.Context(), &list))
	watcher, err := bed.Client.Watch(t.Context(), &corev1.ServiceList{}, client.InNamespace(i.namespace), client.MatchingFields{"metadata.name": "web"})
	require.NoError(t, err)
	defer watcher.Stop()
	require.NoError(t, bed.Client.Create(t.Context(), s))

	var seen []string
	for e := range watcher.ResultChan() {
		if e.Type == watch.Error {
			t.Fatalf("watch: %v", e.Object)
		}
		now := e.Object.(*corev1.Service)
		seen = append(seen, fmt.Sprintf("%s [%s] pool=%q annotation=%q", e.Type, testbed.IPs(now),
			now.Labels[service.LabelPool], now.Annotations[service.AnnotationFromPool]))
		if testbed.IPs(now) != "" {
			break
		}
	}
	assert.Equal(t, []string{
		`ADDED [] pool="" annotation=""`,
		`MODIFIED [10.20.0.0 2001:db8:20::] pool="main" annotation="main"`,
	}, seen, "status, label and annotation come in one write")
	has(t, s, "10.20.0.0 2001:db8:20::")
	assert.Equal(t, `True Allocated: 10.20.0.0 from pool "main", 2001:db8:20:: from pool "main"`, testbed.Condition(s, service.ConditionAllocated))
	hasEvents(t, s, `Normal IPAllocated: Assigned IP ["10.20.0.0" "2001:db8:20::"] from pool "main"`)

	testbed.Eventually(t, "the counters of the pool", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if want := (v1beta1.IPAddressPoolStatus{AssignedIPv4: 1, AssignedIPv6: 1, AvailableIPv4: 255, AvailableIPv6: 255}); p.Status != want {
			return fmt.Errorf("are %+v, want %+v", p.Status, want)
		}
		return nil
	})
}

func TestRelease(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.21.0.1/32")
	i.start()
	first := i.service("first")
	has(t, first, "10.21.0.1")
	second := i.service("second")
	refused(t, second, `False PoolExhausted: no address left: pool "main" has 1 of 1 IPv4 addresses in use`)

	// On delete.
	require.NoError(t, bed.Client.Delete(t.Context(), first))
	has(t, second, "10.21.0.1")
	// On change of type: everything of ours goes, everything else stays.
	third := i.service("third")
	refused(t, third, "False PoolExhausted")
	testbed.Edit(t, bed, second, func(s *corev1.Service) {
		s.Spec.Type, s.Spec.LoadBalancerClass, s.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil, nil
		s.Spec.Ports[0].NodePort = 0
		s.Spec.ExternalTrafficPolicy = ""
		s.Annotations["example.org/mine"] = "stays"
	})
	has(t, third, "10.21.0.1")
	testbed.Eventually(t, "the marks to go", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(second), second); err != nil {
			return err
		}
		if len(second.Labels) > 0 || len(second.Annotations) != 1 || len(second.Status.Conditions) > 0 || testbed.IPs(second) != "" {
			return fmt.Errorf("labels %v, annotations %v, status %+v", second.Labels, second.Annotations, second.Status)
		}
		return nil
	})
}

func TestOnlyItsClassIsServed(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.22.0.0/24")
	i.start()
	other := "example.org/somebody-else"
	foreign := i.service("foreign", func(s *corev1.Service) { s.Spec.LoadBalancerClass = &other })
	none := i.service("none", func(s *corev1.Service) { s.Spec.LoadBalancerClass = nil })
	mine := i.service("mine")
	has(t, mine, "10.22.0.0")
	for _, s := range []*corev1.Service{foreign, none} {
		before := s.ResourceVersion
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s))
		assert.Equal(t, before, s.ResourceVersion, "%s was written to", s.Name)
	}
}

func TestNamespaceLabelOpensPool(t *testing.T) {
	t.Parallel()
	i := install(t)
	p := &v1beta1.IPAddressPool{}
	p.Namespace, p.Name, p.Spec.Addresses = i.namespace, "gold", []string{"10.23.0.0/24"}
	p.Spec.AllocateTo = &v1beta1.ServiceAllocation{}
	p.Spec.AllocateTo.NamespaceSelectors = append(p.Spec.AllocateTo.NamespaceSelectors, labelSelector("tier", "gold"))
	require.NoError(t, bed.Client.Create(t.Context(), p))
	i.start()
	s := i.service("web")
	refused(t, s, "False NoMatchingPool")
	ns := &corev1.Namespace{}
	ns.Name = i.namespace
	testbed.Edit(t, bed, ns, func(ns *corev1.Namespace) { ns.Labels["tier"] = "gold" })
	has(t, s, "10.23.0.0")
	testbed.Edit(t, bed, ns, func(ns *corev1.Namespace) { delete(ns.Labels, "tier") })
	refused(t, s, `True AddressKept: 10.23.0.0 from pool "gold" is kept`)
}

// TestRestartWritesNothing: what was assigned before a restart is adopted as it is, oldest first, also when the pool is short.
func TestRestartWritesNothing(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.24.0.0/28", "2001:db8:24::/124")
	first := i.start()
	const n = 20
	var services []*corev1.Service
	for k := range n {
		services = append(services, i.service(fmt.Sprintf("s%02d", k)))
	}
	testbed.Eventually(t, "every Service to have its answer", func(ctx context.Context) error {
		for _, s := range services {
			if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
				return err
			}
			if testbed.Condition(s, service.ConditionAllocated) == "" {
				return fmt.Errorf("%s has none", s.Name)
			}
		}
		return nil
	})
	took, err := first.Stop()
	require.NoError(t, err, "the controller's exit: %s", first.Log())
	assert.Less(t, took, 5*time.Second, "SIGTERM to exit")

	i.start()
	marker := i.service("marker", annotated("metallb.io/address-pool", "nowhere"))
	refused(t, marker, "False PoolNotFound") // by now, every older Service has been looked at or is in the queue before this one
	require.NoError(t, bed.Client.Delete(t.Context(), marker))
	served := 0
	for _, s := range services {
		before := s.DeepCopy()
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s))
		assert.Equal(t, before.ResourceVersion, s.ResourceVersion, "%s was written to", s.Name)
		if testbed.IPs(s) != "" {
			served++
		}
	}
	assert.Equal(t, 16, served)
}

func TestOnlyTheLeaderWrites(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.25.0.0/24")
	leader := i.start("--leader-elect=true")
	has(t, i.service("one"), "10.25.0.0")
	i.start("--leader-elect=true")
	var lease coordinationv1.Lease
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Namespace: i.namespace, Name: "fairlead-controller"}, &lease))
	holder := *lease.Spec.HolderIdentity
	has(t, i.service("two"), "10.25.0.1")
	_, err := leader.Stop() // releases the Lease, so the other need not wait for it to expire
	require.NoError(t, err)
	has(t, i.service("three"), "10.25.0.2")
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(&lease), &lease))
	assert.NotEqual(t, holder, *lease.Spec.HolderIdentity)
}

func TestFaultyFlags(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown backend", []string{"--backend=metallb"}, `--backend: "metallb" is not a backend; use one of auto, calico, cilium, speaker, none`},
		{"unknown level", []string{"--log-level=loud"}, `--log-level: "loud" is not a level; use debug, info, warn or error`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := bed.Start(t, "nowhere", tc.args...)
			<-p.Done()
			assert.Contains(t, p.Log(), tc.want)
			assert.Equal(t, 1, strings.Count(p.Log(), "\n"), "one line: %s", p.Log())
		})
	}
}
