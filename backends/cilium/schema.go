package cilium

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// schemaCache remembers what the schema of CiliumBGPAdvertisement says, as long as the API server says that it is the same.
type schemaCache struct {
	url                 string // of the schema; it has a hash in it
	has4, has6, checked bool
}

// aggregation reports whether the installed CRD has service.aggregationLengthIPv4 and V6. Older ones do not, and the API server
// would refuse an object that has them.
func (s *schemaCache) aggregation(dc discovery.DiscoveryInterface, gv schema.GroupVersion) (has4, has6 bool, err error) {
	fail := func(err error) (bool, bool, error) {
		return false, false, fmt.Errorf("read the schema of %s: %w", gv, err)
	}
	paths, err := dc.OpenAPIV3().Paths()
	if err != nil {
		return fail(err)
	}
	group, ok := paths["apis/"+gv.String()]
	if !ok {
		return fail(fmt.Errorf("the API server has none"))
	}
	if url := group.ServerRelativeURL(); s.checked && s.url == url {
		return s.has4, s.has6, nil
	} else {
		s.url = url
	}
	raw, err := group.Schema("application/json")
	if err != nil {
		return fail(err)
	}
	if s.has4, s.has6, err = aggregationFields(raw); err != nil {
		return fail(err)
	}
	s.checked = true
	return s.has4, s.has6, nil
}

// property is as much of an OpenAPI schema as leads to a field.
type property struct {
	Properties map[string]property `json:"properties"`
	Items      *property           `json:"items"`
}

func aggregationFields(raw []byte) (has4, has6 bool, err error) {
	var document struct {
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		return false, false, err
	}
	for name, schema := range document.Components.Schemas {
		if !strings.HasSuffix(name, "."+kindAdvert) {
			continue
		}
		var p property
		if err := json.Unmarshal(schema, &p); err != nil {
			return false, false, err
		}
		if items := p.Properties["spec"].Properties["advertisements"].Items; items != nil {
			service := items.Properties["service"].Properties
			_, has4 = service["aggregationLengthIPv4"]
			_, has6 = service["aggregationLengthIPv6"]
		}
	}
	return has4, has6, nil
}
