package convert

import (
	"bytes"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// Manifests returns the objects as YAML documents.
func (r *Result) Manifests() ([]byte, error) {
	var out bytes.Buffer
	for i, o := range r.Objects {
		m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.GetName(), err)
		}
		delete(m, "status")
		delete(m["metadata"].(map[string]any), "creationTimestamp")
		if spec, ok := m["spec"].(map[string]any); ok {
			if s, ok := spec["passwordSecret"].(map[string]any); ok && len(s) == 0 {
				delete(spec, "passwordSecret")
			}
		}
		text, err := yaml.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.GetName(), err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	return out.Bytes(), nil
}

// ValuesFile returns the values as YAML.
func (r *Result) ValuesFile() ([]byte, error) { return yaml.Marshal(r.Values) }
