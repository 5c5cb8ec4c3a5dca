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
	url        string // of the schema; it has a hash in it
	has4, has6 bool
}

// aggregation reports whether the installed CRD has service.aggregationLengthIPv4 and V6. Older ones do not, and the API server
// would refuse an object that has them. A CRD is served a moment before its schema; it counts as a new one until then.
func (s *schemaCache) aggregation(dc discovery.DiscoveryInterface, gv schema.GroupVersion) (has4, has6 bool, err error) {
	paths, err := dc.OpenAPIV3().Paths()
	if err != nil {
		return false, false, fmt.Errorf("list the schemas of the API server: %w", err)
	}
	group, ok := paths["apis/"+gv.String()]
	if !ok {
		return true, true, nil
	}
	url := group.ServerRelativeURL()
	if s.url != "" && s.url == url {
		return s.has4, s.has6, nil
	}
	raw, err := group.Schema("application/json")
	if err != nil {
		return false, false, fmt.Errorf("read the schema of %s: %w", gv, err)
	}
	service, err := serviceOptions(raw)
	if err != nil {
		return false, false, fmt.Errorf("read the schema of %s: %w", gv, err)
	}
	if service == nil {
		return true, true, nil
	}
	_, has4 = service["aggregationLengthIPv4"]
	_, has6 = service["aggregationLengthIPv6"]
	*s = schemaCache{url, has4, has6}
	return has4, has6, nil
}

// property is as much of an OpenAPI schema as leads to a field.
type property struct {
	Properties map[string]property `json:"properties"`
	Items      *property           `json:"items"`
}

// serviceOptions returns the fields of spec.advertisements[].service in an OpenAPI document, nil if it does not have the kind.
func serviceOptions(raw []byte) (map[string]property, error) {
	var document struct {
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		return nil, err
	}
	for name, schema := range document.Components.Schemas {
		if !strings.HasSuffix(name, "."+kindAdvert) {
			continue
		}
		var p property
		if err := json.Unmarshal(schema, &p); err != nil {
			return nil, err
		}
		if items := p.Properties["spec"].Properties["advertisements"].Items; items != nil {
			return items.Properties["service"].Properties, nil
		}
	}
	return nil, nil
}
