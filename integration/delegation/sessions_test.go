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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/integration/testbed"
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
