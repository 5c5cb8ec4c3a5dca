package cilium

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
)

func policies(objects []object) []*policy {
	var out []*policy
	for _, o := range objects {
		if p, ok := o.(*policy); ok {
			out = append(out, p)
		}
	}
	return out
}

func TestPolicies(t *testing.T) {
	for _, tc := range []struct {
		name    string
		advert  backends.L2Advertisement
		objects string
	}{
		{name: "the least", advert: l2("lan"), objects: `
CiliumL2AnnouncementPolicy/fairlead-l2-lan:
  loadBalancerIPs: true
  nodeSelector:
    matchExpressions:
    - key: node.kubernetes.io/exclude-from-external-load-balancers
      operator: DoesNotExist
  serviceSelector:
    matchExpressions:
    - key: fairlead.io/pool
      operator: In
      values:
      - main
  source: L2Advertisement/fairlead-system/lan
`},
		{
			name: "one selector each", advert: l2("lan", func(a *backends.L2Advertisement) {
				a.NodeSelectors, a.ServiceSelectors = []labels.Selector{selector("rack=1")}, []labels.Selector{selector("app!=db")}
				a.Interfaces = []string{"eth0", "bond0.100"}
			}), objects: `
CiliumL2AnnouncementPolicy/fairlead-l2-lan:
  interfaces:
  - ^bond0\.100$
  - ^eth0$
  loadBalancerIPs: true
  nodeSelector:
    matchExpressions:
    - key: rack
      operator: In
      values:
      - "1"
    - key: node.kubernetes.io/exclude-from-external-load-balancers
      operator: DoesNotExist
  serviceSelector:
    matchExpressions:
    - key: fairlead.io/pool
      operator: In
      values:
      - main
    - key: app
      operator: NotIn
      values:
      - db
  source: L2Advertisement/fairlead-system/lan
`,
		},
		{name: "no pools", advert: l2("lan", func(a *backends.L2Advertisement) { a.Pools = nil })},
		{name: "a selector that selects nothing", advert: l2("lan", func(a *backends.L2Advertisement) { a.NodeSelectors = []labels.Selector{labels.Nothing()} })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := run(backends.Desired{L2Advertisements: []backends.L2Advertisement{tc.advert}})
			assert.Equal(t, strings.TrimPrefix(tc.objects, "\n"), render(t, got.objects))
			assert.Empty(t, got.findings)
		})
	}
}

// TestPolicyPairs: several selectors make a policy for each pair, whose name depends on the pair alone.
func TestPolicyPairs(t *testing.T) {
	rack1, rack2, web, db := selector("rack=1"), selector("rack=2"), selector("app=web"), selector("app=db")
	names := func(nodes, services []labels.Selector) map[string]bool {
		out := map[string]bool{}
		for _, p := range policies(run(backends.Desired{L2Advertisements: []backends.L2Advertisement{l2("lan", func(a *backends.L2Advertisement) {
			a.NodeSelectors, a.ServiceSelectors = nodes, services
		})}}).objects) {
			require.NotNil(t, p.Spec.ServiceSelector, "it would have all Services")
			assert.Equal(t, []string{"main"}, poolsIn(p.Spec.ServiceSelector))
			out[p.Name] = true
		}
		return out
	}
	four := names([]labels.Selector{rack1, rack2}, []labels.Selector{web, db})
	assert.Len(t, four, 4)
	assert.Equal(t, four, names([]labels.Selector{rack2, rack1}, []labels.Selector{db, web, db}))
	two := names([]labels.Selector{rack1, rack2}, []labels.Selector{web})
	assert.Len(t, two, 2)
	for n := range two {
		assert.True(t, four[n])
	}
	assert.Len(t, names([]labels.Selector{rack1, labels.Everything()}, nil), 1, "everything makes the others superfluous")
}

// TestServicesOnLayer2: what the announcer does otherwise than the user may expect.
func TestServicesOnLayer2(t *testing.T) {
	service := func(name, pool string, change ...func(*backends.Service)) backends.Service {
		s := backends.Service{Namespace: "shop", Name: name, Pool: pool, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}
		for _, c := range change {
			c(&s)
		}
		return s
	}
	local := func(s *backends.Service) { s.Local = true }
	own := func(addr string) func(*backends.Service) {
		return func(s *backends.Service) { s.Addrs = []netip.Addr{netip.MustParseAddr(addr)} }
	}
	got := run(backends.Desired{
		BGPAdvertisements: []backends.BGPAdvertisement{bgp("a", func(a *backends.BGPAdvertisement) { a.Pools = pools("routed") })},
		L2Advertisements:  []backends.L2Advertisement{l2("lan")},
		Services: []backends.Service{
			service("a", "main"), service("b", "six,main"), service("c", "routed"), service("d", "main", own("192.0.2.4")),
			service("e", "main", own("192.0.2.5"), local), service("f", "routed", own("192.0.2.6"), local),
		},
	})
	assert.Equal(t, []string{
		"SharedAddress L2Advertisement/fairlead-system/lan: Services share 192.0.2.1 (shop/a and shop/b), 2001:db8::1 (shop/a and shop/b): " +
			"Cilium elects a node for each Service, so two nodes may answer for one address. Give each Service an address of its own, or advertise the pool by BGP",
		"UnsupportedField L2Advertisement/fairlead-system/lan: the address of a Service with externalTrafficPolicy Local may be announced by a node without a pod, " +
			"which drops the traffic: set Cluster on shop/e, or advertise the pool by BGP",
	}, texts(got.findings))
}

// TestLostPools: only the pools that go are looked at, if nothing else changes.
func TestLostPools(t *testing.T) {
	p := func(pools []string, more ...requirement) *policy {
		o := &policy{}
		o.Spec.LoadBalancerIPs = true
		o.Spec.ServiceSelector = expressions(append([]requirement{in(labelPool, pools...)}, more...)...)
		return o
	}
	abc := p([]string{"a", "b", "c"})
	assert.Equal(t, []string{"b"}, lostPools(abc, p([]string{"a", "c", "d"})))
	assert.Equal(t, []string{"a", "b", "c"}, lostPools(abc, p([]string{"a", "c"}, in("app", "web"))))
	assert.Equal(t, []string{"a", "b", "c"}, lostPools(abc, nil))
	assert.Empty(t, lostPools(abc, abc))
}

func TestWidens(t *testing.T) {
	p := func(pools []string, more ...requirement) *policy {
		o := &policy{}
		o.Spec.LoadBalancerIPs = true
		o.Spec.NodeSelector = expressions(notExcluded)
		o.Spec.ServiceSelector = expressions(append([]requirement{in(labelPool, pools...)}, more...)...)
		return o
	}
	one, two := []string{"a"}, []string{"a", "b"}
	web, any := in("app", "web"), requirement{Key: "app", Operator: "Exists"}
	notWeb := func(values ...string) requirement {
		return requirement{Key: "app", Operator: "NotIn", Values: values}
	}
	otherNodes := p(two)
	otherNodes.Spec.NodeSelector = expressions(in("rack", "1"), notExcluded)
	broken := p(two)
	broken.Spec.ServiceSelector = nil
	for _, tc := range []struct {
		name       string
		have, want *policy
		widens     bool
	}{
		{"equal", p(two, web), p(two, web), true},
		{"a pool more", p(one), p(two), true},
		{"a pool less", p(two), p(one), false},
		{"a condition less", p(one, web), p(one), true},
		{"a condition more", p(one), p(one, web), false},
		{"another condition", p(one, web), p(one, any), false},
		{"fewer exceptions", p(one, notWeb("x", "y")), p(one, notWeb("x")), true},
		{"more exceptions", p(one, notWeb("x")), p(one, notWeb("x", "y")), false},
		{"other nodes", p(two), otherNodes, false},
		{"a selector that somebody took away", broken, p(two), false},
	} {
		t.Run(tc.name, func(t *testing.T) { assert.Equal(t, tc.widens, widens(tc.have, tc.want)) })
	}
}
