package convert

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// jsonSchema is what our chart's values.schema.json uses of JSON schema.
type jsonSchema struct {
	Type                 any                    `json:"type"`
	Properties           map[string]*jsonSchema `json:"properties"`
	AdditionalProperties any                    `json:"additionalProperties"`
	Items                *jsonSchema            `json:"items"`
	Enum                 []any                  `json:"enum"`
	Required             []string               `json:"required"`
	Minimum, Maximum     *float64
	MinLength            int
	Pattern              string
}

// refuses returns what the schema refuses of a value.
func (s *jsonSchema) refuses(path string, v any) (out []string) {
	no := func(format string, args ...any) { out = append(out, path+": "+fmt.Sprintf(format, args...)) }
	kind := "null"
	switch x := v.(type) {
	case bool:
		kind = "boolean"
	case string:
		kind = "string"
		if len(x) < s.MinLength || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(x) {
			no("%q", x)
		}
	case float64:
		kind = "integer"
		if s.Minimum != nil && x < *s.Minimum || s.Maximum != nil && x > *s.Maximum {
			no("%v is out of bounds", x)
		}
	case []any:
		kind = "array"
		for i, e := range x {
			if s.Items != nil {
				out = append(out, s.Items.refuses(fmt.Sprintf("%s[%d]", path, i), e)...)
			}
		}
	case map[string]any:
		kind = "object"
		for key, e := range x {
			switch more := s.AdditionalProperties.(type) {
			case bool:
				if !more && s.Properties[key] == nil {
					no("%s is not allowed", key)
				}
			case map[string]any:
				if text, ok := e.(string); !ok && more["type"] == "string" {
					no("%s is no text: %v", key, text)
				}
			}
			if sub := s.Properties[key]; sub != nil {
				out = append(out, sub.refuses(path+"."+key, e)...)
			}
		}
		for _, key := range s.Required {
			if _, ok := x[key]; !ok {
				no("%s is missing", key)
			}
		}
	}
	types, ok := s.Type.([]any)
	if !ok && s.Type != nil {
		types = []any{s.Type}
	}
	if len(types) > 0 && !slices.Contains(types, any(kind)) {
		no("%v is a %s", v, kind)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, v) {
		no("%v is none of %v", v, s.Enum)
	}
	return out
}

// chartSchema is our chart's.
func chartSchema(t *testing.T) *jsonSchema {
	t.Helper()
	text, err := os.ReadFile("../../../charts/fairlead/values.schema.json")
	require.NoError(t, err)
	s := &jsonSchema{}
	require.NoError(t, json.Unmarshal(text, s))
	return s
}

// charts returns the values of MetalLB's charts, by version and path.
func charts(t *testing.T) map[string]map[string]any {
	t.Helper()
	paths, err := filepath.Glob("testdata/charts/metallb-*.yaml")
	require.NoError(t, err)
	require.Len(t, paths, 4)
	out := map[string]map[string]any{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		flat := map[string]any{}
		require.NoError(t, yaml.Unmarshal(text, &flat))
		require.Greater(t, len(flat), 100)
		out[strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "metallb-"), ".yaml")] = flat
	}
	return out
}

// convertPaths converts values given by their paths, and returns the result with what our chart refuses of it.
func convertPaths(t *testing.T, s *jsonSchema, flat map[string]any) (r *Result, refused []string) {
	t.Helper()
	values := map[string]any{}
	for path, v := range flat {
		require.NoError(t, unstructured.SetNestedField(values, v, strings.Split(path, ".")...))
	}
	text, err := yaml.Marshal(values)
	require.NoError(t, err)
	r, err = Convert([]Input{{Name: "in", Text: text}}, Options{From: Values})
	require.NoError(t, err)
	text, err = r.ValuesFile()
	require.NoError(t, err)
	var written any
	require.NoError(t, yaml.Unmarshal(text, &written))
	return r, s.refuses("", written)
}

// TestCharts: whoever keeps the whole values.yaml of one of MetalLB's charts gets values that our chart takes.
func TestCharts(t *testing.T) {
	s := chartSchema(t)
	for version, flat := range charts(t) {
		r, refused := convertPaths(t, s, flat)
		assert.Empty(t, r.Problems, version)
		assert.Empty(t, refused, version)
	}
}

// TestChartsChanged: so does whoever sets one of the values to another of its type, or it is told why not.
func TestChartsChanged(t *testing.T) {
	s := chartSchema(t)
	others := map[string][]any{
		"bool": {true, false}, "number": {float64(1), float64(0), float64(-1), float64(8080), float64(70000)}, "text": {"x", ""},
		"mapping": {map[string]any{"a": "b"}, map[string]any{"a": float64(1)}, map[string]any{}, map[string]any{"limits": map[string]any{"cpu": "1"}}},
		"list":    {[]any{}, []any{map[string]any{"name": "a"}}, []any{"x"}},
	}
	for version, flat := range charts(t) {
		for path, usual := range flat {
			var of []any
			switch usual.(type) {
			case bool:
				of = others["bool"]
			case float64:
				of = others["number"]
			case map[string]any:
				of = others["mapping"]
			case []any:
				of = others["list"]
			default:
				of = others["text"]
			}
			for _, v := range slices.Concat(of, []any{nil, "text", true, float64(7), []any{float64(1)}, map[string]any{"k": []any{}}}) {
				r, refused := convertPaths(t, s, map[string]any{path: v})
				assert.Empty(t, refused, "%s: %s: %v, %v", version, path, v, r.Problems)
			}
		}
	}
}

// TestChartProblems: what our chart would refuse is told with line and value.
func TestChartProblems(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"speaker:\n  tolerateMaster: 7\n", `in:2: speaker.tolerateMaster: "7" is not true or false`},
		{"speaker:\n  memberlist:\n    mlBindPort: high\n", `in:3: speaker.memberlist.mlBindPort: "high" is not a port from 1 to 65535`},
		{"speaker:\n  startupProbe:\n    periodSeconds: 0\n", `in:3: speaker.startupProbe.periodSeconds: "0" is not a whole number from 1`},
		{"speaker:\n  memberlist:\n    mlSecretKeyPath: key\n", `in:3: speaker.memberlist.mlSecretKeyPath: "key" is not the path of a file: it has to begin with /`},
		{"imagePullSecrets:\n- {}\n", "in:2: imagePullSecrets[0]: needs name"},
		{"prometheus:\n  serviceAccount: p\n  namespace: m\n  podMonitor: {enabled: true}\n  serviceMonitor:\n    enabled: true\n", "in:6: prometheus.serviceMonitor.enabled: is true, and so is prometheus.podMonitor.enabled (in:4)"},
		{"prometheus:\n  metricsPort: 7946\n", "in: the port 7946 of the nodes would be that of the metrics and of the speakers' memberlist: change one"},
		{"metallb_memberlist_port: 7472\n", "in: the port 7472 of the nodes"},
		{"prometheus:\n  scrapeAnnotations: true\n  metricsPort: 0\n", "in:2: prometheus.scrapeAnnotations: is true, but prometheus.metricsPort is 0"},
		{"speaker:\n  tolerations:\n    key: a\n", "in:2: speaker.tolerations: is not a list"},
		{"controller:\n  livenessProbe:\n    grace: 3\n", "in:3: controller.livenessProbe.grace: unknown value"},
		{"controller: true\n", "in:1: controller: is not a mapping"},
		{"imagePullSecrets:\n- registry\n", "in:2: imagePullSecrets[0]: is not a mapping"},
		{"imagePullSecrets:\n- {secret: registry}\n", "in:2: imagePullSecrets[0].secret: unknown key"},
		{"controller:\n  image:\n    pullPolicy: Sometimes\n", `in:3: controller.image.pullPolicy: "Sometimes" is none of Always, IfNotPresent, Never`},
		{"prometheus:\n  prometheusRule:\n    bgpSessionDown: {for: 5m}\n", "in:3: prometheus.prometheusRule.bgpSessionDown.for: unknown value"},
	} {
		problems, _ := told(t, nil, Input{Name: "in", Text: []byte(c.text)})
		require.Len(t, problems, 1, "%v", problems)
		assert.Contains(t, problems[0], c.want)
	}
	notes, written := converted(t, "speaker:\n  livenessProbe: {port: 8080}\n  wanConfig: true\n  podAnnotations: {a.example/port: 7472}\n")
	assert.Contains(t, notes[0], "in:2: speaker.livenessProbe.port: left out: the port of health is speaker.healthPort")
	assert.Contains(t, written, "profile: lan")
	assert.Contains(t, written, `a.example/port: "7472"`)
}

// TestRBACPrometheus: MetalLB's chart makes a Role for Prometheus unless told not to, if anything monitors; ours if told to. None is lost
// without a note.
func TestRBACPrometheus(t *testing.T) {
	const named = "  serviceAccount: prometheus\n  namespace: monitoring\n"
	for _, c := range []struct {
		name, text string
		written    any
		note       string
	}{
		{"nothing said", "", nil, ""},
		{"monitored, named", named + "  podMonitor: {enabled: true}\n", true, "in:2: prometheus.rbacPrometheus: MetalLB's chart has true unless it is set, Fairlead's has false: true is written"},
		{"monitored by services, named", named + "  serviceMonitor: {enabled: true}\n", true, "true is written, so that Prometheus keeps the Role"},
		{"named only", named, nil, "Fairlead's has false: left out, for without a PodMonitor or ServiceMonitor MetalLB makes no Role"},
		{"monitored only", "  podMonitor: {enabled: true}\n", nil, "in:2: prometheus.rbacPrometheus: left out: without prometheus.serviceAccount and prometheus.namespace nobody"},
		{"null", named + "  podMonitor: {enabled: true}\n  rbacPrometheus:\n", true, "true is written"},
		{"true", named + "  rbacPrometheus: true\n", true, ""},
		{"false", named + "  podMonitor: {enabled: true}\n  rbacPrometheus: false\n", false, ""},
		{"true, nobody named", "  serviceAccount: \"\"\n  rbacPrometheus: true\n", nil, "in:3: prometheus.rbacPrometheus: left out: without prometheus.serviceAccount"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Convert([]Input{{Name: "in", Text: []byte("prometheus:\n" + c.text)}}, Options{})
			require.NoError(t, err)
			require.Empty(t, r.Problems)
			p, _ := r.Values["prometheus"].(map[string]any)
			assert.Equal(t, c.written, p["rbacPrometheus"])
			if c.note == "" {
				assert.Empty(t, r.Notes)
				return
			}
			require.Len(t, r.Notes, 1)
			assert.Contains(t, r.Notes[0].String(), c.note)
		})
	}
}
