package calico

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFeaturesOf(t *testing.T) {
	const crd = `{"components":{"schemas":{
		"org.projectcalico.crd.v1.BGPConfiguration":{"properties":{"spec":{"properties":{"asNumber":{},"serviceLoadBalancerAggregation":{}}}}},
		"org.projectcalico.crd.v1.BGPPeer":{"properties":{"spec":{"properties":{"peerIP":{}}}}},
		"org.projectcalico.crd.v1.BGPFilter":{"properties":{"spec":{"properties":{"exportV4":{"items":{"properties":{"cidr":{},"source":{}}}}}}}}
	}}}`
	// As Calico's own API server publishes them.
	const references = `{"components":{"schemas":{
		"com.github.projectcalico.api.BGPConfiguration":{"properties":{"spec":{"allOf":[{"$ref":"#/components/schemas/com.github.projectcalico.api.BGPConfigurationSpec"}]}}},
		"com.github.projectcalico.api.BGPConfigurationSpec":{"properties":{"asNumber":{}}},
		"com.github.projectcalico.api.BGPPeer":{"properties":{"spec":{"$ref":"#/components/schemas/com.github.projectcalico.api.BGPPeerSpec"}}},
		"com.github.projectcalico.api.BGPPeerSpec":{"properties":{"localASNumber":{}}},
		"com.github.projectcalico.api.BGPFilter":{"properties":{"spec":{"$ref":"#/components/schemas/com.github.projectcalico.api.BGPFilterSpec"}}},
		"com.github.projectcalico.api.BGPFilterSpec":{"properties":{"exportV4":{"items":{"$ref":"#/components/schemas/com.github.projectcalico.api.BGPFilterRuleV4"}}}},
		"com.github.projectcalico.api.BGPFilterRuleV4":{"properties":{"cidr":{}}}
	}}}`
	for _, tc := range []struct {
		name, raw string
		want      features
	}{
		{"CRDs", crd, features{aggregation: true, filterSource: true}},
		{"references", references, features{localAS: true}},
		{"none of the kinds", `{"components":{"schemas":{"a.BGPPeerList":{"properties":{"spec":{"properties":{}}}}}}}`, allFeatures},
		{"no fields", `{"components":{"schemas":{"a.BGPPeer":{"properties":{"spec":{"type":"object"}}},"a.BGPConfiguration":{}}}}`, allFeatures},
		{"anything goes", `{"components":{"schemas":{"a.BGPPeer":{"properties":{"spec":{"properties":{"x":{}},"x-kubernetes-preserve-unknown-fields":true}}}}}}`, allFeatures},
		{"a reference to itself", `{"components":{"schemas":{"a.BGPPeer":{"$ref":"#/a.BGPPeer"}}}}`, allFeatures},
	} {
		got, err := featuresOf([]byte(tc.raw))
		require.NoError(t, err, tc.name)
		assert.Equal(t, tc.want, got, tc.name)
	}
	_, err := featuresOf([]byte("{"))
	assert.Error(t, err)
	assert.Equal(t, "none", allFeatures.fact().Value)
	assert.Equal(t, "BGPConfiguration spec.serviceLoadBalancerAggregation, BGPFilter spec.exportV4[].source", features{localAS: true}.fact().Value)
}

func TestFeaturesAfterARefusal(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want features
		less bool
	}{
		{nil, allFeatures, false},
		{errors.New("timeout"), allFeatures, false},
		{errors.New(`strict decoding error: unknown field "spec.localASNumber"`), features{aggregation: true, filterSource: true}, true},
		{errors.New(`strict decoding error: unknown field "spec.serviceLoadBalancerAggregation"`), features{localAS: true, filterSource: true}, true},
		{errors.New(`unknown field "spec.exportV4[0].source", unknown field "spec.exportV4[1].source"`), features{aggregation: true, localAS: true}, true},
		{errors.New(`unknown field "spec.exportV4[0].interface"`), allFeatures, false},
	} {
		got, less := allFeatures.without(tc.err)
		assert.Equal(t, tc.want, got, "%v", tc.err)
		assert.Equal(t, tc.less, less, "%v", tc.err)
		_, less = got.without(tc.err)
		assert.False(t, less, "the same refusal says nothing new")
	}
}
