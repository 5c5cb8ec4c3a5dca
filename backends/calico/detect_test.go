package calico

import (
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fairlead/fairlead/backends"
)

// TestPerIP: the versions are those that have the change to confd/pkg/backends/calico/routes.go.
func TestPerIP(t *testing.T) {
	for _, tc := range []struct {
		version       [3]int
		perIP, never_ bool
	}{
		{[3]int{}, false, false}, {[3]int{3, 28, 5}, false, true}, {[3]int{3, 30, 6}, false, true}, {[3]int{3, 30, 7}, true, false}, {[3]int{3, 31, 4}, false, true},
		{[3]int{3, 31, 5}, true, false}, {[3]int{3, 32, 0}, true, false}, {[3]int{3, 100, 0}, true, false}, {[3]int{4, 0, 0}, true, false},
	} {
		d := Detection{version: tc.version}
		assert.Equal(t, tc.perIP, d.perIP(), "%v", tc.version)
		assert.Equal(t, tc.never_, d.neverPerIP(), "%v", tc.version)
	}
}

func ipPool(name, cidr string, change func(*v3.IPPoolSpec)) v3.IPPool {
	p := v3.IPPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.IPPoolSpec{CIDR: cidr}}
	change(&p.Spec)
	return p
}

func forLoadBalancers(s *v3.IPPoolSpec) {
	s.AllowedUses = []v3.IPPoolAllowedUse{v3.IPPoolAllowedUseLoadBalancer}
}

func notExported(s *v3.IPPoolSpec) { s.DisableBGPExport = true }

func TestClaims(t *testing.T) {
	assigns := func(spec, running *v3.LoadBalancerControllerConfig) *v3.KubeControllersConfiguration {
		k := &v3.KubeControllersConfiguration{}
		k.Spec.Controllers.LoadBalancer, k.Status.RunningConfig.Controllers.LoadBalancer = spec, running
		return k
	}
	all, requested := &v3.LoadBalancerControllerConfig{AssignIPs: v3.AllServices}, &v3.LoadBalancerControllerConfig{AssignIPs: v3.RequestedServicesOnly}
	off := assigns(all, nil)
	off.Status.RunningConfig.Controllers.Node = &v3.NodeControllerConfig{}
	pool := []v3.IPPool{ipPool("pods", "10.0.0.0/8", func(*v3.IPPoolSpec) {}), ipPool("lb", "192.0.2.0/24", forLoadBalancers)}
	for _, tc := range []struct {
		name        string
		pools       []v3.IPPool
		controllers *v3.KubeControllersConfiguration
		claims      []string
		conflict    bool
	}{
		{name: "no pool for load balancers", pools: pool[:1], controllers: assigns(all, nil)},
		{name: "settings not known", pools: pool, claims: []string{"", "calico"}, conflict: true},
		{name: "all Services", pools: pool, controllers: assigns(all, nil), claims: []string{"", "calico"}, conflict: true},
		{name: "the default", pools: pool, controllers: assigns(&v3.LoadBalancerControllerConfig{}, nil), claims: []string{"", "calico"}, conflict: true},
		{name: "on request", pools: pool, controllers: assigns(requested, nil), claims: []string{"calico"}},
		{name: "null", pools: pool, controllers: assigns(nil, nil)},
		{name: "what runs counts", pools: pool, controllers: assigns(requested, all), claims: []string{"", "calico"}, conflict: true},
		{name: "what does not run", pools: pool, controllers: off},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := Detection{pools: tc.pools, controllers: tc.controllers}
			assert.Equal(t, tc.claims, d.claims())
			findings, _ := d.findings(announce("main", "192.0.2.0/24"))
			if !tc.conflict {
				assert.Empty(t, findings)
				return
			}
			assert.Equal(t, []string{"IPAMConflict KubeControllersConfiguration/default spec.controllers.loadBalancer"}, about(findings))
			assert.Contains(t, findings[0].Message, "IPPool lb")
		})
	}
}

func TestFindingsOfPools(t *testing.T) {
	want := append(announce("main", "192.0.2.0/24", "2001:db8::/64"), announce("other", "198.51.100.0/24")...)
	for _, tc := range []struct {
		name    string
		d       Detection
		found   []string
		blocked map[string]string
	}{
		{name: "nothing", d: Detection{bird: "on"}, blocked: map[string]string{}},
		{name: "not known", d: Detection{bird: "unknown"}, blocked: map[string]string{}},
		{
			name: "BIRD is off", d: Detection{bird: "off", birdSource: "DaemonSet calico-system/calico-node"}, blocked: map[string]string{},
			found: []string{"BackendInactive BGPConfiguration/default"},
		},
		{
			name: "not exported", d: Detection{pools: []v3.IPPool{ipPool("v4", "192.0.0.0/16", notExported), ipPool("v6", "2001:db8::/32", notExported)}},
			found: []string{"BackendInactive IPPool/v4 spec.disableBGPExport", "BackendInactive IPPool/v6 spec.disableBGPExport"}, blocked: map[string]string{"main": "v6"},
		},
		{
			name: "a part not exported", d: Detection{pools: []v3.IPPool{ipPool("part", "198.51.100.128/25", notExported)}},
			found: []string{"BackendInactive IPPool/part spec.disableBGPExport"}, blocked: map[string]string{},
		},
		{name: "elsewhere", d: Detection{pools: []v3.IPPool{ipPool("pods", "10.0.0.0/8", notExported), ipPool("bad", "x", notExported)}}, blocked: map[string]string{}},
		{name: "exported", d: Detection{pools: []v3.IPPool{ipPool("v4", "192.0.2.0/24", func(*v3.IPPoolSpec) {})}}, blocked: map[string]string{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found, blocked := tc.d.findings(want)
			assert.Equal(t, tc.found, about(found))
			assert.Equal(t, tc.blocked, blocked)
		})
	}
}

func TestFacts(t *testing.T) {
	d := Detection{}
	assert.Equal(t, []backends.Fact{{Name: "API", Value: "not served", Source: "discovery"}}, d.facts())
	d = Detection{
		group: schema.GroupVersion{Group: "projectcalico.org", Version: "v3"}, bird: "on", birdSource: "DaemonSet calico-system/calico-node", version: [3]int{3, 32, 0},
		migrating: true, pools: []v3.IPPool{ipPool("lb", "192.0.2.0/24", forLoadBalancers)},
	}
	assert.Equal(t, []backends.Fact{
		{Name: "API", Value: "projectcalico.org/v3", Source: "discovery"}, {Name: "version", Value: "v3.32.0", Source: "ClusterInformation default"},
		{Name: "bgp", Value: "on", Source: "DaemonSet calico-system/calico-node"},
		{Name: "address allocator", Value: "AllServices, IPPools lb", Source: "IPPools and KubeControllersConfiguration default"},
		{Name: "migration", Value: "under way", Source: "DatastoreMigration or ClusterInformation default"},
	}, d.facts())
	d = Detection{group: groupV1, bird: "unknown", migrationSaid: "forbidden"}
	facts := d.facts()
	assert.Equal(t, "unknown", facts[1].Value)
	assert.Equal(t, "idle: no IPPool is for load balancers", facts[3].Value)
	assert.Equal(t, backends.Fact{Name: "migration", Value: "unknown", Source: "forbidden"}, facts[4])
}
