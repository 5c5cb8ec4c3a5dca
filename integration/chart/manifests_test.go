package chart

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
)

// places says of each object where it is, and of each binding whom it is for.
func (all objects) places() (out []string) {
	for _, o := range all {
		place := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
		for _, s := range list(o, "subjects") {
			place += fmt.Sprintf(" for %v/%v", s["namespace"], s["name"])
		}
		out = append(out, place)
	}
	return out
}

// TestManifests: the API server takes what 'make manifests' writes for those without Helm.
func TestManifests(t *testing.T) {
	require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "metallb-system"}})))
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "make", "-C", testbed.Folder(), "manifests", "MANIFESTS="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "kustomization.yaml" })
	require.Len(t, files, 5)
	kustomization, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(kustomization), "\n  - auto.yaml\n")
	for _, file := range files {
		t.Run("kustomization of "+filepath.Base(file), func(t *testing.T) {
			plain, err := os.ReadFile(file)
			require.NoError(t, err)
			chosen := t.TempDir()
			write(t, filepath.Join(chosen, filepath.Base(file)), plain)
			write(t, filepath.Join(chosen, "kustomization.yaml"), bytes.Replace(kustomization, []byte("auto.yaml"), []byte(filepath.Base(file)), 1))
			built := bed.Kubectl(t, "kustomize", chosen)
			assert.ElementsMatch(t, parse(t, plain).places(), parse(t, []byte(built)).places())
			assert.Contains(t, built, "image: registry.example/fairlead:v1\n")
			assert.NotContains(t, built, "ghcr.io")
			path := filepath.Join(t.TempDir(), "built.yaml")
			write(t, path, []byte(built))
			bed.Kubectl(t, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", path)
		})
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, filepath.Base(file) == "speaker.yaml", strings.Contains(string(text), "kind: DaemonSet"))
			assert.NotContains(t, string(text), "helm.sh/hook", "a hook would run at once")
			all := parse(t, text)
			admitted(t, all.find(t, "Namespace", "metallb-system").GetLabels(), all)
			out := bed.Kubectl(t, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", file)
			assert.Contains(t, out, "customresourcedefinition.apiextensions.k8s.io/ipaddresspools.metallb.io serverside-applied")
		})
	}
}
