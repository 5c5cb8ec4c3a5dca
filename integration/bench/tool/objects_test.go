package tool

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/process/presence"
)

// nodeAddress is that of the first node.
const nodeAddress = "192.168.200.200"

// buildNodes makes the nodes, and what their speakers tell of themselves.
func buildNodes(b *testing.B) {
	b.Helper()
	name := nodeName(0)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64", corev1.LabelTopologyZone: "zone-a",
	}}}
	create(b, node, func() {
		node.Status.Addresses = []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: nodeAddress}, {Type: corev1.NodeHostName, Address: name},
		}
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}}
		for i := range 40 { // a kubelet tells of 50 at most
			image := fmt.Sprintf("registry.example.org/team/project/image-%d", i)
			node.Status.Images = append(node.Status.Images, corev1.ContainerImage{
				Names: []string{image + "@sha256:" + fmt.Sprintf("%064d", i), image + ":v1.2.3"}, SizeBytes: 1 << 27,
			})
		}
	})
	lease := presence.Lease(namespace, "speaker-"+name, name, lasting)
	links := presence.Links{Links: []backends.Link{{Name: "eth0", IPv4: true, IPv6: true}}}
	lease.Annotations = map[string]string{presence.Annotation: links.String()}
	create(b, lease, nil)
	state := &v1beta1.ConfigurationState{ObjectMeta: speakerMeta("speaker-"+name, name)}
	create(b, state, func() { state.Status.Result = v1beta1.ConfigurationValid })
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "speaker-" + name, Labels: chartLabels("speaker")},
		Spec:       corev1.PodSpec{NodeName: name, Containers: []corev1.Container{container("speaker")}},
	}
	create(b, pod, func() { pod.Status.Phase = corev1.PodRunning })
	objects := []client.Object{node, lease, state, pod}
	for _, peer := range peers {
		s := &v1alpha1.BGPSession{ObjectMeta: speakerMeta(name+"-"+peer, name)}
		create(b, s, func() {
			s.Status = v1alpha1.BGPSessionStatus{
				Node: name, Peer: peer, Address: "192.0.2.1", State: backends.Established, Since: new(metav1.NewTime(time.Now())),
			}
		})
		objects = append(objects, s)
	}
	require.NoError(b, bed.Copies(b.Context(), objects, 1, nodes, func(i int) []string {
		return []string{name, nodeName(i), nodeAddress, fmt.Sprintf("192.168.%d.%d", i/200, i%200+1)}
	}))
	for p := routed; p < pools; p++ {
		for k := range edges {
			patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"edge":%q}}}`, poolName(p)))
			require.NoError(b, bed.Client.Patch(b.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: edge(p, k)}}, patch))
		}
	}
}

// buildService makes the first Service of a pool, with three endpoints, and what speakers tell of it.
func buildService(b *testing.B, pool, port int) []client.Object {
	b.Helper()
	name, address := serviceName(pool, 0), clusterAddress(pool, 0).String()
	svc := &corev1.Service{ObjectMeta: in(namespaceOfServices, name)}
	svc.Labels = map[string]string{"app.kubernetes.io/name": name}
	svc.Annotations = map[string]string{"metallb.io/address-pool": poolName(pool)}
	svc.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIP: address, Selector: svc.Labels, Ports: []corev1.ServicePort{{Port: int32(port)}},
		AllocateLoadBalancerNodePorts: new(false), // there are only 2,768 of them
	}
	create(b, svc, nil)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  in(namespaceOfServices, name),
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: new(int32(8080))}},
	}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: name, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io"}
	for k := range 3 {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.1.0.%d", k+1)}, NodeName: new(endpointNode(0, k)),
			Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: namespaceOfServices, Name: fmt.Sprintf("%s-%d", name, k)},
		})
	}
	create(b, slice, nil)
	out := []client.Object{svc, &networkingv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Name: address}}, slice}
	if pool < routed {
		x := &v1beta1.ServiceL2Status{ObjectMeta: statusMeta("l2-"+name, endpointNode(0, 0), name)}
		create(b, x, func() {
			x.Status = v1beta1.ServiceL2StatusStatus{
				Node: endpointNode(0, 0), ServiceName: name, ServiceNamespace: namespaceOfServices,
				Interfaces: []v1beta1.InterfaceInfo{{Name: "eth0"}},
			}
		})
		return append(out, x)
	}
	for k := range edges {
		x := &v1beta1.ServiceBGPStatus{ObjectMeta: statusMeta(fmt.Sprintf("bgp-%s-%d", name, k), edge(pool, k), name)}
		create(b, x, func() {
			x.Status = v1beta1.ServiceBGPStatusStatus{
				Node: edge(pool, k), ServiceName: name, ServiceNamespace: namespaceOfServices, Peers: peers,
			}
		})
		out = append(out, x)
	}
	return out
}

// statusMeta is the metadata that a speaker gives what it tells of a Service.
func statusMeta(name, node, svc string) metav1.ObjectMeta {
	m := in(namespace, name)
	m.Labels = map[string]string{
		presence.LabelStatusNode: node, "metallb.io/service-name": svc, "metallb.io/service-namespace": namespaceOfServices,
	}
	m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "speaker-" + node, UID: types.UID(node)}}
	return m
}

func chartLabels(component string) map[string]string {
	return map[string]string{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": component}
}

func container(name string) corev1.Container {
	return corev1.Container{Name: name, Image: "ghcr.io/fairlead/fairlead:v1.2.3"}
}

// workloads makes the Deployment and the DaemonSet, as they are when all of their pods are ready.
func workloads(b *testing.B) {
	b.Helper()
	template := func(component string, args ...string) (t corev1.PodTemplateSpec) {
		c := container(component)
		c.Args = args
		t.Labels, t.Spec.Containers = chartLabels(component), []corev1.Container{c}
		return t
	}
	d := &appsv1.Deployment{ObjectMeta: in(namespace, "fairlead-controller")}
	d.Labels = chartLabels("controller")
	d.Spec.Selector, d.Spec.Template = &metav1.LabelSelector{MatchLabels: d.Labels}, template("controller", "--backend=speaker")
	create(b, d, func() { d.Status = appsv1.DeploymentStatus{Replicas: 1, ReadyReplicas: 1, AvailableReplicas: 1} })
	s := &appsv1.DaemonSet{ObjectMeta: in(namespace, "fairlead-speaker")}
	s.Labels = chartLabels("speaker")
	s.Spec.Selector, s.Spec.Template = &metav1.LabelSelector{MatchLabels: s.Labels}, template("speaker")
	create(b, s, func() {
		s.Status = appsv1.DaemonSetStatus{
			DesiredNumberScheduled: nodes, CurrentNumberScheduled: nodes, NumberReady: nodes, ObservedGeneration: s.Generation,
		}
	})
}
