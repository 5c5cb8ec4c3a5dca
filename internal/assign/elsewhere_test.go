package assign

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/internal/service"
)

// TestNodeAddress: an address that a node has is given to no Service; who has it already keeps it and is told.
func TestNodeAddress(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			of := map[string][]netip.Addr{"n1": {netip.MustParseAddr(f.first), netip.MustParseAddr("192.0.2.1")}}
			w := newWorld(t, ipPool("p", f.pool))
			w.nodes = of
			w.start()
			w.put(loadBalancer("web", f.with...))
			w.put(loadBalancer("asks", append(f.with, annotated("metallb.io/loadBalancerIPs", f.first))...))
			w.settle()
			assert.Equal(t, f.second, w.shown("web"))
			assert.Equal(t, `False AddressInUse: address `+f.first+` is in use: it is an address of node "n1"`, w.condition(named("asks")))
			assert.Equal(t, []service.NodeAddress{{Addr: netip.MustParseAddr(f.first), Node: "n1", Pool: "p"}}, w.assigner.NodeAddresses())

			w.nodes = nil
			w.assigner.SetNodes(nil)
			w.settle()
			assert.Equal(t, f.first, w.shown("asks"), "the node is gone")

			w.takeEvents()
			w.nodes = of
			w.assigner.SetNodes(of)
			for range 2 {
				w.settle()
				assert.Equal(t, f.first, w.shown("asks"))
				assert.Contains(t, w.condition(named("asks")), `True AddressOfNode: `+f.first+` from pool "p"; `+f.first+` is an address of node "n1"`)
				w.start()
			}
			events := w.takeEvents()
			require.Len(t, events, 1)
			assert.Contains(t, events[0], "default/asks Warning AddressOfNode")
			w.delete(named("asks"))
			w.put(loadBalancer("next", f.with...))
			w.settle()
			assert.NotEqual(t, f.first, w.shown("next"))
		})
	}
}

// TestNodeAddressRemarks: a pool with addresses of nodes is told so, by a text that does not grow without end.
func TestNodeAddressRemarks(t *testing.T) {
	w := newWorld(t, ipPool("p", "192.0.2.0/24", "2001:db8::/64"), ipPool("q", "198.51.100.0/24"))
	assert.Empty(t, w.assigner.remarks(w.snapshot))
	node := &corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeHostName, Address: "192.0.2.9"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.1"},
		{Type: corev1.NodeExternalIP, Address: "2001:db8::1"}, {Type: corev1.NodeInternalIP, Address: "no address"},
	}}}
	addrs := service.NodeAddressesOf(node)
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, addrs)
	assert.True(t, w.assigner.SetNode("n1", addrs))
	assert.False(t, w.assigner.SetNode("n1", addrs))
	assert.False(t, w.assigner.SetNode("n2", []netip.Addr{netip.MustParseAddr("203.0.113.1")}), "in no pool")
	remarks := w.assigner.remarks(w.snapshot)
	require.Len(t, remarks, 1)
	assert.Equal(t, `IPAddressPool metallb-system/p`, remarks[0].Object.String())
	assert.Equal(t, service.EventNodeAddressInPool, remarks[0].Reason)
	assert.Equal(t, `spec.addresses contains 192.0.2.1, an address of node "n1", 2001:db8::1, an address of node "n1"; `+
		`no Service is given an address of a node; take them out of the pool`, remarks[0].Message)
	for range 10 {
		addrs = append(addrs, addrs[len(addrs)-1].Next())
	}
	w.assigner.SetNode("n1", addrs)
	assert.Contains(t, w.assigner.remarks(w.snapshot)[0].Message, ", and 7 more of nodes; ")
	assert.Equal(t, []string{"n1"}, w.assigner.NodesOf(addrs[0]))
	assert.True(t, w.assigner.SetNode("n1", nil))
	assert.Empty(t, w.assigner.remarks(w.snapshot))
	assert.Empty(t, w.assigner.NodesOf(addrs[0]))
}

// terminating makes a Service one that is being deleted, which a finalizer of somebody else delays.
func terminating(s *corev1.Service) {
	now := metav1.Now()
	s.DeletionTimestamp, s.Finalizers = &now, []string{"example.com/mine"}
}

// TestTerminatingServiceComesLast: a Service that is being deleted keeps what it has, and gets something new only if no other waits.
func TestTerminatingServiceComesLast(t *testing.T) {
	for _, f := range families {
		for _, restart := range []bool{false, true} {
			w := newWorld(t, ipPool("one", f.first+"-"+f.first))
			for _, name := range []string{"holder", "dying", "live"} {
				w.put(loadBalancer(name, f.with...))
				w.settle()
			}
			w.edit("dying", terminating)
			w.settle()
			if restart {
				w.start()
			}
			w.edit("holder", terminating)
			w.settle()
			assert.Equal(t, f.first, w.shown("holder"))
			w.delete(named("holder"))
			w.settle()
			assert.Equal(t, f.first, w.shown("live"))
			assert.Empty(t, w.shown("dying"))
			w.setPools(ipPool("one", f.first+"-"+f.second))
			w.settle()
			assert.Equal(t, f.second, w.shown("dying"), "nobody else waits")
		}
	}
}

// TestTerminatingServiceAtStart: when a controller starts, what is free goes to those that live.
func TestTerminatingServiceAtStart(t *testing.T) {
	w := newWorld(t)
	w.put(loadBalancer("dying", terminating))
	w.put(loadBalancer("live"))
	w.settle()
	w.pools = append(w.pools, ipPool("one", "10.0.0.1/32"))
	w.start()
	w.settle()
	assert.Equal(t, "10.0.0.1", w.shown("live"))
	assert.Empty(t, w.shown("dying"))
}
