package assign

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/service"
)

// standard are the pools of most rows: two for all (one without automatic assignment), one for namespace "team" only.
func standard() []v1beta1.IPAddressPool {
	manual, team := ipPool("manual", "10.1.0.0/24", "2001:db8:1::/120"), ipPool("team", "10.2.0.0/24")
	no := false
	manual.Spec.AutoAssign = &no
	manual.Spec.AvoidBuggyIPs = true
	team.Spec.AllocateTo = &v1beta1.ServiceAllocation{Namespaces: []string{"team"}}
	return []v1beta1.IPAddressPool{ipPool("auto", "10.0.0.0/30", "2001:db8::/126"), manual, team, ipPool("six", "2001:db8:6::/126")}
}

var shared = annotated("metallb.io/allow-shared-ip", "key")

func in(namespace string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Namespace = namespace }
}

// TestRules: what one Service asks for beside another, "first", that was there before, and what it gets.
func TestRules(t *testing.T) {
	preferDual, requireDual := policy(corev1.IPFamilyPolicyPreferDualStack), policy(corev1.IPFamilyPolicyRequireDualStack)
	local := func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal }
	selector := func(app string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": app} }
	}
	lbIP := func(ip string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.LoadBalancerIP = ip }
	}
	one := func(c ...func(*corev1.Service)) []func(*corev1.Service) {
		return append([]func(*corev1.Service){}, c...)
	}

	for _, tc := range []struct {
		name   string
		first  []func(*corev1.Service) // the Service that was there before; nil: none
		asks   []func(*corev1.Service)
		want   string   // addresses
		cond   string   // condition: status, reason and the beginning of the message
		events []string // "Type Reason" of the second Service's events; nil: IPAllocated alone
	}{
		{name: "any", want: "10.0.0.0", cond: `True Allocated: 10.0.0.0 from pool "auto"`},
		{name: "any, beside another", first: one(), want: "10.0.0.1", cond: "True Allocated"},
		{name: "IPv6", asks: one(clusterIPs("fd00:96::1")), want: "2001:db8::", cond: `True Allocated: 2001:db8:: from pool "auto"`},
		{name: "prefer dual stack", asks: one(clusterIPs("10.96.0.1", "fd00:96::1"), preferDual), want: "10.0.0.0 2001:db8::", cond: "True Allocated"},
		{name: "require dual stack", asks: one(clusterIPs("fd00:96::1", "10.96.0.1"), requireDual), want: "10.0.0.0 2001:db8::", cond: "True Allocated"},
		{name: "require dual stack with one cluster IP", asks: one(requireDual), cond: "False NotEnoughClusterIPs: not enough cluster IPs: spec.ipFamilyPolicy: RequireDualStack needs", events: []string{"Warning not enough clusterips"}},
		{name: "dual cluster IPs, single stack", asks: one(clusterIPs("fd00:96::1", "10.96.0.1")), want: "2001:db8::", cond: "True Allocated"},
		{name: "prefer dual stack from a pool of one family", asks: one(clusterIPs("10.96.0.1", "fd00:96::1"), preferDual, annotated("metallb.io/address-pool", "six")), want: "2001:db8:6::", cond: `True Allocated: 2001:db8:6:: from pool "six"; pool "six" has no IPv4 address to add`, events: []string{"Normal IPAllocated", "Normal AdditionalAssignFailed"}},
		{name: "no cluster IP", asks: one(clusterIPs()), cond: "False NoClusterIP: no cluster IP: spec.clusterIPs: the list is empty", events: []string{"Warning noclusterIPsIPFamily"}},

		{name: "named pool, also without autoAssign", asks: one(annotated("metallb.io/address-pool", "manual")), want: "10.1.0.1", cond: "True Allocated"},
		{name: "deprecated prefix", asks: one(annotated("metallb.universe.tf/address-pool", "manual")), want: "10.1.0.1", cond: "True Allocated", events: []string{"Normal IPAllocated", "Warning deprecatedAnnotation"}},
		{name: "an empty annotation hides the deprecated one", asks: one(annotated("metallb.universe.tf/address-pool", "manual"), annotated("metallb.io/address-pool", "")), want: "10.0.0.0", cond: "True Allocated"},
		{name: "no such pool", asks: one(annotated("metallb.io/address-pool", "nowhere")), cond: `False PoolNotFound: pool "nowhere": no such pool`, events: []string{"Warning AllocationFailed"}},
		{name: "own pool first", asks: one(in("team")), want: "10.2.0.0", cond: "True Allocated"},
		{name: "pool of others by name", asks: one(annotated("metallb.io/address-pool", "team")), cond: `False PoolNotAdmitting: pool "team": pool does not admit the owner: spec.serviceAllocation.namespaces of the pool leave out namespace "default"`, events: []string{"Warning AllocationFailed"}},
		{name: "pool of others by address", asks: one(lbIP("10.2.0.9")), cond: `False PoolNotAdmitting: address 10.2.0.9: pool "team"`, events: []string{"Warning AllocationFailed"}},

		{name: "address by field", asks: one(lbIP("10.0.0.2")), want: "10.0.0.2", cond: "True Allocated"},
		{name: "address by annotation", asks: one(annotated("metallb.io/loadBalancerIPs", " 10.1.0.7 ")), want: "10.1.0.7", cond: `True Allocated: 10.1.0.7 from pool "manual"`},
		{name: "address of each family", asks: one(clusterIPs("10.96.0.1", "fd00:96::1"), preferDual, annotated("metallb.io/loadBalancerIPs", "2001:db8::3,10.0.0.3")), want: "10.0.0.3 2001:db8::3", cond: "True Allocated"},
		{name: "address and its pool", asks: one(lbIP("10.0.0.2"), annotated("metallb.io/address-pool", "auto")), want: "10.0.0.2", cond: "True Allocated"},
		{name: "address and another pool", asks: one(lbIP("10.0.0.2"), annotated("metallb.io/address-pool", "manual")), cond: `False PoolMismatch: address 10.0.0.2 is in pool "auto", not in pool "manual"`, events: []string{"Warning AllocationFailed"}},
		{name: "not an address", asks: one(lbIP("192.0.2.999")), cond: `False InvalidRequest: invalid request: spec.loadBalancerIP: "192.0.2.999" is not an IP address; write one address like 192.0.2.10, or one of each family`, events: []string{"Warning AllocationFailed"}},
		{name: "not an address, by annotation", asks: one(annotated("metallb.io/loadBalancerIPs", "web")), cond: `False InvalidRequest: invalid request: metadata.annotations[metallb.io/loadBalancerIPs]: "web" is not an IP address`, events: []string{"Warning AllocationFailed"}},
		{name: "two IPv4 addresses", asks: one(annotated("metallb.io/loadBalancerIPs", "10.0.0.1,10.0.0.2")), cond: `False InvalidRequest: invalid request: metadata.annotations[metallb.io/loadBalancerIPs]: "10.0.0.1,10.0.0.2" names two IPv4 addresses`, events: []string{"Warning AllocationFailed"}},
		{name: "three addresses", asks: one(annotated("metallb.io/loadBalancerIPs", "10.0.0.1,10.0.0.2,2001:db8::1")), cond: `False InvalidRequest: invalid request: metadata.annotations[metallb.io/loadBalancerIPs]: "10.0.0.1,10.0.0.2,2001:db8::1" names 3 addresses`, events: []string{"Warning AllocationFailed"}},
		{name: "field and an empty annotation", asks: one(lbIP("10.0.0.2"), annotated("metallb.io/loadBalancerIPs", "")), want: "10.0.0.2", cond: "True Allocated"},
		{name: "field and an empty annotation, IPv6", asks: one(clusterIPs("fd00:96::1"), lbIP("2001:db8::2"), annotated("metallb.io/loadBalancerIPs", "")), want: "2001:db8::2", cond: "True Allocated"},
		{name: "field and annotation", asks: one(lbIP("10.0.0.2"), annotated("metallb.io/loadBalancerIPs", "10.0.0.2")), cond: `False InvalidRequest: invalid request: spec.loadBalancerIP "10.0.0.2" and metadata.annotations[metallb.io/loadBalancerIPs] "10.0.0.2" are both set; keep one of them`, events: []string{"Warning AllocationFailed"}},
		{name: "address of the wrong family", asks: one(lbIP("2001:db8::1")), cond: "False InvalidRequest: invalid request: spec.loadBalancerIP: the Service's cluster IPs are 10.96.0.1, so exactly one address of IPv4 must be asked for", events: []string{"Warning AllocationFailed"}},
		{name: "one address for a dual-stack Service", asks: one(clusterIPs("10.96.0.1", "fd00:96::1"), preferDual, lbIP("10.0.0.1")), cond: "False InvalidRequest: invalid request: spec.loadBalancerIP: the Service's cluster IPs are 10.96.0.1, fd00:96::1, so exactly one address of IPv4 and one of IPv6 must be asked for", events: []string{"Warning AllocationFailed"}},
		{name: "address of no pool", asks: one(lbIP("192.0.2.7")), cond: "False AddressNotInPool: address 192.0.2.7: no pool has it", events: []string{"Warning AllocationFailed"}},
		{name: "buggy address", asks: one(lbIP("10.1.0.255")), cond: `False AddressNotUsable: address 10.1.0.255: pool "manual": pool avoids addresses that end in .0 or .255`, events: []string{"Warning AllocationFailed"}},
		{name: "address of another", first: one(), asks: one(lbIP("10.0.0.0")), cond: "False AddressInUse: address 10.0.0.0 is in use by default/first, and not both allow sharing", events: []string{"Warning AllocationFailed"}},

		{name: "a pool for each family", asks: one(clusterIPs("10.96.0.1", "fd00:96::1"), preferDual, annotated("fairlead.io/address-pools", "team, manual, six")), want: "10.1.0.1 2001:db8:1::", cond: `True Allocated: 10.1.0.1 from pool "manual", 2001:db8:1:: from pool "manual"`},
		{name: "a pool for each family, two pools", asks: one(clusterIPs("fd00:96::1", "10.96.0.1"), requireDual, annotated("fairlead.io/address-pools", "six,auto")), want: "10.0.0.0 2001:db8:6::", cond: `True Allocated: 10.0.0.0 from pool "auto", 2001:db8:6:: from pool "six"`},
		{name: "a pool for each family, one missing", asks: one(clusterIPs("10.96.0.1", "fd00:96::1"), preferDual, annotated("fairlead.io/address-pools", "nowhere,six")), want: "2001:db8:6::", cond: `True Allocated: 2001:db8:6:: from pool "six"; pool "nowhere,six" has no IPv4 address to add`, events: []string{"Normal IPAllocated", "Normal AdditionalAssignFailed"}},
		{name: "a pool and a list of pools", asks: one(annotated("fairlead.io/address-pools", "six,auto"), annotated("metallb.io/address-pool", "six")), cond: "False InvalidRequest: invalid request: metadata.annotations[metallb.io/address-pool] names pool \"six\" and metadata.annotations[fairlead.io/address-pools] names six, auto; keep one of them", events: []string{"Warning AllocationFailed"}},
		{name: "not a duration", asks: one(annotated("fairlead.io/hold-address", "a while")), cond: `False InvalidRequest: invalid request: metadata.annotations[fairlead.io/hold-address]: "a while" is not a positive duration; write one like 10m or 24h`, events: []string{"Warning AllocationFailed"}},

		{name: "shared", first: one(shared), asks: one(shared, port(443)), want: "10.0.0.0", cond: "True Allocated"},
		{name: "shared with equal ports goes elsewhere", first: one(shared), asks: one(shared), want: "10.0.0.1", cond: "True Allocated"},
		{name: "shared address asked for, equal ports", first: one(shared), asks: one(shared, lbIP("10.0.0.0")), cond: "False SharingConflict: address 10.0.0.0 is in use by default/first: both use port TCP/80", events: []string{"Warning AllocationFailed"}},
		{name: "shared address asked for, other key", first: one(shared), asks: one(annotated("metallb.io/allow-shared-ip", "other"), port(443), lbIP("10.0.0.0")), cond: "False SharingConflict: address 10.0.0.0 is in use by default/first: the sharing keys differ", events: []string{"Warning AllocationFailed"}},
		{name: "shared, only one Local", first: one(shared, selector("a")), asks: one(shared, port(443), local, selector("a"), lbIP("10.0.0.0")), cond: "False SharingConflict: address 10.0.0.0 is in use by default/first: externalTrafficPolicy Local shares an address only with an equal selector", events: []string{"Warning AllocationFailed"}},
		{name: "shared, both Local, equal selectors", first: one(shared, local, selector("a")), asks: one(shared, port(443), local, selector("a")), want: "10.0.0.0", cond: "True Allocated"},
		{name: "shared, both Local, other selectors", first: one(shared, local, selector("a")), asks: one(shared, port(443), local, selector("b")), want: "10.0.0.1", cond: "True Allocated"},
		{name: "shared with another namespace, not returned", first: one(shared), asks: one(shared, port(443), annotated("fairlead.io/share-with-namespaces", "other"), lbIP("10.0.0.0")), cond: "False SharingConflict: address 10.0.0.0 is in use by default/first: the two do not share among the same namespaces", events: []string{"Warning AllocationFailed"}},
		{name: "shared with another namespace, both ways", first: one(shared, annotated("fairlead.io/share-with-namespaces", "other")), asks: one(in("other"), shared, port(443), annotated("fairlead.io/share-with-namespaces", " default,")), want: "10.0.0.0", cond: "True Allocated"},
		{name: "shared across namespaces, old prefix", first: one(shared), asks: one(in("other"), annotated("metallb.universe.tf/allow-shared-ip", "key"), port(443)), want: "10.0.0.0", cond: "True Allocated", events: []string{"Normal IPAllocated", "Warning deprecatedAnnotation"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, standard()...)
			if tc.first != nil {
				w.put(loadBalancer("first", tc.first...))
				w.settle()
				w.takeEvents()
			}
			s := loadBalancer("second", tc.asks...)
			w.put(s)
			w.settle()
			owner := ownerOf(s)
			assert.Equal(t, tc.want, strings.Join(addrStrings(w.addrs(owner)), " "))
			assert.True(t, strings.HasPrefix(w.condition(owner), tc.cond), "condition %q\nwant      %q", w.condition(owner), tc.cond)
			want := tc.events
			if want == nil {
				want = []string{"Normal IPAllocated"}
			}
			var got []string
			for _, e := range w.takeEvents() {
				got = append(got, strings.TrimPrefix(strings.SplitN(e, ":", 2)[0], owner.String()+" "))
			}
			assert.Equal(t, want, got)

			now := w.services[owner]
			if tc.want == "" {
				assert.NotContains(t, now.Annotations, service.AnnotationFromPool)
				assert.NotContains(t, now.Labels, service.LabelPool)
			} else {
				pools := strings.Split(now.Annotations[service.AnnotationFromPool], ",")
				for _, p := range pools {
					assert.Contains(t, w.condition(owner), `pool "`+p+`"`)
				}
				assert.Equal(t, backends.PoolLabel(now.Annotations[service.AnnotationFromPool]), now.Labels[service.LabelPool])
			}
		})
	}
}

// TestChanges: what becomes of a Service that has an address when it, or a pool, is changed.
func TestChanges(t *testing.T) {
	edit := func(change ...func(*corev1.Service)) func(*world) {
		return func(w *world) {
			s := w.services[named("web")].DeepCopy()
			for _, c := range change {
				c(s)
			}
			w.put(s)
		}
	}
	pools := func(p ...v1beta1.IPAddressPool) func(*world) {
		return func(w *world) { w.setPools(p...) }
	}
	team := standard()[0]
	team.Spec.AllocateTo = &v1beta1.ServiceAllocation{Namespaces: []string{"team"}}
	for _, tc := range []struct {
		name   string
		do     []func(*world)
		want   string
		cond   string
		events []string
	}{
		{name: "nothing", do: []func(*world){edit()}, want: "10.0.0.0", cond: `True Allocated: 10.0.0.0 from pool "auto"`},
		{name: "asks for a typo", do: []func(*world){edit(annotated("metallb.io/loadBalancerIPs", "10.0.0.300"))}, want: "10.0.0.0",
			cond:   `True AddressKept: 10.0.0.0 from pool "auto" is kept: invalid request: metadata.annotations[metallb.io/loadBalancerIPs]: "10.0.0.300" is not an IP address`,
			events: []string{"Warning LoadBalancerFailed"}},
		{name: "asks for an address of another", do: []func(*world){edit(annotated("metallb.io/loadBalancerIPs", "10.0.0.1"))}, want: "10.0.0.0",
			cond: `True AddressKept: 10.0.0.0 from pool "auto" is kept: address 10.0.0.1 is in use by default/other`, events: []string{"Warning LoadBalancerFailed"}},
		{name: "asks for an address of another, which then goes", do: []func(*world){
			edit(annotated("metallb.io/loadBalancerIPs", "10.0.0.1")), func(w *world) { w.delete(named("other")) },
		}, want: "10.0.0.1", cond: `True Allocated: 10.0.0.1 from pool "auto"; 10.0.0.0 is replaced by 10.0.0.1`,
			events: []string{"Warning LoadBalancerFailed", "Normal ClearAssignment", "Normal IPAllocated"}},
		{name: "asks for another address", do: []func(*world){edit(annotated("metallb.io/loadBalancerIPs", "10.0.0.3"))}, want: "10.0.0.3",
			cond: `True Allocated: 10.0.0.3 from pool "auto"; 10.0.0.0 is replaced by 10.0.0.3`, events: []string{"Normal ClearAssignment", "Normal IPAllocated"}},
		{name: "asks for another pool", do: []func(*world){edit(annotated("metallb.io/address-pool", "manual"))}, want: "10.1.0.1",
			cond: `True Allocated: 10.1.0.1 from pool "manual"; 10.0.0.0 is replaced by 10.1.0.1`, events: []string{"Normal ClearAssignment", "Normal IPAllocated"}},
		{name: "becomes dual stack", do: []func(*world){edit(clusterIPs("10.96.0.1", "fd00:96::1"), policy(corev1.IPFamilyPolicyPreferDualStack))},
			want: "10.0.0.0 2001:db8::", cond: "True Allocated: 10.0.0.0", events: []string{"Normal IPAllocated"}},
		{name: "asks for a pool for each family", do: []func(*world){edit(clusterIPs("10.96.0.1", "fd00:96::1"), policy(corev1.IPFamilyPolicyPreferDualStack), annotated("fairlead.io/address-pools", "auto,six"))},
			want: "10.0.0.0 2001:db8::", cond: "True Allocated: 10.0.0.0 from pool \"auto\", 2001:db8:: from pool \"auto\"", events: []string{"Normal IPAllocated"}},
		{name: "gains the second family when its pool comes", do: []func(*world){
			pools(ipPool("auto", "10.0.0.0/30")), edit(clusterIPs("10.96.0.1", "fd00:96::1"), policy(corev1.IPFamilyPolicyPreferDualStack), annotated("fairlead.io/address-pools", "auto,later")),
			(*world).settle, pools(ipPool("auto", "10.0.0.0/30"), ipPool("later", "2001:db8:9::/126")),
		}, want: "10.0.0.0 2001:db8:9::", cond: `True Allocated: 10.0.0.0 from pool "auto", 2001:db8:9:: from pool "later"`,
			events: []string{"Normal AdditionalAssignFailed", "Normal IPAllocated"}},
		{name: "is no load balancer any more", do: []func(*world){edit(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })},
			events: []string{"Normal ClearAssignment"}},
		{name: "gets another class", do: []func(*world){edit(func(s *corev1.Service) { c := "example.org/lb"; s.Spec.LoadBalancerClass = &c })},
			events: []string{"Normal ClearAssignment"}},

		{name: "pool is widened", do: []func(*world){pools(ipPool("auto", "10.0.0.0/24"))}, want: "10.0.0.0", cond: "True Allocated"},
		{name: "pool is narrowed around it", do: []func(*world){pools(ipPool("auto", "10.0.0.0-10.0.0.1"))}, want: "10.0.0.0", cond: "True Allocated"},
		{name: "pool gets another name", do: []func(*world){pools(ipPool("renamed", "10.0.0.0/30"))}, want: "10.0.0.0", cond: `True Allocated: 10.0.0.0 from pool "renamed"`},
		{name: "pool stops admitting it", do: []func(*world){pools(team)}, want: "10.0.0.0",
			cond: `True AddressKept: 10.0.0.0 from pool "auto" is kept: address 10.0.0.0: pool "auto": pool does not admit the owner`, events: []string{"Warning LoadBalancerFailed"}},
		{name: "pool stops and starts admitting it", do: []func(*world){pools(team), (*world).settle, pools(standard()[0])}, want: "10.0.0.0",
			cond: `True Allocated: 10.0.0.0 from pool "auto"`, events: []string{"Warning LoadBalancerFailed"}},
		{name: "range is removed", do: []func(*world){pools(ipPool("auto", "10.0.0.1-10.0.0.3"))}, want: "10.0.0.2",
			cond: `True Allocated: 10.0.0.2 from pool "auto"; 10.0.0.0 is replaced by 10.0.0.2`, events: []string{"Normal ClearAssignment", "Normal IPAllocated"}},
		{name: "pool becomes faulty", do: []func(*world){pools(ipPool("auto", "10.0.0.0/330"))}, want: "10.0.0.0", cond: "True Allocated"},
		{name: "pool becomes faulty, and the controller restarts", do: []func(*world){pools(ipPool("auto", "10.0.0.0/330")), (*world).start}, want: "10.0.0.0",
			cond: `True AddressKept: 10.0.0.0 from pool "auto" is kept: pool is set aside: IPAddressPool metallb-system/auto: spec.addresses[0]: "10.0.0.0/330" is neither a CIDR`, events: []string{"Warning LoadBalancerFailed"}},
		{name: "pool becomes faulty, restart, pool is mended", do: []func(*world){
			pools(ipPool("auto", "10.0.0.0/330")), (*world).start, (*world).settle, pools(ipPool("auto", "10.0.0.0/30")),
		}, want: "10.0.0.0", cond: `True Allocated: 10.0.0.0 from pool "auto"`, events: []string{"Warning LoadBalancerFailed"}},
		{name: "all pools are deleted", do: []func(*world){pools()}, cond: "False NoMatchingPool", events: []string{"Normal ClearAssignment", "Warning AllocationFailed"}},
		{name: "all pools are deleted and come back", do: []func(*world){pools(), (*world).settle, pools(ipPool("other", "10.0.0.4/30"), ipPool("auto", "10.0.0.0/30"))},
			want: "10.0.0.0", cond: `True Allocated: 10.0.0.0 from pool "auto"`, events: []string{"Normal ClearAssignment", "Warning AllocationFailed", "Normal IPAllocated"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, standard()...)
			w.put(loadBalancer("web"))
			w.settle()
			w.put(loadBalancer("other"))
			w.settle()
			require.Equal(t, "10.0.0.0", strings.Join(addrStrings(w.addrs(named("web"))), " "))
			w.takeEvents()
			for _, do := range tc.do {
				do(w)
			}
			w.settle()
			assert.Equal(t, tc.want, strings.Join(addrStrings(w.addrs(named("web"))), " "))
			assert.True(t, strings.HasPrefix(w.condition(named("web")), tc.cond), "condition %q\nwant      %q", w.condition(named("web")), tc.cond)
			var got []string
			for _, e := range w.takeEvents() {
				if rest, mine := strings.CutPrefix(e, "default/web "); mine {
					got = append(got, strings.SplitN(rest, ":", 2)[0])
				}
			}
			assert.Equal(t, tc.events, got)
		})
	}
}

// TestIsolatedSharing: with keys kept within their namespace, a guessed key is of no use; those who name each other share.
func TestIsolatedSharing(t *testing.T) {
	w := newWorld(t, standard()...)
	w.rules.IsolateSharing = true
	w.start()
	w.put(loadBalancer("first", shared))
	w.put(loadBalancer("guessed", in("other"), shared, port(443)))
	w.put(loadBalancer("same", shared, port(444)))
	w.put(loadBalancer("named", in("other"), shared, port(445), annotated(service.AnnotationShareWith, "default")))
	w.put(loadBalancer("back", shared, port(446), annotated(service.AnnotationShareWith, "other")))
	w.settle()
	ip := func(o allocator.Owner) string { return strings.Join(addrStrings(w.addrs(o)), " ") }
	first := ip(named("first"))
	assert.Equal(t, first, ip(named("same")))
	assert.NotEqual(t, first, ip(allocator.Owner{Namespace: "other", Name: "guessed"}))
	both := ip(allocator.Owner{Namespace: "other", Name: "named"})
	assert.Equal(t, both, ip(named("back")))
	assert.NotEqual(t, first, both)
}

func TestSeveralClasses(t *testing.T) {
	w := newWorld(t, standard()...)
	w.rules.Classes = []string{"", "example.com/b"}
	w.start()
	classed := func(class string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class }
	}
	w.put(loadBalancer("none"))
	w.put(loadBalancer("b", classed("example.com/b")))
	w.put(loadBalancer("c", classed("example.com/c")))
	w.settle()
	assert.NotEmpty(t, w.addrs(named("none")))
	assert.NotEmpty(t, w.addrs(named("b")))
	assert.Empty(t, w.addrs(named("c")))
}

func TestForeignStatusIsLeftAlone(t *testing.T) {
	w := newWorld(t, standard()...)
	s := loadBalancer("web")
	w.put(s)
	w.queue = nil
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.7"}}
	w.start()
	w.settle()
	assert.Equal(t, "203.0.113.7", strings.Join(addrStrings(w.addrs(named("web"))), " "))
	assert.Equal(t, "False ForeignStatus: status.loadBalancer.ingress holds 203.0.113.7, which was not assigned here; it is left alone. "+
		"To have the status taken over, add 203.0.113.7 to a pool. To have an address assigned here, stop the other writer and empty the status: "+
		service.EmptyStatus(w.services[named("web")]), w.condition(named("web")))
	assert.Len(t, w.takeEvents(), 1)
	w.start()
	w.settle()
	assert.Empty(t, w.takeEvents(), "the event is repeated")
}

// TestRefusalsAreDocumented: docs/reasons.md has the reason of every refusal.
func TestRefusalsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/reasons.md")
	require.NoError(t, err)
	for _, r := range reasons {
		assert.Contains(t, string(b), "`"+r.reason+"`")
	}
}
