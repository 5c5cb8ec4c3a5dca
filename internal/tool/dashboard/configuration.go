package dashboard

import (
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/internal/controller/apply"
	"github.com/fairlead/fairlead/internal/tool/doctor"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Configuration is what is wrong with the configuration, and what became of it.
type Configuration struct {
	// Faults are by object and field.
	Faults []Fault `json:"faults"`
	// Findings are what a doctor says of the pools.
	Findings []doctor.Finding  `json:"findings"`
	Backends *explain.Backends `json:"backends"`
	// Limits are what the backends cannot do, or cannot do yet.
	Limits []Limit  `json:"limits"`
	Gaps   []string `json:"gaps,omitempty"`
}

// Fault is something wrong with an object.
type Fault struct {
	Kind        string `json:"kind"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	Field       string `json:"field"`
	Problem     string `json:"problem"`
	Consequence string `json:"consequence"`
	// Missing is set if what the field refers to does not exist, perhaps not yet.
	Missing bool `json:"missing,omitempty"`
}

// Limit is something that a backend has found that the user has to know.
type Limit struct {
	Backend string `json:"backend"`
	Type    string `json:"type"`
	What    string `json:"what"`
	Help    string `json:"help,omitempty"`
}

func (s *Server) configuration(v *view, _ *http.Request) (string, any, error) {
	m := v.model
	out := &Configuration{Faults: []Fault{}, Findings: []doctor.Finding{}, Backends: explain.OfBackends(m), Limits: limits(m), Gaps: v.gaps}
	for _, f := range m.Snapshot.Faults() {
		out.Faults = append(out.Faults, Fault{f.Object.Kind, f.Object.Namespace, f.Object.Name, f.Field, f.Problem, f.Consequence(), f.Missing})
	}
	out.Findings = append(out.Findings, doctor.Pools(m)...)
	return "Configuration", out, nil
}

// limits returns the findings in the conditions of the Backend objects.
func limits(m *survey.Model) []Limit {
	out := []Limit{}
	for i := range m.Survey.Backends {
		b := &m.Survey.Backends[i]
		if m.Backend(b.Name) == nil {
			continue
		}
		for _, c := range b.Status.Conditions {
			if c.Type == apply.ConditionReady || !meta.IsStatusConditionPresentAndEqual(b.Status.Conditions, c.Type, metav1.ConditionTrue) {
				continue
			}
			for _, what := range explain.Findings(c.Message) {
				out = append(out, Limit{b.Name, c.Type, what, explain.Help(m.Survey, c.Type)})
			}
		}
	}
	return out
}
