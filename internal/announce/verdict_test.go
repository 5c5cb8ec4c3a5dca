package announce

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// TestAdvertised: what a CNI makes of a pool is told for the families that the Service has, and of every advertisement.
func TestAdvertised(t *testing.T) {
	one := sessions("198.51.100.1")
	two := bgp(v1beta1.BGPAdvertisementSpec{}, v1beta1.BGPAdvertisementSpec{AggregationLength: new(int32(24))})
	pool := backends.PoolOutcome{Advertised: true, Message: "in both", MessageIPv4: "in 192.0.2.0/24", MessageIPv6: "in 2001:db8::/64"}
	ad := func(name string, is6 bool) backends.Audience {
		return backends.Audience{Advertisement: backends.Source{Kind: "BGPAdvertisement", Name: name}, IPv6: is6}
	}
	in4, in6 := "in 192.0.2.0/24", "in 2001:db8::/64"
	for _, tc := range []struct {
		name    string
		addrs   []netip.Addr
		outcome backends.Outcome
		two     bool
		want    Verdict
	}{
		{name: "IPv4", addrs: []netip.Addr{v4}, want: Verdict{metav1.ConditionTrue, ReasonAdvertised, in4}},
		{name: "IPv6", addrs: []netip.Addr{v6}, want: Verdict{metav1.ConditionTrue, ReasonAdvertised, in6}},
		{name: "both", addrs: []netip.Addr{v4, v6}, want: Verdict{metav1.ConditionTrue, ReasonAdvertised, "in both"}},
		{name: "no session for IPv6, IPv4 only", addrs: []netip.Addr{v4}, outcome: backends.Outcome{Unheard: map[backends.Audience]string{ad("all", true): "no IPv6"}},
			want: Verdict{metav1.ConditionTrue, ReasonAdvertised, in4}},
		{name: "no session for IPv6, IPv6 only", addrs: []netip.Addr{v6}, outcome: backends.Outcome{Unheard: map[backends.Audience]string{ad("all", true): "no IPv6"}},
			want: Verdict{metav1.ConditionFalse, ReasonNoPeer, "no IPv6"}},
		{name: "no session for IPv6, both", addrs: []netip.Addr{v4, v6}, outcome: backends.Outcome{Unheard: map[backends.Audience]string{ad("all", true): "no IPv6"}},
			want: Verdict{metav1.ConditionTrue, ReasonAdvertised, in4 + "; no IPv6"}},
		{name: "no session at all", addrs: []netip.Addr{v4, v6}, outcome: backends.Outcome{Unheard: map[backends.Audience]string{ad("all", true): "no IPv6", ad("all", false): "no IPv4"}},
			want: Verdict{metav1.ConditionFalse, ReasonNoPeer, "no IPv4; no IPv6"}},
		{name: "one of two advertisements is withheld", addrs: []netip.Addr{v4}, two: true,
			outcome: backends.Outcome{Findings: []backends.Finding{{
				Type: backends.UnsupportedField, Object: backends.Source{Kind: "BGPAdvertisement", Name: "adv-1"}, Field: "spec.peers", Message: "cannot be had", Withheld: true,
			}}},
			want: Verdict{metav1.ConditionTrue, ReasonAdvertised, in4 + `; calico withholds BGPAdvertisement "adv-1": spec.peers: cannot be had`}},
		{name: "nobody hears one of two advertisements", addrs: []netip.Addr{v6}, two: true, outcome: backends.Outcome{Unheard: map[backends.Audience]string{ad("adv-0", true): "no IPv6 for adv-0"}},
			want: Verdict{metav1.ConditionTrue, ReasonAdvertised, in6 + "; no IPv6 for adv-0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := one
			if tc.two {
				s = two
			}
			tc.outcome.Pools = map[string]backends.PoolOutcome{"main": pool}
			got := Advertised(s, Choice{BGP: "calico"}, map[string]Result{"calico": {Outcome: &tc.outcome}}, Subject{Namespace: "default", Name: "web", Pools: []string{"main"}, Addrs: tc.addrs})
			assert.Equal(t, tc.want, got)
		})
	}
}

// TestTwoPools: what advertises all addresses of a Service or none does not advertise one by what selects only one of its two pools.
func TestTwoPools(t *testing.T) {
	o := config.Objects{Pools: []v1beta1.IPAddressPool{
		{ObjectMeta: metav1.ObjectMeta{Name: "four"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.2.0/24"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "six"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"2001:db8::/64"}}},
	}}
	ad := func(name string, pools ...string) {
		o.BGPAdvertisements = append(o.BGPAdvertisements, v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: pools}})
	}
	ad("a", "six")
	outcome := &backends.Outcome{WholeServices: true, Pools: map[string]backends.PoolOutcome{"four": {Advertised: true, Message: "told four"}, "six": {Advertised: true, Message: "told six"}}}
	x := Subject{Namespace: "default", Name: "web", Pools: []string{"four", "six"}, Addrs: []netip.Addr{v4, v6}}
	judge := func() Verdict {
		return Advertised(config.Build(o, nil), Choice{BGP: "cilium"}, map[string]Result{"cilium": {Outcome: outcome}}, x)
	}
	got := judge()
	assert.Equal(t, metav1.ConditionFalse, got.Status)
	assert.Contains(t, got.Message, `cilium advertises all addresses of a Service or none, and BGPAdvertisement "a" selects pool "six" and not "four": select both`)
	ad("b", "four", "six")
	got = judge()
	assert.Equal(t, metav1.ConditionTrue, got.Status)
	assert.Contains(t, got.Message, "told four; told six; cilium advertises all addresses of a Service or none")
	outcome.WholeServices = false
	assert.NotContains(t, judge().Message, "or none")
}
