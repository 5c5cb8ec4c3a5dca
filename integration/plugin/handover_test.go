package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/tool/handover"
)

const cleanup = "service.kubernetes.io/load-balancer-cleanup"

// written has somebody write the addresses of a Service that exists.
func (i *installation) written(name, manager string, addrs ...string) {
	i.t.Helper()
	testbed.Eventually(i.t, manager+" to write the status of "+name, func(ctx context.Context) error {
		s := &corev1.Service{ObjectMeta: i.meta(name)}
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		s.Status.LoadBalancer.Ingress = nil
		for _, a := range addrs {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a, Ports: []corev1.PortStatus{{Port: s.Spec.Ports[0].Port, Protocol: corev1.ProtocolTCP}}})
		}
		return bed.Client.Status().Update(ctx, s, client.FieldOwner(manager))
	})
}

// other makes a Service that another load balancer serves.
func (i *installation) other(name, manager string, addrs []string, change ...func(*corev1.Service)) {
	i.t.Helper()
	i.create(i.define(name, append([]func(*corev1.Service){finalized}, change...)...))
	i.t.Cleanup(func() { i.free(name) })
	i.written(name, manager, addrs...)
}

func finalized(s *corev1.Service) { s.Finalizers = []string{cleanup} }

// free removes the finalizers of a Service, so that it can be deleted.
func (i *installation) free(name string) {
	s := &corev1.Service{ObjectMeta: i.meta(name)}
	p := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	require.NoError(i.t, client.IgnoreNotFound(bed.Client.Patch(context.WithoutCancel(i.t.Context()), s, p)))
}

func (i *installation) get(name string) *corev1.Service {
	i.t.Helper()
	s := &corev1.Service{}
	require.NoError(i.t, bed.Client.Get(i.t.Context(), client.ObjectKey{Namespace: i.namespace, Name: name}, s))
	return s
}

// judged waits until the controller has said something of a Service.
func (i *installation) judged(names ...string) {
	i.t.Helper()
	for _, name := range names {
		testbed.Eventually(i.t, "the verdict on "+name, func(context.Context) error {
			if len(i.get(name).Status.Conditions) == 0 {
				return errors.New("there is none")
			}
			return nil
		})
	}
}

// passing makes an object that is deleted when the test ends, if it is still there.
func (i *installation) passing(o client.Object) {
	i.t.Helper()
	i.create(o)
	i.t.Cleanup(func() { i.remove(o) })
}

func (i *installation) remove(o client.Object) {
	now := int64(0)
	err := bed.Client.Delete(context.WithoutCancel(i.t.Context()), o, &client.DeleteOptions{GracePeriodSeconds: &now})
	require.NoError(i.t, client.IgnoreNotFound(err))
}

// outcomes is what a report says of the Services of the installation's namespace.
func (i *installation) outcomes(r handover.Report) map[string]string {
	out := map[string]string{}
	for _, s := range r.Services {
		if s.Namespace == i.namespace {
			out[s.Name] = fmt.Sprintf("%s %s", s.Outcome, strings.Join(s.After, ","))
		}
	}
	return out
}

func daemonSet(namespace, name, image string, labels map[string]string, env ...corev1.EnvVar) *appsv1.DaemonSet {
	o := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
	o.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	o.Spec.Template.Labels = map[string]string{"app": name}
	o.Spec.Template.Spec.Containers = []corev1.Container{{Name: "lb", Image: image, Env: env}}
	return o
}

// TestHandoverServiceLB hands Services over from k3s' servicelb.
func TestHandoverServiceLB(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "10.98.0.0/27", "2001:db8:98::/124")
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: i.namespace + "-k3s"}}
	i.passing(node)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.168.77.1"}, {Type: corev1.NodeInternalIP, Address: "192.168.77.2"}, {Type: corev1.NodeInternalIP, Address: "10.98.0.20"}}
	require.NoError(t, bed.Client.Status().Update(t.Context(), node))

	port := func(n int32) func(*corev1.Service) { return func(s *corev1.Service) { s.Spec.Ports[0].Port = n } }
	i.other("nodes", "k3s", []string{"192.168.77.1", "192.168.77.2"})
	i.other("unknown", "agent", []string{"192.168.77.1"}) // told by the addresses
	i.other("kept", "k3s", []string{"10.98.0.5"})
	i.other("own-node", "k3s", []string{"10.98.0.20"}) // in a pool, but of a node
	i.other("one-of-two", "k3s", []string{"10.98.0.7", "10.98.0.8"})
	i.other("shared-a", "k3s", []string{"10.98.1.6"}, port(80))
	i.other("shared-b", "k3s", []string{"10.98.1.6"}, port(81))
	i.other("lost-pool", "k3s", []string{"192.168.77.2"}, annotated("metallb.io/address-pool", "nowhere"))
	elsewhere := "example.org/another"
	i.other("class", "k3s", []string{"192.168.77.1"}, func(s *corev1.Service) { s.Spec.LoadBalancerClass = &elsewhere })
	i.other("cloud", "cloud-controller-manager", []string{"203.0.113.7"}) // somebody else's altogether
	i.create(i.define("going", finalized))
	t.Cleanup(func() { i.free("going") })
	require.NoError(t, bed.Client.Delete(t.Context(), i.get("going")))
	i.start()
	i.service("over", finalized) // Fairlead's, and then written over
	t.Cleanup(func() { i.free("over") })
	testbed.Eventually(t, "an address", func(context.Context) error {
		if len(i.get("over").Status.LoadBalancer.Ingress) == 0 {
			return errors.New("none yet")
		}
		return nil
	})
	i.written("over", "k3s", "10.98.0.9")
	i.service("mine", finalized) // Fairlead's; only the finalizer is left
	t.Cleanup(func() { i.free("mine") })
	i.judged("nodes", "unknown", "kept", "own-node", "one-of-two", "shared-a", "shared-b", "lost-pool")
	i.pool("late", nil, "10.98.1.0/28")
	testbed.Eventually(t, "the first of those who share to be taken over", func(context.Context) error {
		for _, name := range []string{"shared-a", "shared-b"} {
			if meta.IsStatusConditionTrue(i.get(name).Status.Conditions, "fairlead.io/Allocated") {
				return nil
			}
		}
		return errors.New("neither is")
	})
	mine := i.get("mine").Status.LoadBalancer.Ingress[0].IP

	// As long as servicelb is there, nothing happens.
	set := daemonSet("kube-system", "svclb-nodes-1a2b3c4d", "rancher/klipper-lb:v0.4.9", map[string]string{"svccontroller.k3s.cattle.io/svcname": "nodes", "svccontroller.k3s.cattle.io/svcnamespace": i.namespace})
	require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system"}})))
	i.passing(set)
	before := versions(t)
	for _, args := range [][]string{{"--yes"}, {"--dry-run"}, {}} {
		r := i.plugin(append([]string{"migrate", "from-servicelb"}, args...)...)
		assert.Equal(t, 2, r.code, r.stdout+r.stderr)
		for _, want := range []string{"servicelb is not stopped", "DaemonSet kube-system/svclb-nodes-1a2b3c4d", "--disable=servicelb", "disable: [servicelb]"} {
			assert.Contains(t, r.stdout, want)
		}
	}
	r := read[handover.Report](i, 2, "migrate", "from-servicelb")
	assert.Equal(t, []handover.Running{{Kind: "DaemonSet", Namespace: "kube-system", Name: "svclb-nodes-1a2b3c4d"}}, slices.DeleteFunc(r.Running, func(x handover.Running) bool { return x.Name != set.Name }))
	i.remove(set)

	// Shown, as text and as JSON; nobody agrees.
	r = read[handover.Report](i, 0, "migrate", "from-servicelb", "--dry-run")
	got := i.outcomes(r)
	for name, want := range map[string]string{
		"kept": "keeps 10.98.0.5", "shared-a": "keeps 10.98.1.6", "shared-b": "keeps 10.98.1.6", "one-of-two": "keeps 10.98.0.7", "over": "keeps 10.98.0.9", "mine": "has " + mine, "going": "leaves ",
		"class": "skipped ", "lost-pool": "waits ",
	} {
		assert.Equal(t, want, got[name], name)
	}
	assert.Equal(t, "has 10.98.0.20", got["own-node"])
	for _, name := range []string{"nodes", "unknown"} {
		assert.Regexp(t, `^changes 10\.98\.[01]\.\d+$`, got[name], name)
	}
	assert.NotContains(t, got, "cloud")
	text := i.plugin("migrate", "from-servicelb").stdout
	for _, want := range []string{
		"keeps 10.98.0.5 from pool main", "no pool has 192.168.77.1; no pool has 192.168.77.2", "10.98.0.20 is an address of node " + node.Name, "is not of our class, and left as it is",
		"a Service has one address of each family here: 10.98.0.8 goes", "is left as it is, for no pool would give it an address", "is being deleted; the finalizer goes",
	} {
		assert.Contains(t, text, want)
	}
	refused := i.plugin("migrate", "from-servicelb")
	assert.Equal(t, 1, refused.code)
	assert.Contains(t, refused.stderr, "not confirmed: nothing was changed")
	assert.Equal(t, before, versions(t), "something was written")

	// Handed over. One Service is left for which there is no pool.
	done := i.plugin("migrate", "from-servicelb", "--yes", "--timeout=30s")
	assert.Equal(t, 2, done.code, done.stdout+done.stderr)
	for name, want := range map[string]string{"kept": "10.98.0.5", "shared-a": "10.98.1.6", "shared-b": "10.98.1.6", "one-of-two": "10.98.0.7", "over": "10.98.0.9", "mine": mine, "lost-pool": "192.168.77.2", "class": "192.168.77.1", "cloud": "203.0.113.7"} {
		require.NoError(t, i.has(name, want)(t.Context()), name)
	}
	for _, name := range []string{"nodes", "unknown"} {
		s := i.get(name)
		require.Len(t, s.Status.LoadBalancer.Ingress, 1, name)
		assert.Regexp(t, `^10\.98\.[01]\.`, s.Status.LoadBalancer.Ingress[0].IP)
		assert.NotContains(t, s.Annotations, "metallb.io/loadBalancerIPs")
	}
	for _, name := range []string{"nodes", "kept", "shared-b", "mine", "over", "lost-pool"} {
		assert.Empty(t, i.get(name).Finalizers, name)
	}
	for _, name := range []string{"class", "cloud"} {
		assert.Equal(t, []string{cleanup}, i.get(name).Finalizers, "%s is not ours", name)
	}
	assert.Equal(t, "10.98.0.5", i.get("kept").Annotations["metallb.io/loadBalancerIPs"])
	err := bed.Client.Get(t.Context(), client.ObjectKey{Namespace: i.namespace, Name: "going"}, &corev1.Service{})
	assert.True(t, apierrors.IsNotFound(err), "nothing holds it any more")

	// Again: nothing is left to do but what was left.
	again := read[handover.Report](i, 2, "migrate", "from-servicelb", "--yes")
	assert.Equal(t, map[string]string{"class": "skipped ", "lost-pool": "waits "}, i.outcomes(again))
}

// TestHandoverKubeVIP hands Services over from kube-vip and its cloud provider.
func TestHandoverKubeVIP(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "10.99.0.0/28", "2001:db8:99::/124")
	vip := func(addrs, ip string) func(*corev1.Service) {
		return func(s *corev1.Service) {
			s.Labels = map[string]string{"implementation": "kube-vip"}
			s.Annotations["kube-vip.io/loadbalancerIPs"], s.Annotations["kube-vip.io/vipHost"] = addrs, "node-1"
			s.Spec.LoadBalancerIP = ip
		}
	}
	dual := func(s *corev1.Service) {
		both := corev1.IPFamilyPolicyRequireDualStack
		s.Spec.IPFamilyPolicy = &both
	}
	i.other("kept", "kube-vip", []string{"10.99.0.5"}, vip("10.99.0.5", "10.99.0.5"))
	i.other("both", "kube-vip", []string{"10.99.0.6", "2001:db8:99::6"}, vip("10.99.0.6,2001:db8:99::6", "10.99.0.6"), dual)
	i.other("outside", "kube-vip", []string{"192.168.88.5"}, vip("192.168.88.5", "192.168.88.5"))
	i.other("dhcp", "kube-vip", []string{"192.168.88.9"}, vip("0.0.0.0", "0.0.0.0"))
	i.other("pending", "kube-vip", nil, vip("10.99.0.7", "10.99.0.7"))
	i.other("user", "kube-vip", []string{"10.99.0.8"}, vip("10.99.0.8", ""), annotated("metallb.io/loadBalancerIPs", "10.99.0.9"))
	i.other("node-ip", "k3s", []string{"10.99.0.10"}) // not kube-vip's
	i.other("ignored", "cloud-controller-manager", []string{"203.0.113.8"}, annotated("kube-vip.io/ignore", "true"))
	i.start()
	i.judged("kept", "both", "outside", "dhcp", "pending", "user")
	command := []string{"migrate", "from-kube-vip"}

	ns := i.namespace
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "kube-vip-cloud-provider"}}
	labels := map[string]string{"app": "kube-vip", "component": "kube-vip-cloud-provider"}
	deployment.Spec.Selector, deployment.Spec.Template.Labels = &metav1.LabelSelector{MatchLabels: labels}, labels
	deployment.Spec.Template.Spec.Containers = []corev1.Container{{Name: "x", Image: "ghcr.io/kube-vip/kube-vip-cloud-provider:v0.0.12"}}
	i.passing(deployment)
	on := corev1.EnvVar{Name: "svc_enable", Value: "true"}
	both := daemonSet(ns, "kube-vip-ds", "ghcr.io/kube-vip/kube-vip:v1.0.1", nil, on, corev1.EnvVar{Name: "cp_enable", Value: "true"})
	i.passing(both)
	services := daemonSet(ns, "vips", "ghcr.io/kube-vip/kube-vip@sha256:0011", nil, on)
	i.passing(services)
	static := &corev1.Pod{ObjectMeta: i.meta("kube-vip-node-1")}
	static.Spec = corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "kube-vip", Image: "ghcr.io/kube-vip/kube-vip:v1.0.1", Env: []corev1.EnvVar{on}}}}
	i.passing(static)
	before := versions(t)
	r := i.plugin(append(command, "--yes")...)
	assert.Equal(t, 2, r.code, r.stdout+r.stderr)
	stops := []string{
		"kubectl -n " + ns + " scale deployment/kube-vip-cloud-provider --replicas=0", "kubectl -n " + ns + " set env daemonset/kube-vip-ds svc_enable=false", "kubectl -n " + ns + " delete daemonset/vips",
	}
	for _, stop := range stops {
		assert.Contains(t, r.stdout, "  "+stop+"\n")
		bed.Kubectl(t, strings.Fields(stop)[1:]...)
	}
	assert.Contains(t, r.stdout, `# on node node-1, in /etc/kubernetes/manifests/kube-vip.yaml: svc_enable "false"`)
	still := read[handover.Report](i, 2, command...)
	assert.Equal(t, []handover.Running{{Kind: "Pod", Namespace: ns, Name: static.Name, Stop: `# on node node-1, in /etc/kubernetes/manifests/kube-vip.yaml: svc_enable "false"`}}, still.Running)
	i.remove(static)

	got := i.outcomes(read[handover.Report](i, 0, append(command, "--dry-run")...))
	for name, want := range map[string]string{"kept": "keeps 10.99.0.5", "both": "keeps 10.99.0.6,2001:db8:99::6", "pending": "has 10.99.0.7", "user": "has 10.99.0.9"} {
		assert.Equal(t, want, got[name], name)
	}
	assert.Regexp(t, `^changes 10\.99\.0\.\d+$`, got["outside"])
	assert.Regexp(t, `^changes 10\.99\.0\.\d+$`, got["dhcp"])
	assert.NotContains(t, got, "node-ip")
	assert.NotContains(t, got, "ignored")
	assert.Equal(t, before, versions(t), "something was written")

	done := read[handover.Report](i, 0, append(command, "--yes", "--timeout=30s")...)
	for _, s := range done.Services {
		if s.Namespace == i.namespace {
			require.NoError(t, i.has(s.Name, s.After...)(t.Context()), s.Name)
			assert.Empty(t, i.get(s.Name).Finalizers, s.Name)
		}
	}
	for name, want := range map[string][]string{"kept": {"10.99.0.5"}, "both": {"10.99.0.6", "2001:db8:99::6"}, "pending": {"10.99.0.7"}, "user": {"10.99.0.9"}} {
		require.NoError(t, i.has(name, want...)(t.Context()), name)
	}
	assert.Empty(t, i.get("kept").Spec.LoadBalancerIP, "it would be a second request beside the annotation")
	assert.Equal(t, []string{cleanup}, i.get("node-ip").Finalizers)
	assert.Empty(t, i.outcomes(read[handover.Report](i, 0, append(command, "--yes")...)), "nothing is left to do")
}

// TestHandoverWithoutController: statuses are not emptied for nobody.
func TestHandoverWithoutController(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "10.100.0.0/28")
	i.class = "" // what is served unless something else is known
	i.other("web", "k3s", []string{"192.168.99.1"}, func(s *corev1.Service) { s.Spec.LoadBalancerClass = nil })
	before := versions(t)
	for _, args := range [][]string{{"--yes"}, {"--yes", "-o", "json"}, {"--dry-run"}} {
		r := i.plugin(append([]string{"migrate", "from-servicelb"}, args...)...)
		assert.Equal(t, 2, r.code, r.stdout+r.stderr)
		assert.Contains(t, r.stdout, "no controller of Fairlead runs in namespace "+i.namespace)
	}
	assert.Equal(t, before, versions(t))
	r := i.plugin("migrate", "from-servicelb", "-o", "wide")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, `"wide" is not a format`)
}
