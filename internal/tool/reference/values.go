package reference

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Value is one value of a chart: its name with the dots, what it takes, its default as a cell of a table, and what the comment above
// it says. A Section is the comment of a map, whose values follow.
type Value struct {
	Name, Takes, Default, Text string
	Section                    bool
}

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

// Values reads values.yaml and values.schema.json of a chart. A value that only one of them knows is an error; Kubernetes has
// defaults of its own for probes.
func Values(values, jsonSchema []byte) ([]Value, error) {
	var s schema
	if err := json.Unmarshal(jsonSchema, &s); err != nil {
		return nil, fmt.Errorf("values.schema.json: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(values, &doc); err != nil {
		return nil, fmt.Errorf("values.yaml: %w", err)
	}
	w := &walk{}
	w.into("", doc.Content[0], &s)
	return w.out, errors.Join(w.faults...)
}

type walk struct {
	out    []Value
	faults []error
}

func (w *walk) into(path string, n *yaml.Node, s *schema) {
	var have []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		have = append(have, key.Value)
		sub := s.Properties[key.Value]
		if sub == nil {
			w.faults = append(w.faults, fmt.Errorf("%s is not in values.schema.json", name))
			continue
		}
		v := Value{Name: name, Text: comment(key.HeadComment)}
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && len(sub.Properties) > 0 {
			if v.Section = true; v.Text != "" {
				w.out = append(w.out, v)
			}
			w.into(name, value, sub)
			continue
		}
		var decoded any
		if err := value.Decode(&decoded); err != nil {
			w.faults = append(w.faults, fmt.Errorf("%s: %w", name, err))
			continue
		}
		def, err := json.Marshal(decoded)
		if err != nil {
			w.faults = append(w.faults, fmt.Errorf("%s: %w", name, err))
			continue
		}
		v.Takes, v.Default = sub.takes(), cell(strings.Trim(string(def), `"`))
		w.out = append(w.out, v)
	}
	for key := range s.Properties {
		if !slices.Contains(have, key) && !strings.HasSuffix(path, "Probe") {
			w.faults = append(w.faults, fmt.Errorf("%s is in values.schema.json, but not in values.yaml", strings.TrimPrefix(path+"."+key, ".")))
		}
	}
}

// comment returns the last paragraph of a comment, that which stands at the value, on one line and fit for a table.
func comment(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	lines := strings.Split(paragraphs[len(paragraphs)-1], "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(strings.TrimLeft(l, "#"))
	}
	return strings.ReplaceAll(strings.Join(lines, " "), "|", `\|`)
}

// valuesTable returns a table of values.
func valuesTable(values []Value) string {
	var out strings.Builder
	out.WriteString("| value | takes | default | |\n|---|---|---|---|\n")
	for _, v := range values {
		if v.Section {
			fmt.Fprintf(&out, "| `%s` | | | %s |\n", v.Name, v.Text)
			continue
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", v.Name, v.Takes, v.Default, v.Text)
	}
	return out.String()
}

// ChartReadme returns the README of a chart, with a table for each part of its values.
func ChartReadme(chart []byte, values []Value) (string, error) {
	var c struct{ Name, Description, Home, KubeVersion string }
	if err := yaml.Unmarshal(chart, &c); err != nil {
		return "", fmt.Errorf("read Chart.yaml: %w", err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n\n%s.\n\nWritten by `make generate` from `Chart.yaml`, `values.yaml` and its schema.\n\n", c.Name, c.Description)
	fmt.Fprintf(&out, "    helm install %s charts/%s --namespace metallb-system --create-namespace \\\n"+
		"      --set controller.image.repository=registry.example/fairlead,controller.image.tag=v1\n    helm test %s --namespace metallb-system\n\n", c.Name, c.Name, c.Name)
	docs := c.Home + "/blob/main/docs/"
	fmt.Fprintf(&out, "[Installing](%sinstall.md), [monitoring](%smonitoring.md), [GitOps](%sexamples/README.md), [security](%ssecurity.md).\n", docs, docs, docs, docs)
	out.WriteString("Values with the names of MetalLB's chart mean the same. A value that does not exist is refused.\n")
	var part string
	var rows []Value
	flush := func() {
		if len(rows) > 0 {
			fmt.Fprintf(&out, "\n## %s\n\n%s", part, valuesTable(rows))
		}
		rows = nil
	}
	for _, v := range values {
		first, _, deeper := strings.Cut(v.Name, ".")
		if !deeper && !v.Section {
			first = "General"
		}
		if first != part {
			flush()
			part = first
		}
		rows = append(rows, v)
	}
	flush()
	return out.String(), nil
}
