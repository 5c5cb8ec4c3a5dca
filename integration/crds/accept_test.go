package crds_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestSeedsAreAccepted(t *testing.T) {
	files, err := filepath.Glob("testdata/seeds/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			o := &unstructured.Unstructured{Object: decode(t, text)}
			want := o.DeepCopy()
			require.NoError(t, create(t, o))
			wantSpec, _, _ := unstructured.NestedMap(want.Object, "spec")
			gotSpec, _, _ := unstructured.NestedMap(o.Object, "spec")
			for name, value := range wantSpec {
				assert.Equal(t, value, gotSpec[name], "spec.%s", name)
			}
		})
	}
}

// What MetalLB takes, and a strict reader would not expect.
func TestOdditiesAreAccepted(t *testing.T) {
	peer := func(more string) string { return "{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1" + more + "}" }
	tests := []struct {
		name, version, kind, spec string
	}{
		{"host bits in a CIDR", "v1beta1", "IPAddressPool", `addresses: [192.168.1.7/24, "2001:db8::7/64"]`},
		{"a CIDR of all addresses", "v1beta1", "IPAddressPool", `addresses: [0.0.0.0/0, "::/0"]`},
		{"a CIDR of one address", "v1beta1", "IPAddressPool", `addresses: [192.0.2.1/32, "2001:db8::1/128"]`},
		{"a prefix length with zeros", "v1beta1", "IPAddressPool", `addresses: [10.0.0.0/08, "2001:db8::/064"]`},
		{"a range of one address", "v1beta1", "IPAddressPool", `addresses: [192.0.2.1-192.0.2.1, "2001:db8::1-2001:db8::1"]`},
		{"a range of all addresses", "v1beta1", "IPAddressPool", `addresses: [0.0.0.0-255.255.255.255, "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]`},
		{"blanks around the ends", "v1beta1", "IPAddressPool", `addresses: ["  192.0.2.1 - 192.0.2.9 ", " 2001:db8::1 -  2001:db8::9 ", "192.0.2.10\t-\t192.0.2.11"]`},
		{"upper case", "v1beta1", "IPAddressPool", `addresses: ["2001:DB8::A-2001:DB8::F", "FC00::/64", "2001:db8::9-2001:DB8::A"]`},
		{"one address in two spellings", "v1beta1", "IPAddressPool", `addresses: ["2001:db8::1-2001:0db8:0:0:0:0:0:0001"]`},
		{"IPv6 ends of different length", "v1beta1", "IPAddressPool", `addresses: ["fd00::9-fd00::1:0", "fd00::ffff-fd00:0:0:1::"]`},
		{"IPv6 ends with :: in all places", "v1beta1", "IPAddressPool", `addresses: ["::-::1", "1::-1::1:0", "1:2:3:4:5:6:7::-1:2:3:4:5:6:7:8", "::2:3:4:5:6:7:8-0:2:3:4:5:6:7:9", "1:2:3::6:7:8-1:2:3:0:1::"]`},
		{"IPv6 with an IPv4 tail", "v1beta1", "IPAddressPool", `addresses: ["64:ff9b::10.0.0.1-64:ff9b::10.0.0.9", "64:ff9b::10.1.0.0/112"]`},
		{"an IPv4 tail at one end, which the controller judges", "v1beta1", "IPAddressPool", `addresses: ["64:ff9c::a00:9-64:ff9c::10.0.0.1"]`},
		{"IPv4 in IPv6", "v1beta1", "IPAddressPool", `addresses: ["::ffff:10.0.0.1-::ffff:10.0.0.9", "::FFFF:a01:1-::ffff:a01:9", "0:0:0:0:0:ffff:10.2.0.1-10.2.0.9", "::ffff:10.3.0.0/120"]`},
		{"longest range in words", "v1beta1", "IPAddressPool", `addresses: ["0000:0000:0000:0000:0000:ffff:192.168.100.100-0000:0000:0000:0000:0000:ffff:192.168.100.200"]`},
		{"serviceAllocation with nothing in it", "v1beta1", "IPAddressPool", `{addresses: [192.0.2.0/24], serviceAllocation: {}}`},

		{"the names of aliases", "v1beta1", "BGPAdvertisement", `communities: [no-export, "65535", large, "", "site:blue"]`},
		{"the largest communities", "v1beta1", "BGPAdvertisement", `communities: ["65535:65535", "large:4294967295:4294967295:4294967295", "0:0", "large:0:0:0"]`},
		{"communities with zeros", "v1beta1", "BGPAdvertisement", `communities: ["064512:0100"]`},
		{"aggregation to the limits", "v1beta1", "BGPAdvertisement", `{aggregationLength: 1, aggregationLengthV6: 0}`},
		{"serviceSelectors with whole addresses", "v1beta1", "BGPAdvertisement", `{aggregationLength: 32, serviceSelectors: [{matchLabels: {a: b}}]}`},
		{"an empty list of serviceSelectors with aggregation", "v1beta1", "BGPAdvertisement", `{aggregationLength: 24, serviceSelectors: []}`},
		{"the largest localPref", "v1beta1", "BGPAdvertisement", `localPref: 2147483647`},

		{"aliases", "v1beta1", "Community", `communities: [{name: a, value: "65535:65535"}, {name: b, value: "large:4294967295:0:1"}, {value: "1:2"}]`},
		{"no aliases", "v1beta1", "Community", `communities: []`},

		{"an IPv6 peer", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: "2001:DB8::1", sourceAddress: "2001:db8::2"}`},
		{"an IPv4 peer in IPv6", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: "::ffff:192.0.2.1"}`},
		{"the largest AS numbers", "v1beta2", "BGPPeer", `{myASN: 4294967295, peerASN: 4294967294, localASN: 4294967293, peerAddress: 192.0.2.1}`},
		{"empty texts are not set", "v1beta2", "BGPPeer", peer(`, interface: "", sourceAddress: "", routerID: "", password: "", vrf: "", passwordSecret: {}`)},
		{"an interface and an empty address", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: "", interface: eth0}`},
		{"peerASN 0 with dynamicASN", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 0, dynamicASN: external, interface: eth0}`},
		{"a router ID as IPv4 in IPv6", "v1beta2", "BGPPeer", peer(`, routerID: "::ffff:192.0.2.9"`)},
		{"no hold time", "v1beta2", "BGPPeer", peer(`, holdTime: 0s, keepaliveTime: 0s`)},
		{"the shortest hold time", "v1beta2", "BGPPeer", peer(`, holdTime: 3s, keepaliveTime: 3s`)},
		{"a hold time in several units", "v1beta2", "BGPPeer", peer(`, holdTime: 1m30.5s, keepaliveTime: "500ms"`)},
		{"a hold time below a second counts as 0", "v1beta2", "BGPPeer", peer(`, holdTime: 900ms`)},
		{"only a keepalive time", "v1beta2", "BGPPeer", peer(`, keepaliveTime: 1s`)},
		{"connect times", "v1beta2", "BGPPeer", peer(`, connectTime: 18h12m15s`)},
		{"multihop to another AS", "v1beta2", "BGPPeer", peer(`, ebgpMultiHop: true`)},
		{"multihop with dynamicASN", "v1beta2", "BGPPeer", `{myASN: 64512, dynamicASN: external, peerAddress: 192.0.2.1, ebgpMultiHop: true}`},
		{"no multihop inside an AS", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64512, peerAddress: 192.0.2.1, ebgpMultiHop: false}`},
		{"a secret and an empty password", "v1beta2", "BGPPeer", peer(`, password: "", passwordSecret: {name: s, namespace: metallb-system}`)},

		{"v1beta1: port 0", "v1beta1", "BGPPeer", peer(`, peerPort: 0`)},
		{"v1beta1: all fields", "v1beta1", "BGPPeer", peer(`, peerPort: 179, holdTime: 90s, keepaliveTime: 30s, routerID: 192.0.2.9, sourceAddress: 192.0.2.2, password: x, bfdProfile: b, ebgpMultiHop: true, nodeSelectors: [{matchLabels: {a: b}, matchExpressions: [{key: k, operator: In, values: [v]}]}]`)},

		{"BFD at the lower limits", "v1beta1", "BFDProfile", `{detectMultiplier: 2, echoInterval: 10, minimumTtl: 1, receiveInterval: 10, transmitInterval: 10}`},
		{"BFD at the upper limits", "v1beta1", "BFDProfile", `{detectMultiplier: 255, echoInterval: 60000, minimumTtl: 254, receiveInterval: 60000, transmitInterval: 60000, echoMode: true, passiveMode: true}`},
		{"weights at the limits", "v1beta1", "L2Advertisement", `preferredNodeSelectors: [{weight: 1, preference: {}}, {weight: 100, preference: {matchLabels: {a: b}}}]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, create(t, object(t, test.version, test.kind, test.spec)))
		})
	}
}

// The rules must fit the API server's budget at run time too, for the largest pool with the longest entries.
func TestLargestObjectsAreAccepted(t *testing.T) {
	var addresses, communities, aliases []any
	for i := range 1024 {
		blanks := strings.Repeat(" ", 21)
		addresses = append(addresses, fmt.Sprintf("2001:0db8:0000:0000:0000:0000:%04x:fffe-2001:0db8:0000:0000:0000:0000:%04x:ffff%s", i, i, blanks))
	}
	for i := range 63 {
		communities = append(communities, fmt.Sprintf("large:4294967295:4294967295:%d", i))
	}
	for i := range 256 {
		aliases = append(aliases, map[string]any{"name": strings.Repeat("n", 250) + fmt.Sprintf("%03d", i), "value": fmt.Sprintf("large:4294967295:4294967295:%d", i)})
	}
	compared := aliases[:128]
	tests := []struct {
		name, kind, field string
		value             []any
	}{
		{"addresses", "IPAddressPool", "addresses", addresses},
		{"communities", "BGPAdvertisement", "communities", communities},
		{"aliases that are compared", "Community", "communities", compared},
		{"aliases", "Community", "communities", aliases},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := object(t, "v1beta1", test.kind, "")
			o.Object["spec"] = map[string]any{test.field: test.value}
			require.NoError(t, create(t, o))
		})
	}
}

func TestDefaults(t *testing.T) {
	tests := []struct {
		name, version, kind, spec string
		want                      map[string]any
	}{
		{"IPAddressPool", "v1beta1", "IPAddressPool", `addresses: [192.0.2.0/24, "2001:db8::/64"]`, map[string]any{"autoAssign": true, "avoidBuggyIPs": false}},
		{"BGPAdvertisement", "v1beta1", "BGPAdvertisement", `peers: []`, map[string]any{"aggregationLength": int64(32), "aggregationLengthV6": int64(128)}},
		{"BGPPeer", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: "2001:db8::1"}`, map[string]any{"peerPort": int64(179), "disableMP": false, "dualStackAddressFamily": false}},
		{"BGPPeer v1beta1 has those of the stored version", "v1beta1", "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1}`, map[string]any{"peerPort": int64(179), "disableMP": nil}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := object(t, test.version, test.kind, test.spec)
			require.NoError(t, create(t, o))
			spec, _, err := unstructured.NestedMap(o.Object, "spec")
			require.NoError(t, err)
			for name, value := range test.want {
				assert.Equal(t, value, spec[name], "spec.%s", name)
			}
		})
	}
}
