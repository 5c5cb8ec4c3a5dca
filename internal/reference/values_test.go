package reference

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write docs/reference anew")

const chart = "../../charts/fairlead/"

// schema is what is read of a JSON schema.
type schema struct {
	Enum       []any
	Type       any
	Properties map[string]*schema
}

func (s *schema) takes() string {
	if len(s.Enum) > 0 {
		var out []string
		for _, e := range s.Enum {
			if e != "" {
				out = append(out, fmt.Sprintf("`%v`", e))
			}
		}
		return strings.Join(out, ", ")
	}
	switch t := s.Type.(type) {
	case string:
		return t
	case []any:
		var out []string
		for _, e := range t {
			out = append(out, fmt.Sprint(e))
		}
		return strings.Join(out, " or ")
	}
	return ""
}

// TestValuesReference keeps docs/reference/values.md true: every value of values.yaml is in the schema, and the other way round.
func TestValuesReference(t *testing.T) {
	text, err := os.ReadFile(chart + "values.schema.json")
	require.NoError(t, err)
	var s schema
	require.NoError(t, json.Unmarshal(text, &s))
	text, err = os.ReadFile(chart + "values.yaml")
	require.NoError(t, err)
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal(text, &doc))

	var rows strings.Builder
	var walk func(path string, n *yaml.Node, s *schema)
	walk = func(path string, n *yaml.Node, s *schema) {
		var have []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			name := strings.TrimPrefix(path+"."+key.Value, ".")
			have = append(have, key.Value)
			sub := s.Properties[key.Value]
			if !assert.NotNil(t, sub, "%s is not in the schema", name) {
				continue
			}
			comment := strings.Join(strings.Fields(strings.ReplaceAll(key.HeadComment, "#", "")), " ")
			if path == "" && i == 0 {
				comment = "" // the file's
			}
			if value.Kind == yaml.MappingNode && len(value.Content) > 0 && len(sub.Properties) > 0 {
				if comment != "" {
					fmt.Fprintf(&rows, "| `%s` | | | %s |\n", name, comment)
				}
				walk(name, value, sub)
				continue
			}
			var d any
			require.NoError(t, value.Decode(&d))
			def, err := json.Marshal(d)
			require.NoError(t, err)
			fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", name, sub.takes(), Cell(strings.Trim(string(def), `"`)), strings.ReplaceAll(comment, "|", `\|`))
		}
		for key := range s.Properties {
			if path == "" && key == "global" || strings.HasSuffix(path, "Probe") { // Helm's own; Kubernetes' own, with its defaults
				continue
			}
			assert.True(t, slices.Contains(have, key), "%s.%s is in the schema, but not in values.yaml", path, key)
		}
	}
	walk("", doc.Content[0], &s)
	Check(t, "../../docs/reference/values.md", "# Reference: values of the chart\n\nWritten by `make reference` from `values.yaml` and its schema.\n\n| value | takes | default | |\n|---|---|---|---|\n"+rows.String(), *update)
}
