package cni

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
)

// CNI is what speaks BGP for the nodes of a Lab.
type CNI interface {
	// Name is the value of the controller's --backend, and the key of Step.Instead.
	Name() string
	// Prepare makes what an installation has once: CRDs, settings, processes that belong to no node. The Nodes of the Lab do not exist yet.
	Prepare(t testing.TB, l *Lab)
	// Join starts what runs on a node, whose Node object exists, and returns what ends it, with the objects that only it has.
	Join(t testing.TB, l *Lab, n *netlab.Host) (leave func(testing.TB))
}

// Settler is a CNI that takes a moment to see that something is gone, of which routers hear nothing.
type Settler interface {
	// Settle returns when it knows of no Service of the installation's namespace any more.
	Settle(t testing.TB, l *Lab)
}

// The autonomous systems: r1 is outside of the nodes' one, r2 inside, and r3 in a third one.
const (
	ASN      = 64512
	OuterASN = 65010
	FarASN   = 65030
)

// Far is a router that is not on the nodes' network, but one hop away behind r1, and listens on FarPort only. It has BGPPeers where a
// Row makes them.
const (
	Far     = "r3"
	FarPort = 1790
)

// Spare is a node that is there as a machine, but not part of the cluster until a Row has it join.
const Spare = "n4"

// Lab is a cluster of three nodes, n1 to n3, whose CNI speaks with two routers, r1 and r2, and Fairlead's controller in it. There is a
// third router, Far.
type Lab struct {
	*netlab.Lab
	Bed       *testbed.Bed
	Namespace string // of the installation

	cni        CNI
	hosts      map[string]*netlab.Host
	routers    map[string]*netlab.Host
	frr        map[string]*routing.FRR
	wayToFar   string // the interface of r1
	leave      map[string]func(testing.TB)
	watcher    *watcher
	listeners  map[string]*routing.Listener // for questions beside those of the watcher
	args       []string                     // of the controller, beside the usual ones
	controller *testbed.Process
}

var nodeNames = []string{"n1", "n2", "n3"}

// Nodes returns the names of all nodes that may be in the cluster.
func Nodes() []string { return append(slices.Clone(nodeNames), Spare) }

// NewLab makes a Lab for one test and returns when every node has a session with each router, in both families.
func NewLab(t *testing.T, cni CNI) *Lab {
	t.Helper()
	netlab.Skip(t)
	bed, err := testbed.New()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, bed.Close()) })
	l := &Lab{
		Lab: netlab.New(t, bed.Cluster), Bed: bed, cni: cni, hosts: map[string]*netlab.Host{}, routers: map[string]*netlab.Host{}, frr: map[string]*routing.FRR{},
		leave: map[string]func(testing.TB){}, listeners: map[string]*routing.Listener{},
	}
	l.Namespace = bed.Namespace(t)
	for i, name := range Nodes() {
		l.hosts[name] = l.AddHost(name, address(i+1)...)
	}
	for i, name := range []string{"r1", "r2"} {
		l.routers[name] = l.AddHost(name, address(250+i)...)
		l.startRouter(t, name)
	}
	l.addFar(t)
	cni.Prepare(t, l)
	for _, name := range nodeNames {
		l.Join(t, name)
	}
	watched := map[string]*router{}
	for name, f := range l.frr {
		listener, err := f.Listen()
		require.NoError(t, err)
		t.Cleanup(func() { _ = listener.Close() })
		watched[name] = &router{name: name, listener: listener, nodeOf: l.nodeOf}
	}
	l.watcher = watch(watched)
	t.Cleanup(l.watcher.close)
	return l
}

// startRouter starts FRR on the host of that name.
func (l *Lab) startRouter(t testing.TB, name string, more ...string) {
	t.Helper()
	l.frr[name] = routing.StartFRR(t, l.Lab, l.routers[name], l.routerConfig(name), more...)
	listener, err := l.frr[name].Listen()
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	l.listeners[name] = listener
}

// farLink are the addresses of r1 and of Far on the network between them.
var farLink = map[string][]netip.Prefix{
	"r1": {netip.MustParsePrefix("192.1.0.1/24"), netip.MustParsePrefix("2001:db8:1::1/64")},
	Far:  {netip.MustParsePrefix("192.1.0.2/24"), netip.MustParsePrefix("2001:db8:1::2/64")},
}

// addFar makes Far, and the ways there and back through r1.
func (l *Lab) addFar(t testing.TB) {
	t.Helper()
	way := l.NewSwitch()
	via, far := l.routers["r1"], l.AddHost(Far)
	l.routers[Far] = far
	l.wayToFar = via.Attach(way, farLink["r1"]...)
	via.Sysctl("ipv4/ip_forward", "1")
	via.Sysctl("ipv6/conf/all/forwarding", "1")
	far.Attach(way, farLink[Far]...)
	for i, nodes := range address(0) {
		for _, h := range l.hosts {
			h.AddRoute(farLink[Far][i], via.Addr(nodes.Addr().Is6()))
		}
		far.AddRoute(nodes, farLink["r1"][i].Addr())
	}
	l.startRouter(t, Far, "-p", strconv.Itoa(FarPort))
}

// routerAddr returns the address by which nodes reach a router.
func (l *Lab) routerAddr(name string, is6 bool) netip.Addr {
	if name != Far {
		return l.routers[name].Addr(is6)
	}
	if is6 {
		return farLink[Far][1].Addr()
	}
	return farLink[Far][0].Addr()
}

// routerASN returns the autonomous system of a router.
func routerASN(name string) int {
	return map[string]int{"r1": OuterASN, "r2": ASN, Far: FarASN}[name]
}

// address returns the addresses of the host with a number.
func address(i int) []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("192.0.0.%d/16", i)), netip.MustParsePrefix(fmt.Sprintf("2001:db8::%d/64", i))}
}

// Host returns a node or a router as a host of the network.
func (l *Lab) Host(name string) *netlab.Host {
	if h := l.hosts[name]; h != nil {
		return h
	}
	return l.routers[name]
}

// nodeOf returns the node that has an address.
func (l *Lab) nodeOf(addr string) string {
	for name, h := range l.hosts {
		if h.Addr(false).String() == addr || h.Addr(true).String() == addr {
			return name
		}
	}
	return addr
}

// routerConfig lets every node speak with a router, and sends nothing back.
func (l *Lab) routerConfig(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n", routerASN(name), l.routerAddr(name, false))
	for _, is6 := range []bool{false, true} {
		for _, h := range l.hosts {
			fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %[1]s passive\n neighbor %[1]s timers connect 1\n", h.Addr(is6), ASN)
			if name == Far {
				fmt.Fprintf(&b, " neighbor %s ebgp-multihop\n", h.Addr(is6))
			}
		}
	}
	for _, is6 := range []bool{false, true} {
		fmt.Fprintf(&b, " address-family %s unicast\n", map[bool]string{false: "ipv4", true: "ipv6"}[is6])
		for _, h := range l.hosts {
			fmt.Fprintf(&b, "  neighbor %s activate\n  neighbor %[1]s soft-reconfiguration inbound\n", h.Addr(is6))
		}
		b.WriteString(" exit-address-family\n")
	}
	return b.String()
}

// Join makes a node part of the cluster.
func (l *Lab) Join(t testing.TB, name string) {
	t.Helper()
	h := l.hosts[name]
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	require.NoError(t, l.Client.Create(t.Context(), node))
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	for _, is6 := range []bool{false, true} {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: h.Addr(is6).String()})
	}
	require.NoError(t, l.Client.Status().Update(t.Context(), node))
	l.leave[name] = l.cni.Join(t, l, h)
}

// Leave takes a node out of the cluster.
func (l *Lab) Leave(t testing.TB, name string) {
	t.Helper()
	require.NoError(t, client.IgnoreNotFound(l.Client.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})))
	if leave := l.leave[name]; leave != nil {
		delete(l.leave, name)
		leave(t)
	}
}

// start starts the controller with args beside the usual ones, unless it runs with them.
func (l *Lab) start(t testing.TB, args ...string) {
	t.Helper()
	if l.controller != nil && strings.Join(args, " ") == strings.Join(l.args, " ") {
		return
	}
	l.stop()
	l.args = args
	var err error
	l.controller, err = l.Bed.Launch(l.Namespace, append([]string{"--backend=" + l.cni.Name()}, args...)...)
	require.NoError(t, err)
}

// stop ends the controller as a loss of power does.
func (l *Lab) stop() {
	if l.controller != nil {
		l.controller.Kill()
	}
}

// sessions returns, for each router, the how manieth session with each node there is; those without one are left out.
func (l *Lab) sessions(t testing.TB) map[string]int {
	t.Helper()
	out := map[string]int{}
	for router, f := range l.listeners {
		all, err := f.Sessions()
		require.NoError(t, err)
		for addr, count := range all {
			if count != 0 {
				out[router+" "+addr.String()] = count
			}
		}
	}
	return out
}

// delete removes objects of a kind in a namespace.
func (l *Lab) delete(ctx context.Context, o client.Object, namespace string, which ...client.DeleteAllOfOption) error {
	return client.IgnoreNotFound(l.Client.DeleteAllOf(ctx, o, append(which, client.InNamespace(namespace))...))
}
