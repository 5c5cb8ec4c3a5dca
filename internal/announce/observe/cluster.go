// Package observe keeps, of a cluster's Services, EndpointSlices and Nodes, what matters to who announces an address. It follows
// their events one by one: nothing is listed anew when something changes.
package observe

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/announce"
	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/service"
)

// Cluster is what is known. The zero value knows nothing.
type Cluster struct {
	mu       sync.Mutex                                 // protects all the following
	services map[types.NamespacedName]*announce.Service // with their endpoints; readers have them, too: they are replaced, never changed
	slices   map[types.NamespacedName][]slice           // by Service; most have one, for which a map would be ten times as large
	nodes    map[string]announce.Node
	readers  []*Changes
}

func newCluster() *Cluster {
	return &Cluster{
		services: map[types.NamespacedName]*announce.Service{}, slices: map[types.NamespacedName][]slice{},
		nodes: map[string]announce.Node{},
	}
}

// slice is what an EndpointSlice says.
type slice struct {
	name  string
	any   bool     // an endpoint serves
	nodes []string // on which some do, in no order
}

// Changes are what has changed in a Cluster since one reader took it.
type Changes struct {
	of       *Cluster
	services map[types.NamespacedName]bool // protected by of.mu, as are nodes
	nodes    map[string]bool
}

// Follow has a Cluster follow a cache. changed is called after each change that matters; it must not block. It returns when
// everything that there is has been taken in.
func Follow(ctx context.Context, c cache.Cache, changed func()) (*Cluster, error) {
	x := newCluster()
	take := func(o client.Object, gone bool) {
		if x.take(o, gone) {
			changed()
		}
	}
	err := follow.Handle(ctx, c, func(was, is client.Object) {
		if is == nil {
			take(was, true)
			return
		}
		if a, ok := was.(*discoveryv1.EndpointSlice); ok &&
			a.Labels[discoveryv1.LabelServiceName] != is.GetLabels()[discoveryv1.LabelServiceName] {
			take(was, true)
		}
		take(is, false)
	}, &corev1.Service{}, &discoveryv1.EndpointSlice{}, &corev1.Node{})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// take takes in an object; it reports whether that changed anything.
func (x *Cluster) take(o client.Object, gone bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch o := o.(type) {
	case *corev1.Service:
		s, ours := Service(o)
		return x.setServiceLocked(key(o), s, ours && !gone)
	case *discoveryv1.EndpointSlice:
		of := types.NamespacedName{Namespace: o.Namespace, Name: o.Labels[discoveryv1.LabelServiceName]}
		e := Endpoints(o)
		x.putSliceLocked(of, slice{o.Name, e.Any, slices.Collect(maps.Keys(e.Nodes))}, gone)
		s := x.services[of]
		return s != nil && x.setServiceLocked(of, *s, true)
	case *corev1.Node:
		return x.setNodeLocked(o.Name, Node(o), !gone)
	}
	return false
}

// setServiceLocked sets or removes a Service, with the endpoints that are known; it reports whether that changed anything.
func (x *Cluster) setServiceLocked(id types.NamespacedName, s announce.Service, there bool) bool {
	old := x.services[id]
	s.Endpoints = x.endpointsLocked(id, s.Local)
	if there == (old != nil) && (!there || equalService(*old, s) && equalEndpoints(old.Endpoints, s.Endpoints)) {
		return false
	}
	if there {
		x.services[id] = &s
	} else {
		delete(x.services, id)
	}
	for _, r := range x.readers {
		r.services[id] = true
	}
	return true
}

// setNodeLocked sets or removes a Node; it reports whether that changed anything.
func (x *Cluster) setNodeLocked(name string, n announce.Node, there bool) bool {
	old, was := x.nodes[name]
	if there == was && (!there || equalNode(old, n)) {
		return false
	}
	if there {
		x.nodes[name] = n
	} else {
		delete(x.nodes, name)
	}
	for _, r := range x.readers {
		r.nodes[name] = true
	}
	return true
}

// putSliceLocked sets or removes what an EndpointSlice of a Service says.
func (x *Cluster) putSliceLocked(of types.NamespacedName, s slice, gone bool) {
	all := x.slices[of]
	i := slices.IndexFunc(all, func(other slice) bool { return other.name == s.name })
	switch {
	case !gone && i >= 0:
		all[i] = s
	case !gone:
		x.slices[of] = append(all, s)
	case i >= 0 && len(all) == 1:
		delete(x.slices, of)
	case i >= 0:
		x.slices[of] = slices.Delete(all, i, i+1)
	}
}

// endpointsLocked returns the endpoints of a Service. On which nodes they are matters only if traffic goes to those alone, so that most
// of what happens to the endpoints of others is no change at all.
func (x *Cluster) endpointsLocked(of types.NamespacedName, local bool) announce.Endpoints {
	var out announce.Endpoints
	for _, e := range x.slices[of] {
		out.Any = out.Any || e.any
		if !local {
			if out.Any {
				break
			}
			continue
		}
		if len(e.nodes) > 0 && out.Nodes == nil {
			out.Nodes = map[string]bool{}
		}
		for _, node := range e.nodes {
			out.Nodes[node] = true
		}
	}
	return out
}

// Watch returns the Changes for a new reader. Everything that there is comes first.
func (x *Cluster) Watch() *Changes {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := &Changes{of: x, services: map[types.NamespacedName]bool{}, nodes: map[string]bool{}}
	for id := range x.services {
		c.services[id] = true
	}
	for name := range x.nodes {
		c.nodes[name] = true
	}
	x.readers = append(x.readers, c)
	return c
}

// Take calls service and node with each Service and Node that has changed since the last time; with nil for one that is gone, or that has
// no address of ours any more. They must neither call the Cluster nor change what they are given.
func (c *Changes) Take(service func(types.NamespacedName, *announce.Service), node func(string, *announce.Node)) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	for id := range c.services {
		service(id, c.of.services[id])
	}
	for name := range c.nodes {
		if n, is := c.of.nodes[name]; is {
			node(name, &n)
		} else {
			node(name, nil)
		}
	}
	c.services, c.nodes = map[types.NamespacedName]bool{}, map[string]bool{} // cleared maps stay as large as they ever were
}

func key(o client.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// Nodes returns all nodes.
func (x *Cluster) Nodes() map[string]announce.Node {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.nodes)
}

// Service returns what matters of a Service to who announces it; false if it has no address of ours. Its endpoints are not known.
func Service(svc *corev1.Service) (announce.Service, bool) {
	if !service.Announced(svc) {
		return announce.Service{}, false
	}
	return announce.Service{
		Namespace: svc.Namespace, Name: svc.Name, Labels: svc.Labels, Pools: service.PoolsOf(svc), Addrs: service.ShownAddresses(svc),
		Shares: service.Shares(svc), Local: svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
	}, true
}

// Endpoints sums up a slice: an endpoint serves if it is ready, or not ready but serving, as one is that terminates
// (KEP-1672). Unset stands for ready.
func Endpoints(s *discoveryv1.EndpointSlice) announce.Endpoints {
	var out announce.Endpoints
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if !Serves(e) {
			continue
		}
		out.Any = true
		if e.NodeName != nil {
			if out.Nodes == nil {
				out.Nodes = map[string]bool{}
			}
			out.Nodes[*e.NodeName] = true
		}
	}
	return out
}

// Serves reports whether an endpoint serves.
func Serves(e *discoveryv1.Endpoint) bool {
	c := e.Conditions
	return c.Ready == nil || *c.Ready || c.Serving != nil && *c.Serving
}

// Node returns what matters of a Node.
func Node(n *corev1.Node) announce.Node {
	out := announce.Node{Labels: n.Labels, NotReady: true, Cordoned: n.Spec.Unschedulable, Annotations: n.Annotations}
	for _, c := range n.Status.Conditions {
		switch c.Type {
		case corev1.NodeReady:
			out.NotReady = c.Status != corev1.ConditionTrue
		case corev1.NodeNetworkUnavailable:
			out.NetworkUnavailable = c.Status == corev1.ConditionTrue
		}
	}
	return out
}

func equalService(a, b announce.Service) bool {
	return a.Local == b.Local && a.Shares == b.Shares && slices.Equal(a.Pools, b.Pools) && slices.Equal(a.Addrs, b.Addrs) &&
		maps.Equal(a.Labels, b.Labels)
}

func equalEndpoints(a, b announce.Endpoints) bool {
	return a.Any == b.Any && maps.Equal(a.Nodes, b.Nodes)
}

func equalNode(a, b announce.Node) bool {
	return a.NetworkUnavailable == b.NetworkUnavailable && a.NotReady == b.NotReady && a.Cordoned == b.Cordoned &&
		maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
}

// Trim is a transform of caches: it drops from an object all that nobody here reads.
func Trim(o any) (any, error) {
	switch x := o.(type) {
	case *discoveryv1.EndpointSlice:
		x.ObjectMeta = metav1.ObjectMeta{
			Namespace: x.Namespace, Name: x.Name, ResourceVersion: x.ResourceVersion, UID: x.UID,
			Labels: map[string]string{discoveryv1.LabelServiceName: x.Labels[discoveryv1.LabelServiceName]},
		}
		x.Ports = nil
		for i := range x.Endpoints {
			e := &x.Endpoints[i]
			x.Endpoints[i] = discoveryv1.Endpoint{Conditions: e.Conditions, NodeName: e.NodeName}
		}
		return x, nil
	case *corev1.Node:
		x.ManagedFields, x.Annotations, x.Spec = nil, nil, corev1.NodeSpec{Unschedulable: x.Spec.Unschedulable}
		x.Status = corev1.NodeStatus{Addresses: x.Status.Addresses, Conditions: slices.DeleteFunc(x.Status.Conditions,
			func(c corev1.NodeCondition) bool {
				return c.Type != corev1.NodeReady && c.Type != corev1.NodeNetworkUnavailable
			})}
		for i := range x.Status.Conditions {
			c := &x.Status.Conditions[i]
			*c = corev1.NodeCondition{Type: c.Type, Status: c.Status}
		}
		return x, nil
	}
	return service.Trim(o)
}

// trimService keeps of a Service what Service reads.
func trimService(svc *corev1.Service) {
	svc.ManagedFields, svc.OwnerReferences, svc.Finalizers = nil, nil, nil
	maps.DeleteFunc(svc.Annotations, func(name, _ string) bool {
		return name != service.AnnotationFromPool && !strings.HasSuffix(name, "/"+service.AskSharing)
	})
	svc.Spec = corev1.ServiceSpec{Type: svc.Spec.Type, ExternalTrafficPolicy: svc.Spec.ExternalTrafficPolicy}
	svc.Status.Conditions = nil
	for i, in := range svc.Status.LoadBalancer.Ingress {
		svc.Status.LoadBalancer.Ingress[i] = corev1.LoadBalancerIngress{IP: in.IP}
	}
}

// TrimFor is Trim for a speaker: of its own Node it keeps the annotations, from which settings of BGPPeers may come, and of a Service only what
// matters to who announces it.
func TrimFor(node string) func(any) (any, error) {
	return func(o any) (any, error) {
		if svc, is := o.(*corev1.Service); is {
			trimService(svc)
			return svc, nil
		}
		n, is := o.(*corev1.Node)
		if !is || n.Name != node {
			return Trim(o)
		}
		annotations := n.Annotations
		out, err := Trim(n)
		n.Annotations = annotations
		return out, err
	}
}
