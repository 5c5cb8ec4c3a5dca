package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/integration/testbed"
)

// gitopsPage returns the blocks of code of docs/migrate-gitops.md, in their order.
func gitopsPage(t testing.TB) (out []string) {
	t.Helper()
	text, err := os.ReadFile(testbed.Folder("docs", "migrate-gitops.md"))
	require.NoError(t, err)
	block := ""
	for line := range strings.Lines(string(text)) {
		code, indented := strings.CutPrefix(line, "    ")
		switch {
		case indented:
			block += code
		case strings.TrimSpace(line) == "" && block != "":
			block += "\n"
		case block != "":
			out, block = append(out, block), ""
		}
	}
	return append(out, block)
}

var (
	removed  = regexp.MustCompile(`([a-z.]+)/(\S+)`)
	optional = regexp.MustCompile(`^(networkpolicy|(podmonitors|prometheusrules)\.monitoring\.coreos\.com)/|^role(binding)?/metallb-prometheus$|^validatingwebhookconfiguration/metallb-|^configmap/fairlead-migration$`)
)

// compareWithPage compares what is printed for a version with the list of the page.
func compareWithPage(t *testing.T, version string, printed []string) {
	t.Helper()
	var want, got []string
	concerned := false
	for _, block := range gitopsPage(t) {
		for line := range strings.Lines(block) {
			if strings.HasPrefix(line, "# ") {
				concerned = strings.Contains(line, version)
			} else if concerned {
				for _, m := range removed.FindAllStringSubmatch(line, -1) {
					want = append(want, m[0])
				}
			}
		}
	}
	for _, line := range printed {
		for _, m := range removed.FindAllStringSubmatch(line, -1) {
			if !optional.MatchString(m[0]) {
				got = append(got, m[0])
			}
		}
	}
	assert.ElementsMatch(t, want, got, "docs/migrate-gitops.md")
}

// TestGitOpsMigration: the YAML of the page is what its kinds take, the chart takes the values, and the lines of kubectl work on it.
func TestGitOpsMigration(t *testing.T) {
	for _, name := range []string{"metallb-system", "flux-system", "argocd"} {
		require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})))
	}
	installShapes(t, shape("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases"), shape("source.toolkit.fluxcd.io", "v1", "HelmRepository", "helmrepositories"),
		shape("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations"), shape("argoproj.io", "v1alpha1", "Application", "applications"))
	var all objects
	lines := 0
	for _, block := range gitopsPage(t) {
		if strings.Contains(block, "delete deployment/") || strings.Contains(block, "delete customresourcedefinition/") {
			continue // TestRemains runs them
		}
		if !strings.Contains(block, "apiVersion:") {
			for _, line := range commands(block) {
				if !strings.HasPrefix(line, "kubectl fairlead") {
					lines++
					shell(t, line)
				}
			}
			if strings.Contains(block, "test -z") {
				shell(t, block[strings.Index(block, "test -z"):strings.Index(block, "\nkubectl fairlead")])
			}
			continue
		}
		file, _, _ := strings.Cut(strings.TrimPrefix(block, "# "), "\n")
		assert.Regexp(t, `^[a-z/]+\.yaml$`, file, "a block begins with the name of its file")
		for _, o := range parse(t, []byte(block)) {
			if o.GroupVersionKind().Group == "kustomize.config.k8s.io" {
				protects(t, block)
				continue
			}
			require.NotEmpty(t, o.GetName(), block)
			all = append(all, o)
			path := filepath.Join(t.TempDir(), "object.yaml")
			text, err := yaml.Marshal(o.Object)
			require.NoError(t, err)
			write(t, path, text)
			bed.Kubectl(t, "apply", "--server-side", "--validate=strict", "-f", path)
			if o.GetKind() == "Application" { // as somebody's "argocd app create" has left it
				bed.Kubectl(t, "-n", "argocd", "patch", "applications.argoproj.io", o.GetName(), "--type=merge", "-p", `{"metadata":{"finalizers":["resources-finalizer.argocd.argoproj.io"]}}`)
			}
		}
	}
	assert.GreaterOrEqual(t, lines, 5)
	t.Cleanup(func() {
		for _, app := range []string{"metallb", "fairlead"} {
			bed.Kubectl(t, "-n", "argocd", "patch", "applications.argoproj.io", app, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
		}
	})

	// Nothing of MetalLB is deleted when its objects leave git.
	release := all.find(t, "HelmRelease", "metallb")
	suspended, _, _ := unstructured.NestedBool(release.Object, "spec", "suspend")
	assert.True(t, suspended)
	suspended, _, _ = unstructured.NestedBool(all.find(t, "Kustomization", "metallb").Object, "spec", "suspend")
	assert.True(t, suspended)
	app := all.find(t, "Application", "metallb")
	assert.Empty(t, app.GetFinalizers())
	_, automated, _ := unstructured.NestedFieldNoCopy(app.Object, "spec", "syncPolicy", "automated")
	assert.False(t, automated)
	assert.Equal(t, "disabled", all.find(t, "Namespace", "metallb-system").GetAnnotations()["kustomize.toolkit.fluxcd.io/prune"])

	// Fairlead is installed, with speakers that do not meet MetalLB's on the ports of a node.
	for _, values := range []struct {
		of   *unstructured.Unstructured
		path []string
	}{
		{all.find(t, "HelmRelease", "fairlead"), []string{"spec", "values"}},
		{all.find(t, "Application", "fairlead"), []string{"spec", "source", "helm", "valuesObject"}},
	} {
		given, found, err := unstructured.NestedMap(values.of.Object, values.path...)
		require.NoError(t, err)
		require.True(t, found)
		text, err := yaml.Marshal(given)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "values.yaml")
		write(t, path, text)
		rendered := parse(t, []byte(mustHelm(t, "template", "fairlead", folder, "--namespace", "metallb-system", "--values", path)))
		rendered.find(t, "Deployment", "fairlead-controller")
		speaker, err := yaml.Marshal(rendered.find(t, "DaemonSet", "fairlead-speaker").Object)
		require.NoError(t, err)
		assert.NotRegexp(t, `\b(7946|7472)\b`, string(speaker))
	}
	source := all.find(t, "HelmRelease", "fairlead")
	all.find(t, text(source, "spec", "chart", "spec", "sourceRef", "kind"), text(source, "spec", "chart", "spec", "sourceRef", "name"))
}

// protects checks that a kustomization of the page keeps from pruning what must stay, and only that, and marks a CRD as it would.
func protects(t *testing.T, kustomization string) {
	t.Helper()
	dir := t.TempDir()
	manifests, err := os.ReadFile(filepath.Join("testdata", "metallb", "0.15.3-manifests.yaml"))
	require.NoError(t, err)
	write(t, filepath.Join(dir, "kustomization.yaml"), []byte(kustomization))
	write(t, filepath.Join(dir, "metallb-native.yaml"), append([]byte("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: metallb-system\n---\n"), manifests...))
	protected := map[string]int{}
	for _, o := range parse(t, []byte(bed.Kubectl(t, "kustomize", dir))) {
		is := o.GetAnnotations()["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
		assert.Equal(t, slices.Contains([]string{"Namespace", "CustomResourceDefinition"}, o.GetKind()), is, "%s %s", o.GetKind(), o.GetName())
		protected[o.GetKind()]++
	}
	assert.Positive(t, protected["Namespace"])
	assert.Positive(t, protected["CustomResourceDefinition"])
	bed.Kubectl(t, "annotate", "crd", "ipaddresspools.metallb.io", "kustomize.toolkit.fluxcd.io/prune=disabled")
	t.Cleanup(func() {
		bed.Kubectl(t, "annotate", "crd", "ipaddresspools.metallb.io", "kustomize.toolkit.fluxcd.io/prune-")
	})
}
