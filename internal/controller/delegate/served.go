package delegate

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// served returns those of resources that the API server serves and that can be watched, each in the first of groups that has it. A group
// that cannot be asked about has none.
func served(d discovery.DiscoveryInterface, groups []schema.GroupVersion, resources ...string) []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for _, group := range groups {
		list, err := d.ServerResourcesForGroupVersion(group.String())
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			known := slices.ContainsFunc(out, func(x schema.GroupVersionResource) bool { return x.Resource == r.Name })
			if slices.Contains(resources, r.Name) && slices.Contains(r.Verbs, "watch") && !known {
				out = append(out, group.WithResource(r.Name))
			}
		}
	}
	return out
}
