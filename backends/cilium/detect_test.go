package cilium

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fairlead/fairlead/backends"
)

// detected returns what Detect does for a ConfigMap and pools.
func detected(config map[string]string, poolNames ...string) Detection {
	d := Detection{config: config, source: "ConfigMap kube-system/cilium-config", poolNames: poolNames, served: map[string]schema.GroupVersionResource{
		kindAdvert: Groups[0].WithResource("ciliumbgpadvertisements"), kindPolicy: Groups[1].WithResource("ciliuml2announcementpolicies"),
	}}
	d.BGP, d.L2 = d.on(keyBGP, false), d.on(keyL2, false)
	d.Facts = d.facts()
	return d
}

func TestFindingsOfDetection(t *testing.T) {
	all := map[string]string{keyBGP: "true", keyL2: "true", keyProxyReplacement: "true"}
	with := func(extra ...string) map[string]string {
		out := map[string]string{}
		for k, v := range all {
			out[k] = v
		}
		for i := 0; i < len(extra); i += 2 {
			out[extra[i]] = extra[i+1]
		}
		return out
	}
	const (
		config = "ConfigMap/kube-system/cilium-config data."
		takes  = "IPAMConflict " + config + "enable-lb-ipam: is not false, and there is CiliumLoadBalancerIPPool blue: Cilium takes the addresses of "
	)
	for _, tc := range []struct {
		name   string
		config map[string]string
		pools  []string
		want   []string
	}{
		{name: "all is well", config: all},
		{name: "no ConfigMap"},
		{name: "all off", config: map[string]string{keyProxyReplacement: "false"}, want: []string{
			"BackendInactive " + config + "enable-bgp-control-plane: is not true: Cilium advertises nothing by BGP; set bgpControlPlane.enabled=true in Cilium's Helm values",
			"BackendInactive " + config + "enable-l2-announcements: is not true: Cilium announces nothing on layer 2; set l2announcements.enabled=true in Cilium's Helm values",
			"BackendInactive " + config + `kube-proxy-replacement: is "false": layer 2 announcements need kube-proxy replacement; set kubeProxyReplacement=true in Cilium's Helm values`,
		}},
		{name: "LB-IPAM is awake", config: all, pools: []string{"blue"}, want: []string{
			takes + "all Services away; set enableLBIPAM=false in Cilium's Helm values, or delete the pool",
		}},
		{name: "LB-IPAM is awake for classes", config: with(keyDefaultIPAM, "none"), pools: []string{"blue"}, want: []string{
			takes + "Services of the classes io.cilium/bgp-control-plane and io.cilium/l2-announcer away; leave the class out, set enableLBIPAM=false in Cilium's Helm values, or delete the pool",
		}},
		{name: "an unknown default acts as none", config: with(keyDefaultIPAM, "nothing")},
		{name: "LB-IPAM is off", config: with(keyLBIPAM, "false"), pools: []string{"blue"}},
		{name: "node-IPAM", config: with(keyDefaultIPAM, "nodeipam", keyNodeIPAM, "true"), want: []string{
			"IPAMConflict " + config + "default-lb-service-ipam: is nodeipam: Cilium gives every Service without a class the addresses of nodes, in place of those from the pools; " +
				"set defaultLBServiceIPAM=none in Cilium's Helm values",
		}},
		{name: "node-IPAM is not there", config: with(keyDefaultIPAM, "nodeipam")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.want, texts(detected(tc.config, tc.pools...).findings(true, true)))
		})
	}
	assert.Empty(t, detected(map[string]string{}).findings(false, false), "what is not wanted need not be on")
}

func TestFacts(t *testing.T) {
	d := detected(map[string]string{keyBGP: "true", keySecrets: "bgp-secrets"})
	const source = "ConfigMap kube-system/cilium-config"
	assert.Equal(t, []backends.Fact{
		{Name: "bgp API", Value: "cilium.io/v2", Source: "discovery"},
		{Name: "l2 API", Value: "cilium.io/v2alpha1", Source: "discovery"},
		{Name: "bgp", Value: "on", Source: source},
		{Name: "l2", Value: "off", Source: source},
		{Name: "lb-ipam", Value: "on, but idle without a CiliumLoadBalancerIPPool", Source: source},
		{Name: "lb-ipam for Services without a class", Value: "lbipam", Source: source},
		{Name: "node-ipam", Value: "off", Source: source},
		{Name: "namespace of BGP passwords", Value: "bgp-secrets", Source: source},
		{Name: "kube-proxy replacement", Value: "not set", Source: source},
	}, d.Facts)
	assert.Equal(t, "cilium.io/v2", d.APIVersion())
	assert.Equal(t, backends.Fact{Name: "configuration", Value: "not found", Source: source}, detected(nil).Facts[2])
	assert.False(t, Detection{}.Available())
	assert.Empty(t, Detection{}.APIVersion())
}

func TestServiceOptions(t *testing.T) {
	const head, tail = `{"components":{"schemas":{"io.cilium.v2.CiliumNode":{},"io.cilium.v2.CiliumBGPAdvertisement":{"properties":{"spec":{"properties":{
		"advertisements":{"items":{"properties":{"service":{"properties":`, `}}}}}}}}}}}`
	got, err := serviceOptions([]byte(head + `{"addresses":{},"aggregationLengthIPv4":{}}` + tail))
	require.NoError(t, err)
	assert.Contains(t, got, "aggregationLengthIPv4")
	assert.NotContains(t, got, "aggregationLengthIPv6")
	got, err = serviceOptions([]byte(`{"components":{"schemas":{"io.cilium.v2.CiliumNode":{}}}}`))
	require.NoError(t, err)
	assert.Nil(t, got)
	_, err = serviceOptions([]byte(`<html>`))
	assert.Error(t, err)
}
