package chart

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
)

// shape is a CRD that takes everything.
func shape(group, version, kind, plural string) *apiextensionsv1.CustomResourceDefinition {
	keep := true
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: kind, ListKind: kind + "List", Plural: plural, Singular: strings.ToLower(kind)},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: version, Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
				OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep},
			}}},
		},
	}
}

// installShapes installs such CRDs until the test ends.
func installShapes(t *testing.T, crds ...*apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	require.NoError(t, bed.InstallCRDs(crds...))
	t.Cleanup(func() {
		for _, crd := range crds {
			assert.NoError(t, client.IgnoreNotFound(bed.Client.Delete(context.WithoutCancel(t.Context()), crd)))
			testbed.AwaitCRDGone(t, bed.Client, crd.Name)
		}
	})
}

// migrated is a cluster in which the change-over is done, with all that one version of MetalLB leaves.
type migrated struct {
	*release
	left objects
}

// leave makes the objects of a version of MetalLB, as Helm does if release is set, and the state of a change-over that is done.
func leave(t *testing.T, file, release string) *migrated {
	t.Helper()
	m := &migrated{release: newRelease(t)}
	text, err := os.ReadFile(filepath.Join("testdata", "metallb", file))
	require.NoError(t, err)
	for _, o := range parse(t, []byte(strings.ReplaceAll(string(text), "metallb-system", m.name))) {
		if release != "" {
			notes := o.GetAnnotations()
			if notes == nil {
				notes = map[string]string{}
			}
			maps.Copy(notes, map[string]string{"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": m.name})
			o.SetAnnotations(notes)
		}
		if o.GetNamespace() == "" && !slices.Contains([]string{"ClusterRole", "ClusterRoleBinding", "ValidatingWebhookConfiguration", "CustomResourceDefinition"}, o.GetKind()) {
			o.SetNamespace(m.name)
		}
		testbed.Eventually(t, o.GetKind()+" "+o.GetName(), func(ctx context.Context) error { return client.IgnoreAlreadyExists(bed.Client.Create(ctx, o)) })
		m.left = append(m.left, o)
	}
	t.Cleanup(func() {
		for _, o := range m.left {
			if o.GetNamespace() == "" {
				assert.NoError(t, client.IgnoreNotFound(bed.Client.Delete(context.WithoutCancel(t.Context()), o)))
			}
		}
		for _, o := range m.left { // a CRD goes slowly, and the next version may have it, too
			switch {
			case o.GetKind() == "CustomResourceDefinition":
				testbed.AwaitCRDGone(t, bed.Client, o.GetName())
			case o.GetNamespace() == "":
				exists(t, o, false)
			}
		}
	})
	names := func(kind string) (out []string) {
		for _, o := range m.left {
			if o.GetKind() == kind {
				out = append(out, o.GetName())
			}
		}
		return out
	}
	state, err := json.Marshal(map[string]any{
		"began": "2026-01-01T00:00:00Z", "done": 4, "addresses": map[string][]string{}, "replicas": 1, "release": release, "crds": map[string]any{},
		"controller": names("Deployment")[0], "speakers": names("DaemonSet"),
	})
	require.NoError(t, err)
	m.create(&corev1.ConfigMap{ObjectMeta: m.object("fairlead-migration"), Data: map[string]string{"state.json": string(state)}})
	return m
}

func newRelease(t *testing.T) *release { return &release{t: t, name: bed.Namespace(t)} }

// commands returns the lines of kubectl that are printed.
func commands(stdout string) (out []string) {
	for line := range strings.Lines(stdout) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "kubectl ") {
			out = append(out, line)
		}
	}
	return out
}

// shell runs a line as a user would.
func shell(t testing.TB, line string) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	write(t, config, bed.Kubeconfig)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.Env = []string{"KUBECONFIG=" + config, "PATH=" + testbed.Folder("bin") + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", line, out)
	return string(out)
}

// TestRemains: what is printed at the end removes all that a version of MetalLB has, and nothing that Fairlead or a user needs.
func TestRemains(t *testing.T) {
	p := buildPlugin(t)
	installShapes(t, shape("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"), shape("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
		shape("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"))
	files, err := filepath.Glob(filepath.Join("testdata", "metallb", "*.yaml"))
	require.NoError(t, err)
	require.Len(t, files, 8)
	for _, file := range files {
		file = filepath.Base(file)
		for _, release := range []string{"metallb", ""} {
			if manifests := strings.Contains(file, "manifests"); manifests && release != "" || !manifests && release == "" && file != "0.15.3-chart.yaml" {
				continue // rendered by "helm template", one chart is enough
			}
			t.Run(strings.TrimSuffix(file, ".yaml")+" "+release, func(t *testing.T) {
				m := leave(t, file, release)
				keep := m.neighbours()
				stdout, stderr, err := p.run("", "migrate", "from-metallb", "--namespace", m.name, "--yes")
				require.NoError(t, err, stderr)
				assert.NotContains(t, stdout, "Not looked for")
				lines := commands(stdout)
				for _, line := range lines {
					assert.NotRegexp(t, `[a-z]\.metallb\.io`, strings.ReplaceAll(line, ".frrk8s.metallb.io", ""), "no CRD of MetalLB goes")
					switch {
					case !strings.Contains(line, "customresourcedefinition/"):
					case file == "0.16.1-chart.yaml":
						line += " --wait=false" // what the API server then needs is a matter of its own: testbed.AwaitCRDGone
					default:
						line += " --dry-run=server" // that takes its time: once is enough
					}
					shell(t, line)
				}
				if byHelm := release != ""; byHelm {
					compareWithPage(t, strings.TrimSuffix(file, "-chart.yaml"), lines)
				}
				for _, o := range m.left {
					if o.GetKind() == "CustomResourceDefinition" {
						if file == "0.16.1-chart.yaml" {
							testbed.AwaitCRDGone(t, bed.Client, o.GetName())
						}
						continue
					}
					err := bed.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o)
					switch {
					case o.GetName() == "prometheus-k8s", o.GetName() == "metallb-prometheus" && release == "":
						assert.NoError(t, err, "Prometheus finds Fairlead's pods by it")
					default:
						assert.True(t, apierrors.IsNotFound(err), "%s %s is left", o.GetKind(), o.GetName())
					}
				}
				for _, o := range keep {
					assert.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o), o.GetName())
				}
				memberlist := &corev1.Secret{ObjectMeta: m.object("memberlist")}
				require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(memberlist), memberlist))
				assert.Empty(t, memberlist.OwnerReferences, "it would go with MetalLB's controller, and the key of Fairlead's speakers with it")

				// Twice does no harm, and then there is nothing to say.
				m.create(&corev1.ConfigMap{ObjectMeta: m.object("fairlead-migration"), Data: map[string]string{"state.json": `{"done":4}`}})
				stdout, stderr, err = p.run("", "migrate", "from-metallb", "--namespace", m.name, "--yes")
				require.NoError(t, err, stderr)
				assert.Equal(t, []string{"kubectl -n " + m.name + " delete configmap/fairlead-migration"}, commands(stdout))
			})
		}
	}
	t.Run("what others use", func(t *testing.T) { remainsShared(t, p) })
}

// neighbours makes what has to stay: objects of Fairlead, of users, and of another MetalLB, some of them with MetalLB's labels.
func (m *migrated) neighbours() (out []client.Object) {
	m.t.Helper()
	labels := map[string]string{"app": "metallb"}
	create := func(o client.Object) {
		m.create(o)
		out = append(out, o)
	}
	controller := &appsv1.Deployment{}
	for _, o := range m.left {
		if o.GetKind() == "Deployment" && strings.HasSuffix(o.GetName(), "controller") {
			require.NoError(m.t, bed.Client.Get(m.t.Context(), client.ObjectKeyFromObject(o), controller))
		}
	}
	secret := &corev1.Secret{ObjectMeta: m.object("memberlist")}
	secret.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: controller.Name, UID: controller.UID}}
	create(secret)
	password := &corev1.Secret{ObjectMeta: m.object("tor-password")}
	password.Labels = labels
	create(password)
	create(&v1beta2.BGPPeer{ObjectMeta: m.object("tor"), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "192.0.2.1", PasswordSecret: corev1.SecretReference{Name: "tor-password"}}})
	pool := &v1beta1.IPAddressPool{ObjectMeta: m.object("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.97.0.0/24"}}}
	pool.Labels = labels
	create(pool)
	values := &corev1.ConfigMap{ObjectMeta: m.object("values")}
	values.Labels = labels
	create(values)
	ours := map[string]string{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": "speaker"}
	account := &corev1.ServiceAccount{ObjectMeta: m.object("fairlead-speaker")}
	account.Labels = ours
	create(account)
	set := &appsv1.DaemonSet{ObjectMeta: m.object("fairlead-speaker")}
	set.Labels, set.Spec.Selector, set.Spec.Template.Labels = ours, &metav1.LabelSelector{MatchLabels: ours}, ours
	set.Spec.Template.Spec = corev1.PodSpec{
		ServiceAccountName: account.Name, Containers: []corev1.Container{{Name: "speaker", Image: "speaker"}},
		Volumes: []corev1.Volume{{Name: "memberlist", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "memberlist"}}}},
	}
	create(set)
	view := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: m.name + "-view"}}
	other := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "metallb-" + m.name + ":speaker", Labels: labels}}
	other.RoleRef = rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: view.Name}
	other.Subjects = []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "lb", Name: "speaker"}}
	create(view)
	create(other)
	m.t.Cleanup(func() {
		_ = bed.Client.Delete(context.WithoutCancel(m.t.Context()), view)
		_ = bed.Client.Delete(context.WithoutCancel(m.t.Context()), other)
	})
	return out
}

// remainsShared: what another FRR-K8s, another binding or Fairlead's webhook needs is told, and stays; so is who keeps the objects.
func remainsShared(t *testing.T, p plugin) {
	t.Helper()
	m := leave(t, "0.16.1-chart.yaml", "metallb")
	elsewhere := newRelease(t)
	labels := map[string]string{"app.kubernetes.io/name": "frr-k8s"}
	set := &appsv1.DaemonSet{ObjectMeta: elsewhere.object("frr-k8s")}
	set.Labels, set.Spec.Selector, set.Spec.Template.Labels = labels, &metav1.LabelSelector{MatchLabels: labels}, labels
	set.Spec.Template.Spec.Containers = []corev1.Container{{Name: "frr", Image: "frr"}}
	elsewhere.create(set)
	t.Cleanup(func() { assert.NoError(t, bed.Client.Delete(context.WithoutCancel(t.Context()), set)) })
	bind := &rbacv1.RoleBinding{ObjectMeta: elsewhere.object("mine"), RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "metallb:speaker"}}
	elsewhere.create(bind)
	ours := map[string]string{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": "controller"}
	controller := &appsv1.Deployment{ObjectMeta: m.object("fairlead-controller")}
	controller.Labels, controller.Spec.Selector, controller.Spec.Template.Labels = ours, &metav1.LabelSelector{MatchLabels: ours}, ours
	controller.Spec.Template.Spec.Containers = []corev1.Container{{Name: "controller", Image: "controller", Args: []string{"--webhook=enabled"}}}
	m.create(controller)
	for _, o := range m.left {
		if o.GetKind() == "Deployment" {
			require.NoError(t, unstructured.SetNestedField(o.Object, m.name, "metadata", "labels", "helm.toolkit.fluxcd.io/namespace"))
			require.NoError(t, unstructured.SetNestedField(o.Object, "metallb", "metadata", "labels", "helm.toolkit.fluxcd.io/name"))
			require.NoError(t, bed.Client.Update(t.Context(), o))
		}
	}
	stdout, stderr, err := p.run("", "migrate", "from-metallb", "--namespace", m.name, "--yes")
	require.NoError(t, err, stderr)
	for _, want := range []string{
		fmt.Sprintf("Not removed: the CRDs of frrk8s.metallb.io, which the FRR-K8s in namespace %s uses.", elsewhere.name),
		fmt.Sprintf("Not removed: clusterrole/metallb:speaker, which RoleBinding %s/mine uses.", elsewhere.name),
		"Not removed: secret/metallb-webhook-cert, which deployment/fairlead-controller uses.",
		fmt.Sprintf("These objects belong to Flux' HelmRelease %s/metallb. Take MetalLB out of git first, without deleting anything: docs/migrate-gitops.md.", m.name),
		"clusterrole/metallb:controller",
	} {
		assert.Contains(t, stdout, want)
	}
	for _, line := range commands(stdout) {
		for _, never := range []string{"frrk8s.metallb.io", "metallb:speaker clusterrole", "clusterrole/metallb:speaker", "metallb-webhook-cert"} {
			assert.NotContains(t, line, never)
		}
	}
}
