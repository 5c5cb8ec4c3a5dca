package bgp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// TestTwoRouters has two routers spread connections over all nodes. With policy Local it is the node that a router has chosen whose pod
// answers, so answers are counted by node.
func TestTwoRouters(t *testing.T) {
	r := newRack(t, 3, func(*v1beta2.BGPPeerSpec) {})
	second := r.AddClient("router2")
	frr2 := routing.StartFRR(t, r.Lab, second, routing.Rack)
	for name, addr := range map[string]string{"tor2-v4": second.Addr(false).String(), "tor2-v6": second.Addr(true).String()} {
		r.Create(&v1beta2.BGPPeer{ObjectMeta: r.Meta(name), Spec: v1beta2.BGPPeerSpec{MyASN: 65001, PeerASN: 65002, PeerAddress: addr}})
	}
	svc := r.Service("web", r.Nodes(), func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal })
	for host, f := range map[*netlab.Host]*routing.FRR{r.router: r.frr, second: frr2} {
		host.Sysctl("ipv4/fib_multipath_hash_policy", "1") // by port, too
		host.Sysctl("ipv6/fib_multipath_hash_policy", "1")
		for i, vip := range site.Addrs(svc) {
			family, route := []string{"ipv4", "ipv6"}[i], []string{vip.String() + "/32", vip.String() + "/128"}[i]
			await(t, "three next hops", func() bool { return len(valid(f, family, route)) == 3 })
			await(t, "three next hops in the kernel", func() bool { return kernelHops(host, family, route) == 3 })
			pods := map[string]int{}
			for range 90 {
				a, err := host.Get(vip, 5*time.Second)
				require.NoError(t, err)
				pods[a.Pod]++
			}
			t.Logf("%s, %s: %v", host.Name(), family, pods)
			assert.Len(t, pods, 3, "nodes that answer %s of %s", vip, host.Name())
			for pod, n := range pods {
				assert.Greater(t, n, 5, "answers of %s", pod)
			}
		}
	}
}
