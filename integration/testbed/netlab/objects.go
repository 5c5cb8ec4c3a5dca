package netlab

import (
	"context"
	"net/netip"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// register creates the Node object: ready, with the host's addresses.
func (n *Node) register() {
	t, c := n.lab.t, n.lab.Client
	t.Helper()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{corev1.LabelHostname: n.name}},
		Spec: corev1.NodeSpec{
			PodCIDR:  n.pod.prefixes[0].String(),
			PodCIDRs: []string{n.pod.prefixes[0].String(), n.pod.prefixes[1].String()},
		},
	}
	require.NoError(t, c.Create(t.Context(), node))
	t.Cleanup(func() {
		assert.NoError(t, client.IgnoreNotFound(c.Delete(context.Background(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name}})))
	})
	n.UpdateStatus(func(s *corev1.NodeStatus) {
		for _, is6 := range []bool{false, true} {
			if a := n.Addr(is6); a.IsValid() {
				s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a.String()})
			}
		}
		s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: n.name})
		setCondition(s, corev1.NodeReady, true)
		setCondition(s, corev1.NodeNetworkUnavailable, false)
	})
}

// Update changes the Node object: its labels, taints and so on.
func (n *Node) Update(change func(*corev1.Node)) {
	n.lab.t.Helper()
	n.update(change, func(ctx context.Context, node *corev1.Node) error { return n.lab.Client.Update(ctx, node) })
}

// UpdateStatus changes the Node object's status.
func (n *Node) UpdateStatus(change func(*corev1.NodeStatus)) {
	n.lab.t.Helper()
	n.update(func(node *corev1.Node) { change(&node.Status) },
		func(ctx context.Context, node *corev1.Node) error { return n.lab.Client.Status().Update(ctx, node) })
}

func (n *Node) update(change func(*corev1.Node), write func(context.Context, *corev1.Node) error) {
	t := n.lab.t
	t.Helper()
	require.NoError(t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		node := &corev1.Node{}
		if err := n.lab.Client.Get(t.Context(), client.ObjectKey{Name: n.name}, node); err != nil {
			return err
		}
		change(node)
		return write(t.Context(), node)
	}), "update the Node %q", n.name)
}

// SetReady sets the condition Ready.
func (n *Node) SetReady(ready bool) {
	n.lab.t.Helper()
	n.UpdateStatus(func(s *corev1.NodeStatus) { setCondition(s, corev1.NodeReady, ready) })
}

// SetNetworkUnavailable sets the condition NetworkUnavailable.
func (n *Node) SetNetworkUnavailable(unavailable bool) {
	n.lab.t.Helper()
	n.UpdateStatus(func(s *corev1.NodeStatus) { setCondition(s, corev1.NodeNetworkUnavailable, unavailable) })
}

func setCondition(s *corev1.NodeStatus, what corev1.NodeConditionType, is bool) {
	c := corev1.NodeCondition{Type: what, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}
	if is {
		c.Status = corev1.ConditionTrue
	}
	for i := range s.Conditions {
		if s.Conditions[i].Type == what {
			s.Conditions[i] = c
			return
		}
	}
	s.Conditions = append(s.Conditions, c)
}

// Endpoint is a node's pod behind a Service.
type Endpoint struct {
	Node                        *Node
	Ready, Serving, Terminating bool
}

// Ready returns the pods of nodes as endpoints that are ready.
func Ready(nodes ...*Node) []Endpoint {
	out := make([]Endpoint, len(nodes))
	for i, n := range nodes {
		out[i] = Endpoint{Node: n, Ready: true, Serving: true}
	}
	return out
}

// SetEndpoints makes endpoints all that are behind a Service: one EndpointSlice for each of the Service's families.
func (l *Lab) SetEndpoints(svc *corev1.Service, endpoints ...Endpoint) {
	l.t.Helper()
	for _, family := range svc.Spec.IPFamilies {
		slice := endpointSlice(svc, family, endpoints)
		old := &discoveryv1.EndpointSlice{}
		err := l.Client.Get(l.t.Context(), client.ObjectKeyFromObject(slice), old)
		if client.IgnoreNotFound(err) == nil && err != nil {
			require.NoError(l.t, l.Client.Create(l.t.Context(), slice))
			l.deleteAtEnd(slice)
			continue
		}
		require.NoError(l.t, err)
		slice.ResourceVersion = old.ResourceVersion
		require.NoError(l.t, l.Client.Update(l.t.Context(), slice))
	}
}

func endpointSlice(svc *corev1.Service, family corev1.IPFamily, endpoints []Endpoint) *discoveryv1.EndpointSlice {
	is6 := family == corev1.IPv6Protocol
	out := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: svc.Namespace,
			Name:      svc.Name + map[bool]string{false: "-ipv4", true: "-ipv6"}[is6],
			Labels:    map[string]string{discoveryv1.LabelServiceName: svc.Name},
		},
		AddressType: discoveryv1.AddressType(family),
	}
	for _, p := range svc.Spec.Ports {
		port := int32(PodPort)
		out.Ports = append(out.Ports, discoveryv1.EndpointPort{Name: &p.Name, Port: &port, Protocol: &p.Protocol})
	}
	for _, e := range endpoints {
		out.Endpoints = append(out.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{e.Node.PodAddr(is6).String()},
			NodeName:   &e.Node.name,
			Conditions: discoveryv1.EndpointConditions{Ready: &e.Ready, Serving: &e.Serving, Terminating: &e.Terminating},
		})
	}
	return out
}

// AddService creates a dual-stack Service of type LoadBalancer in the namespace "default", with port 80 for the pods' HTTP servers.
// change, if not nil, changes it before.
func (l *Lab) AddService(name string, change func(*corev1.Service)) *corev1.Service {
	l.t.Helper()
	dual := corev1.IPFamilyPolicyPreferDualStack
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
		Spec: corev1.ServiceSpec{
			Type:           corev1.ServiceTypeLoadBalancer,
			IPFamilyPolicy: &dual,
			Ports:          []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
	if change != nil {
		change(svc)
	}
	require.NoError(l.t, l.Client.Create(l.t.Context(), svc))
	l.deleteAtEnd(svc)
	return svc
}

// SetIngress writes a Service's addresses into its status, as the controller does.
func (l *Lab) SetIngress(svc *corev1.Service, addrs ...netip.Addr) {
	l.t.Helper()
	before := svc.DeepCopy()
	svc.Status.LoadBalancer.Ingress = nil
	for _, a := range addrs {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a.String()})
	}
	require.NoError(l.t, l.Client.Status().Patch(l.t.Context(), svc, client.MergeFrom(before)))
}

func (l *Lab) deleteAtEnd(o client.Object) {
	l.t.Cleanup(func() { assert.NoError(l.t, client.IgnoreNotFound(l.Client.Delete(context.Background(), o))) })
}
