package chart

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

type objects []*unstructured.Unstructured

// parse reads YAML documents.
func parse(t testing.TB, text []byte) (out objects) {
	t.Helper()
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		o := &unstructured.Unstructured{}
		require.NoError(t, yaml.UnmarshalStrict(doc, &o.Object))
		if len(o.Object) > 0 {
			out = append(out, o)
		}
	}
	return out
}

// parseFolder reads all YAML files below a folder.
func parseFolder(t testing.TB, dir string) (out objects) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".yaml" {
			text, rerr := os.ReadFile(path)
			require.NoError(t, rerr)
			out = append(out, parse(t, text)...)
		}
		return err
	}))
	require.NotEmpty(t, out, dir)
	return out
}

// find returns the one object of a kind and name.
func (all objects) find(t testing.TB, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, o := range all {
		if o.GetKind() == kind && o.GetName() == name {
			return o
		}
	}
	require.Fail(t, "there is no "+kind+" "+name)
	return nil
}

func text(o *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, path...)
	return s
}

func list(o *unstructured.Unstructured, path ...string) (out []map[string]any) {
	l, _, _ := unstructured.NestedSlice(o.Object, path...)
	for _, e := range l {
		out = append(out, e.(map[string]any))
	}
	return out
}

// installs renders what a HelmRelease installs, with the ConfigMaps that it takes its values from.
func installs(t testing.TB, all objects, name string) objects {
	t.Helper()
	r := all.find(t, "HelmRelease", name)
	source := all.find(t, text(r, "spec", "chart", "spec", "sourceRef", "kind"), text(r, "spec", "chart", "spec", "sourceRef", "name"))
	assert.Equal(t, source.GetNamespace(), text(r, "spec", "chart", "spec", "sourceRef", "namespace"))
	assert.Equal(t, "fairlead", text(r, "spec", "chart", "spec", "chart"))
	args := []string{"template", text(r, "spec", "releaseName"), folder, "--namespace", r.GetNamespace()}
	for i, from := range list(r, "spec", "valuesFrom") {
		config := all.find(t, from["kind"].(string), from["name"].(string))
		assert.Equal(t, r.GetNamespace(), config.GetNamespace())
		values := text(config, "data", from["valuesKey"].(string))
		require.NotEmpty(t, values)
		path := filepath.Join(t.TempDir(), strings.Repeat("v", i+1)+".yaml")
		write(t, path, []byte(values))
		args = append(args, "--values", path)
	}
	return parse(t, []byte(mustHelm(t, args...)))
}

// accepted has the API server look at objects of metallb.io.
func accepted(t testing.TB, dir string) {
	t.Helper()
	out := bed.Kubectl(t, "apply", "--server-side", "--dry-run=server", "--validate=strict", "--recursive", "-f", dir)
	assert.Contains(t, out, "serverside-applied")
}

// admitted has the API server say whether pods may run in a namespace with these labels.
func admitted(t testing.TB, labels map[string]string, all objects) {
	t.Helper()
	require.Contains(t, labels, "pod-security.kubernetes.io/enforce")
	for kind, err := range judged(t, labels, all) {
		assert.NoError(t, err, kind)
	}
}

// judged returns what the API server says of the pods of each kind of workload.
func judged(t testing.TB, labels map[string]string, all objects) map[string]error {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	require.NoError(t, bed.Client.Create(t.Context(), ns))
	out := map[string]error{}
	for _, p := range pods(all) {
		o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "x"}}
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(field(p.of, p.at("spec")...).(map[string]any), &o.Spec))
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: o.Spec.ServiceAccountName}}
		require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), sa)))
		o.Spec.RestartPolicy, o.Spec.PriorityClassName = corev1.RestartPolicyNever, "" // what these may be depends on the workload
		out[p.of.GetKind()] = bed.Client.Create(t.Context(), o, client.DryRunAll)
	}
	require.NotEmpty(t, out)
	return out
}

// TestPodSecurity: the controller and what runs once are admitted at the level restricted, speakers only at privileged.
func TestPodSecurity(t *testing.T) {
	all := rendered(t, "speaker.enabled=true")
	for kind, err := range judged(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}, all) {
		if kind == "DaemonSet" {
			assert.ErrorContains(t, err, "violates PodSecurity")
		} else {
			assert.NoError(t, err, kind)
		}
	}
	admitted(t, map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}, all)
}

// TestGitOps: the layouts of docs/examples fit together, the chart takes their values, and the API server their objects.
func TestGitOps(t *testing.T) {
	require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "metallb-system"}})))
	examples := testbed.Folder("docs", "examples")

	t.Run("flux", func(t *testing.T) {
		root := filepath.Join(examples, "flux")
		all := parseFolder(t, root)
		rendered := installs(t, all, "fairlead")
		for _, o := range all {
			if o.GetKind() != "Kustomization" {
				continue
			}
			assert.DirExists(t, filepath.Join(root, text(o, "spec", "path")))
			for _, d := range list(o, "spec", "dependsOn") {
				all.find(t, "Kustomization", d["name"].(string))
			}
			for _, check := range list(o, "spec", "healthChecks") {
				switch kind, name := check["kind"].(string), check["name"].(string); kind {
				case "Deployment":
					assert.Equal(t, check["namespace"], rendered.find(t, kind, name).GetNamespace())
				case "Backend":
					values := all.find(t, "ConfigMap", "fairlead-helm-chart-value-overrides")
					assert.Contains(t, text(values, "data", "values.yaml"), "backend: "+name)
				default:
					all.find(t, kind, name)
				}
			}
		}
		accepted(t, filepath.Join(root, "metallb-config"))
		admitted(t, all.find(t, "Namespace", "metallb-system").GetLabels(), rendered)
	})

	t.Run("opencenter", func(t *testing.T) {
		overlay := filepath.Join(examples, "opencenter", "applications", "overlays", "cluster-1", "services", "metallb")
		all := parse(t, []byte(bed.Kubectl(t, "kustomize", overlay)))
		rendered := installs(t, all, "fairlead")
		rendered.find(t, "DaemonSet", "fairlead-speaker")
		rendered.find(t, "NetworkPolicy", "fairlead-controller")
		rendered.find(t, "ServiceMonitor", "fairlead-controller")
		admitted(t, all.find(t, "Namespace", "metallb-system").GetLabels(), rendered)
	})

	t.Run("argocd", func(t *testing.T) {
		root := filepath.Join(examples, "argocd")
		all := parseFolder(t, root)
		app := all.find(t, "Application", "fairlead")
		assert.DirExists(t, testbed.Folder(text(app, "spec", "source", "path")))
		values, _, err := unstructured.NestedMap(app.Object, "spec", "source", "helm", "valuesObject")
		require.NoError(t, err)
		raw, err := yaml.Marshal(values)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "values.yaml")
		write(t, path, raw)
		rendered := parse(t, []byte(mustHelm(t, "template", text(app, "spec", "source", "helm", "releaseName"), folder, "--values", path)))
		rendered.find(t, "Deployment", "fairlead-controller")
		admitted(t, stringMap(app, "spec", "syncPolicy", "managedNamespaceMetadata", "labels"), rendered)
		config := all.find(t, "Application", "metallb-config")
		dir := filepath.Join(root, text(config, "spec", "source", "path"))
		accepted(t, dir)
		health := all.find(t, "ConfigMap", "argocd-cm")
		data, _, _ := unstructured.NestedStringMap(health.Object, "data")
		for _, kind := range []string{"fairlead.io_Backend", "argoproj.io_Application"} {
			assert.Contains(t, data, "resource.customizations.health."+kind)
		}
	})
}

// health is what kstatus, and with it Flux, makes of an object of a kind that it does not know: by status.observedGeneration and by the
// conditions Reconciling, Stalled and Ready.
func health(o *unstructured.Unstructured) string {
	if seen, ok, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration"); ok && seen != o.GetGeneration() {
		return "InProgress"
	}
	out := "Current"
	for _, c := range list(o, "status", "conditions") {
		switch kind, status := c["type"], c["status"]; {
		case kind == "Stalled" && status == "True":
			return "Failed"
		case kind == "Reconciling" && status == "True", kind == "Ready" && status != "True":
			out = "InProgress"
		}
	}
	return out
}

// TestHealth: a health check sees whether what the objects ask for is in place, on every kind that Fairlead writes.
func TestHealth(t *testing.T) {
	r := &release{t: t, name: bed.Namespace(t)}
	backend := &unstructured.Unstructured{}
	backend.SetAPIVersion("fairlead.io/v1alpha1")
	backend.SetKind("Backend")
	backend.SetName("cilium")
	is := func(o *unstructured.Unstructured, want string) {
		t.Helper()
		testbed.Eventually(t, o.GetKind()+" to be "+want, expects(o, want))
	}
	r.create(&v1beta1.IPAddressPool{ObjectMeta: r.object("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.92.0.0/28", "2001:db8:92::/64"}}})
	r.create(&v1beta1.BGPAdvertisement{ObjectMeta: r.object("main")})
	r.create(&v1alpha1.AddressReservation{ObjectMeta: r.object("kept"), Spec: v1alpha1.AddressReservationSpec{Addresses: []string{"10.92.0.9"}}})
	// Cilium's API is not there: the controller says that it cannot do its work.
	p := bed.Start(t, r.name, "--backend=cilium", "--lb-class="+r.class())
	is(backend, "InProgress")
	require.NoError(t, bed.InstallCRDs(testbed.CiliumCRDs(t, "ciliumbgpadvertisements", "ciliumbgpclusterconfigs", "ciliumbgppeerconfigs", "ciliumbgpnodeconfigs", "ciliuml2announcementpolicies", "ciliumloadbalancerippools")...))
	is(backend, "InProgress") // nobody hears the routes yet
	sessions := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"families": []any{map[string]any{
		"afi": "ipv4", "safi": "unicast", "advertisements": map[string]any{"matchLabels": map[string]any{"fairlead.io/advertise": "true"}},
	}}}}}
	sessions.SetAPIVersion("cilium.io/v2")
	sessions.SetKind("CiliumBGPPeerConfig")
	sessions.SetName("routers")
	require.NoError(t, bed.Client.Create(t.Context(), sessions))
	t.Cleanup(func() { assert.NoError(t, bed.Client.Delete(context.WithoutCancel(t.Context()), sessions)) })
	r.create(&v1beta1.BGPAdvertisement{ObjectMeta: r.object("again")}) // has Cilium looked at again
	is(backend, "Current")
	reservation := &unstructured.Unstructured{}
	reservation.SetAPIVersion("fairlead.io/v1alpha1")
	reservation.SetKind("AddressReservation")
	reservation.SetNamespace(r.name)
	reservation.SetName("kept")
	ready := func(status string) func(context.Context) error {
		return func(ctx context.Context) error {
			for _, c := range list(reservation, "status", "conditions") {
				if c["type"] == "Ready" && c["status"] == status {
					return nil
				}
			}
			_ = bed.Client.Get(ctx, client.ObjectKeyFromObject(reservation), reservation)
			return fmt.Errorf("its status is %v", reservation.Object["status"])
		}
	}
	is(reservation, "Current")
	testbed.Eventually(t, "the reservation to be in force", ready("True"))
	change := func(addresses string) {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"addresses":["`+addresses+`"]}}`))
		require.NoError(t, bed.Client.Patch(t.Context(), reservation, patch))
	}
	change("10.92.0.9-10.92.0.1")
	is(reservation, "Failed")
	testbed.Eventually(t, "the reservation to be faulty", ready("False"))
	change("10.92.0.1-10.92.0.9")
	is(reservation, "Current")
	testbed.Eventually(t, "the reservation to be in force again", ready("True"))
	_, err := p.Stop()
	require.NoError(t, err)
	bed.Cleanup(t, r.name, "--lb-class="+r.class())
}

// expects checks the health of an object.
func expects(o *unstructured.Unstructured, want string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		if got := health(o); got != want {
			return fmt.Errorf("is %s: %v", got, o.Object["status"])
		}
		return nil
	}
}
