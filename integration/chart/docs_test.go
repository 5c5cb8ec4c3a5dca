package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
)

var (
	applied  = regexp.MustCompile(`(?s)kubectl apply -f - <<EOF\n(.*?)\n *EOF`)
	settings = regexp.MustCompile(`(?m)helm (?:install|upgrade) fairlead charts/fairlead (?:[^\n]*\\\n)*[^\n]*`)
	setting  = regexp.MustCompile(`(--set(?:-json)?) '?([^\s'\\]+)`)
)

// TestDocs: the API server takes the objects of the pages, and the chart the values that they tell to set.
func TestDocs(t *testing.T) {
	require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "metallb-system"}})))
	pages, err := filepath.Glob(testbed.Folder("docs", "*.md"))
	require.NoError(t, err)
	objects, values := 0, 0
	for _, page := range append(pages, testbed.Folder("README.md")) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		plain := regexp.MustCompile(`(?m)^    `).ReplaceAllString(string(text), "")
		for _, m := range applied.FindAllStringSubmatch(plain, -1) {
			objects++
			path := filepath.Join(t.TempDir(), "objects.yaml")
			write(t, path, []byte(m[1]))
			out := bed.Kubectl(t, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", path)
			assert.Contains(t, out, "serverside-applied", page)
		}
		for _, command := range settings.FindAllString(plain, -1) {
			args := []string{"template", "fairlead", folder, "--set", "crds.enabled=false"}
			for _, m := range setting.FindAllStringSubmatch(command, -1) {
				for s := range strings.SplitSeq(m[2], ",") {
					if strings.Contains(s, "=") && !strings.Contains(s, "...") {
						values++
						args = append(args, m[1], s)
					}
				}
			}
			mustHelm(t, args...)
		}
	}
	assert.GreaterOrEqual(t, objects, 2)
	assert.Greater(t, values, 15)
}
