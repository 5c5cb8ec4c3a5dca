package announce

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/internal/config"
)

// bgp returns a configuration with two peers that carry both families, tor-a and tor-b, and an advertisement for each spec.
func bgp(specs ...v1beta1.BGPAdvertisementSpec) *config.Snapshot {
	o := config.Objects{Pools: []v1beta1.IPAddressPool{{
		ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.2.0/24", "2001:db8::/64"}},
	}}}
	for i, s := range specs {
		o.BGPAdvertisements = append(o.BGPAdvertisements, v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("adv-", i)}, Spec: s})
	}
	for i, name := range []string{"tor-a", "tor-b"} {
		o.BGPPeers = append(o.BGPPeers, v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1beta2.BGPPeerSpec{
			MyASN: 64512, PeerASN: 64513, PeerAddress: fmt.Sprintf("198.51.100.%d", i+1), DualStackAddressFamily: true,
		}})
	}
	return config.Build(o, nil)
}

// sessions returns a configuration with an advertisement for all, and a peer for each address, named so.
func sessions(addresses ...string) *config.Snapshot {
	o := config.Objects{
		Pools: []v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.2.0/24", "2001:db8::/64"}},
		}},
		BGPAdvertisements: []v1beta1.BGPAdvertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}}},
	}
	for _, a := range addresses {
		o.BGPPeers = append(o.BGPPeers, v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: a}, Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: a}})
	}
	return config.Build(o, nil)
}

// numbered returns the communities 64512:from to 64512:to-1.
func numbered(from, to int) []string {
	var out []string
	for i := range to - from {
		out = append(out, fmt.Sprint("64512:", from+i))
	}
	return out
}

func TestRoutes(t *testing.T) {
	length := func(n int32) *int32 { return &n }
	web := Service{
		Namespace: "default", Name: "web", Labels: labels.Set{"app": "web"}, Pools: []string{"main"}, Addrs: []netip.Addr{v4, v6},
		Endpoints: Endpoints{Any: true, Nodes: map[string]bool{"n1": true}},
	}
	six := web
	six.Addrs = []netip.Addr{v6}
	mail := web
	mail.Name, mail.Addrs = "mail", []netip.Addr{netip.MustParseAddr("192.0.2.8")}
	local := func(nodes ...string) Service {
		s := web
		s.Local, s.Endpoints = true, Endpoints{Any: true, Nodes: map[string]bool{}}
		for _, n := range nodes {
			s.Endpoints.Nodes[n] = true
		}
		return s
	}
	all := v1beta1.BGPAdvertisementSpec{}
	for _, tc := range []struct {
		name     string
		snapshot *config.Snapshot
		services []Service
		node     *Node
		change   func(*RoutesInput)
		want     []string // routes, as prefix peers localPref communities
		reason   string
		message  string
	}{
		{name: "both families to both peers", want: []string{"192.0.2.7/32 tor-a,tor-b 0 []", "2001:db8::7/128 tor-a,tor-b 0 []"}},
		{name: "one peer", snapshot: bgp(v1beta1.BGPAdvertisementSpec{Peers: []string{"tor-b", "gone"}, LocalPref: 7, Communities: []string{"64512:2", "large:1:2:3"}}),
			want: []string{"192.0.2.7/32 tor-b 7 [1:2:3 64512:2]", "2001:db8::7/128 tor-b 7 [1:2:3 64512:2]"}},
		{name: "communities of two advertisements", snapshot: bgp(v1beta1.BGPAdvertisementSpec{Communities: []string{"64512:2"}}, v1beta1.BGPAdvertisementSpec{Peers: []string{"tor-a"}, Communities: []string{"64512:1", "64512:2"}}),
			want: []string{"192.0.2.7/32 tor-a 0 [64512:1 64512:2]", "192.0.2.7/32 tor-b 0 [64512:2]", "2001:db8::7/128 tor-a 0 [64512:1 64512:2]", "2001:db8::7/128 tor-b 0 [64512:2]"}},
		{name: "too many communities of two advertisements",
			snapshot: bgp(v1beta1.BGPAdvertisementSpec{Communities: numbered(0, 63)}, v1beta1.BGPAdvertisementSpec{Peers: []string{"tor-a"}, Communities: numbered(62, 64)}),
			reason:   ReasonConflictingAdvertisements,
			message:  `BGPAdvertisements, "adv-1" among them, give 192.0.2.7/32 more than 63 communities together for peer "tor-a"; remove some`},
		{name: "cordoned", node: &Node{Cordoned: true}, change: func(in *RoutesInput) { in.DrainCordoned = true },
			want: []string{"192.0.2.7/32 tor-a,tor-b 0 [] draining", "2001:db8::7/128 tor-a,tor-b 0 [] draining"}},
		{name: "cordoned, and that is ignored", node: &Node{Cordoned: true}, want: []string{"192.0.2.7/32 tor-a,tor-b 0 []", "2001:db8::7/128 tor-a,tor-b 0 []"}},
		{name: "aggregated, of two Services", snapshot: bgp(v1beta1.BGPAdvertisementSpec{AggregationLength: length(28), AggregationLengthV6: length(120)}), services: []Service{mail, web},
			want: []string{"192.0.2.0/28 tor-a,tor-b 0 []", "2001:db8::/120 tor-a,tor-b 0 []"}},
		{name: "aggregated and single", snapshot: bgp(all, v1beta1.BGPAdvertisementSpec{AggregationLength: length(24), Peers: []string{"tor-a"}}), services: []Service{mail},
			want: []string{"192.0.2.0/24 tor-a 0 []", "192.0.2.8/32 tor-a,tor-b 0 []"}},
		{name: "Local, here", services: []Service{local("n1")}, want: []string{"192.0.2.7/32 tor-a,tor-b 0 []", "2001:db8::7/128 tor-a,tor-b 0 []"}},
		{name: "Local, elsewhere", services: []Service{local("n2")}, reason: ReasonNoLocalEndpoints,
			message: `node "n1" does not advertise it: no endpoint serves there, and externalTrafficPolicy is Local`},
		{name: "no endpoint", change: func(in *RoutesInput) { in.Services[0].Endpoints = Endpoints{} }, reason: ReasonNoEndpoints, message: `node "n1" does not advertise it: no endpoint of the Service serves`},
		{name: "no Node", change: func(in *RoutesInput) { in.Node = nil }, reason: ReasonNodeUnknown, message: `node "n1" does not advertise it: there is no such Node`},
		{name: "no network", node: &Node{NetworkUnavailable: true}, reason: ReasonNodeNetworkUnavailable, message: `node "n1" does not advertise it: its condition NetworkUnavailable is True`},
		{name: "not ready", node: &Node{NotReady: true}, want: []string{"192.0.2.7/32 tor-a,tor-b 0 []", "2001:db8::7/128 tor-a,tor-b 0 []"}},
		{name: "excluded", node: &Node{Labels: labels.Set{excludeLabel: ""}}, reason: ReasonNodeLabeledExclude, message: `node "n1" does not advertise it: it has the label ` + excludeLabel},
		{name: "excluded, and that is ignored", node: &Node{Labels: labels.Set{excludeLabel: ""}}, change: func(in *RoutesInput) { in.IgnoreExclude = true },
			want: []string{"192.0.2.7/32 tor-a,tor-b 0 []", "2001:db8::7/128 tor-a,tor-b 0 []"}},
		{name: "another node", snapshot: bgp(v1beta1.BGPAdvertisementSpec{NodeSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"rack": "2"}}}}), reason: ReasonNodeNotSelected,
			message: `no BGPAdvertisement of pool "main" selects node "n1"`},
		{name: "another Service", snapshot: bgp(v1beta1.BGPAdvertisementSpec{ServiceSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"app": "db"}}}}), reason: ReasonServiceNotSelected,
			message: `the serviceSelectors of the BGPAdvertisements of pool "main" do not select the Service`},
		{name: "no advertisement", snapshot: bgp(), reason: ReasonNoAdvertisement, message: `no BGPAdvertisement selects pool "main"`},
		{name: "nobody asks the speakers", change: func(in *RoutesInput) { in.Serves = func(*config.BGPAdvertisement) bool { return false } }, reason: ReasonNoBackend,
			message: `the speakers serve no BGPAdvertisement that selects pool "main"`},
		{name: "a session for each family", snapshot: sessions("198.51.100.1", "2001:db8:1::1"), want: []string{"192.0.2.7/32 198.51.100.1 0 []", "2001:db8::7/128 2001:db8:1::1 0 []"}},
		{name: "no session for one of its families", snapshot: sessions("198.51.100.1"), want: []string{"192.0.2.7/32 198.51.100.1 0 []"}},
		{name: "no session for its family", snapshot: sessions("198.51.100.1"), services: []Service{six}, reason: ReasonNoPeer,
			message: `node "n1" has no session that carries IPv6 routes, only with BGPPeer "198.51.100.1": add a BGPPeer with an address of that family, or set dualStackAddressFamily`},
		{name: "no session for its family, IPv4", snapshot: sessions("2001:db8:1::1"), services: []Service{mail}, reason: ReasonNoPeer,
			message: `node "n1" has no session that carries IPv4 routes, only with BGPPeer "2001:db8:1::1": add a BGPPeer with an address of that family, or set dualStackAddressFamily`},
		{name: "no peer", snapshot: bgp(v1beta1.BGPAdvertisementSpec{Peers: []string{"gone"}}), reason: ReasonNoPeer, message: `node "n1" has no session with a BGPPeer that may hear it`},
		{name: "contradiction", snapshot: bgp(
			v1beta1.BGPAdvertisementSpec{LocalPref: 1, ServiceSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"app": "web"}}}},
			v1beta1.BGPAdvertisementSpec{LocalPref: 2, Peers: []string{"tor-b"}, ServiceSelectors: []metav1.LabelSelector{{}}}),
			reason: ReasonConflictingAdvertisements, message: `BGPAdvertisements "adv-0" and "adv-1" give 192.0.2.7/32 different localPref for peer "tor-b"; give both the same`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := RoutesInput{
				Snapshot: tc.snapshot, Serves: func(*config.BGPAdvertisement) bool { return true }, Services: tc.services, Self: "n1", Node: tc.node,
			}
			if in.Snapshot == nil {
				in.Snapshot = bgp(all)
			}
			if in.Services == nil {
				in.Services = []Service{web}
			}
			if in.Node == nil {
				in.Node = &Node{}
			}
			if tc.change != nil {
				tc.change(&in)
			}
			d := Routes(in)
			var got []string
			for _, r := range d.Routes {
				got = append(got, fmt.Sprint(r.Prefix, " ", strings.Join(r.Peers, ","), " ", r.LocalPref, " ", r.Communities, map[bool]string{true: " draining"}[r.Draining]))
			}
			assert.Equal(t, tc.want, got)
			if tc.reason == "" {
				assert.Empty(t, d.Refusals)
				return
			}
			assert.Equal(t, map[types.NamespacedName]Verdict{in.Services[0].ID(): {metav1.ConditionFalse, tc.reason, tc.message}}, d.Refusals)
			assert.Empty(t, d.Peers)
		})
	}
}
