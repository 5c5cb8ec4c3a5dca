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

// may lists which rooms the packages of a room may import besides their own; what is not listed, no room may. The districts of internal are the
// core (service, config, announce, assign), which is pure or nearly so, and what is built on it: the controller, the speaker and the
// user's tool.
var may = map[string][]string{
	"cmd":                 {"internal", "allocator", "backends", "api"},
	"internal/process":    {"backends", "api"},
	"internal/config":     {"internal/process", "backends", "api"},
	"internal/service":    {"internal/process", "backends", "api"},
	"internal/announce":   {"internal/config", "internal/service", "internal/process", "backends"},
	"internal/assign":     {"internal/config", "internal/service", "internal/process", "allocator", "backends", "api"},
	"internal/controller": {"internal/config", "internal/service", "internal/announce", "internal/process", "allocator", "backends", "api"},
	"internal/speaker":    {"internal/config", "internal/service", "internal/announce", "internal/process", "backends", "api"},
	"internal/tool": {
		"internal/config", "internal/service", "internal/announce", "internal/process", "internal/controller", "allocator", "backends",
		"api",
	},

	"internal/config/ranges":        nil,
	"internal/controller/admission": {"internal/config", "api"},
	"internal/speaker/membership":   {"internal/process/wake", "backends"},
	"internal/tool/convert":         {"internal/config/ranges", "api"},
	"internal/tool/migrate":         {"internal/tool/screen", "internal/config/ranges", "api"},

	// These three have the Assigner at work on a copy of the cluster.
	"internal/tool/survey": {
		"internal/config", "internal/service", "internal/announce", "internal/assign", "internal/process", "internal/controller",
		"backends", "allocator", "api",
	},
	"internal/tool/explain": {
		"internal/tool", "internal/config", "internal/service", "internal/announce", "internal/assign", "internal/controller",
		"allocator", "backends", "api",
	},
	"internal/tool/plan": {
		"internal/tool", "internal/config", "internal/service", "internal/announce", "internal/assign", "internal/controller",
		"allocator", "backends", "api",
	},

	"allocator":               nil,
	"allocator/allocatortest": {"allocator"},
	"allocator/clusterapi":    {"allocator"},
	"api":                     nil,
	"backends":                nil,
	"backends/backendtest":    {"backends"},
	"backends/bgp":            {"backends", "backends/bgp/bfd"},
	"backends/bgp/bfd":        nil,
	"backends/calico":         {"backends"},
	"backends/cilium":         {"backends"},
	"backends/layer2":         {"backends"},

	"integration":                {"integration", "internal", "api"},
	"integration/allocators":     {"integration/testbed", "internal/config", "internal/service", "allocator", "backends", "api"},
	"integration/chaos":          {"integration", "internal", "allocator", "api"},
	"integration/backends":       {"integration/testbed", "internal/tool/localcluster", "backends", "api"},
	"integration/bgp":            {"integration/testbed", "backends", "api"},
	"integration/bfd":            {"integration/testbed", "backends/bgp/bfd"},
	"integration/chart":          {"integration/testbed", "integration/testbed/netlab", "api"},
	"integration/testbed":        {"internal/tool/localcluster", "api"},
	"integration/testbed/netlab": {"integration/testbed", "internal/tool/localcluster", "internal/tool/localnet"},
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

// TestSpeakerIsLean: a speaker announces what the controller has assigned, so it holds nothing that assigns.
func TestSpeakerIsLean(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"cmd/speaker").Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	assert.Contains(t, deps, module+"internal/announce")
	for _, not := range []string{"internal/assign", "allocator"} {
		assert.NotContains(t, deps, module+not)
	}
}
