package crds_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFaultsAreRefused(t *testing.T) {
	const (
		notRange     = "is not an address range: use a CIDR like 192.0.2.0/24 or a range like 192.0.2.10-192.0.2.20"
		mixed        = "mixes IPv4 and IPv6: both ends of a range must be of one family"
		backwards    = "starts after its end: put the lower address first"
		notCommunity = "is not a BGP community: use two numbers up to 65535 like 64512:100, or large:64512:1:2 with numbers up to 4294967295"
		notIP        = "is not an IP address: use one like 192.0.2.1 or 2001:db8::1"
		notRouterID  = "is not a router ID: use an IPv4 address like 192.0.2.1"
		notDuration  = "is not a duration: use a number and a unit"
		oneASN       = "set either peerASN or dynamicASN, not both"
		noASN        = "set peerASN (1 to 4294967295), or dynamicASN to internal or external"
		noAddress    = "set peerAddress, or interface for an unnumbered session"
	)
	address := func(text string) string { return fmt.Sprintf("addresses: [198.51.100.0/24, %q]", text) }
	community := func(text string) string { return fmt.Sprintf("communities: [%q]", text) }
	alias := func(text string) string { return fmt.Sprintf("communities: [{name: a, value: %q}]", text) }
	peer := func(more string) string { return "{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1" + more + "}" }
	tests := []struct {
		name, version, kind, spec, path, message string
	}{
		{"no pool spec", "v1beta1", "IPAddressPool", ``, "spec", "Required value"},
		{"no addresses", "v1beta1", "IPAddressPool", `autoAssign: true`, "spec.addresses", "Required value"},
		{"empty addresses", "v1beta1", "IPAddressPool", `addresses: []`, "spec.addresses", "at least one address range is needed"},
		{"too many addresses", "v1beta1", "IPAddressPool", `addresses: [` + strings.Repeat("10.0.0.0/8,", 1025) + `]`, "spec.addresses", "must have at most 1024 items"},
		{"an entry too long", "v1beta1", "IPAddressPool", address("192.0.2.1-192.0.2.9" + strings.Repeat(" ", 90)), "spec.addresses[1]", "may not be more than 100 bytes"},
		{"an empty entry", "v1beta1", "IPAddressPool", address(""), "spec.addresses[1]", `"" ` + notRange},
		{"no prefix length", "v1beta1", "IPAddressPool", address("10.0.0.1"), "spec.addresses[1]", `"10.0.0.1" ` + notRange},
		{"no prefix length, IPv6", "v1beta1", "IPAddressPool", address("2001:db8::1"), "spec.addresses[1]", `"2001:db8::1" ` + notRange},
		{"an octet too large", "v1beta1", "IPAddressPool", address("10.0.0.300"), "spec.addresses[1]", `"10.0.0.300" ` + notRange},
		{"an octet too large in a CIDR", "v1beta1", "IPAddressPool", address("10.0.0.300/24"), "spec.addresses[1]", notRange},
		{"an octet with a zero in front", "v1beta1", "IPAddressPool", address("10.0.0.01/24"), "spec.addresses[1]", notRange},
		{"a prefix length too long", "v1beta1", "IPAddressPool", address("10.0.0.0/33"), "spec.addresses[1]", notRange},
		{"a prefix length too long, IPv6", "v1beta1", "IPAddressPool", address("2001:db8::/129"), "spec.addresses[1]", notRange},
		{"a negative prefix length", "v1beta1", "IPAddressPool", address("10.0.0.0/-1"), "spec.addresses[1]", notRange},
		{"a netmask", "v1beta1", "IPAddressPool", address("10.0.0.0/255.0.0.0"), "spec.addresses[1]", notRange},
		{"blanks in a CIDR", "v1beta1", "IPAddressPool", address(" 10.0.0.0/24"), "spec.addresses[1]", notRange},
		{"a short range end", "v1beta1", "IPAddressPool", address("192.0.2.10-20"), "spec.addresses[1]", `"192.0.2.10-20" ` + notRange},
		{"three ends", "v1beta1", "IPAddressPool", address("192.0.2.1-192.0.2.2-192.0.2.3"), "spec.addresses[1]", notRange},
		{"a range of CIDRs", "v1beta1", "IPAddressPool", address("192.0.2.0/25-192.0.2.128/25"), "spec.addresses[1]", notRange},
		{"no end", "v1beta1", "IPAddressPool", address("2001:db8::1-"), "spec.addresses[1]", notRange},
		{"a zone", "v1beta1", "IPAddressPool", address("fe80::1%eth0-fe80::2%eth0"), "spec.addresses[1]", notRange},
		{"IPv4 in IPv6, octet too large", "v1beta1", "IPAddressPool", address("::ffff:10.0.0.1-::ffff:10.0.0.300"), "spec.addresses[1]", notRange},
		{"two families", "v1beta1", "IPAddressPool", address("10.0.0.1-2001:db8::1"), "spec.addresses[1]", mixed},
		{"two families, IPv6 first", "v1beta1", "IPAddressPool", address("::1-10.0.0.1"), "spec.addresses[1]", mixed},
		{"backwards", "v1beta1", "IPAddressPool", address("192.0.2.20-192.0.2.10"), "spec.addresses[1]", `"192.0.2.20-192.0.2.10" ` + backwards},
		{"backwards with blanks", "v1beta1", "IPAddressPool", address(" 10.0.0.0 - 9.255.255.255 "), "spec.addresses[1]", backwards},
		{"backwards, IPv6", "v1beta1", "IPAddressPool", address("2001:db8::10-2001:DB8::F"), "spec.addresses[1]", backwards},
		{"backwards, :: in different places", "v1beta1", "IPAddressPool", address("1:2:3:0:1::-1:2:3::6:7:8"), "spec.addresses[1]", backwards},
		{"backwards, :: for one group", "v1beta1", "IPAddressPool", address("0:2:3:4:5:6:7:9-::2:3:4:5:6:7:8"), "spec.addresses[1]", backwards},
		{"backwards, an IPv4 tail and only one end with ::", "v1beta1", "IPAddressPool", address("0:0:0:0:0:1:10.0.0.1-::192.0.2.1"), "spec.addresses[1]", backwards},
		{"backwards, IPv6 with an IPv4 tail", "v1beta1", "IPAddressPool", address("64:ff9b::10.0.0.10-64:ff9b::10.0.0.9"), "spec.addresses[1]", backwards},

		{"serviceSelectors with aggregation", "v1beta1", "BGPAdvertisement", `{aggregationLength: 24, serviceSelectors: [{}]}`, "spec.serviceSelectors", "leave aggregationLength at 32 and aggregationLengthV6 at 128"},
		{"serviceSelectors with IPv6 aggregation", "v1beta1", "BGPAdvertisement", `{aggregationLengthV6: 64, serviceSelectors: [{}]}`, "spec.serviceSelectors", "leave aggregationLength at 32 and aggregationLengthV6 at 128"},
		{"aggregationLength 0", "v1beta1", "BGPAdvertisement", `aggregationLength: 0`, "spec.aggregationLength", "greater than or equal to 1"},
		{"aggregationLength 33", "v1beta1", "BGPAdvertisement", `aggregationLength: 33`, "spec.aggregationLength", "less than or equal to 32"},
		{"aggregationLengthV6 -1", "v1beta1", "BGPAdvertisement", `aggregationLengthV6: -1`, "spec.aggregationLengthV6", "greater than or equal to 0"},
		{"aggregationLengthV6 129", "v1beta1", "BGPAdvertisement", `aggregationLengthV6: 129`, "spec.aggregationLengthV6", "less than or equal to 128"},
		{"a negative localPref", "v1beta1", "BGPAdvertisement", `localPref: -1`, "spec.localPref", "greater than or equal to 0"},
		{"a community part too large", "v1beta1", "BGPAdvertisement", community("65536:1"), "spec.communities[0]", `"65536:1" ` + notCommunity},
		{"a second part too large", "v1beta1", "BGPAdvertisement", community("1:65536"), "spec.communities[0]", notCommunity},
		{"three parts", "v1beta1", "BGPAdvertisement", community("64512:1:2"), "spec.communities[0]", notCommunity},
		{"an empty part", "v1beta1", "BGPAdvertisement", community("64512:"), "spec.communities[0]", notCommunity},
		{"a large community part too large", "v1beta1", "BGPAdvertisement", community("large:1:2:4294967296"), "spec.communities[0]", notCommunity},
		{"a large community too short", "v1beta1", "BGPAdvertisement", community("large:1:2"), "spec.communities[0]", notCommunity},
		{"a community twice", "v1beta1", "BGPAdvertisement", `communities: ["1:2", a, "1:2"]`, "spec.communities", "list each one once"},
		{"64 communities", "v1beta1", "BGPAdvertisement", `communities: [` + strings.Repeat(`"1:2",`, 64) + `]`, "spec.communities", "must have at most 63 items"},

		{"no value", "v1beta1", "Community", `communities: [{name: a}]`, "spec.communities[0].value", "value is missing"},
		{"an empty value", "v1beta1", "Community", alias(""), "spec.communities[0].value", `"" ` + notCommunity},
		{"one number", "v1beta1", "Community", alias("64512"), "spec.communities[0].value", `"64512" ` + notCommunity},
		{"the name of another alias", "v1beta1", "Community", alias("no-export"), "spec.communities[0].value", notCommunity},
		{"an alias value too large", "v1beta1", "Community", alias("65536:0"), "spec.communities[0].value", notCommunity},
		{"a large alias value too large", "v1beta1", "Community", alias("large:4294967296:0:0"), "spec.communities[0].value", notCommunity},
		{"an alias twice", "v1beta1", "Community", `communities: [{name: a, value: "1:2"}, {name: b, value: "1:2"}, {name: a, value: "1:3"}]`, "spec.communities", "an alias name is used twice"},

		{"an alias twice in the longest list that is compared", "v1beta1", "Community", `communities: [{name: a, value: "1:2"}, {name: a, value: "1:3"}` + strings.Repeat(`, {value: "1:2"}`, 126) + `]`, "spec.communities", "an alias name is used twice"},
		{"257 aliases", "v1beta1", "Community", `communities: [` + strings.Repeat(`{value: "1:2"},`, 257) + `]`, "spec.communities", "must have at most 256 items"},

		{"no myASN", "v1beta2", "BGPPeer", `{peerASN: 64513, peerAddress: 192.0.2.1}`, "spec.myASN", "Required value"},
		{"myASN 0", "v1beta2", "BGPPeer", `{myASN: 0, peerASN: 64513, peerAddress: 192.0.2.1}`, "spec.myASN", "myASN must be the AS number of this side"},
		{"myASN too large", "v1beta2", "BGPPeer", `{myASN: 4294967296, peerASN: 64513, peerAddress: 192.0.2.1}`, "spec.myASN", "less than or equal to 4294967295"},
		{"localASN 0", "v1beta2", "BGPPeer", peer(`, localASN: 0`), "spec.localASN", "greater than or equal to 1"},
		{"no peer AS", "v1beta2", "BGPPeer", `{myASN: 64512, peerAddress: 192.0.2.1}`, "spec.peerASN", noASN},
		{"peerASN 0", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 0, peerAddress: 192.0.2.1}`, "spec.peerASN", noASN},
		{"both peer ASes", "v1beta2", "BGPPeer", peer(`, dynamicASN: external`), "spec.dynamicASN", oneASN},
		{"another dynamicASN", "v1beta2", "BGPPeer", `{myASN: 64512, dynamicASN: any, peerAddress: 192.0.2.1}`, "spec.dynamicASN", `supported values: "internal", "external"`},
		{"neither address nor interface", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64513}`, "spec.peerAddress", noAddress},
		{"an empty address", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: ""}`, "spec.peerAddress", noAddress},
		{"address and interface", "v1beta2", "BGPPeer", peer(`, interface: eth0`), "spec.interface", "set either peerAddress or interface, not both"},
		{"a host name", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: router.example}`, "spec.peerAddress", `"router.example" ` + notIP},
		{"a prefix for an address", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: "2001:db8::/64"}`, "spec.peerAddress", notIP},
		{"a bad source address", "v1beta2", "BGPPeer", peer(`, sourceAddress: 192.0.2`), "spec.sourceAddress", `"192.0.2" ` + notIP},
		{"a number as router ID", "v1beta2", "BGPPeer", peer(`, routerID: "7"`), "spec.routerID", `"7" ` + notRouterID},
		{"an IPv6 router ID", "v1beta2", "BGPPeer", peer(`, routerID: "2001:db8::1"`), "spec.routerID", notRouterID},
		{"a short hold time", "v1beta2", "BGPPeer", peer(`, holdTime: 2s`), "spec.holdTime", `hold time "2s" is too short: use 0s, which turns it off, or at least 3s`},
		{"a negative hold time", "v1beta2", "BGPPeer", peer(`, holdTime: -90s`), "spec.holdTime", "is too short"},
		{"a hold time without a unit", "v1beta2", "BGPPeer", peer(`, holdTime: "90"`), "spec.holdTime", `"90" ` + notDuration},
		{"an empty hold time", "v1beta2", "BGPPeer", peer(`, holdTime: ""`), "spec.holdTime", notDuration},
		{"a keepalive time in words", "v1beta2", "BGPPeer", peer(`, keepaliveTime: soon`), "spec.keepaliveTime", `"soon" ` + notDuration},
		{"a keepalive time in days", "v1beta2", "BGPPeer", peer(`, keepaliveTime: 1d`), "spec.keepaliveTime", notDuration},
		{"keepalive above hold", "v1beta2", "BGPPeer", peer(`, holdTime: 9s, keepaliveTime: 10s`), "spec.keepaliveTime", "keepaliveTime 10s is longer than holdTime 9s"},
		{"keepalive alone too short", "v1beta2", "BGPPeer", peer(`, keepaliveTime: 900ms`), "spec.keepaliveTime", "must be at least 1s"},
		{"a short connect time", "v1beta2", "BGPPeer", peer(`, connectTime: 0s`), "spec.connectTime", "connectTime must be from 1s to 65535s"},
		{"a long connect time", "v1beta2", "BGPPeer", peer(`, connectTime: 65536s`), "spec.connectTime", "connectTime must be from 1s to 65535s"},
		{"a broken connect time", "v1beta2", "BGPPeer", peer(`, connectTime: 1500ms`), "spec.connectTime", "connectTime must be in whole seconds"},
		{"a connect time in words", "v1beta2", "BGPPeer", peer(`, connectTime: soon`), "spec.connectTime", `"soon" ` + notDuration},
		{"port 0", "v1beta2", "BGPPeer", peer(`, peerPort: 0`), "spec.peerPort", "greater than or equal to 1"},
		{"port too large", "v1beta2", "BGPPeer", peer(`, peerPort: 16385`), "spec.peerPort", "less than or equal to 16384"},
		{"multihop inside an AS", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64512, peerAddress: "2001:db8::1", ebgpMultiHop: true}`, "spec.ebgpMultiHop", "ebgpMultiHop is for peers of another AS"},
		{"two passwords", "v1beta2", "BGPPeer", peer(`, password: x, passwordSecret: {name: s}`), "spec.passwordSecret", "set either password or passwordSecret, not both"},
		{"a password of two lines", "v1beta2", "BGPPeer", peer(`, password: "x\ny"`), "spec.password", "password must be a single line"},
		{"an interface of two lines", "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64513, interface: "eth0\r"}`, "spec.interface", "interface must be a single line"},
		{"a VRF of two lines", "v1beta2", "BGPPeer", peer(`, vrf: "red\n"`), "spec.vrf", "vrf must be a single line"},

		{"v1beta1: no address", "v1beta1", "BGPPeer", `{myASN: 64512, peerASN: 64513}`, "spec.peerAddress", "Required value"},
		{"v1beta1: an empty address", "v1beta1", "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: ""}`, "spec.peerAddress", `"" ` + notIP},
		{"v1beta1: myASN 0", "v1beta1", "BGPPeer", `{myASN: 0, peerASN: 64513, peerAddress: 192.0.2.1}`, "spec.myASN", "myASN must be the AS number of this side"},
		{"v1beta1: peerASN 0", "v1beta1", "BGPPeer", `{myASN: 64512, peerASN: 0, peerAddress: 192.0.2.1}`, "spec.peerASN", "peerASN must be the AS number of the peer"},
		{"v1beta1: a bad source address", "v1beta1", "BGPPeer", peer(`, sourceAddress: "::g"`), "spec.sourceAddress", notIP},
		{"v1beta1: an IPv6 router ID", "v1beta1", "BGPPeer", peer(`, routerID: "::1"`), "spec.routerID", notRouterID},
		{"v1beta1: a short hold time", "v1beta1", "BGPPeer", peer(`, holdTime: 1s`), "spec.holdTime", "is too short"},
		{"v1beta1: keepalive above hold", "v1beta1", "BGPPeer", peer(`, holdTime: 9s, keepaliveTime: 10s`), "spec.keepaliveTime", "is longer than holdTime"},
		{"v1beta1: keepalive alone too short", "v1beta1", "BGPPeer", peer(`, keepaliveTime: 500ms`), "spec.keepaliveTime", "must be at least 1s"},
		{"v1beta1: multihop inside an AS", "v1beta1", "BGPPeer", `{myASN: 64512, peerASN: 64512, peerAddress: 192.0.2.1, ebgpMultiHop: true}`, "spec.ebgpMultiHop", "ebgpMultiHop is for peers of another AS"},
		{"v1beta1: a password of two lines", "v1beta1", "BGPPeer", peer(`, password: "x\n"`), "spec.password", "password must be a single line"},
		{"v1beta1: port too large", "v1beta1", "BGPPeer", peer(`, peerPort: 16385`), "spec.peerPort", "less than or equal to 16384"},
		{"v1beta1: no values", "v1beta1", "BGPPeer", peer(`, nodeSelectors: [{matchExpressions: [{key: k, operator: Exists, values: []}]}]`), "spec.nodeSelectors[0].matchExpressions[0].values", "should have at least 1 items"},

		{"detectMultiplier 1", "v1beta1", "BFDProfile", `detectMultiplier: 1`, "spec.detectMultiplier", "greater than or equal to 2"},
		{"detectMultiplier 256", "v1beta1", "BFDProfile", `detectMultiplier: 256`, "spec.detectMultiplier", "less than or equal to 255"},
		{"receiveInterval 9", "v1beta1", "BFDProfile", `receiveInterval: 9`, "spec.receiveInterval", "greater than or equal to 10"},
		{"transmitInterval 60001", "v1beta1", "BFDProfile", `transmitInterval: 60001`, "spec.transmitInterval", "less than or equal to 60000"},
		{"echoInterval 9", "v1beta1", "BFDProfile", `echoInterval: 9`, "spec.echoInterval", "greater than or equal to 10"},
		{"minimumTtl 255", "v1beta1", "BFDProfile", `minimumTtl: 255`, "spec.minimumTtl", "less than or equal to 254"},
		{"weight 0", "v1beta1", "L2Advertisement", `preferredNodeSelectors: [{weight: 0, preference: {}}]`, "spec.preferredNodeSelectors[0].weight", "greater than or equal to 1"},
		{"weight 101", "v1beta1", "L2Advertisement", `preferredNodeSelectors: [{weight: 101, preference: {}}]`, "spec.preferredNodeSelectors[0].weight", "less than or equal to 100"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := create(t, object(t, test.version, test.kind, test.spec))
			require.Error(t, err)
			found := causes(t, err)
			for _, cause := range found {
				if cause.Field == test.path && strings.Contains(cause.Message, test.message) {
					return
				}
			}
			assert.Fail(t, "refused for another reason", "want %s: %s\ngot %+v", test.path, test.message, found)
		})
	}
}

// The rule on the order of a range must agree with the order of addresses, whatever bit the ends differ in.
func TestOrderOfRanges(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	differ := func(start netip.Addr, bit int) netip.Addr {
		bytes := start.AsSlice()
		bytes[bit/8] ^= 0x80 >> (bit % 8)
		for i := bit + 1; i < start.BitLen(); i++ {
			if random.IntN(2) == 0 {
				bytes[i/8] ^= 0x80 >> (i % 8)
			}
		}
		end, _ := netip.AddrFromSlice(bytes)
		return end
	}
	var addresses []any
	var want []string
	for _, bits := range []int{32, 128} {
		for range 2 {
			for bit := range bits {
				bytes := make([]byte, bits/8)
				for i := range bytes {
					bytes[i] = byte(random.Uint32())
				}
				start, _ := netip.AddrFromSlice(bytes)
				end := differ(start, bit)
				if end.Less(start) {
					want = append(want, fmt.Sprintf("spec.addresses[%d]", len(addresses)))
				}
				text := start.String() + "-" + end.String()
				if random.IntN(2) == 0 {
					text = start.StringExpanded() + " - " + strings.ToUpper(end.StringExpanded())
				}
				addresses = append(addresses, text)
			}
		}
	}
	o := object(t, "v1beta1", "IPAddressPool", "")
	o.Object["spec"] = map[string]any{"addresses": addresses}
	var got []string
	for _, cause := range causes(t, create(t, o)) {
		assert.Contains(t, cause.Message, "starts after its end")
		got = append(got, cause.Field)
	}
	slices.Sort(want)
	slices.Sort(got)
	assert.Equal(t, want, got)
}
