package calico

import (
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/fairlead/fairlead/backends"
)

// Claimed returns, of an Outcome, what there is to say about Calico's own address allocator: which Services it serves, and why.
func (d Detection) Claimed() backends.Outcome {
	o := backends.Outcome{Claims: d.claims(), ClaimsLoadBalancerIP: d.claimsLoadBalancerIP()}
	all, _ := d.findings(nil)
	for _, f := range all {
		if f.Type == backends.IPAMConflict {
			o.Findings = append(o.Findings, f)
		}
	}
	return o
}

// claimsLoadBalancerIP reports whether the allocator serves Services with spec.loadBalancerIP, too.
func (d *Detection) claimsLoadBalancerIP() bool {
	return len(d.loadBalancerPools()) > 0 && d.assigns() == v3.RequestedServicesOnly
}
