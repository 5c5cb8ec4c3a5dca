package delegation

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/service"
)

// sessions waits until the BGPSessions of the CNI are these, as "node router state".
func (i *installation) sessions(want ...string) {
	i.t.Helper()
	testbed.Eventually(i.t, "BGPSessions", func(ctx context.Context) error {
		var list v1alpha1.BGPSessionList
		if err := bed.Client.List(ctx, &list, client.InNamespace(i.namespace)); err != nil {
			return err
		}
		var got []string
		for _, o := range list.Items {
			got = append(got, fmt.Sprint(o.Status.Node, " ", o.Status.Address, " ", o.Status.State))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("they are %q, want %q", got, want)
		}
		return nil
	})
}

// TestCiliumSessions: what Cilium was told is advertised as long as Cilium says that a session is up; what its agents say no more is unknown.
func TestCiliumSessions(t *testing.T) {
	i := install(t)
	settings(t, "cilium-config", map[string]string{"enable-bgp-control-plane": "true"})
	i.bgp("all")
	require.NoError(t, bed.Client.Create(t.Context(), peerConfig()))
	router := netip.MustParseAddr("192.0.2.1")
	bed.CiliumAgent(t, "n1", testbed.Routers{router: true})
	bed.Start(t, i.namespace, "--backend=cilium")
	s := condition(t, i.service("web"), "Advertised", "True Advertised")
	i.sessions("n1 192.0.2.1 Established")

	node := &unstructured.Unstructured{}
	node.SetGroupVersionKind(ciliumGroup.WithKind("CiliumBGPNodeConfig"))
	say := func(status map[string]any) {
		t.Helper()
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Name: "n1"}, node))
		node.Object["status"] = status
		require.NoError(t, bed.Client.Status().Update(t.Context(), node))
	}
	say(map[string]any{"bgpInstances": []any{map[string]any{"name": "main", "peers": []any{
		map[string]any{"name": "tor", "peerAddress": "192.0.2.1", "peeringState": "active"},
	}}}})
	condition(t, s, "Advertised", `False NoSession: cilium has no BGP session up that carries the IPv4 routes: n1 to 192.0.2.1 is Active`)
	i.sessions("n1 192.0.2.1 Active")

	say(map[string]any{}) // an agent that is old, or whose status report is off
	condition(t, s, "Advertised", `Unknown SessionsUnknown: cilium has been told, and has not said yet how the BGP sessions of node "n1" are`)
	i.sessions()

	bed.CiliumAgent(t, "n2", testbed.Routers{router: true})
	condition(t, s, "Advertised", "True Advertised")
	i.sessions("n2 192.0.2.1 Established")
}

// TestHeardBeforeLettingGo: Calico goes on with what Cilium was told until Cilium says that a session is up, and its Backend object says what
// it waits for. Where Cilium says nothing, it is waited for until a time that the condition names.
func TestHeardBeforeLettingGo(t *testing.T) {
	i := install(t)
	settings(t, "cilium-config", map[string]string{"enable-bgp-control-plane": "true"})
	all := i.bgp("all")
	require.NoError(t, bed.Client.Create(t.Context(), peerConfig()))
	p := bed.Start(t, i.namespace, "--backend=calico", "--calico-session-samples=0")
	s := i.service("web", func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol} })
	is(t, "Calico's list", ours, blocks)
	condition(t, s, "Allocated", "True Allocated")

	bed.CiliumAgent(t, "n1", testbed.Routers{netip.MustParseAddr("192.0.2.1"): false})
	_, err := p.Stop()
	require.NoError(t, err)
	bed.Start(t, i.namespace, "--backend=cilium")
	is(t, "Cilium's advertisements", "fairlead-bgpadv-all", adverts)
	backend(t, "cilium", "Ready", "True Applied")
	waits := "True NotHeard: goes on until another backend is heard. cilium: BGPAdvertisement/" + i.namespace + "/all: "
	backend(t, "calico", "HandingOver", waits+"cilium has no BGP session up that carries the IPv4 routes: n1 to 192.0.2.1 is Active; see to Cilium's own BGP sessions, and that its agents report them")
	is(t, "Calico's list", ours, blocks)

	node := &unstructured.Unstructured{}
	node.SetGroupVersionKind(ciliumGroup.WithKind("CiliumBGPNodeConfig"))
	say := func(status map[string]any) {
		t.Helper()
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Name: "n1"}, node))
		node.Object["status"] = status
		require.NoError(t, bed.Client.Status().Update(t.Context(), node))
	}
	say(map[string]any{})
	backend(t, "calico", "HandingOver", waits+`cilium has been told, and has not said yet how the BGP sessions of node "n1" are; see to Cilium's own BGP sessions, `+
		"and that its agents report them (enable-bgp-control-plane-status-report); this is waited for until ")
	is(t, "Calico's list", ours, blocks)

	// Every state of Calico's list is looked at from here on: it goes in one, and not before the status.
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(calicoGroup.WithKind("BGPConfigurationList"))
	w, err := bed.Client.Watch(t.Context(), list)
	require.NoError(t, err)
	t.Cleanup(w.Stop)
	var said atomic.Bool
	early := make(chan bool, 1)
	go func() {
		for e := range w.ResultChan() {
			if e.Type == watch.Added {
				continue
			}
			if b, _, _ := unstructured.NestedSlice(e.Object.(*unstructured.Unstructured).Object, "spec", "serviceLoadBalancerIPs"); len(b) == 0 {
				early <- !said.Load()
				return
			}
		}
	}()
	all.Annotations = map[string]string{"unrelated": "yes"} // to be told again is no reason to let go
	require.NoError(t, bed.Client.Update(t.Context(), all))
	second := i.service("second")
	condition(t, second, "Allocated", "True Allocated")
	is(t, "Calico's list", ours, blocks)
	said.Store(true)
	say(map[string]any{"bgpInstances": []any{map[string]any{"name": "main", "peers": []any{
		map[string]any{"name": "tor", "peerAddress": "192.0.2.1", "peeringState": "established"},
	}}}})
	is(t, "Calico's list", "", blocks)
	assert.False(t, <-early, "Calico let go before Cilium said that a session is up")
	backend(t, "calico", "Ready", "")
	condition(t, s, "Advertised", "True Advertised")
}

// TestCalicoSessions asks Calico's nodes in turn, and leaves none of the objects by which it does.
func TestCalicoSessions(t *testing.T) {
	i := install(t)
	i.bgp("all")
	router := netip.MustParseAddr("192.0.2.1")
	var up atomic.Bool
	bed.CalicoAgent(t, "n1", func() testbed.Routers { return testbed.Routers{router: up.Load()} })
	p := bed.Start(t, i.namespace, "--backend=calico")
	s := condition(t, i.service("web"), "Advertised", `False NoSession: calico has no BGP session up that carries the IPv4 routes: n1 to 192.0.2.1 is Active (at `)
	i.sessions("n1 192.0.2.1 Active")
	none := func() {
		t.Helper()
		testbed.Eventually(t, "the questions to be removed", func(ctx context.Context) error {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(calicoGroup.WithKind("CalicoNodeStatusList"))
			if err := bed.Client.List(ctx, list); err != nil {
				return err
			}
			if n := len(list.Items); n > 0 {
				return fmt.Errorf("%d are left", n)
			}
			return nil
		})
	}
	none()

	_, err := p.Stop()
	require.NoError(t, err)
	up.Store(true)
	p = bed.Start(t, i.namespace, "--backend=calico")
	condition(t, s, "Advertised", "True Advertised")
	i.sessions("n1 192.0.2.1 Established")
	none()

	_, err = p.Stop()
	require.NoError(t, err)
	none()
	bed.Start(t, i.namespace, "--backend=calico", "--calico-session-samples=0")
	condition(t, s, "Advertised", "Unknown SessionsUnknown: calico has been told; whether a session carries the IPv4 routes is not known: Calico's nodes are not asked (--calico-session-samples=0)")
	i.sessions()
	assert.NotEmpty(t, s.Status.LoadBalancer.Ingress)
}

// TestAnotherLeader: a controller that takes over from another one writes no Service and removes no BGPSession while it has not yet looked
// itself, with either CNI.
func TestAnotherLeader(t *testing.T) {
	router := netip.MustParseAddr("192.0.2.1")
	var up atomic.Bool
	for _, cni := range []struct {
		name   string
		agent  func(*testing.T)
		change func(*testing.T) // what the third controller sees and those before it did not
	}{
		{"calico", func(t *testing.T) {
			up.Store(true)
			bed.CalicoAgent(t, "n1", func() testbed.Routers { return testbed.Routers{router: up.Load()} })
		}, func(*testing.T) { up.Store(false) }},
		{"cilium", func(t *testing.T) {
			settings(t, "cilium-config", map[string]string{"enable-bgp-control-plane": "true"})
			require.NoError(t, bed.Client.Create(t.Context(), peerConfig()))
			bed.CiliumAgent(t, "n1", testbed.Routers{router: true})
		}, func(t *testing.T) {
			node := &unstructured.Unstructured{}
			node.SetGroupVersionKind(ciliumGroup.WithKind("CiliumBGPNodeConfig"))
			require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Name: "n1"}, node))
			node.Object["status"] = map[string]any{"bgpInstances": []any{map[string]any{"name": "main", "peers": []any{
				map[string]any{"name": "router-192.0.2.1", "peerAddress": "192.0.2.1", "peeringState": "active"},
			}}}}
			require.NoError(t, bed.Client.Status().Update(t.Context(), node))
		}},
	} {
		t.Run(cni.name, func(t *testing.T) {
			i := install(t)
			i.bgp("all")
			cni.agent(t)
			first := bed.Start(t, i.namespace, "--backend="+cni.name)
			web := condition(t, i.service("web"), "Advertised", "True Advertised")
			i.sessions("n1 192.0.2.1 Established")
			_, err := first.Stop()
			require.NoError(t, err)

			services, err := bed.Client.Watch(t.Context(), &corev1.ServiceList{}, client.InNamespace(web.Namespace))
			require.NoError(t, err)
			defer services.Stop()
			sessions, err := bed.Client.Watch(t.Context(), &v1alpha1.BGPSessionList{}, client.InNamespace(i.namespace))
			require.NoError(t, err)
			defer sessions.Stop()
			second := bed.Start(t, i.namespace, "--backend="+cni.name)
			other := condition(t, i.service("other"), "Advertised", "True Advertised")
			_, err = second.Stop()
			require.NoError(t, err)
			cni.change(t)
			bed.Start(t, i.namespace, "--backend="+cni.name)
			condition(t, other, "Advertised", "False NoSession")
			condition(t, web, "Advertised", "False NoSession")

			var was []string
			for len(was) == 0 || was[len(was)-1] != "NoSession" {
				e := <-services.ResultChan()
				if o, ok := e.Object.(*corev1.Service); ok && o.Name == web.Name && e.Type == watch.Modified {
					was = append(was, apimeta.FindStatusCondition(o.Status.Conditions, service.ConditionAdvertised).Reason)
				}
			}
			assert.Equal(t, []string{"NoSession"}, was, "what was written of the Service since the first one stopped")
			i.sessions("n1 192.0.2.1 Active")
			for state := ""; state != "Active"; {
				e := <-sessions.ResultChan()
				require.NotEqual(t, watch.Deleted, e.Type, "of BGPSessions")
				state = e.Object.(*v1alpha1.BGPSession).Status.State
			}
		})
	}
}
