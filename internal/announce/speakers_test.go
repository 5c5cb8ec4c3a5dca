package announce

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

var (
	v4 = netip.MustParseAddr("192.0.2.7")
	v6 = netip.MustParseAddr("2001:db8::7")
)

// cluster returns an input in which three nodes can announce a Service with one address of each family.
func cluster(change ...func(*LocalInput)) LocalInput {
	in := LocalInput{
		Snapshot: snapshot(v1beta1.L2AdvertisementSpec{}), Serves: func(*config.L2Advertisement) bool { return true },
		Services: []Service{{
			Namespace: "default", Name: "web", Labels: labels.Set{"app": "web"}, Pools: []string{"main"}, Addrs: []netip.Addr{v4, v6},
			Endpoints: Endpoints{Any: true, Nodes: map[string]bool{"n2": true}},
		}},
		Nodes: map[string]Node{}, Speakers: map[string]Speaker{}, Sticky: true,
	}
	for _, n := range []string{"n1", "n2", "n3"} {
		in.Nodes[n] = Node{Labels: labels.Set{"kubernetes.io/hostname": n}}
		in.Speakers[n] = Speaker{Links: []backends.Link{{
			Name: "eth0", IPv4: true, IPv6: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")},
		}}}
	}
	for _, c := range change {
		c(&in)
	}
	return in
}

func snapshot(specs ...v1beta1.L2AdvertisementSpec) *config.Snapshot {
	o := config.Objects{Pools: []v1beta1.IPAddressPool{{
		ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.2.0/24", "2001:db8::/64"}},
	}}}
	for i, s := range specs {
		o.L2Advertisements = append(o.L2Advertisements, v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("l2-%d", i)}, Spec: s})
	}
	return config.Build(o, nil)
}

// hostname selects a node.
func hostname(names ...string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "kubernetes.io/hostname", Operator: metav1.LabelSelectorOpIn, Values: names}}}
}

// byHash returns the nodes in the order of MetalLB's hash, computed apart.
func byHash(addr netip.Addr, nodes ...string) []string {
	slices.SortFunc(nodes, func(a, b string) int {
		x, y := sha256.Sum256([]byte(a+"#"+addr.String())), sha256.Sum256([]byte(b+"#"+addr.String()))
		return bytes.Compare(x[:], y[:])
	})
	return nodes
}

func on(in *LocalInput, node string, change func(*Node)) {
	n := in.Nodes[node]
	change(&n)
	in.Nodes[node] = n
}

func at(in *LocalInput, node string, change func(*Speaker)) {
	s := in.Speakers[node]
	change(&s)
	in.Speakers[node] = s
}

func TestPlace(t *testing.T) {
	four, six := byHash(v4, "n1", "n2", "n3"), byHash(v6, "n1", "n2", "n3")
	preferred := func(weight int, names ...string) v1beta1.PreferredNodeSelector {
		return v1beta1.PreferredNodeSelector{Weight: int32(weight), Preference: hostname(names...)}
	}
	for _, tc := range []struct {
		name       string
		change     func(*LocalInput)
		v4, v6     string // the nodes
		interfaces []string
		claimants  []string
		reason     string // of v4, if no node announces it
		message    string
	}{
		{name: "the hash decides", v4: four[0], v6: six[0]},
		{name: "the next one of the hash", change: func(in *LocalInput) { delete(in.Speakers, four[0]); delete(in.Speakers, six[0]) }, v4: next(four, four[0], six[0]), v6: next(six, four[0], six[0])},
		{name: "who has it keeps it", change: func(in *LocalInput) {
			at(in, four[2], func(s *Speaker) { s.Claims = map[netip.Addr]bool{v4: true} })
			at(in, six[2], func(s *Speaker) { s.Claims = merge(s.Claims, v6) })
		}, v4: four[2], v6: six[2]},
		{name: "not if it is not to be sticky", change: func(in *LocalInput) {
			in.Sticky = false
			at(in, four[2], func(s *Speaker) { s.Claims = map[netip.Addr]bool{v4: true} })
		}, v4: four[0], v6: six[0], claimants: []string{four[2]}},
		{name: "of two that have it, the hash decides", change: func(in *LocalInput) {
			for _, n := range four[1:] {
				at(in, n, func(s *Speaker) { s.Claims = map[netip.Addr]bool{v4: true} })
			}
		}, v4: four[1], v6: six[0], claimants: []string{four[2]}},
		{name: "a preference moves it", change: func(in *LocalInput) {
			in.Snapshot = snapshot(v1beta1.L2AdvertisementSpec{NodeSelectors: nil, PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{preferred(10, four[2])}})
			at(in, four[0], func(s *Speaker) { s.Claims = map[netip.Addr]bool{v4: true} })
		}, v4: four[2], v6: four[2], claimants: []string{four[0]}},
		{name: "preferences of several advertisements add up", change: func(in *LocalInput) {
			in.Snapshot = snapshot(
				v1beta1.L2AdvertisementSpec{PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{preferred(10, "n1", "n2")}},
				v1beta1.L2AdvertisementSpec{PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{preferred(5, "n2"), preferred(14, "n3")}})
		}, v4: "n2", v6: "n2"},
		{name: "a preference for nodes that its advertisement does not select does not count", change: func(in *LocalInput) {
			in.Snapshot = snapshot(
				v1beta1.L2AdvertisementSpec{},
				v1beta1.L2AdvertisementSpec{NodeSelectors: []metav1.LabelSelector{hostname(four[0])}, PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{preferred(10, four[2], six[2])}})
		}, v4: four[0], v6: six[0]},
		{name: "sharing, and another advertisement has a selector that does not select the Service", change: func(in *LocalInput) {
			in.Services[0].Shares = true
			in.Snapshot = snapshot(v1beta1.L2AdvertisementSpec{}, v1beta1.L2AdvertisementSpec{ServiceSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"app": "db"}}}})
		}, v4: four[0], v6: six[0]},
		{name: "a node that is not ready is passed over", change: func(in *LocalInput) {
			on(in, four[0], func(n *Node) { n.NotReady = true })
			at(in, four[0], func(s *Speaker) { s.Claims = map[netip.Addr]bool{v4: true} })
		}, v4: four[1], v6: next(six, four[0])},
		{name: "unless none is ready", change: func(in *LocalInput) {
			for n := range in.Nodes {
				on(in, n, func(n *Node) { n.NotReady = true })
			}
		}, v4: four[0], v6: six[0]},
		{name: "Local", change: func(in *LocalInput) { in.Services[0].Local = true }, v4: "n2", v6: "n2"},
		{name: "Local, nowhere", change: func(in *LocalInput) {
			in.Services[0].Local, in.Services[0].Endpoints.Nodes = true, map[string]bool{"n9": true}
		}, reason: ReasonNoLocalEndpoints, message: "no node announces the address; n1, n2, n3: no endpoint serves there, and externalTrafficPolicy is Local"},
		{name: "selected nodes", change: func(in *LocalInput) {
			in.Snapshot = snapshot(v1beta1.L2AdvertisementSpec{NodeSelectors: []metav1.LabelSelector{hostname("n3")}})
		}, v4: "n3", v6: "n3"},
		{name: "excluded", change: func(in *LocalInput) {
			for _, name := range []string{"n1", "n2"} {
				on(in, name, func(n *Node) { n.Labels = labels.Set{excludeLabel: ""} })
			}
			on(in, "n3", func(n *Node) { n.NetworkUnavailable = true })
		}, reason: ReasonNotAnnounced, message: "no node announces the address; n1, n2: it has the label " + excludeLabel + "; n3: its condition NetworkUnavailable is True"},
		{name: "excluded, and that is ignored", change: func(in *LocalInput) {
			in.IgnoreExclude = true
			for n := range in.Nodes {
				on(in, n, func(n *Node) { n.Labels = labels.Set{excludeLabel: "false"} })
			}
		}, v4: four[0], v6: six[0]},
		{name: "interfaces", change: func(in *LocalInput) {
			in.Snapshot = snapshot(v1beta1.L2AdvertisementSpec{Interfaces: []string{"eth9"}}, v1beta1.L2AdvertisementSpec{Interfaces: []string{"eth1"}, NodeSelectors: []metav1.LabelSelector{hostname("n1")}})
			at(in, "n1", func(s *Speaker) { s.Links = append(s.Links, backends.Link{Name: "eth1", IPv4: true, IPv6: true}) })
		}, v4: "n1", v6: "n1", interfaces: []string{"eth1", "eth9"}},
		{name: "no such interface", change: func(in *LocalInput) {
			in.Snapshot = snapshot(v1beta1.L2AdvertisementSpec{Interfaces: []string{"eth9"}})
		},
			reason: ReasonNoInterface, message: "no node announces the address; n1, n2, n3: none of the interfaces eth9 is usable for IPv4; it has eth0"},
		{name: "all links down", change: func(in *LocalInput) {
			for n := range in.Nodes {
				at(in, n, func(s *Speaker) { s.Links = nil })
			}
		}, reason: ReasonNoInterface, message: "no node announces the address; n1, n2, n3: no usable interface for IPv4; it has none at present"},
		{name: "one link down", change: func(in *LocalInput) {
			at(in, four[0], func(s *Speaker) { s.Links, s.Claims = nil, map[netip.Addr]bool{v4: true} })
		}, v4: four[1], v6: next(six, four[0])},
		{name: "another subnet", change: func(in *LocalInput) {
			for n := range in.Nodes {
				at(in, n, func(s *Speaker) {
					s.SameSubnet = n != "n2"
					s.Links = []backends.Link{{Name: "eth0", IPv4: true, IPv6: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}}
				})
			}
		}, v4: "n2", v6: "n2"},
		{name: "leaving", change: func(in *LocalInput) {
			at(in, four[0], func(s *Speaker) { s.Leaving, s.Claims = true, map[netip.Addr]bool{v4: true} })
		}, v4: four[1], v6: next(six, four[0])},
		{name: "no Node", change: func(in *LocalInput) { in.Nodes = nil }, reason: ReasonNodeUnknown, message: "no node announces the address; n1, n2, n3: there is no such Node"},
		{name: "no speaker", change: func(in *LocalInput) { in.Speakers = nil }, reason: ReasonNoSpeaker, message: "no speaker is alive"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := cluster()
			if tc.change != nil {
				tc.change(&in)
			}
			d := Place(in)
			require.Empty(t, d.Refusals)
			require.Contains(t, d.Placements, v4)
			require.Contains(t, d.Placements, v6)
			p := d.Placements[v4]
			assert.Equal(t, tc.v4, p.Node)
			assert.Equal(t, tc.v6, d.Placements[v6].Node)
			assert.Equal(t, tc.interfaces, p.Interfaces)
			assert.Equal(t, tc.claimants, p.Claimants)
			assert.Equal(t, tc.reason, p.Reason)
			assert.Equal(t, tc.message, p.Message)
			assert.Equal(t, []types.NamespacedName{{Namespace: "default", Name: "web"}}, p.Services)
		})
	}
}

// next returns the first of nodes that is not among gone.
func next(nodes []string, gone ...string) string {
	return nodes[slices.IndexFunc(nodes, func(n string) bool { return !slices.Contains(gone, n) })]
}

func merge(m map[netip.Addr]bool, a netip.Addr) map[netip.Addr]bool {
	if m == nil {
		m = map[netip.Addr]bool{}
	}
	m[a] = true
	return m
}

func TestPlaceRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, reason, message string
		change                func(*LocalInput)
	}{
		{name: "no endpoint", reason: ReasonNoEndpoints, message: "no endpoint of the Service serves", change: func(in *LocalInput) { in.Services[0].Endpoints = Endpoints{} }},
		{name: "no advertisement", reason: ReasonNoAdvertisement, message: `no L2Advertisement selects pool "main"`, change: func(in *LocalInput) { in.Snapshot = snapshot() }},
		{name: "somebody else serves it", reason: ReasonNoBackend, message: `the speakers serve no L2Advertisement that selects pool "main"`,
			change: func(in *LocalInput) { in.Serves = func(*config.L2Advertisement) bool { return false } }},
		{name: "the Service is not selected", reason: ReasonServiceNotSelected, message: `the serviceSelectors of the L2Advertisements of pool "main" do not select the Service`,
			change: func(in *LocalInput) {
				in.Snapshot = snapshot(v1beta1.L2AdvertisementSpec{ServiceSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"app": "db"}}}})
			}},
		{name: "sharing with a selector", reason: ReasonSharedWithSelector,
			message: `L2Advertisement "l2-0" has serviceSelectors, and the Service may share its address; do without one of the two`,
			change: func(in *LocalInput) {
				in.Services[0].Shares = true
				in.Snapshot = snapshot(v1beta1.L2AdvertisementSpec{ServiceSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"app": "web"}}}})
			}},
		{name: "the pool is gone", reason: ReasonNoAdvertisement,
			message: `address 192.0.2.7 is in none of the pools ["other"] that the Service has it from; address 2001:db8::7 is in none of the pools ["other"] that the Service has it from`,
			change:  func(in *LocalInput) { in.Services[0].Pools = []string{"other"} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := Place(cluster(tc.change))
			assert.Empty(t, d.Placements)
			assert.Equal(t, map[types.NamespacedName]Verdict{{Namespace: "default", Name: "web"}: {metav1.ConditionFalse, tc.reason, tc.message}}, d.Refusals)
		})
	}
}

// TestPlaceShared has five Services share an address: they always have one node, also when only some of them can be announced.
func TestPlaceShared(t *testing.T) {
	in := cluster(func(in *LocalInput) {
		for i := range 4 {
			s := in.Services[0]
			s.Name = fmt.Sprint("web-", i)
			s.Endpoints = Endpoints{Any: i%2 == 0}
			in.Services = append(in.Services, s)
		}
	})
	d := Place(in)
	assert.Equal(t, byHash(v4, "n1", "n2", "n3")[0], d.Placements[v4].Node)
	assert.Equal(t, []types.NamespacedName{{Namespace: "default", Name: "web"}, {Namespace: "default", Name: "web-0"}, {Namespace: "default", Name: "web-2"}}, d.Placements[v4].Services)
	assert.Len(t, d.Refusals, 2)
}

// BenchmarkPlace decides for 1,000 Services on 10 nodes, nobody announcing anything yet: the hash decides everything.
func BenchmarkPlace(b *testing.B) {
	in := cluster()
	for i := range 10 {
		in.Nodes[fmt.Sprint("m", i)], in.Speakers[fmt.Sprint("m", i)] = Node{}, in.Speakers["n1"]
	}
	in.Services = nil
	addr := netip.MustParseAddr("192.0.2.0")
	for i := range 250 {
		addr = addr.Next()
		for j := range 4 {
			in.Services = append(in.Services, Service{Name: fmt.Sprint(i, j), Pools: []string{"main"}, Addrs: []netip.Addr{addr}, Endpoints: Endpoints{Any: true}})
		}
	}
	for b.Loop() {
		Place(in)
	}
}

// TestLeftItsPool: what a Service has that has just left its pool is announced as before; what never was in it is not.
func TestLeftItsPool(t *testing.T) {
	objects := func(addresses ...string) config.Objects {
		return config.Objects{
			Pools:             []v1beta1.IPAddressPool{{ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses}}},
			L2Advertisements:  []v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "main"}}},
			BGPAdvertisements: []v1beta1.BGPAdvertisement{{ObjectMeta: metav1.ObjectMeta{Name: "main"}}},
		}
	}
	s := config.Build(objects("192.0.2.128/25"), config.Build(objects("192.0.2.0/24"), nil))
	left, never := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	assert.Equal(t, "main", poolOf(s, []string{"main"}, left).Name)
	assert.Nil(t, poolOf(s, []string{"main"}, never))
	assert.Nil(t, poolOf(s, []string{"other"}, left))
	assert.Nil(t, poolOf(s, nil, left))
}
