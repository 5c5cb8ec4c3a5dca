package chart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
)

// metallb is an installation of MetalLB, by its chart or by its manifests: what it leaves in a cluster, without its processes.
type metallb struct {
	*release
	manifests bool
	services  []*corev1.Service
	objects   []client.Object
}

// helmLabels are those of the objects of MetalLB's chart.
func helmLabels(component string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": "metallb", "app.kubernetes.io/component": component,
		"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/version": "v0.16.1", "helm.sh/chart": "metallb-0.16.1",
	}
}

var crdNames = []string{"bfdprofiles", "bgpadvertisements", "bgppeers", "communities", "configurationstates", "ipaddresspools", "l2advertisements", "servicebgpstatuses", "servicel2statuses"}

// labels are those of a component, and workload is how its Deployment or DaemonSet is called.
func (m *metallb) labels(component string) map[string]string {
	if m.manifests {
		return map[string]string{"app": "metallb", "component": component}
	}
	return helmLabels(component)
}

func (m *metallb) workload(component string) string {
	if m.manifests {
		return component
	}
	return "metallb-" + component
}

func installMetalLB(t testing.TB, manifests bool) *metallb {
	t.Helper()
	m := &metallb{release: &release{t: t, name: bed.Namespace(t)}, manifests: manifests}
	if !manifests {
		mustHelm(t, "install", "metallb", metallbChart(t), "--namespace", m.name)
	}
	for kind, o := range map[string]client.Object{"controller": &appsv1.Deployment{}, "speaker": &appsv1.DaemonSet{}} {
		labels := m.labels(kind)
		selector := &metav1.LabelSelector{MatchLabels: labels}
		pod := corev1.PodSpec{Containers: []corev1.Container{{Name: kind, Image: "quay.io/metallb/" + kind + ":v0.16.1", Args: []string{"--port=7472", "--lb-class=" + m.class()}}}}
		pod.NodeSelector = map[string]string{"kubernetes.io/os": "linux"}
		template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod}
		meta := m.object(m.workload(kind))
		meta.Labels = labels
		switch o := o.(type) {
		case *appsv1.Deployment:
			replicas := int32(1)
			o.ObjectMeta, o.Spec = meta, appsv1.DeploymentSpec{Replicas: &replicas, Selector: selector, Template: template}
		case *appsv1.DaemonSet:
			o.ObjectMeta, o.Spec = meta, appsv1.DaemonSetSpec{Selector: selector, Template: template}
		}
		m.create(o)
		p := &corev1.Pod{ObjectMeta: m.object(m.workload(kind) + "-x7k2p"), Spec: pod}
		p.Labels = labels
		m.create(p)
	}
	m.crds()
	m.create(&v1beta1.IPAddressPool{ObjectMeta: m.applied("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.93.0.0/24", "2001:db8:93::/64"}}})
	m.create(&v1beta1.L2Advertisement{ObjectMeta: m.applied("main")})
	m.create(&v1beta1.BGPAdvertisement{ObjectMeta: m.applied("main")})
	m.create(&v1beta2.BGPPeer{ObjectMeta: m.applied("tor"), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "192.0.2.1"}})
	pod := &corev1.Pod{ObjectMeta: m.object(m.workload("speaker") + "-x7k2p")}
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod))
	dual := corev1.IPFamilyPolicyRequireDualStack
	m.served("alone", []string{"10.93.0.77"}, pod)
	m.served("both", []string{"10.93.0.5", "2001:db8:93::5"}, pod, func(s *corev1.Service) { s.Spec.IPFamilyPolicy = &dual })
	sharing := func(port int32) func(*corev1.Service) {
		return func(s *corev1.Service) {
			s.Annotations["metallb.universe.tf/allow-shared-ip"], s.Spec.Ports[0].Port = "dns", port
		}
	}
	m.served("shared-a", []string{"10.93.0.200"}, pod, sharing(80))
	m.served("shared-b", []string{"10.93.0.200"}, pod, sharing(81))
	m.webhook()
	return m
}

// applied is an object that "kubectl apply" has made.
func (m *metallb) applied(name string) metav1.ObjectMeta {
	o := m.object(name)
	o.Labels = map[string]string{"team": "network"}
	o.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": `{"kind":"` + name + `"}`}
	return o
}

// create keeps what is not to change.
func (m *metallb) create(o client.Object) {
	m.t.Helper()
	require.NoError(m.t, bed.Client.Create(m.t.Context(), o, client.FieldOwner("kubectl-client-side-apply")))
	switch o.(type) {
	case *appsv1.Deployment, *appsv1.DaemonSet, *corev1.Pod, *corev1.Service:
	default:
		m.objects = append(m.objects, o)
	}
}

// served makes a Service and does to it what MetalLB's controller and speaker do.
func (m *metallb) served(name string, addrs []string, owner *corev1.Pod, change ...func(*corev1.Service)) {
	m.t.Helper()
	s := m.service(name, append([]func(*corev1.Service){func(s *corev1.Service) {
		single := corev1.IPFamilyPolicySingleStack
		s.Annotations = map[string]string{"note": "mine"}
		s.Labels, s.Spec.IPFamilyPolicy = map[string]string{"app": name}, &single
	}}, change...)...)
	s.Annotations["metallb.io/ip-allocated-from-pool"] = "main"
	for _, a := range addrs {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	require.NoError(m.t, bed.Client.Status().Update(m.t.Context(), s, client.FieldOwner("controller")))
	m.services = append(m.services, s)
	status := &v1beta1.ServiceL2Status{ObjectMeta: m.object("l2-" + name)}
	status.Labels = map[string]string{"metallb.io/node": "node-1", "metallb.io/service-name": name, "metallb.io/service-namespace": m.name}
	status.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: owner.Name, UID: owner.UID}}
	m.create(status)
}

// crds makes the CRDs look like those of MetalLB's release: with its ownership, and a webhook that converts BGPPeers.
func (m *metallb) crds() {
	path, port := "/convert", int32(443)
	for _, name := range crdNames {
		m.editCRD(name, func(crd *apiextensionsv1.CustomResourceDefinition) {
			delete(crd.Annotations, "meta.helm.sh/release-name")
			crd.Labels = nil
			if !m.manifests {
				maps.Copy(crd.Annotations, map[string]string{"meta.helm.sh/release-name": "metallb", "meta.helm.sh/release-namespace": m.name})
				crd.Labels = map[string]string{"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "metallb"}
			}
			if name == "bgppeers" {
				crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.WebhookConverter, Webhook: &apiextensionsv1.WebhookConversion{
					ConversionReviewVersions: []string{"v1beta1"},
					ClientConfig:             &apiextensionsv1.WebhookClientConfig{Service: &apiextensionsv1.ServiceReference{Namespace: m.name, Name: "metallb-webhook-service", Path: &path, Port: &port}},
				}}
			}
		})
	}
	m.t.Cleanup(func() {
		for _, name := range crdNames {
			m.editCRD(name, func(crd *apiextensionsv1.CustomResourceDefinition) {
				crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
			})
		}
	})
}

func (m *metallb) crd(name string) *apiextensionsv1.CustomResourceDefinition {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	require.NoError(m.t, bed.Client.Get(context.WithoutCancel(m.t.Context()), client.ObjectKey{Name: name + ".metallb.io"}, crd))
	return crd
}

func (m *metallb) editCRD(name string, change func(*apiextensionsv1.CustomResourceDefinition)) {
	testbed.Eventually(m.t, "CRD "+name, func(ctx context.Context) error {
		crd := m.crd(name)
		change(crd)
		return bed.Client.Update(ctx, crd)
	})
}

// webhook makes MetalLB's: without its controller, nothing of metallb.io can be written in the namespace.
func (m *metallb) webhook() {
	path, fail, none := "/validate", admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone
	o := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "metallb-webhook-configuration", Labels: m.labels("webhook")}}
	o.Webhooks = []admissionregistrationv1.ValidatingWebhook{{
		Name: "ipaddresspoolvalidationwebhook.metallb.io", FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
		ClientConfig:      admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: m.name, Name: "metallb-webhook-service", Path: &path}},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": m.name}},
		Rules: []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{"CREATE", "UPDATE"},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{"metallb.io"}, APIVersions: []string{"*"}, Resources: []string{"ipaddresspools"}},
		}},
	}}
	require.NoError(m.t, bed.Client.Create(m.t.Context(), o))
	m.t.Cleanup(func() {
		require.NoError(m.t, client.IgnoreNotFound(bed.Client.Delete(context.WithoutCancel(m.t.Context()), &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: o.Name}})))
	})
}

// unchanged checks that not one address and nothing of what the user wrote has changed.
func (m *metallb) unchanged() {
	m.t.Helper()
	for _, was := range m.services {
		is := &corev1.Service{}
		require.NoError(m.t, bed.Client.Get(m.t.Context(), client.ObjectKeyFromObject(was), is))
		assert.Equal(m.t, was.UID, is.UID)
		assert.Equal(m.t, was.Spec, is.Spec, was.Name)
		assert.Equal(m.t, shown(was), shown(is), was.Name)
		for k, v := range was.Labels {
			assert.Equal(m.t, v, is.Labels[k], "%s label %s", was.Name, k)
		}
		for k, v := range was.Annotations {
			assert.Equal(m.t, v, is.Annotations[k], "%s annotation %s", was.Name, k)
		}
	}
	for _, was := range m.objects {
		is := was.DeepCopyObject().(client.Object)
		require.NoError(m.t, bed.Client.Get(m.t.Context(), client.ObjectKeyFromObject(was), is))
		assert.Equal(m.t, was.GetUID(), is.GetUID())
		assert.Equal(m.t, was.GetGeneration(), is.GetGeneration(), was.GetName())
		assert.Equal(m.t, was.GetLabels(), is.GetLabels(), was.GetName())
		assert.Equal(m.t, was.GetAnnotations(), is.GetAnnotations(), was.GetName())
		assert.Equal(m.t, was.GetOwnerReferences(), is.GetOwnerReferences(), was.GetName())
	}
}

func shown(s *corev1.Service) (out []string) {
	for _, i := range s.Status.LoadBalancer.Ingress {
		out = append(out, i.IP)
	}
	return out
}

// ended deletes the pod of a workload of MetalLB, as the cluster would once it is to have none.
func (m *metallb) ended(kind string) {
	m.t.Helper()
	now := int64(0)
	require.NoError(m.t, bed.Client.Delete(m.t.Context(), &corev1.Pod{ObjectMeta: m.object(m.workload(kind) + "-x7k2p")}, &client.DeleteOptions{GracePeriodSeconds: &now}))
}

// speaks has a speaker of Fairlead announce every Service, as far as anybody can see on the API server, until the function that it returns is called.
func (m *metallb) speaks() (silence func()) {
	m.t.Helper()
	const node = "node-1"
	labels := map[string]string{"metallb.io/node": node, "metallb.io/node-name": node}
	in := func(name string) metav1.ObjectMeta {
		o := m.object(name)
		o.Labels = labels
		return o
	}
	ctx := context.WithoutCancel(m.t.Context())
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	require.NoError(m.t, client.IgnoreAlreadyExists(bed.Client.Create(ctx, n)))
	m.t.Cleanup(func() { require.NoError(m.t, client.IgnoreNotFound(bed.Client.Delete(ctx, n))) })
	renewed, seconds, holder := metav1.NowMicro(), int32(40), node
	lease := &coordinationv1.Lease{ObjectMeta: in("speaker-" + node), Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &renewed}}
	lease.Annotations = map[string]string{"fairlead.io/links": `{"links":[{"Name":"eth0","IPv4":true,"IPv6":true}]}`}
	objects := []client.Object{lease}
	for _, s := range m.services {
		for family, addr := range map[discoveryv1.AddressType]string{discoveryv1.AddressTypeIPv4: "10.1.0.1", discoveryv1.AddressTypeIPv6: "fd00::1"} {
			slice := &discoveryv1.EndpointSlice{ObjectMeta: m.object(strings.ToLower(s.Name + "-" + string(family))), AddressType: family}
			slice.Labels = map[string]string{discoveryv1.LabelServiceName: s.Name}
			slice.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{addr}, NodeName: &holder}}
			require.NoError(m.t, client.IgnoreAlreadyExists(bed.Client.Create(ctx, slice)))
		}
		objects = append(objects, &v1beta1.ServiceL2Status{ObjectMeta: in("ours-" + s.Name)})
	}
	for _, o := range objects {
		require.NoError(m.t, bed.Client.Create(ctx, o))
		if status, ok := o.(*v1beta1.ServiceL2Status); ok {
			status.Status = v1beta1.ServiceL2StatusStatus{Node: node, ServiceName: strings.TrimPrefix(status.Name, "ours-"), ServiceNamespace: m.name}
			require.NoError(m.t, bed.Client.Status().Update(ctx, status))
		}
	}
	return func() {
		for _, o := range objects {
			assert.NoError(m.t, client.IgnoreNotFound(bed.Client.Delete(ctx, o)))
		}
	}
}

func (m *metallb) deployment(name string) *appsv1.Deployment {
	m.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: m.object(name)}
	require.NoError(m.t, bed.Client.Get(m.t.Context(), client.ObjectKeyFromObject(d), d))
	return d
}

func (m *metallb) speakers() *appsv1.DaemonSet {
	m.t.Helper()
	d := &appsv1.DaemonSet{ObjectMeta: m.object(m.workload("speaker"))}
	require.NoError(m.t, bed.Client.Get(m.t.Context(), client.ObjectKeyFromObject(d), d))
	return d
}

// done is how many steps the state says are done; -1 if there is none.
func (m *metallb) done() int {
	m.t.Helper()
	o := &corev1.ConfigMap{ObjectMeta: m.object("fairlead-migration")}
	if err := bed.Client.Get(m.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		require.NoError(m.t, client.IgnoreNotFound(err))
		return -1
	}
	var s struct{ Done int }
	require.NoError(m.t, json.Unmarshal([]byte(o.Data["state.json"]), &s))
	return s.Done
}

// exits checks the exit code of a command.
func exits(t testing.TB, code int, err error, stderr string) {
	t.Helper()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, stderr)
	assert.Equal(t, code, exit.ExitCode(), stderr)
}

// TestMigrate changes over from MetalLB to Fairlead, with interruptions everywhere, and back. Nobody loses an address, and nothing that
// a user wrote changes.
func TestMigrate(t *testing.T) {
	m := installMetalLB(t, false)
	p := buildPlugin(t)
	command := []string{"migrate", "from-metallb", "--namespace", m.name}

	// No: nothing has changed.
	stdout, stderr, err := p.run("n\n", command...)
	require.Error(t, err)
	assert.Contains(t, stderr, "not confirmed: nothing was changed")
	for _, want := range []string{
		"Helm release metallb of MetalLB 0.16.1", "Deployment metallb-controller", "DaemonSet metallb-speaker", "9 CRDs of metallb.io",
		"ValidatingWebhookConfiguration metallb-webhook-configuration", "4 Services with addresses, 0 without", `4 of the addresses were written by field manager "controller"`,
	} {
		assert.Contains(t, stdout, want)
	}
	assert.Equal(t, -1, m.done())
	assert.EqualValues(t, 1, *m.deployment("metallb-controller").Spec.Replicas)
	m.unchanged()

	// Killed in the midst of the first step, while the controller's pod still runs.
	killed := exec.CommandContext(t.Context(), p.binary, append(command, "--yes")...)
	killed.Env = []string{"KUBECONFIG=" + p.config}
	require.NoError(t, killed.Start())
	testbed.Eventually(t, "MetalLB's controller to be stopped", func(context.Context) error {
		if *m.deployment("metallb-controller").Spec.Replicas != 0 {
			return errors.New("it is not")
		}
		return nil
	})
	require.NoError(t, killed.Process.Kill())
	_ = killed.Wait()
	assert.Equal(t, 0, m.done())
	m.unchanged()

	// A pod that does not go is named.
	_, stderr, err = p.run("", append(command, "--yes", "--timeout=300ms")...)
	require.Error(t, err)
	assert.Contains(t, stderr, "pods are still there after 300ms: metallb-controller-x7k2p")
	assert.Equal(t, 0, m.done())

	// Goes on, and stops where the user does not agree.
	m.ended("controller")
	stdout, stderr, err = p.run("y\n", command...)
	require.Error(t, err)
	assert.Contains(t, stderr, "stopped before step 2")
	assert.Contains(t, stdout, "0 of 4 steps are done")
	assert.Contains(t, stdout, "The addresses of 4 Services are as before")
	assert.Equal(t, 1, m.done())
	m.unchanged()

	// Hands over, and tells what to install: twice, as nobody has done it.
	for range 2 {
		stdout, stderr, err = p.run("", append(command, "--yes")...)
		exits(t, 2, err, stderr)
		assert.Contains(t, stdout, "kubectl fairlead convert --release metallb --namespace "+m.name)
		assert.Contains(t, stdout, "helm install fairlead charts/fairlead --namespace "+m.name+" --values converted/values.yaml")
		assert.Contains(t, stdout, "--set prometheus.metricsPort=7482,speaker.healthPort=17482,speaker.memberlist.mlBindPort=7956")
		assert.Equal(t, 2, m.done())
	}
	assert.Equal(t, apiextensionsv1.NoneConverter, m.crd("bgppeers").Spec.Conversion.Strategy)
	m.unchanged()

	// Installed as told, without --take-ownership.
	converted := t.TempDir()
	_, stderr, err = p.run("", "convert", "--release", "metallb", "--namespace", m.name, "--output-dir", converted)
	require.NoError(t, err, stderr)
	for _, name := range []string{"addressreservations", "backends", "bgpsessions"} { // which only the testbed's cluster has already
		crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name + ".fairlead.io"}}
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(crd), crd))
		metav1.SetMetaDataLabel(&crd.ObjectMeta, "app.kubernetes.io/managed-by", "Helm")
		maps.Copy(crd.Annotations, map[string]string{"meta.helm.sh/release-name": "fairlead", "meta.helm.sh/release-namespace": m.name})
		require.NoError(t, bed.Client.Update(t.Context(), crd))
	}
	mustHelm(t, "install", "fairlead", folder, "--namespace", m.name, "--values", filepath.Join(converted, "values.yaml"),
		"--set", "loadBalancerClass="+m.class()+",prometheus.metricsPort=7482,speaker.healthPort=17482,speaker.memberlist.mlBindPort=7956")
	t.Cleanup(func() {
		mustHelm(t, "uninstall", "fairlead", "--namespace", m.name, "--no-hooks", "--ignore-not-found")
	})
	_, stderr, err = p.run("", append(command, "--yes", "--timeout=300ms")...)
	require.Error(t, err)
	assert.Contains(t, stderr, "has not been taken over by Fairlead (condition fairlead.io/Allocated: missing)")
	controller := bed.Start(t, m.name, "--lb-class="+m.class(), "--backend=speaker")

	// Nobody announces anything: MetalLB's speakers go on.
	stdout, stderr, err = p.run("", append(command, "--yes", "--timeout=5s")...)
	require.Error(t, err)
	assert.Contains(t, stderr, "after 5s: less is announced than by MetalLB: Fairlead lacks 4 Services, such as "+m.name+"/")
	assert.Contains(t, stdout, "\n  "+m.name+"/shared-b: NoSpeaker: no speaker is alive")
	assert.Contains(t, stderr, "--force")
	assert.Equal(t, 2, m.done())
	assert.NotContains(t, m.speakers().Spec.Template.Spec.NodeSelector, "fairlead.io/migrated-from-metallb")

	// What Fairlead announces is lost together with MetalLB's speakers: they start again.
	silence := m.speaks()
	m.ended("speaker")
	go func() {
		for m.t.Context().Err() == nil && m.speakers().Spec.Template.Spec.NodeSelector["fairlead.io/migrated-from-metallb"] == "" {
			time.Sleep(50 * time.Millisecond)
		}
		silence()
	}()
	stdout, stderr, err = p.run("", append(command, "--yes", "--timeout=5s")...)
	require.Error(t, err, stdout)
	assert.Contains(t, stderr, "less is announced than by MetalLB: Fairlead lacks 4 Services")
	assert.Contains(t, stderr, "MetalLB's speakers start again")
	assert.Equal(t, 3, m.done())
	assert.NotContains(t, m.speakers().Spec.Template.Spec.NodeSelector, "fairlead.io/migrated-from-metallb")
	m.unchanged()

	silence = m.speaks()
	stdout, stderr, err = p.run("", append(command, "--yes")...)
	require.NoError(t, err, stderr)
	silence()
	assert.Contains(t, stdout, "Fairlead is in charge")
	// The printed command gives the speakers the usual ports.
	port := func() string {
		d := &appsv1.DaemonSet{ObjectMeta: m.object("fairlead-speaker")}
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(d), d))
		args := strings.Join(d.Spec.Template.Spec.Containers[0].Args, " ")
		return regexp.MustCompile(`--memberlist-bind-port=\d+`).FindString(args) + regexp.MustCompile(` --health-probe-bind-address=\S+`).FindString(args)
	}
	assert.Equal(t, "--memberlist-bind-port=7956 --health-probe-bind-address=127.0.0.1:17482", port())
	printed := regexp.MustCompile(`(?m)^  helm (upgrade .*)$`).FindStringSubmatch(stdout)
	require.NotNil(t, printed, stdout)
	mustHelm(t, strings.Fields(strings.Replace(printed[1], "charts/fairlead", folder, 1))...)
	assert.Equal(t, "--memberlist-bind-port=7946 --health-probe-bind-address=127.0.0.1:17472", port())
	assert.Contains(t, stdout, "Do NOT run 'helm uninstall metallb'")
	assert.Equal(t, 4, m.done())
	assert.Contains(t, m.speakers().Spec.Template.Spec.NodeSelector, "fairlead.io/migrated-from-metallb")
	m.unchanged()

	// And back: another writer must not be there when MetalLB's controller starts.
	_, err = controller.Stop()
	require.NoError(t, err)
	_, stderr, err = p.run("", append(command, "--back")...)
	require.Error(t, err)
	assert.Contains(t, stderr, "nothing was changed")
	stdout, stderr, err = p.run("y\n", append(command, "--back")...)
	require.NoError(t, err, stderr)
	assert.Contains(t, stdout, "MetalLB is in charge again. The addresses of 4 Services are as before.")
	assert.Equal(t, -1, m.done())
	assert.EqualValues(t, 1, *m.deployment("metallb-controller").Spec.Replicas)
	assert.EqualValues(t, 0, *m.deployment("fairlead-controller").Spec.Replicas)
	assert.Equal(t, map[string]string{"kubernetes.io/os": "linux"}, m.speakers().Spec.Template.Spec.NodeSelector)
	assert.Equal(t, "metallb", m.crd("ipaddresspools").Annotations["meta.helm.sh/release-name"])
	assert.Equal(t, apiextensionsv1.WebhookConverter, m.crd("bgppeers").Spec.Conversion.Strategy)
	exists(t, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "metallb-webhook-configuration"}}, true)
	m.unchanged()
}

// TestMigrateManifests: the MetalLB of its manifests, which Kubespray has, too, has other names and labels, and no release.
func TestMigrateManifests(t *testing.T) {
	m := installMetalLB(t, true)
	p := buildPlugin(t)
	command := []string{"migrate", "from-metallb", "--namespace", m.name, "--yes"}
	m.ended("controller")
	stdout, stderr, err := p.run("", command...)
	exits(t, 2, err, stderr)
	assert.NotContains(t, stdout, "Helm release metallb")
	assert.Contains(t, stdout, "Deployment controller\n  DaemonSet speaker\n")
	assert.Contains(t, stdout, "--namespace "+m.name+" --set backend=speaker,speaker.enabled=true --set loadBalancerClass="+m.class())
	assert.Equal(t, "fairlead", m.crd("bgppeers").Annotations["meta.helm.sh/release-name"])
	assert.EqualValues(t, 0, *m.deployment("controller").Spec.Replicas)
	m.unchanged()
	_, stderr, err = p.run("", append(command, "--back")...)
	require.NoError(t, err, stderr)
	assert.NotContains(t, m.crd("bgppeers").Annotations, "meta.helm.sh/release-name")
	assert.EqualValues(t, 1, *m.deployment("controller").Spec.Replicas)
	m.unchanged()
}

// TestMigrateRefuses: what would go wrong is told before anything is changed.
func TestMigrateRefuses(t *testing.T) {
	p := buildPlugin(t)
	empty := bed.Namespace(t)
	_, stderr, err := p.run("", "migrate", "from-metallb", "--namespace", empty, "--yes")
	require.Error(t, err)
	assert.Contains(t, stderr, fmt.Sprintf("namespace %q has no MetalLB", empty))
	_, stderr, err = p.run("", "migrate", "from-metallb", "--namespace", empty, "--yes", "--back")
	require.Error(t, err)
	assert.Contains(t, stderr, "there is nothing to go back from")

	m := installMetalLB(t, false)
	lost := m.service("lost")
	lost.Annotations = map[string]string{"metallb.io/ip-allocated-from-pool": "gone"}
	lost.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "10.94.0.1"}}
	require.NoError(t, bed.Client.Status().Update(t.Context(), lost, client.FieldOwner("controller")))
	_, stderr, err = p.run("", "migrate", "from-metallb", "--namespace", m.name, "--yes")
	require.Error(t, err)
	assert.Contains(t, stderr, "the Service "+m.name+"/lost has 10.94.0.1, which is in no IPAddressPool")
	assert.Equal(t, -1, m.done())

	// An operator, who would start MetalLB again.
	d := m.deployment("metallb-controller")
	d.OwnerReferences = []metav1.OwnerReference{{APIVersion: "metallb.io/v1beta1", Kind: "MetalLB", Name: "metallb", UID: "1", Controller: new(true)}}
	require.NoError(t, bed.Client.Update(t.Context(), d))
	_, stderr, err = p.run("", "migrate", "from-metallb", "--namespace", m.name, "--yes")
	require.Error(t, err)
	assert.Contains(t, stderr, `belongs to MetalLB "metallb", which would start again what is stopped here`)
	d.OwnerReferences = nil
	require.NoError(t, bed.Client.Update(t.Context(), d))

	// CRDs of an older MetalLB, and a kind that newer ones dropped.
	serve := func(served bool) {
		m.editCRD("bgppeers", func(crd *apiextensionsv1.CustomResourceDefinition) {
			for i := range crd.Spec.Versions {
				if crd.Spec.Versions[i].Name == "v1beta2" {
					crd.Spec.Versions[i].Served = served
				}
			}
		})
	}
	serve(false)
	_, stderr, err = p.run("", "migrate", "from-metallb", "--namespace", m.name, "--yes")
	serve(true)
	require.Error(t, err)
	assert.Contains(t, stderr, "the CRD bgppeers.metallb.io v1beta2 is not served: this MetalLB is older than 0.13.2")
	keep := true
	old := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "addresspools.metallb.io"}}
	old.Annotations = map[string]string{"api-approved.kubernetes.io": "unapproved"}
	old.Spec = apiextensionsv1.CustomResourceDefinitionSpec{
		Group: "metallb.io", Scope: apiextensionsv1.NamespaceScoped,
		Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: "AddressPool", ListKind: "AddressPoolList", Plural: "addresspools", Singular: "addresspool"},
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1beta1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
			OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep},
		}}},
	}
	require.NoError(t, bed.InstallCRDs(old))
	pool := &unstructured.Unstructured{}
	pool.SetAPIVersion("metallb.io/v1beta1")
	pool.SetKind("AddressPool")
	pool.SetNamespace(m.name)
	pool.SetName("ancient")
	require.NoError(t, bed.Client.Create(t.Context(), pool))
	_, stderr, err = p.run("", "migrate", "from-metallb", "--namespace", m.name, "--yes")
	require.NoError(t, bed.Client.Delete(t.Context(), old))
	require.Error(t, err)
	assert.Contains(t, stderr, "there are 1 AddressPools, such as "+m.name+"/ancient: MetalLB 0.14 dropped this kind")

	// Somebody without rights.
	m.create(&corev1.ServiceAccount{ObjectMeta: m.object(m.name + "-fairlead-nobody")})
	nobody := plugin{binary: p.binary, config: m.account("nobody", "", nil)}
	_, stderr, err = nobody.run("", "migrate", "from-metallb", "--namespace", m.name, "--yes")
	require.Error(t, err)
	assert.Contains(t, stderr, "look for a change-over that has begun: ")
	assert.Contains(t, stderr, "forbidden")
	assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	m.unchanged()
}
