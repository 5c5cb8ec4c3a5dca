package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

const (
	setAside  = "; it is set aside; Services keep the addresses they have"
	lastValid = "; its last valid version stays in force"
	poolsOnly = "; of it, only which pools it selects is in force"
)

func objectMeta(name string, age int) metav1.ObjectMeta { return pool(name, age).ObjectMeta }

func community(name string, age int, pairs ...string) v1beta1.Community {
	c := v1beta1.Community{ObjectMeta: objectMeta(name, age)}
	for i := 0; i < len(pairs); i += 2 {
		c.Spec.Communities = append(c.Spec.Communities, v1beta1.CommunityAlias{Name: pairs[i], Value: pairs[i+1]})
	}
	return c
}

func bgp(name string, age int, change ...func(*v1beta1.BGPAdvertisementSpec)) v1beta1.BGPAdvertisement {
	a := v1beta1.BGPAdvertisement{ObjectMeta: objectMeta(name, age)}
	for _, c := range change {
		c(&a.Spec)
	}
	return a
}

func localPref(n uint32) func(*v1beta1.BGPAdvertisementSpec) {
	return func(s *v1beta1.BGPAdvertisementSpec) { s.LocalPref = n }
}

func communities(c ...string) func(*v1beta1.BGPAdvertisementSpec) {
	return func(s *v1beta1.BGPAdvertisementSpec) { s.Communities = c }
}

func pools(names ...string) func(*v1beta1.BGPAdvertisementSpec) {
	return func(s *v1beta1.BGPAdvertisementSpec) { s.IPAddressPools = names }
}

func lengths(v4, v6 int32) func(*v1beta1.BGPAdvertisementSpec) {
	return func(s *v1beta1.BGPAdvertisementSpec) { s.AggregationLength, s.AggregationLengthV6 = &v4, &v6 }
}

func peers(names ...string) func(*v1beta1.BGPAdvertisementSpec) {
	return func(s *v1beta1.BGPAdvertisementSpec) { s.Peers = names }
}

func onNodes(kv ...string) func(*v1beta1.BGPAdvertisementSpec) {
	return func(s *v1beta1.BGPAdvertisementSpec) { s.NodeSelectors = selectorsOf(kv...) }
}

func forServices(kv ...string) func(*v1beta1.BGPAdvertisementSpec) {
	return func(s *v1beta1.BGPAdvertisementSpec) { s.ServiceSelectors = selectorsOf(kv...) }
}

func selectorsOf(kv ...string) []metav1.LabelSelector {
	var out []metav1.LabelSelector
	for i := 0; i < len(kv); i += 2 {
		out = append(out, metav1.LabelSelector{MatchLabels: map[string]string{kv[i]: kv[i+1]}})
	}
	return out
}

var badSelector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}

func fromNode(p v1beta2.BGPPeer, annotation, key string) v1beta2.BGPPeer {
	p.Annotations = map[string]string{annotation: key}
	return p
}

func bgpPeer(name string, age int, change ...func(*v1beta2.BGPPeerSpec)) v1beta2.BGPPeer {
	p := v1beta2.BGPPeer{ObjectMeta: objectMeta(name, age), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "192.0.2.1"}}
	for _, c := range change {
		c(&p.Spec)
	}
	return p
}

// kinds renders what is in force of the kinds other than pools, and all faults without the object's namespace.
func kinds(s *Snapshot) []string {
	var out []string
	for _, c := range s.Communities() {
		out = append(out, fmt.Sprintf("community %s %v", c.Ref.Name, c.Aliases))
	}
	for _, a := range s.BGPAdvertisements() {
		line := fmt.Sprintf("bgp %s localPref=%d %v", a.Ref.Name, a.LocalPref, a.Communities)
		if a.PoolsOnly {
			line = fmt.Sprintf("bgp %s pools only", a.Ref.Name)
		}
		for _, p := range s.Pools() {
			if a.Selects(p) {
				line += " " + p.Name
			}
		}
		out = append(out, line)
	}
	for _, a := range s.L2Advertisements() {
		out = append(out, "l2 "+a.Ref.Name)
	}
	for _, p := range s.BFDProfiles() {
		out = append(out, "bfd "+p.Ref.Name)
	}
	for _, p := range s.BGPPeers() {
		line := "peer " + p.Ref.Name + " " + p.session()
		if p.BFD != nil {
			line += " bfd " + p.BFD.Ref.Name
		}
		out = append(out, line)
	}
	for _, f := range s.Faults() {
		out = append(out, "! "+strings.ReplaceAll(f.String(), "metallb-system/", ""))
	}
	return out
}

func TestBuildKinds(t *testing.T) {
	both := []v1beta1.IPAddressPool{pool("a", 9, "10.0.0.0/24"), pool("b", 8, "2001:db8::/64")}
	const twice = `: spec.localPref: 2 differs from 1 of BGPAdvertisement "old", which advertises pool "a" to the same peers; give both the same localPref, or other pools, peers, nodes or aggregation lengths`
	for _, tc := range []struct {
		name    string
		history []Objects // the last one is what is looked at
		want    []string
	}{
		{
			name: "aliases are resolved",
			history: []Objects{{
				Pools: both, Communities: []v1beta1.Community{community("c", 0, "gold", "64512:1", "big", "large:4200000000:1:2")},
				BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("adv", 0, communities("gold", "big", "64512:1", "64512:7"))},
			}},
			want: []string{"community c map[big:large:4200000000:1:2 gold:64512:1]", "bgp adv localPref=0 [64512:1 large:4200000000:1:2 64512:7] a b"},
		},
		{
			name: "values that are no communities",
			history: []Objects{{
				Pools:             both,
				Communities:       []v1beta1.Community{community("c", 0, "a", "1", "b", "65536:1", "c", "large:1:2", "d", "large:1:2:4294967296", "e", "1:-1", "f", "")},
				BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("adv", 0, communities("65536:1", "x:y"))},
			}},
			want: func() []string {
				const tail = " is not a BGP community: use two numbers up to 65535 like 64512:100, or large:64512:1:2 with numbers up to 4294967295"
				out := []string{"bgp adv pools only a b"}
				for i, v := range []string{"65536:1", "x:y"} {
					out = append(out, fmt.Sprintf("! BGPAdvertisement adv: spec.communities[%d]: %q%s%s", i, v, tail, poolsOnly))
				}
				for i, v := range []string{"1", "65536:1", "large:1:2", "large:1:2:4294967296", "1:-1", ""} {
					out = append(out, fmt.Sprintf("! Community c: spec.communities[%d].value: %q%s%s", i, v, tail, setAside))
				}
				return out
			}(),
		},
		{
			name: "an alias belongs to the older Community",
			history: []Objects{{Communities: []v1beta1.Community{
				community("young", 1, "gold", "64512:2", "blue", "64512:3"), community("old", 2, "gold", "64512:1"), community("self", 0, "x", "1:1", "x", "1:2"),
			}}},
			want: []string{
				"community old map[gold:64512:1]",
				`! Community self: spec.communities[1].name: the alias "x" is defined twice; give each community its own name` + setAside,
				`! Community young: spec.communities[0].name: the alias "gold" is defined in Community "old" already; give each community its own name` + setAside,
			},
		},
		{
			name:    "age decides, not the name",
			history: []Objects{{Communities: []v1beta1.Community{community("a", 1, "gold", "64512:2"), community("b", 2, "gold", "64512:1")}}},
			want: []string{
				"community b map[gold:64512:1]",
				`! Community a: spec.communities[0].name: the alias "gold" is defined in Community "b" already; give each community its own name` + setAside,
			},
		},
		{
			name: "an edit never takes an alias from a Community that was not changed",
			history: []Objects{
				{Communities: []v1beta1.Community{community("young", 1, "gold", "64512:2"), community("old", 2, "blue", "64512:1")}},
				{Communities: []v1beta1.Community{community("young", 1, "gold", "64512:2"), community("old", 2, "gold", "64512:1")}},
			},
			want: []string{
				"community old map[blue:64512:1]", "community young map[gold:64512:2]",
				`! Community old: spec.communities[0].name: the alias "gold" is defined in Community "young" already; give each community its own name` + lastValid,
			},
		},
		{
			name:    "an unknown alias leaves the pools advertised",
			history: []Objects{{Pools: both, BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("adv", 0, communities("gold"), localPref(7), pools("b"))}}},
			want: []string{
				"bgp adv pools only b",
				`! BGPAdvertisement adv: spec.communities[0]: no valid Community defines the alias "gold"; define it, or use a value like 64512:100` + poolsOnly,
			},
		},
		{
			name: "an alias that goes away leaves the communities as they were",
			history: []Objects{
				{Pools: both, Communities: []v1beta1.Community{community("c", 0, "gold", "64512:1")}, BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("adv", 0, communities("gold"))}},
				{Pools: both, BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("adv", 0, communities("gold"))}},
			},
			want: []string{
				"bgp adv localPref=0 [64512:1] a b",
				`! BGPAdvertisement adv: spec.communities[0]: no valid Community defines the alias "gold"; define it, or use a value like 64512:100` + lastValid,
			},
		},
		{
			name:    "of two that contradict each other, the younger one keeps its pools only",
			history: []Objects{{Pools: both, BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("young", 1, localPref(2)), bgp("old", 2, localPref(1))}}},
			want:    []string{"bgp old localPref=1 [] a b", "bgp young pools only a b", "! BGPAdvertisement young" + twice + poolsOnly},
		},
		{
			name: "an edit to a contradiction leaves the advertisement as it was",
			history: []Objects{
				{Pools: both, BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("young", 1, localPref(1), pools("a")), bgp("old", 2, localPref(1))}},
				{Pools: both, BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("young", 1, localPref(2)), bgp("old", 2, localPref(1))}},
			},
			want: []string{"bgp old localPref=1 [] a b", "bgp young localPref=1 [] a", "! BGPAdvertisement young" + twice + lastValid},
		},
		{
			name: "a new pool that brings the contradiction",
			history: []Objects{
				{BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("young", 1, localPref(2)), bgp("old", 2, localPref(1))}},
				{Pools: both[:1], BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("young", 1, localPref(2)), bgp("old", 2, localPref(1))}},
			},
			want: []string{"bgp old localPref=1 [] a", "bgp young pools only a", "! BGPAdvertisement young" + twice + poolsOnly},
		},
		{
			name: "no contradiction",
			history: []Objects{{Pools: both, BGPAdvertisements: []v1beta1.BGPAdvertisement{
				bgp("1", 9, localPref(1), pools("a"), peers("x")), bgp("2", 8, localPref(2), pools("a"), peers("y")), // other peers
				bgp("3", 7, localPref(3), pools("b"), onNodes("rack", "1")), bgp("4", 6, localPref(4), pools("b"), onNodes("rack", "2")), // other nodes
				bgp("5", 5, localPref(5), pools("b"), lengths(32, 64)), // another length
				bgp("6", 4, localPref(6), forServices("app", "web")),
			}}},
			want: []string{
				"bgp 1 localPref=1 [] a", "bgp 2 localPref=2 [] a", "bgp 3 localPref=3 [] b", "bgp 4 localPref=4 [] b", "bgp 5 localPref=5 [] b",
				"bgp 6 localPref=6 [] a b",
			},
		},
		{
			name: "aggregation has to stay inside an entry",
			history: []Objects{{
				Pools: []v1beta1.IPAddressPool{pool("a", 9, "10.0.0.0/24", "10.0.1.1-10.0.1.4"), pool("b", 8, "2001:db8::/64")},
				BGPAdvertisements: []v1beta1.BGPAdvertisement{
					bgp("fits", 3, lengths(31, 64)), bgp("short4", 2, lengths(30, 64)), bgp("short6", 1, lengths(31, 63)), bgp("svc", 0, lengths(31, 128), forServices("a", "b")),
				},
			}},
			want: []string{
				"bgp fits localPref=0 [] a b", "bgp short4 pools only a b", "bgp short6 pools only a b", "bgp svc pools only a b",
				`! BGPAdvertisement short4: spec.aggregationLength: 30 is too short for 10.0.1.1-10.0.1.4 of pool "a": the prefix would cover addresses outside; use at least 31` + poolsOnly,
				`! BGPAdvertisement short6: spec.aggregationLengthV6: 63 is too short for 2001:db8::-2001:db8::ffff:ffff:ffff:ffff of pool "b": the prefix would cover addresses outside; use at least 64` + poolsOnly,
				`! BGPAdvertisement svc: spec.serviceSelectors: serviceSelectors need whole addresses: leave aggregationLength at 32 and aggregationLengthV6 at 128` + poolsOnly,
			},
		},
		{
			name: "duplicate entries and bad selectors",
			history: []Objects{{
				Pools: both,
				BGPAdvertisements: []v1beta1.BGPAdvertisement{
					bgp("list", 0, pools("a", "a"), peers("x", "x"), onNodes("n", "1", "n", "1")),
					bgp("pools", 0, func(s *v1beta1.BGPAdvertisementSpec) { s.IPAddressPoolSelectors = []metav1.LabelSelector{badSelector} }),
				},
				L2Advertisements: []v1beta1.L2Advertisement{
					{ObjectMeta: objectMeta("good", 0), Spec: v1beta1.L2AdvertisementSpec{Interfaces: []string{"eth0"}}},
					{ObjectMeta: objectMeta("bad", 0), Spec: v1beta1.L2AdvertisementSpec{
						NodeSelectors:          []metav1.LabelSelector{badSelector},
						PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{{Weight: 101}},
					}},
				},
			}},
			want: []string{
				"bgp list pools only a", "l2 good",
				`! BGPAdvertisement list: spec.ipAddressPools[1]: "a" is listed twice; list each one once` + poolsOnly,
				`! BGPAdvertisement list: spec.nodeSelectors[1]: "n=1" is listed twice; list each one once` + poolsOnly,
				`! BGPAdvertisement list: spec.peers[1]: "x" is listed twice; list each one once` + poolsOnly,
				`! BGPAdvertisement pools: spec.ipAddressPoolSelectors[0]: "Near" is not a valid label selector operator` + setAside,
				`! L2Advertisement bad: spec.nodeSelectors[0]: "Near" is not a valid label selector operator` + setAside,
				`! L2Advertisement bad: spec.preferredNodeSelectors[0].weight: 101 is not a weight; use a number from 1 to 100` + setAside,
			},
		},
		{
			name: "the same peer twice",
			history: []Objects{{BGPPeers: []v1beta2.BGPPeer{
				bgpPeer("old", 9), bgpPeer("young", 1), bgpPeer("port", 1, func(s *v1beta2.BGPPeerSpec) { s.PeerPort = 1179 }),
				bgpPeer("vrf", 1, func(s *v1beta2.BGPPeerSpec) { s.VRFName = "red" }),
				bgpPeer("six", 9, func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "2001:db8::1" }),
				bgpPeer("six2", 1, func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "2001:DB8:0::1" }),
				bgpPeer("rack1", 9, func(s *v1beta2.BGPPeerSpec) {
					s.PeerAddress, s.Interface, s.NodeSelectors = "", "eth0", selectorsOf("rack", "1")
				}),
				bgpPeer("rack2", 9, func(s *v1beta2.BGPPeerSpec) {
					s.PeerAddress, s.Interface, s.NodeSelectors = "", "eth0", selectorsOf("rack", "2")
				}),
			}}},
			want: []string{
				"peer old 192.0.2.1 port 179", "peer port 192.0.2.1 port 1179", "peer rack1 eth0 port 179", "peer rack2 eth0 port 179",
				"peer six 2001:db8::1 port 179", `peer vrf 192.0.2.1 port 179 in VRF "red"`,
				`! BGPPeer six2: spec.peerAddress: 2001:db8::1 port 179 is the peer of BGPPeer "six" already; remove one of them, or give them different nodes` + setAside,
				`! BGPPeer young: spec.peerAddress: 192.0.2.1 port 179 is the peer of BGPPeer "old" already; remove one of them, or give them different nodes` + setAside,
			},
		},
		{
			name: "peers whose address comes from Nodes",
			history: []Objects{{BGPPeers: []v1beta2.BGPPeer{
				fromNode(bgpPeer("a", 9), annotationPeerAddressFrom, "example.com/tor-a"), fromNode(bgpPeer("b", 8), annotationPeerAddressFrom, "example.com/tor-b"),
				fromNode(bgpPeer("c", 1), annotationPeerAddressFrom, "example.com/tor-a"), fromNode(bgpPeer("d", 9), annotationMyASNFrom, "not a key"),
				bgpPeer("e", 9),
			}}},
			want: []string{
				`peer a the address in the Nodes' annotation "example.com/tor-a" port 179`, `peer b the address in the Nodes' annotation "example.com/tor-b" port 179`,
				"peer e 192.0.2.1 port 179",
				`! BGPPeer c: spec.peerAddress: the address in the Nodes' annotation "example.com/tor-a" port 179 is the peer of BGPPeer "a" already; ` +
					`remove one of them, or give them different nodes` + setAside,
				`! BGPPeer d: metadata.annotations[fairlead.io/my-asn-from]: "not a key" is not the key of an annotation of Nodes: name part must consist of ` +
					`alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', ` +
					`regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')` + setAside,
			},
		},
		{
			name: "a peer keeps the BFD profile that it had, and its place",
			history: []Objects{
				{BFDProfiles: []v1beta1.BFDProfile{{ObjectMeta: objectMeta("fast", 0)}}, BGPPeers: []v1beta2.BGPPeer{bgpPeer("main", 0, func(s *v1beta2.BGPPeerSpec) { s.BFDProfile = "fast" })}},
				{BGPPeers: []v1beta2.BGPPeer{bgpPeer("main", 0, func(s *v1beta2.BGPPeerSpec) { s.BFDProfile = "fast" }), bgpPeer("other", 5)}},
			},
			want: []string{
				"peer main 192.0.2.1 port 179 bfd fast",
				`! BGPPeer main: spec.bfdProfile: there is no valid BFDProfile "fast"; create it, or remove the reference` + lastValid,
				`! BGPPeer other: spec.peerAddress: 192.0.2.1 port 179 is the peer of BGPPeer "main" already; remove one of them, or give them different nodes` + setAside,
			},
		},
		{
			name: "BFD numbers out of range",
			history: []Objects{{BFDProfiles: []v1beta1.BFDProfile{
				{ObjectMeta: objectMeta("good", 0), Spec: v1beta1.BFDProfileSpec{ReceiveInterval: new(uint32(10)), DetectMultiplier: new(uint32(255))}},
				{ObjectMeta: objectMeta("bad", 0), Spec: v1beta1.BFDProfileSpec{TransmitInterval: new(uint32(9)), MinimumTTL: new(uint32(255))}},
			}}},
			want: []string{
				"bfd good",
				"! BFDProfile bad: spec.minimumTtl: 255 is out of range; use 1 to 254" + setAside,
				"! BFDProfile bad: spec.transmitInterval: 9 is out of range; use 10 to 60000 milliseconds" + setAside,
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s *Snapshot
			for _, o := range tc.history {
				s = Build(o, s)
			}
			assert.Equal(t, tc.want, kinds(s))

			rng := rand.New(rand.NewPCG(1, 1))
			for range 20 {
				var s *Snapshot
				for _, o := range tc.history {
					shuffle(rng, o.Pools)
					shuffle(rng, o.Communities)
					shuffle(rng, o.BGPAdvertisements)
					shuffle(rng, o.BGPPeers)
					s = Build(o, s)
				}
				require.Equal(t, tc.want, kinds(s), "in another order")
			}
		})
	}
}

func shuffle[T any](rng *rand.Rand, in []T) {
	rng.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
}

func TestBGPPeerRules(t *testing.T) {
	duration := func(s string) *metav1.Duration {
		d, err := time.ParseDuration(s)
		require.NoError(t, err)
		return &metav1.Duration{Duration: d}
	}
	for _, tc := range []struct {
		name   string
		change func(*v1beta2.BGPPeerSpec)
		want   string // the field at fault; empty if there is none
	}{
		{name: "IPv4", change: func(*v1beta2.BGPPeerSpec) {}},
		{name: "IPv6", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.SourceAddress = "2001:db8::1", "2001:db8::2" }},
		{name: "no myASN", change: func(s *v1beta2.BGPPeerSpec) { s.MyASN = 0 }, want: "spec.myASN"},
		{name: "no peerASN", change: func(s *v1beta2.BGPPeerSpec) { s.PeerASN = 0 }, want: "spec.peerASN"},
		{name: "dynamic", change: func(s *v1beta2.BGPPeerSpec) { s.PeerASN, s.DynamicASN = 0, "external" }},
		{name: "both ASNs", change: func(s *v1beta2.BGPPeerSpec) { s.DynamicASN = "external" }, want: "spec.dynamicASN"},
		{name: "no such mode", change: func(s *v1beta2.BGPPeerSpec) { s.PeerASN, s.DynamicASN = 0, "any" }, want: "spec.dynamicASN"},
		{name: "nobody", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "" }, want: "spec.peerAddress"},
		{name: "no address", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "192.0.2.300" }, want: "spec.peerAddress"},
		{name: "address and interface", change: func(s *v1beta2.BGPPeerSpec) { s.Interface = "eth0" }, want: "spec.interface"},
		{name: "no router's address", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "0.0.0.0" }, want: "spec.peerAddress"},
		{name: "no router's address, IPv6", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "::" }, want: "spec.peerAddress"},
		{name: "all hosts", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "255.255.255.255" }, want: "spec.peerAddress"},
		{name: "multicast", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "224.0.0.5" }, want: "spec.peerAddress"},
		{name: "multicast, IPv6", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "ff02::5" }, want: "spec.peerAddress"},
		{name: "link-local", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "fe80::1" }, want: "spec.peerAddress"},
		{name: "link-local with a zone", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "fe80::1%eth0" }, want: "spec.peerAddress"},
		{name: "with a zone", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "2001:db8::1%eth0" }, want: "spec.peerAddress"},
		{name: "IPv4 link-local", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "169.254.0.1" }},
		{name: "source with a zone", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.SourceAddress = "2001:db8::1", "fe80::2%eth0" }, want: "spec.sourceAddress"},
		{name: "source unspecified", change: func(s *v1beta2.BGPPeerSpec) { s.SourceAddress = "0.0.0.0" }, want: "spec.sourceAddress"},
		{name: "interface with a tab", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.Interface = "", "eth\t0" }, want: "spec.interface"},
		{name: "password", change: func(s *v1beta2.BGPPeerSpec) { s.Password = `f"ull \ of: marks $ü` }},
		{name: "password ends in a newline", change: func(s *v1beta2.BGPPeerSpec) { s.Password = "secret\n" }, want: "spec.password"},
		{name: "password of two lines", change: func(s *v1beta2.BGPPeerSpec) { s.Password = "se\ncret" }, want: "spec.password"},
		{name: "password with a control character", change: func(s *v1beta2.BGPPeerSpec) { s.Password = "se\x07cret" }, want: "spec.password"},
		{name: "password of 80 bytes", change: func(s *v1beta2.BGPPeerSpec) { s.Password = strings.Repeat("ü", 40) }},
		{name: "password of 81 bytes", change: func(s *v1beta2.BGPPeerSpec) { s.Password = strings.Repeat("x", 81) }, want: "spec.password"},
		{name: "interface of two lines", change: func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.Interface = "", "eth0\nexit" }, want: "spec.interface"},
		{name: "source", change: func(s *v1beta2.BGPPeerSpec) { s.SourceAddress = "here" }, want: "spec.sourceAddress"},
		{name: "port", change: func(s *v1beta2.BGPPeerSpec) { s.PeerPort = 16385 }, want: "spec.peerPort"},
		{name: "router ID", change: func(s *v1beta2.BGPPeerSpec) { s.RouterID = "2001:db8::1" }, want: "spec.routerID"},
		{name: "multihop in one AS", change: func(s *v1beta2.BGPPeerSpec) { s.PeerASN, s.EBGPMultiHop = 64512, true }, want: "spec.ebgpMultiHop"},
		{name: "multihop", change: func(s *v1beta2.BGPPeerSpec) { s.EBGPMultiHop = true }},
		{name: "two passwords", change: func(s *v1beta2.BGPPeerSpec) { s.Password, s.PasswordSecret.Name = "a", "b" }, want: "spec.passwordSecret"},
		{name: "hold time", change: func(s *v1beta2.BGPPeerSpec) { s.HoldTime = duration("2s") }, want: "spec.holdTime"},
		{name: "hold time off", change: func(s *v1beta2.BGPPeerSpec) { s.HoldTime = duration("0s") }},
		{name: "negative hold time", change: func(s *v1beta2.BGPPeerSpec) { s.HoldTime = duration("-3s") }, want: "spec.holdTime"},
		{name: "keepalive too long", change: func(s *v1beta2.BGPPeerSpec) { s.HoldTime, s.KeepaliveTime = duration("9s"), duration("10s") }, want: "spec.keepaliveTime"},
		{name: "keepalive alone", change: func(s *v1beta2.BGPPeerSpec) { s.KeepaliveTime = duration("1s") }},
		{name: "keepalive alone too short", change: func(s *v1beta2.BGPPeerSpec) { s.KeepaliveTime = duration("500ms") }, want: "spec.keepaliveTime"},
		{name: "connect time", change: func(s *v1beta2.BGPPeerSpec) { s.ConnectTime = duration("1500ms") }, want: "spec.connectTime"},
		{name: "node selector", change: func(s *v1beta2.BGPPeerSpec) { s.NodeSelectors = []metav1.LabelSelector{badSelector} }, want: "spec.nodeSelectors[0]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := Build(Objects{BGPPeers: []v1beta2.BGPPeer{bgpPeer("p", 0, tc.change)}}, nil)
			if tc.want == "" {
				require.Empty(t, s.Faults())
				require.Len(t, s.BGPPeers(), 1)
				return
			}
			require.Len(t, s.Faults(), 1)
			assert.Equal(t, tc.want, s.Faults()[0].Field)
			assert.Empty(t, s.BGPPeers())
		})
	}
	s := Build(Objects{BGPPeers: []v1beta2.BGPPeer{
		bgpPeer("hold", 0, func(s *v1beta2.BGPPeerSpec) { s.HoldTime = duration("90s") }),
		bgpPeer("keepalive", 0, func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.KeepaliveTime = "2001:db8::1", duration("10s") }),
	}}, nil)
	assert.Equal(t, 30*time.Second, *s.BGPPeers()[0].KeepaliveTime)
	assert.Equal(t, 30*time.Second, *s.BGPPeers()[1].HoldTime)
}

// TestPasswordProblem: what a password cannot be is said, without repeating it; a newline at its end, the most frequent fault, by name.
func TestPasswordProblem(t *testing.T) {
	for _, tc := range []struct{ password, want string }{
		{"secret", ""},
		{`back\slash "quote" ü`, ""},
		{"", "the password is empty"},
		{"\n", "the password is nothing but a newline"},
		{"hunter2\n", "the password ends in a newline"},
		{"hunter2\r\n", "the password ends in a newline"},
		{"hun\nter2\n", "control character (U+000A, after 3 bytes)"},
		{"hun\x00ter2", "control character (U+0000, after 3 bytes)"},
		{"hun\u0085ter2", "control character (U+0085, after 3 bytes)"},
		{"hunter2\xff", "not text in UTF-8"},
		{strings.Repeat("hunter2 ", 11), "88 bytes, and TCP MD5 takes 80 at most"},
	} {
		got := PasswordProblem(tc.password)
		if tc.want == "" {
			assert.Empty(t, got, "%q", tc.password)
			continue
		}
		assert.Contains(t, got, tc.want, "%q", tc.password)
		assert.NotContains(t, got, "hunter2")
	}
}

// TestRouterProblem: who gives the address of a link is told of interface.
func TestRouterProblem(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "", "2001:db8::1": "", "fd00::1": "", "169.254.0.1": "",
		"fe80::1": "set interface", "fe80::1%eth0": "set interface", "2001:db8::1%eth0": "use 2001:db8::1",
		"::": "use one like", "0.0.0.0": "use one like", "224.0.0.1": "use one like", "ff02::1": "use one like",
	} {
		got := RouterProblem(netip.MustParseAddr(addr))
		if want == "" {
			assert.Empty(t, got, addr)
		} else {
			assert.Contains(t, got, want, addr)
			assert.Contains(t, got, addr)
		}
	}
}

// TestListedTwice: an interface or a preference that is listed twice is one that was meant, as with MetalLB; weights add up.
func TestListedTwice(t *testing.T) {
	near := metav1.LabelSelector{MatchLabels: map[string]string{"rack": "1"}}
	s := Build(Objects{L2Advertisements: []v1beta1.L2Advertisement{{ObjectMeta: objectMeta("lan", 0), Spec: v1beta1.L2AdvertisementSpec{
		Interfaces:             []string{"eth1", "eth0", "eth1"},
		PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{{Weight: 10, Preference: near}, {Weight: 10, Preference: near}, {Weight: 5, Preference: near}},
	}}}}, nil)
	require.Empty(t, s.Faults())
	require.Len(t, s.L2Advertisements(), 1)
	assert.Equal(t, []string{"eth1", "eth0"}, s.L2Advertisements()[0].Interfaces)
	assert.Equal(t, 25, s.L2Advertisements()[0].Preference(labels.Set{"rack": "1"}))
	assert.Zero(t, s.L2Advertisements()[0].Preference(labels.Set{"rack": "2"}))
}

func TestPeerThatCannotBeDecoded(t *testing.T) {
	untyped := func(name, hold string) unstructured.Unstructured {
		u := *untypedPeer()
		u.SetName(name)
		u.SetNamespace("metallb-system")
		u.SetUID(types.UID("uid-" + name))
		u.Object["spec"] = map[string]any{"myASN": int64(64512), "peerASN": int64(64513), "peerAddress": "2001:db8::1", "holdTime": hold}
		return u
	}
	peers, unreadable := decodePeers([]unstructured.Unstructured{untyped("a", "soon"), untyped("b", "90s")})
	s := Build(Objects{BGPPeers: peers, Unreadable: unreadable}, nil)
	require.Len(t, s.BGPPeers(), 1)
	assert.Equal(t, "b", s.BGPPeers()[0].Ref.Name)
	require.Len(t, s.Faults(), 1)
	assert.Contains(t, s.Faults()[0].String(), `BGPPeer metallb-system/a: spec: the peer cannot be read: `)
}

func TestSelections(t *testing.T) {
	o := v1beta1.L2Advertisement{ObjectMeta: objectMeta("l2", 0), Spec: v1beta1.L2AdvertisementSpec{
		NodeSelectors: selectorsOf("rack", "1", "rack", "2"), ServiceSelectors: selectorsOf("app", "web"),
		PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{
			{Weight: 10, Preference: selectorsOf("rack", "1")[0]}, {Weight: 5, Preference: selectorsOf("nic", "fast")[0]},
		},
	}}
	a := Build(Objects{L2Advertisements: []v1beta1.L2Advertisement{o}}, nil).L2Advertisements()[0]
	assert.True(t, a.SelectsNode(labels.Set{"rack": "2"}))
	assert.False(t, a.SelectsNode(labels.Set{"rack": "3"}))
	assert.True(t, a.SelectsService(labels.Set{"app": "web"}))
	assert.False(t, a.SelectsService(nil))
	assert.Equal(t, 15, a.Preference(labels.Set{"rack": "1", "nic": "fast"}))
}

func TestUnknownBackend(t *testing.T) {
	meta := metav1.ObjectMeta{Namespace: "metallb-system", Name: "a", Annotations: map[string]string{annotationBackend: "metal"}}
	s := Build(Objects{
		BGPAdvertisements: []v1beta1.BGPAdvertisement{{ObjectMeta: meta}}, L2Advertisements: []v1beta1.L2Advertisement{{ObjectMeta: meta}},
	}, nil)
	require.Len(t, s.Faults(), 2)
	for _, f := range s.Faults() {
		assert.Equal(t, "metadata.annotations[fairlead.io/backend]", f.Field)
		assert.Equal(t, `"metal" is not a backend; use one of calico, cilium, speaker, none, or leave it out`, f.Problem)
	}
}
