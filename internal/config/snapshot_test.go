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
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1beta1"
)

// pool makes an IPAddressPool that is age seconds old.
func pool(name string, age int, addresses ...string) v1beta1.IPAddressPool {
	return v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "metallb-system", UID: types.UID("uid-" + name),
			CreationTimestamp: metav1.NewTime(time.Unix(1_000_000-int64(age), 0)),
		},
		Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses},
	}
}

func describe(s *Snapshot) string {
	var sb strings.Builder
	for _, p := range s.Pools() {
		fmt.Fprintf(&sb, "%s", p.Name)
		for _, x := range p.Prefixes() {
			fmt.Fprintf(&sb, " %s", x)
		}
		sb.WriteString("\n")
	}
	for _, f := range s.Faults() {
		fmt.Fprintf(&sb, "! %s\n", f)
	}
	return sb.String()
}

func TestBuild(t *testing.T) {
	const aside = "it is set aside; Services keep the addresses they have"
	const stays = "its last valid version stays in force"
	for _, tc := range []struct {
		name    string
		history [][]v1beta1.IPAddressPool // the last one is what is looked at
		want    []string
	}{
		{
			name:    "ranges become the fewest CIDRs",
			history: [][]v1beta1.IPAddressPool{{pool("a", 0, "10.0.0.10-10.0.0.20", "2001:db8::1-2001:db8::3")}},
			want:    []string{"a 10.0.0.10/31 10.0.0.12/30 10.0.0.16/30 10.0.0.20/32 2001:db8::1/128 2001:db8::2/127"},
		},
		{
			name:    "host bits are masked",
			history: [][]v1beta1.IPAddressPool{{pool("a", 0, "10.0.0.7/24", "2001:db8::7/64")}},
			want:    []string{"a 10.0.0.0/24 2001:db8::/64"},
		},
		{
			name: "every faulty entry is named, good pools keep working",
			history: [][]v1beta1.IPAddressPool{{
				pool("bad", 0, "10.0.0.300", "10.0.0.9-10.0.0.1", "10.0.0.1-2001:db8::1", "10.9.0.0/24", "10.9.0.7-10.9.0.8"),
				pool("empty", 0), pool("good", 0, "10.1.0.0/24"),
			}},
			want: []string{
				"good 10.1.0.0/24",
				`! IPAddressPool metallb-system/bad: spec.addresses[0]: "10.0.0.300" is neither a CIDR like 192.0.2.0/24 or 2001:db8::/64 nor a range like 192.0.2.10-192.0.2.20; ` + aside,
				`! IPAddressPool metallb-system/bad: spec.addresses[1]: range 10.0.0.9-10.0.0.1 ends before it begins: write 10.0.0.1-10.0.0.9; ` + aside,
				`! IPAddressPool metallb-system/bad: spec.addresses[2]: range 10.0.0.1-2001:db8::1 mixes IPv4 and IPv6: use one entry for each family; ` + aside,
				`! IPAddressPool metallb-system/bad: spec.addresses[4]: "10.9.0.7-10.9.0.8" overlaps 10.9.0.0-10.9.0.255, which the pool holds already; remove one of them; ` + aside,
				`! IPAddressPool metallb-system/empty: spec.addresses: the list is empty; at least one entry like 192.0.2.0/24 or 192.0.2.10-192.0.2.20 is needed; ` + aside,
			},
		},
		{
			name:    "of two new pools that overlap, the older is in force",
			history: [][]v1beta1.IPAddressPool{{pool("young", 1, "10.0.0.0/24"), pool("old", 2, "10.0.0.128/25")}},
			want: []string{
				"old 10.0.0.128/25",
				`! IPAddressPool metallb-system/young: spec.addresses[0]: 10.0.0.0-10.0.0.255 overlaps 10.0.0.128-10.0.0.255 of pool "old"; an address may be in one pool only; ` + aside,
			},
		},
		{
			name: "an edit never pushes out a pool that was not changed",
			history: [][]v1beta1.IPAddressPool{
				{pool("old", 2, "10.0.0.0/24"), pool("young", 1, "10.0.1.0/24")},
				{pool("old", 2, "10.0.0.0/23"), pool("young", 1, "10.0.1.0/24")},
			},
			want: []string{
				"old 10.0.0.0/24", "young 10.0.1.0/24",
				`! IPAddressPool metallb-system/old: spec.addresses[0]: 10.0.0.0-10.0.1.255 overlaps 10.0.1.0-10.0.1.255 of pool "young"; an address may be in one pool only; ` + stays,
			},
		},
		{
			name: "a pool that becomes invalid stays as it was",
			history: [][]v1beta1.IPAddressPool{
				{pool("a", 1, "2001:db8::/64")}, {pool("a", 1, "2001:db8::/640")}, {pool("a", 1)},
			},
			want: []string{
				"a 2001:db8::/64",
				`! IPAddressPool metallb-system/a: spec.addresses: the list is empty; at least one entry like 192.0.2.0/24 or 192.0.2.10-192.0.2.20 is needed; ` + stays,
			},
		},
		{
			name: "a valid pool takes the addresses of one that has become invalid",
			history: [][]v1beta1.IPAddressPool{
				{pool("a", 1, "10.0.0.0/24")}, {pool("a", 1, "nonsense"), pool("b", 0, "10.0.0.0/25")},
			},
			want: []string{
				"b 10.0.0.0/25",
				`! IPAddressPool metallb-system/a: spec.addresses[0]: "nonsense" is neither a CIDR like 192.0.2.0/24 or 2001:db8::/64 nor a range like 192.0.2.10-192.0.2.20; ` + aside,
			},
		},
		{
			name: "two pools exchange their addresses in two edits",
			history: [][]v1beta1.IPAddressPool{
				{pool("a", 2, "10.0.0.0/24"), pool("b", 1, "10.0.1.0/24")},
				{pool("a", 2, "10.0.1.0/24"), pool("b", 1, "10.0.1.0/24")},
				{pool("a", 2, "10.0.1.0/24"), pool("b", 1, "10.0.0.0/24")},
			},
			want: []string{"a 10.0.1.0/24", "b 10.0.0.0/24"},
		},
		{
			name:    "a deleted pool is gone",
			history: [][]v1beta1.IPAddressPool{{pool("a", 2, "10.0.0.0/24")}, {}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s *Snapshot
			for _, pools := range tc.history {
				s = Build(Objects{Pools: pools}, s)
			}
			want := strings.Join(tc.want, "\n")
			if want != "" {
				want += "\n"
			}
			assert.Equal(t, want, describe(s))
		})
	}
}

func TestBuildDoesNotDependOnOrder(t *testing.T) {
	pools := []v1beta1.IPAddressPool{
		pool("a", 1, "10.0.0.0/24"), pool("b", 1, "10.0.0.0/25"), pool("c", 3, "10.0.0.64-10.0.1.5"), pool("d", 2, "2001:db8::/64"),
		pool("e", 2, "2001:db8::1/128"), pool("f", 2, "10.0.0.300"),
	}
	want := describe(Build(Objects{Pools: pools}, nil))
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		rng.Shuffle(len(pools), func(i, j int) { pools[i], pools[j] = pools[j], pools[i] })
		require.Equal(t, want, describe(Build(Objects{Pools: pools}, nil)))
	}
}

func TestRecreatedPoolHasNoLastValidVersion(t *testing.T) {
	first := Build(Objects{Pools: []v1beta1.IPAddressPool{pool("a", 1, "10.0.0.0/24")}}, nil)
	again := pool("a", 0, "nonsense")
	again.UID = "another"
	s := Build(Objects{Pools: []v1beta1.IPAddressPool{again}}, first)
	assert.Nil(t, s.Pool("a"))
	_, aside := s.SetAside("a")
	assert.True(t, aside)
}

// TestLeft: what a pool contained before its last edit has left it, also when something else is edited after that, and not for a pool made anew.
func TestLeft(t *testing.T) {
	in, out := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.200")
	never := netip.MustParseAddr("192.0.2.0").Prev()
	whole, half := pool("lan", 0, "192.0.2.0/24"), pool("lan", 0, "192.0.2.0/25")
	s := Build(Objects{Pools: []v1beta1.IPAddressPool{whole}}, nil)
	assert.False(t, s.Pool("lan").Left(out))
	for range 2 {
		s = Build(Objects{Pools: []v1beta1.IPAddressPool{half}}, s)
		assert.True(t, s.Pool("lan").Left(out))
		assert.False(t, s.Pool("lan").Left(in), "it is there")
		assert.False(t, s.Pool("lan").Left(never))
	}
	half.UID = "another"
	assert.False(t, Build(Objects{Pools: []v1beta1.IPAddressPool{half}}, s).Pool("lan").Left(out))
}

func TestAdmits(t *testing.T) {
	selector := func(kv ...string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchLabels: map[string]string{kv[0]: kv[1]}}
	}
	for _, tc := range []struct {
		name string
		rule v1beta1.ServiceAllocation
		want bool
	}{
		{name: "nothing in it admits all", want: true},
		{name: "namespace listed", rule: v1beta1.ServiceAllocation{Namespaces: []string{"x", "team"}}, want: true},
		{name: "namespace not listed", rule: v1beta1.ServiceAllocation{Namespaces: []string{"x"}}},
		{name: "namespace selector", rule: v1beta1.ServiceAllocation{NamespaceSelectors: []metav1.LabelSelector{selector("env", "test"), selector("env", "prod")}}, want: true},
		{name: "neither listed nor selected", rule: v1beta1.ServiceAllocation{Namespaces: []string{"x"}, NamespaceSelectors: []metav1.LabelSelector{selector("env", "test")}}},
		{name: "listed though not selected", rule: v1beta1.ServiceAllocation{Namespaces: []string{"team"}, NamespaceSelectors: []metav1.LabelSelector{selector("env", "test")}}, want: true},
		{name: "service selectors are ORed", rule: v1beta1.ServiceAllocation{ServiceSelectors: []metav1.LabelSelector{selector("app", "db"), selector("app", "web")}}, want: true},
		{name: "both groups must match", rule: v1beta1.ServiceAllocation{Namespaces: []string{"team"}, ServiceSelectors: []metav1.LabelSelector{selector("app", "db")}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := pool("p", 0, "10.0.0.0/24")
			o.Spec.AllocateTo = &tc.rule
			s := Build(Objects{Pools: []v1beta1.IPAddressPool{o}}, nil)
			got := s.Admitted("team", labels.Set{"env": "prod"}, labels.Set{"app": "web"})
			if tc.want {
				assert.Equal(t, []string{"p"}, got)
			} else {
				assert.Empty(t, got)
			}
		})
	}
}

func TestBGPAdvertisementSelects(t *testing.T) {
	gold := pool("gold", 0, "10.0.0.0/24")
	gold.Labels = map[string]string{"tier": "gold"}
	pools := []v1beta1.IPAddressPool{gold, pool("plain", 0, "2001:db8::/64")}
	for _, tc := range []struct {
		name string
		spec v1beta1.BGPAdvertisementSpec
		want []string
	}{
		{name: "empty selects all", want: []string{"gold", "plain"}},
		{name: "by name", spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"plain", "not there yet"}}, want: []string{"plain"}},
		{name: "by label", spec: v1beta1.BGPAdvertisementSpec{IPAddressPoolSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": "gold"}}}}, want: []string{"gold"}},
		{name: "by either", spec: v1beta1.BGPAdvertisementSpec{
			IPAddressPools:         []string{"plain"},
			IPAddressPoolSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": "gold"}}},
		}, want: []string{"gold", "plain"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "adv", Namespace: "metallb-system"}, Spec: tc.spec}
			s := Build(Objects{Pools: pools, BGPAdvertisements: []v1beta1.BGPAdvertisement{o}}, nil)
			var got []string
			for _, p := range s.Pools() {
				if s.BGPAdvertisements()[0].Selects(p) {
					got = append(got, p.Name)
				}
			}
			assert.Equal(t, tc.want, got)
		})
	}
}
