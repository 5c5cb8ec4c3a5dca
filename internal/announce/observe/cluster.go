// Package observe keeps, of a cluster's Services, EndpointSlices and Nodes, what matters to who announces an address. It follows
// their events one by one: nothing is listed anew when something changes.
package observe

import (
	"cmp"
	"context"
	"maps"
	"slices"
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
	mu       sync.Mutex // protects all the following
	services map[types.NamespacedName]announce.Service
	slices   map[types.NamespacedName][]slice // by Service; most have one, for which a map would be ten times as large
	nodes    map[string]announce.Node
	readers  []*Changes
}

func newCluster() *Cluster {
	return &Cluster{
		services: map[types.NamespacedName]announce.Service{}, slices: map[types.NamespacedName][]slice{},
		nodes: map[string]announce.Node{},
	}
}

// slice is what an EndpointSlice says.
type slice struct {
	name string
	announce.Endpoints
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
		changed := put(x.services, key(o), s, ours && !gone, equalService)
		if changed {
			x.noteLocked(key(o))
		}
		return changed
	case *discoveryv1.EndpointSlice:
		of := types.NamespacedName{Namespace: o.Namespace, Name: o.Labels[discoveryv1.LabelServiceName]}
		s, announced := x.services[of]
		was := x.endpointsLocked(of, s.Local)
		x.putSliceLocked(of, slice{o.Name, Endpoints(o)}, gone)
		if !announced || equalEndpoints(was, x.endpointsLocked(of, s.Local)) {
			return false
		}
		x.noteLocked(of)
		return true
	case *corev1.Node:
		changed := put(x.nodes, o.Name, Node(o), !gone, equalNode)
		for _, r := range x.readers {
			if changed {
				r.nodes[o.Name] = true
			}
		}
		return changed
	}
	return false
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

func (x *Cluster) noteLocked(id types.NamespacedName) {
	for _, r := range x.readers {
		r.services[id] = true
	}
}

// endpointsLocked returns the endpoints of a Service. On which nodes they are matters only if traffic goes to those alone, so that most
// of what happens to the endpoints of others is no change at all.
func (x *Cluster) endpointsLocked(of types.NamespacedName, local bool) announce.Endpoints {
	var out announce.Endpoints
	for _, e := range x.slices[of] {
		out.Any = out.Any || e.Any
		if !local {
			if out.Any {
				break
			}
			continue
		}
		if len(e.Nodes) > 0 && out.Nodes == nil {
			out.Nodes = map[string]bool{}
		}
		maps.Copy(out.Nodes, e.Nodes)
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
// no address of ours any more. They must not call the Cluster.
func (c *Changes) Take(service func(types.NamespacedName, *announce.Service), node func(string, *announce.Node)) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	for id := range c.services {
		if s, is := c.of.services[id]; is {
			s.Endpoints = c.of.endpointsLocked(id, s.Local)
			service(id, &s)
		} else {
			service(id, nil)
		}
	}
	for name := range c.nodes {
		if n, is := c.of.nodes[name]; is {
			node(name, &n)
		} else {
			node(name, nil)
		}
	}
	c.services, c.nodes = emptied(c.services), emptied(c.nodes)
}

// manyChanges is from how many on a map of changes is not kept: a cleared map stays as large as it ever was.
const manyChanges = 256

func emptied[K comparable](m map[K]bool) map[K]bool {
	if len(m) >= manyChanges {
		return map[K]bool{}
	}
	clear(m)
	return m
}

// put sets or removes an entry; it reports whether that changed anything.
func put[K comparable, V any](m map[K]V, k K, v V, there bool, equal func(a, b V) bool) bool {
	old, was := m[k]
	if !there {
		delete(m, k)
		return was
	}
	m[k] = v
	return !was || !equal(old, v)
}

func key(o client.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// Services returns those that have addresses of ours, by namespace and name, with their endpoints. Of those of which traffic goes to all
// nodes, it is not known on which nodes the endpoints are.
func (x *Cluster) Services() []announce.Service {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make([]announce.Service, 0, len(x.services))
	for k, s := range x.services {
		s.Endpoints = x.endpointsLocked(k, s.Local)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b announce.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
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

// TrimFor is Trim for a speaker: of its own Node it keeps the annotations, from which settings of BGPPeers may come, and of a Service only what
// matters to who announces it.
func TrimFor(node string) func(any) (any, error) {
	return func(o any) (any, error) {
		if svc, is := o.(*corev1.Service); is {
			svc.ManagedFields = nil
			svc.Spec = corev1.ServiceSpec{Type: svc.Spec.Type, ExternalTrafficPolicy: svc.Spec.ExternalTrafficPolicy}
			service.TrimService(svc)
			svc.Status.Conditions = nil
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
