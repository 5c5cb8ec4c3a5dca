package controller

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
)

// gateways are Services as controllers of the Gateway API make them for a Gateway named gw, by name: with spec.addresses
// [10.76.0.<host>] where there is such an address, and without.
var gateways = map[string]func(address string) func(*corev1.Service){
	// internal/infrastructure/kubernetes/proxy of envoyproxy/gateway: spec.externalIPs.
	"envoy": func(address string) func(*corev1.Service) {
		return func(s *corev1.Service) {
			s.Labels = map[string]string{
				"app.kubernetes.io/name": "envoy", "app.kubernetes.io/component": "proxy", "app.kubernetes.io/managed-by": "envoy-gateway",
				"gateway.envoyproxy.io/owning-gateway-name": "gw", "gateway.envoyproxy.io/owning-gateway-namespace": s.Namespace,
			}
			s.Spec.ExternalTrafficPolicy, s.Spec.Selector = corev1.ServiceExternalTrafficPolicyLocal, s.Labels
			if address != "" {
				s.Spec.ExternalIPs = []string{address}
			}
		}
	},
	// manifests/charts/istio-control/istio-discovery/files/kube-gateway.yaml of istio/istio: spec.loadBalancerIP.
	"istio": func(address string) func(*corev1.Service) {
		return func(s *corev1.Service) {
			prefer := corev1.IPFamilyPolicyPreferDualStack
			s.Labels = map[string]string{"gateway.networking.k8s.io/gateway-name": "gw", "gateway.istio.io/managed": "istio.io-gateway-controller"}
			s.Spec.IPFamilyPolicy, s.Spec.LoadBalancerIP = &prefer, address
			s.Spec.Selector = map[string]string{"gateway.networking.k8s.io/gateway-name": "gw"}
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "status-port", Port: 15021})
			s.Spec.Ports[0].Name = "http"
		}
	},
	// internal/controller/provisioner of nginx/nginx-gateway-fabric: spec.externalIPs.
	"nginx": func(address string) func(*corev1.Service) {
		return func(s *corev1.Service) {
			s.Labels = map[string]string{"gateway.networking.k8s.io/gateway-name": "gw", "app.kubernetes.io/name": "gw-nginx"}
			s.Spec.ExternalTrafficPolicy, s.Spec.Selector = corev1.ServiceExternalTrafficPolicyLocal, s.Labels
			if address != "" {
				s.Spec.ExternalIPs = []string{address}
			}
		}
	},
	// operator/pkg/model/translation/gateway-api of cilium/cilium: an annotation for LB-IPAM, and no selector.
	"cilium": func(address string) func(*corev1.Service) {
		return func(s *corev1.Service) {
			s.Labels = map[string]string{"gateway.networking.k8s.io/gateway-name": "gw", "io.cilium.gateway/owning-gateway": "gw"}
			if address != "" {
				s.Annotations["lbipam.cilium.io/ips"] = address
			}
		}
	},
}

// TestGateways: Services of four controllers of the Gateway API get the address that the Gateway asks for, whatever its controller
// makes of it.
func TestGateways(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.76.0.0/24", "2001:db8:76::/64")
	i.start()
	host := map[string]string{"envoy": "10.76.0.71", "istio": "10.76.0.72", "nginx": "10.76.0.73", "cilium": "10.76.0.74"}
	for name, service := range gateways {
		has(t, i.service(name, service(host[name])), host[name])
	}

	// The portable way: annotations that a Gateway has its controller put on the Service.
	for n, key := range []string{"metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"} {
		address := []string{"10.76.0.81", "10.76.0.82"}[n]
		has(t, i.service("infrastructure-"+string(rune('a'+n)), gateways["envoy"](""), annotated(key, address)), address)
	}

	// IPv6, alone and beside IPv4.
	dual, only6 := corev1.IPFamilyPolicyRequireDualStack, func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} }
	both := i.define("both", gateways["cilium"]("10.76.0.91,2001:db8:76::91"))
	both.Spec.IPFamilyPolicy = &dual
	require.NoError(t, bed.Client.Create(t.Context(), both))
	has(t, both, "10.76.0.91 2001:db8:76::91")
	has(t, i.service("six", gateways["nginx"]("2001:db8:76::92"), only6), "2001:db8:76::92")
	has(t, i.service("istio-six", gateways["istio"]("2001:db8:76::93")), "2001:db8:76::93")

	// Taken is taken.
	refused(t, i.service("second", gateways["nginx"]("10.76.0.71")), "False AddressInUse")

	// Addresses that are in no pool are left to those whose they are, and what is not of a Gateway is not looked at.
	has(t, i.service("outside", gateways["envoy"]("198.51.100.9")), "10.76.0.0")
	has(t, i.service("plain", func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"10.76.0.90"} }), "10.76.0.1")

	// Who has an address keeps it: spec.addresses decides only the first one.
	kept := i.service("kept", gateways["nginx"](""))
	has(t, kept, "10.76.0.2")
	testbed.Edit(t, bed, kept, func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"10.76.0.99"} })
	has(t, i.service("later"), "10.76.0.3")
	has(t, kept, "10.76.0.2")
}

// TestGatewayClasses: Gateways ask with classes; several are served by one controller.
func TestGatewayClasses(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.77.0.0/24")
	second := i.class + "-internal"
	bed.Start(t, i.namespace, "--lb-class", i.class, "--lb-class", second, "--report-other-classes")
	has(t, i.service("one", gateways["cilium"]("10.77.0.7")), "10.77.0.7")
	has(t, i.service("two", gateways["envoy"]("10.77.0.8"), func(s *corev1.Service) { s.Spec.LoadBalancerClass = &second }), "10.77.0.8")
	foreign := i.class + "-foreign"
	other := i.define("three", gateways["nginx"](""), func(s *corev1.Service) { s.Spec.LoadBalancerClass = &foreign })
	require.NoError(t, bed.Client.Create(t.Context(), other))
	hasEvents(t, other, "Normal ClassNotServed")
	testbed.Eventually(t, "nothing else", nothing(other))
}

// nothing checks that a Service has no address.
func nothing(s *corev1.Service) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		if len(s.Status.LoadBalancer.Ingress) > 0 {
			return errors.New("it has an address")
		}
		return nil
	}
}
