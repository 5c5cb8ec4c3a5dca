package chart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
)

// TestManifests: the API server takes what 'make manifests' writes for those without Helm.
func TestManifests(t *testing.T) {
	require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "metallb-system"}})))
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "make", "-C", testbed.Folder(), "manifests", "MANIFESTS="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	require.NoError(t, err)
	require.Len(t, files, 5)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, filepath.Base(file) == "speaker.yaml", strings.Contains(string(text), "kind: DaemonSet"))
			assert.NotContains(t, string(text), "helm.sh/hook", "a hook would run at once")
			out := bed.Kubectl(t, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", file)
			assert.Contains(t, out, "customresourcedefinition.apiextensions.k8s.io/ipaddresspools.metallb.io serverside-applied")
		})
	}
}
