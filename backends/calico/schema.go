package calico

import (
	"encoding/json"
	"fmt"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/fairlead/fairlead/backends"
)

// features are the fields that only newer Calicos have. A write that names one which is not there is refused.
type features struct {
	aggregation  bool // BGPConfiguration spec.serviceLoadBalancerAggregation, from v3.31
	localAS      bool // BGPPeer spec.localASNumber
	filterSource bool // BGPFilter spec.exportV4[].source
}

var allFeatures = features{aggregation: true, localAS: true, filterSource: true}

// without returns what is left after a write has been refused with err, and whether that is less.
func (f features) without(err error) (features, bool) {
	if err == nil {
		return f, false
	}
	was, text := f, err.Error()
	lacks := func(field string) bool { return strings.Contains(text, `unknown field "spec.`+field) }
	f.aggregation = f.aggregation && !lacks("serviceLoadBalancerAggregation")
	f.localAS = f.localAS && !lacks("localASNumber")
	f.filterSource = f.filterSource && !(lacks("export") && strings.Contains(text, `.source"`))
	return f, f != was
}

// fact tells what is missing.
func (f features) fact() backends.Fact {
	var missing []string
	for _, x := range []struct {
		has  bool
		name string
	}{
		{f.aggregation, "BGPConfiguration spec.serviceLoadBalancerAggregation"}, {f.localAS, "BGPPeer spec.localASNumber"},
		{f.filterSource, "BGPFilter spec.exportV4[].source"},
	} {
		if !x.has {
			missing = append(missing, x.name)
		}
	}
	out := backends.Fact{Name: "missing fields", Value: "none", Source: "OpenAPI schema"}
	if len(missing) > 0 {
		out.Value = strings.Join(missing, ", ")
	}
	return out
}

// installed returns what the schemas of the API server have. What cannot be read counts as there: a write shows it.
func installed(dc discovery.DiscoveryInterface, gv schema.GroupVersion) features {
	paths, err := dc.OpenAPIV3().Paths()
	if err != nil || paths["apis/"+gv.String()] == nil {
		return allFeatures
	}
	raw, err := paths["apis/"+gv.String()].Schema("application/json")
	if err != nil {
		return allFeatures
	}
	f, err := featuresOf(raw)
	if err != nil {
		return allFeatures
	}
	return f
}

// property is as much of an OpenAPI schema as leads to a field. In Calico's own API server's, spec is a reference.
type property struct {
	Properties map[string]property `json:"properties"`
	Items      *property           `json:"items"`
	Ref        string              `json:"$ref"`
	AllOf      []property          `json:"allOf"`
	Open       bool                `json:"x-kubernetes-preserve-unknown-fields"`
}

type document struct {
	Components struct {
		Schemas map[string]property `json:"schemas"`
	} `json:"components"`
}

// featuresOf reads an OpenAPI document. A kind or a field on the way that is not in it tells nothing.
func featuresOf(raw []byte) (features, error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return features{}, fmt.Errorf("read the schema: %w", err)
	}
	return features{
		aggregation:  d.has(v3.KindBGPConfiguration, "spec", "serviceLoadBalancerAggregation"),
		localAS:      d.has(v3.KindBGPPeer, "spec", "localASNumber"),
		filterSource: d.has(v3.KindBGPFilter, "spec", "exportV4", "source"),
	}, nil
}

func (d *document) has(kind string, path ...string) bool {
	for name, p := range d.Components.Schemas {
		if !strings.HasSuffix(name, "."+kind) {
			continue
		}
		for i, field := range path {
			p = d.resolve(p)
			if len(p.Properties) == 0 || p.Open {
				return true
			}
			next, ok := p.Properties[field]
			if !ok {
				return i < len(path)-1 // the way there is unknown, not the field
			}
			p = next
		}
		return true
	}
	return true
}

// resolve follows references and lists to where the fields are.
func (d *document) resolve(p property) property {
	for range 8 {
		switch {
		case p.Ref != "":
			p = d.Components.Schemas[p.Ref[strings.LastIndexByte(p.Ref, '/')+1:]]
		case len(p.AllOf) == 1 && len(p.Properties) == 0:
			p = p.AllOf[0]
		case p.Items != nil:
			p = *p.Items
		default:
			return p
		}
	}
	return p
}
