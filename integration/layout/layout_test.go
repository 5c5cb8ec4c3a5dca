// Package layout tests that packages import in one direction only.
package layout

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/fairlead/fairlead/"

// may lists which rooms the packages of a room may import besides their own; what is not listed, no room may.
var may = map[string][]string{
	"cmd":                  {"internal", "backends", "api"},
	"internal":             {"internal", "allocator", "backends", "api"},
	"internal/admission":   {"internal/config", "api"},
	"internal/announce":    {"internal/config", "backends"},
	"internal/config":      {"allocator", "api", "backends", "internal/presence", "internal/text"},
	"internal/convert":     {"allocator", "api"},
	"internal/migrate":     {"allocator", "api", "internal/screen"},
	"internal/membership":  {"backends"},
	"internal/presence":    {"backends", "api"},
	"backends":             nil,
	"backends/bgp":         {"backends", "backends/bgp/bfd"},
	"backends/bgp/bfd":     nil,
	"backends/calico":      {"backends"},
	"backends/cilium":      {"backends"},
	"backends/layer2":      {"backends"},
	"backends/backendtest": {"backends"},
	"allocator":            nil,
	"api":                  nil,
	"integration":          {"integration", "internal", "api"},
	"integration/backends": {"integration/testbed", "internal/localcluster", "backends", "api"},
	"integration/bgp":      {"integration/testbed", "backends", "api"},
	"integration/bfd":      {"integration/testbed", "backends/bgp/bfd"},
	"integration/chart":    {"integration/testbed", "integration/testbed/netlab", "api"},
	"integration/testbed":  {"internal/localcluster", "api"},

	"integration/testbed/netlab": {"integration/testbed", "internal/localcluster"},
}

// libraries lists the modules outside the standard library that a pure room may import.
var libraries = map[string][]string{
	"allocator": {"go4.org/netipx"},
	"backends":  {"k8s.io/apimachinery/pkg/labels"},
}

// room returns the most specific room of may that holds a package.
func room(pkg string) string {
	for r := pkg; r != "."; {
		if _, ok := may[r]; ok {
			return r
		}
		i := strings.LastIndex(r, "/")
		if i < 0 {
			break
		}
		r = r[:i]
	}
	return strings.SplitN(pkg, "/", 2)[0]
}

func within(pkg string, rooms []string) bool {
	for _, r := range rooms {
		if pkg == r || strings.HasPrefix(pkg, r+"/") {
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"...").Output()
	require.NoError(t, err)
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		r := room(pkg)
		allowed, known := may[r]
		require.True(t, known, "package %s is in no room of the house; see docs/architecture.md", pkg)
		for _, imported := range fields[1:] {
			if ours, ok := strings.CutPrefix(imported, module); ok {
				seen++
				own := r != "backends" && within(ours, []string{r}) // a backend never imports its sibling
				assert.True(t, own || within(ours, allowed), "%s imports %s; %s may import %v", pkg, ours, r, allowed)
			} else if libs, pure := libraries[r]; pure && strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
				assert.True(t, within(imported, libs), "%s imports %s; it is to stay pure", pkg, imported)
			}
		}
	}
	assert.Greater(t, seen, 20, "go list found too few imports to mean anything")
}
