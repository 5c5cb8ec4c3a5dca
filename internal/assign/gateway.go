package assign

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
)

// The labels by which one knows Services that controllers of the Gateway API make, and the annotations that Cilium's makes of
// spec.addresses of a Gateway.
var (
	gatewayLabels     = []string{"gateway.networking.k8s.io/gateway-name", "gateway.envoyproxy.io/owning-gateway-name"}
	ciliumAnnotations = []string{"lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips"}
)

// ofGateway reports whether a controller of the Gateway API made svc.
func ofGateway(svc *corev1.Service) bool {
	for _, l := range gatewayLabels {
		if _, ok := svc.Labels[l]; ok {
			return true
		}
	}
	return false
}

// preferred returns the addresses that svc would rather have, told by something that MetalLB does not read: spec.addresses of a
// Gateway, which Cilium turns into an annotation, and Envoy Gateway and NGINX Gateway Fabric into spec.externalIPs. There are none if
// one cannot be read.
func preferred(svc *corev1.Service) (out []netip.Addr) {
	var texts []string
	for _, key := range ciliumAnnotations {
		if v := svc.Annotations[key]; v != "" && len(texts) == 0 {
			texts = strings.Split(v, ",")
		}
	}
	if len(texts) == 0 && ofGateway(svc) {
		texts = svc.Spec.ExternalIPs
	}
	for _, s := range texts {
		a, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil || a.Zone() != "" {
			return nil
		}
		out = append(out, a.Unmap())
	}
	return out
}

// narrow makes a request for one address one for one family, if svc is of a Gateway and prefers dual stack: Istio makes all of its
// Services so, and cannot put a second address on them.
func narrow(req *allocator.Request, svc *corev1.Service) {
	if req.Policy != allocator.PreferDualStack || req.IPv4.IsValid() == req.IPv6.IsValid() || !ofGateway(svc) {
		return
	}
	f := allocator.IPv4
	if req.IPv6.IsValid() {
		f = allocator.IPv6
	}
	req.Families, req.Policy = allocator.Families{Primary: f}, allocator.SingleStack
}

// prefer makes of the preferred addresses of svc a request, if it holds none yet, asks for none and for no pool, if all of them are in
// pools, and if there is one for each of its families. Anything else leaves the request as it is: MetalLB, which never reads these
// fields, would have given the Service some address, and so it gets one.
func (a *Assigner) prefer(svc *corev1.Service, req *allocator.Request) {
	if !a.engine.Held(req.Owner).IsZero() || req.IPv4.IsValid() || req.IPv6.IsValid() || req.Pool != "" || len(req.Pools) > 0 {
		return
	}
	asked := *req
	for _, addr := range preferred(svc) {
		if _, ok := a.engine.PoolOf(addr); !ok {
			return
		}
		at := &asked.IPv4
		if allocator.FamilyOf(addr) == allocator.IPv6 {
			at = &asked.IPv6
		}
		if at.IsValid() {
			return
		}
		*at = addr
	}
	narrow(&asked, svc)
	if (asked.IPv4.IsValid() || asked.IPv6.IsValid()) && checkFamilies(&asked, svc, "") == nil {
		*req = asked
	}
}
