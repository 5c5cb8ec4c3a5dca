package service

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The labels by which one knows Services that controllers of the Gateway API make, and the annotations that Cilium's makes of
// spec.addresses of a Gateway.
var (
	gatewayLabels     = []string{"gateway.networking.k8s.io/gateway-name", "gateway.envoyproxy.io/owning-gateway-name"}
	ciliumAnnotations = []string{"lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips"}
)

// OfGateway reports whether a controller of the Gateway API made svc.
func OfGateway(svc *corev1.Service) bool {
	for _, l := range gatewayLabels {
		if _, ok := svc.Labels[l]; ok {
			return true
		}
	}
	return false
}

// Preferred returns the addresses that svc would rather have, told by something that MetalLB does not read: spec.addresses of a
// Gateway, which Cilium turns into an annotation, and Envoy Gateway and NGINX Gateway Fabric into spec.externalIPs. There are none if
// one cannot be read.
func Preferred(svc *corev1.Service) (out []netip.Addr) {
	var texts []string
	for _, key := range ciliumAnnotations {
		if v := svc.Annotations[key]; v != "" && len(texts) == 0 {
			texts = strings.Split(v, ",")
		}
	}
	if len(texts) == 0 && OfGateway(svc) {
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
