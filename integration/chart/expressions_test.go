package chart

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/integration/testbed"
)

// everyAlert are values with which all alerts and the dashboard are rendered.
const everyAlert = "speaker.enabled=true,allocators.clusterAPI.enabled=true,prometheus.prometheusRule.enabled=true,prometheus.grafanaDashboard.enabled=true,prometheus.prometheusRule.addressPoolUsage.excludePools=^a.b$"

// expressions returns the PromQL of all alerts and of the dashboard.
func expressions(t testing.TB) (alerts, panels []string) {
	t.Helper()
	var rules struct {
		Spec struct {
			Groups []struct {
				Rules []struct{ Alert, Expr string }
			}
		}
	}
	render(t, "templates/prometheusrule.yaml", &rules)
	for _, g := range rules.Spec.Groups {
		for _, r := range g.Rules {
			alerts = append(alerts, r.Expr)
		}
	}
	var config corev1.ConfigMap
	render(t, "templates/dashboard.yaml", &config)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(config.Data["fairlead.json"]), &dashboard))
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			panels = append(panels, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"))
		}
	}
	return alerts, panels
}

// render renders one template with everyAlert.
func render(t testing.TB, template string, into any) {
	t.Helper()
	out := mustHelm(t, "template", "fairlead", folder, "--show-only", template, "--set", everyAlert)
	require.NoError(t, yaml.Unmarshal([]byte(out), into))
}

// TestExpressions: Prometheus' own parser takes the expressions of alerts and dashboard, and every series that they look at, with its
// labels, is one that the controller or the speaker exports. What they export is in docs/reference, which their own tests keep true.
func TestExpressions(t *testing.T) {
	alerts, panels := expressions(t)
	require.Greater(t, len(alerts), 10)
	require.Greater(t, len(panels), 15)
	exported := documented(t)
	tool := filepath.Join(t.TempDir(), "promql")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", tool, ".")
	build.Dir = testbed.Folder("tools", "promql")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	all := append(alerts, panels...)
	in, err := json.Marshal(append(all, "rate(")) // that it would tell
	require.NoError(t, err)
	parse := exec.CommandContext(t.Context(), tool)
	parse.Stdin = bytes.NewReader(in)
	out, err = parse.Output()
	require.NoError(t, err)
	var answers []struct {
		Error  string
		Series map[string][]string
	}
	require.NoError(t, json.Unmarshal(out, &answers))
	require.Len(t, answers, len(all)+1)
	assert.NotEmpty(t, answers[len(all)].Error)
	given := map[string]bool{"pod": true, "job": true, "namespace": true, "instance": true} // by Prometheus, of the target
	for i, e := range all {
		a := answers[i]
		assert.Empty(t, a.Error, e)
		assert.NotEmpty(t, a.Series, e)
		for series, used := range a.Series {
			labels, ok := exported[series]
			if base, isBucket := strings.CutSuffix(series, "_bucket"); !ok && isBucket {
				labels, ok = exported[base]
				labels += " le"
			}
			assert.True(t, ok, "%s: nobody exports %s", e, series)
			for _, l := range used {
				assert.True(t, given[l] || strings.Contains(" "+labels+" ", " "+l+" "), "%s: %s has no label %s", e, series, l)
			}
		}
	}
}

// TestFamilies: alerts and dashboard look at pools by family, at one as at the other. In the sum of both, an IPv6 range hides that every
// IPv4 address of the pool is in use.
func TestFamilies(t *testing.T) {
	alerts, panels := expressions(t)
	all := strings.Join(append(alerts, panels...), "\n")
	seen := map[string]int{}
	for _, s := range regexp.MustCompile(`metallb_allocator_[a-z0-9_]+`).FindAllString(all, -1) {
		seen[s]++
	}
	require.NotEmpty(t, seen)
	for s := range seen {
		assert.Regexp(t, "^metallb_allocator_ipv[46]_", s)
		assert.Equal(t, seen[strings.Replace(s, "ipv6", "ipv4", 1)], seen[strings.Replace(s, "ipv4", "ipv6", 1)], s)
	}
}

// documented returns the series that docs/reference lists, with their labels.
func documented(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{"rest_client_requests_total": "code method host"} // of client-go; see TestSpeakers
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| ([a-z_, `]*) \\|")
	for _, file := range []string{"controller.md", "speaker.md"} {
		text, err := os.ReadFile(testbed.Folder("docs", "reference", file))
		require.NoError(t, err)
		_, series, found := strings.Cut(string(text), "\n## Metrics\n")
		require.True(t, found, file)
		for _, m := range row.FindAllStringSubmatch(series, -1) {
			out[m[1]] = strings.NewReplacer("`", "", ",", "").Replace(m[2])
		}
	}
	return out
}
