package service

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ShownAddresses returns the addresses in the status of svc.
func ShownAddresses(svc *corev1.Service) []netip.Addr {
	var out []netip.Addr
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if addr, err := netip.ParseAddr(in.IP); err == nil {
			out = append(out, addr.Unmap())
		}
	}
	return out
}

// PoolsOf returns the names of the pools that the addresses in the status of svc came from.
func PoolsOf(svc *corev1.Service) []string {
	v4, v6 := PoolsByFamily(svc)
	switch {
	case v4 == "":
		return nil
	case v6 == v4:
		return []string{v4}
	}
	return []string{v4, v6}
}

// PoolsByFamily returns the pools that the addresses in the status of svc came from.
func PoolsByFamily(svc *corev1.Service) (v4, v6 string) {
	v4, v6, two := strings.Cut(svc.Annotations[AnnotationFromPool], ",")
	if !two {
		v6 = v4
	}
	return v4, v6
}

// SetIngress makes the status show exactly addrs, IPv4 first. An entry that is there already stays as it is, with the ports,
// ipMode and hostname that others gave it, and so does an entry that has only a hostname.
func SetIngress(svc *corev1.Service, addrs []netip.Addr) {
	var out []corev1.LoadBalancerIngress
	var shown []netip.Addr
	for _, in := range svc.Status.LoadBalancer.Ingress {
		addr, err := netip.ParseAddr(in.IP)
		addr = addr.Unmap()
		if in.IP == "" || err == nil && slices.Contains(addrs, addr) && !slices.Contains(shown, addr) {
			out, shown = append(out, in), append(shown, addr)
		}
	}
	for _, addr := range addrs {
		if !slices.Contains(shown, addr) {
			out = append(out, corev1.LoadBalancerIngress{IP: addr.String()})
		}
	}
	svc.Status.LoadBalancer.Ingress = out
}

// Advertised is what ConditionAdvertised says.
type Advertised struct {
	Status          metav1.ConditionStatus
	Reason, Message string
}

// EmptyStatus is the command that empties the status of a Service, so that it gets an address from here.
func EmptyStatus(svc *corev1.Service) string {
	return fmt.Sprintf(`kubectl -n %s patch service %s --subresource=status --type=merge -p '{"status":{"loadBalancer":{"ingress":null}}}'`,
		svc.Namespace, svc.Name)
}

// Announced reports whether svc has addresses of ours, which are to be announced: it shows them, with their pools and the label.
func Announced(svc *corev1.Service) bool {
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer && svc.Labels[LabelPool] != "" &&
		len(ShownAddresses(svc)) > 0 && len(PoolsOf(svc)) > 0
}
