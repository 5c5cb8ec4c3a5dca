package chart

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/integration/testbed"
)

// plugin is kubectl-fairlead, run with the rights of the cluster's administrator.
type plugin struct{ binary, config string }

func buildPlugin(t testing.TB) plugin {
	t.Helper()
	p := plugin{config: filepath.Join(t.TempDir(), "kubeconfig")}
	write(t, p.config, bed.Kubeconfig)
	var err error
	p.binary, err = bed.Build("kubectl-fairlead")
	require.NoError(t, err)
	return p
}

// run returns what the plugin says on both outputs.
func (p plugin) run(stdin string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(context.Background(), p.binary, args...)
	cmd.Env = []string{"KUBECONFIG=" + p.config}
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// TestConvert: the API server takes the objects that inventories, ConfigMaps and values become, and the chart takes the values.
func TestConvert(t *testing.T) {
	p := buildPlugin(t)
	for _, ns := range []string{"metallb-system", "lb"} {
		require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})))
	}
	inputs, err := filepath.Glob(testbed.Folder("internal", "tool", "convert", "testdata", "*.yaml"))
	require.NoError(t, err)
	n := 0
	for _, input := range inputs {
		if strings.HasSuffix(input, ".golden.yaml") {
			continue
		}
		n++
		t.Run(filepath.Base(input), func(t *testing.T) {
			dir := t.TempDir()
			stdout, stderr, err := p.run("", "convert", "-f", input, "--output-dir", dir)
			require.NoError(t, err, stderr)
			assert.Contains(t, stdout, "wrote "+filepath.Join(dir, "values.yaml"))
			objects := filepath.Join(dir, "objects.yaml")
			if _, err := os.Stat(objects); err == nil {
				out := bed.Kubectl(t, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", objects)
				assert.Contains(t, out, "serverside-applied (server dry run)")
			}
			rendered := mustHelm(t, "template", "fairlead", folder, "--set", "crds.enabled=false", "--values", filepath.Join(dir, "values.yaml"))
			assert.Contains(t, rendered, "kind: Deployment")
		})
	}
	assert.Greater(t, n, 6)

	// All of standard output can go to kubectl apply.
	stdout, _, err := p.run("", "convert", "-f", filepath.Join(filepath.Dir(inputs[0]), "configmap.yaml"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "out.yaml")
	write(t, path, []byte(stdout))
	bed.Kubectl(t, "apply", "--server-side", "--dry-run=server", "-f", path)
	assert.Contains(t, stdout, "# backend: speaker\n")
}

// TestConvertCharts: what the whole values.yaml of a chart of MetalLB becomes, our chart renders: schema, contradictions and all.
func TestConvertCharts(t *testing.T) {
	p := buildPlugin(t)
	charts, err := filepath.Glob(testbed.Folder("internal", "tool", "convert", "testdata", "charts", "metallb-*.yaml"))
	require.NoError(t, err)
	require.Len(t, charts, 4)
	for _, path := range charts {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		flat, values := map[string]any{}, map[string]any{}
		require.NoError(t, yaml.Unmarshal(text, &flat))
		for path, v := range flat {
			require.NoError(t, unstructured.SetNestedField(values, v, strings.Split(path, ".")...))
		}
		for _, change := range []struct{ path, kind string }{
			{"", "kind: DaemonSet"}, {"prometheus.podMonitor.enabled", "kind: PodMonitor"}, {"prometheus.serviceMonitor.enabled", "kind: ServiceMonitor"},
			{"prometheus.prometheusRule.enabled", "kind: PrometheusRule"}, {"prometheus.scrapeAnnotations", "prometheus.io/scrape"},
		} {
			t.Run(filepath.Base(path)+" "+change.path, func(t *testing.T) {
				changed := runtime.DeepCopyJSON(values)
				if change.path != "" {
					require.NoError(t, unstructured.SetNestedField(changed, true, strings.Split(change.path, ".")...))
				}
				whole, err := yaml.Marshal(changed)
				require.NoError(t, err)
				stdout, stderr, err := p.run(string(whole), "convert", "--from", "values", "-f", "-", "-o", "values")
				require.NoError(t, err, stderr)
				assert.Contains(t, stderr, "prometheus.rbacPrometheus: left out")
				file := filepath.Join(t.TempDir(), "values.yaml")
				write(t, file, []byte(stdout))
				rendered := mustHelm(t, "template", "fairlead", folder, "--namespace", "metallb-system", "--values", file)
				assert.Contains(t, rendered, change.kind)
				assert.Contains(t, rendered, "kind: DaemonSet")
			})
		}
	}

	// The Role that MetalLB's chart makes unasked is not lost.
	stdout, stderr, err := p.run("prometheus: {serviceAccount: prometheus, namespace: monitoring, podMonitor: {enabled: true}}\n", "convert", "-f", "-", "-o", "values")
	require.NoError(t, err)
	assert.Contains(t, stderr, "MetalLB's chart has true unless it is set, Fairlead's has false: true is written")
	file := filepath.Join(t.TempDir(), "values.yaml")
	write(t, file, []byte(stdout))
	assert.Contains(t, mustHelm(t, "template", "fairlead", folder, "--values", file), "name: prometheus\n    namespace: monitoring")
}

// TestConvertRefuses: what is not understood ends with an exit code, and nothing is written.
func TestConvertRefuses(t *testing.T) {
	p := buildPlugin(t)
	dir := filepath.Join(t.TempDir(), "out")
	inventory := "metallb_speaker_enabled: false\nmetallb_ip_range: [10.5.0.0/16]\nmetallb_colour: green\n"
	_, stderr, err := p.run(inventory, "convert", "-f", "-", "--output-dir", dir)
	require.Error(t, err)
	assert.Contains(t, stderr, "not converted: standard input:3: metallb_colour: unknown variable")
	assert.Contains(t, stderr, "nothing is written")
	assert.NoDirExists(t, dir)
	_, stderr, err = p.run(inventory, "convert", "-f", "-", "--output-dir", dir, "--allow-unknown")
	require.NoError(t, err)
	assert.Contains(t, stderr, "metallb_colour")
	assert.FileExists(t, filepath.Join(dir, "objects.yaml"))

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"convert"}, "at least one of the flags in the group [filename release] is required"},
		{[]string{"convert", "-f", "-", "--backend", "metallb"}, `--backend: "metallb" is not a backend; use one of auto, calico`},
		{[]string{"convert", "-f", "-", "--from", "ansible"}, `--from: "ansible" is not a kind of input; use one of kubespray, configmap, values`},
		{[]string{"convert", "-f", "nowhere.yaml"}, "nowhere.yaml: no such file"},
		{[]string{"convert", "--release", "metallb"}, "--release needs --namespace"},
		{[]string{"convert", "--release", "metallb", "-n", "default"}, `there is no Helm release "metallb" in namespace "default"`},
	} {
		_, stderr, err := p.run("", c.args...)
		require.Error(t, err)
		assert.Contains(t, stderr, c.want)
	}
}

// TestConvertRelease converts the values of a release that Helm has installed: those of its newest revision.
func TestConvertRelease(t *testing.T) {
	p := buildPlugin(t)
	ns := bed.Namespace(t)
	chart := metallbChart(t)
	values := filepath.Join(t.TempDir(), "values.yaml")
	write(t, values, []byte("speaker:\n  logLevel: all\n"))
	mustHelm(t, "install", "metallb", chart, "--namespace", ns, "--values", values)
	write(t, values, []byte("speaker:\n  tolerateMaster: false\ncontroller:\n  logLevel: warn\n"))
	mustHelm(t, "upgrade", "metallb", chart, "--namespace", ns, "--values", values)
	stdout, stderr, err := p.run("", "convert", "--release", "metallb", "--namespace", ns, "--backend", "calico")
	require.NoError(t, err, stderr)
	assert.Equal(t, "# values.yaml: helm install --values\n# backend: calico\n# controller:\n#   logLevel: warn\n# speaker:\n#   enabled: false\n#   tolerateMaster: false\n", stdout)
}

// metallbChart makes a chart of MetalLB's name, with one object.
func metallbChart(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "metallb")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "templates"), 0o755))
	write(t, filepath.Join(dir, "Chart.yaml"), []byte("apiVersion: v2\nname: metallb\nversion: 0.16.1\n"))
	write(t, filepath.Join(dir, "values.yaml"), []byte("speaker:\n  enabled: true\n"))
	write(t, filepath.Join(dir, "templates", "config.yaml"), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: metallb-excludel2\n"))
	return dir
}
