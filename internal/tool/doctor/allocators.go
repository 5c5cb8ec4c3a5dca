package doctor

import (
	"fmt"

	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// allocatorsCheck looks at who else gives out addresses: that they are there, know their pools, and hold nothing that nobody needs.
func allocatorsCheck(f *Facts, c *check) {
	external := 0
	for _, p := range f.Snapshot.Pools() {
		if p.Allocator == "" {
			continue
		}
		external++
		if set := f.Controller.Settings; set != nil && len(f.Rules.Allocators) == 0 {
			c.add(Error, Finding{
				What: fmt.Sprintf("pool %q takes its addresses from allocator %s, and the controller does not ask it", p.Name, p.Allocator),
				Why:  "the pool gives no new address",
				Command: fmt.Sprintf("helm upgrade %s --namespace %s --reuse-values --set allocators.clusterAPI.enabled=true", release(f),
					f.Namespace),
			})
		}
		if s, known := f.AllocatorPools[p.AllocatorPool]; known && s.Refusal != "" {
			c.add(Error, Finding{
				What: fmt.Sprintf("pool %q: %s: %s", p.Name, config.AnnotationAllocatorPool, s.Why), Why: "the pool gives no new address",
				Command: fmt.Sprintf("kubectl -n %s edit ipaddresspools.metallb.io %s", f.Namespace, p.Name),
			})
		}
	}
	missing := false
	for _, g := range f.Gaps {
		missing = missing || g.What == survey.IPAddressClaims && g.Missing
	}
	if external > 0 && missing {
		c.add(Error, Finding{
			What: fmt.Sprintf("the API server has no IPAddressClaims (group %s), by which addresses are asked for", clusterapi.Group),
			Why:  "pools with an allocator give no new address; Services keep what they have",
			// The provider's own manifests bring the kind.
			Command: "kubectl get crd ipaddressclaims." + clusterapi.Group,
		})
	}
	orphans := f.Orphans()
	var names []string
	for _, x := range orphans {
		names = append(names, fmt.Sprintf("%s (for %s)", x.Object.GetName(), x.Owner))
	}
	if len(orphans) > 0 {
		c.add(Warning, Finding{
			What: fmt.Sprintf("nobody needs %s any more: %s", counted(len(orphans), "claim"), explain.Some(names)),
			Why:  "the allocator keeps their addresses from everybody; the controller releases them when it runs",
			Command: fmt.Sprintf("kubectl -n %s delete ipaddressclaims.%s %s", orphans[0].Namespace, clusterapi.Group,
				orphans[0].Object.GetName()),
		})
	}
}

func release(f *Facts) string {
	if f.Controller.Release != "" {
		return f.Controller.Release
	}
	return "fairlead"
}
