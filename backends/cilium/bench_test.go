package cilium

import (
	"fmt"
	"net/netip"
	"testing"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/backends"
)

// manyPools is a cluster with n pools, all advertised by BGP and on layer 2, and 10 Services for each; each pool has an
// advertisement of its own if separate is set, else all are in one.
func manyPools(n int, separate bool) backends.Desired {
	var want backends.Desired
	var names []string
	for i := range n {
		name := fmt.Sprintf("pool-%04d", i)
		names = append(names, name)
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		want.Announcements = append(want.Announcements, backends.Announcement{Prefix: prefix, Pool: name})
		for j := range 10 {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(j)})
			want.Services = append(want.Services, backends.Service{Namespace: "shop", Name: fmt.Sprintf("web-%d-%d", i, j), Pool: name, Addrs: []netip.Addr{addr}})
		}
	}
	if !separate {
		want.BGPAdvertisements = []backends.BGPAdvertisement{bgp("all", func(a *backends.BGPAdvertisement) { a.Pools = pools(names...) })}
		want.L2Advertisements = []backends.L2Advertisement{l2("all", func(a *backends.L2Advertisement) { a.Pools = pools(names...) })}
		return want
	}
	for _, name := range names {
		want.BGPAdvertisements = append(want.BGPAdvertisements, bgp(name, func(a *backends.BGPAdvertisement) { a.Pools = pools(name) }))
		want.L2Advertisements = append(want.L2Advertisements, l2(name, func(a *backends.L2Advertisement) { a.Pools = pools(name) }))
	}
	return want
}

// BenchmarkPoolChange is everything of an Apply but the API server: 1,000 pools, 10,000 Services, one pool comes or goes.
func BenchmarkPoolChange(b *testing.B) {
	for _, separate := range []bool{false, true} {
		b.Run(map[bool]string{false: "one advertisement", true: "1,000 advertisements"}[separate], func(b *testing.B) {
			before, after := manyPools(1000, separate), manyPools(999, separate)
			world := worldOf(run(before).objects...)
			f := func(f *facts) { f.world = world }
			writes := 0
			b.ReportAllocs()
			for b.Loop() {
				t := run(after, f)
				changes := t.compare()
				for _, ch := range changes {
					if ch.want != nil {
						if _, err := encode(ch.want, Groups[0].WithKind(kindOf(ch.want))); err != nil {
							b.Fatal(err)
						}
					}
				}
				writes = len(changes)
				t.outcome(on, nil)
			}
			b.ReportMetric(float64(writes), "writes")
		})
	}
}

// TestPoolChange: one pool that comes or goes costs at most two writes, one for each kind of advertisement.
func TestPoolChange(t *testing.T) {
	for _, separate := range []bool{false, true} {
		small, large := manyPools(99, separate), manyPools(100, separate)
		assert.Len(t, run(large, given(run(small).objects...)).compare(), 2)
		assert.Len(t, run(small, given(run(large).objects...)).compare(), 2)
	}
}

// BenchmarkManyNodes is everything of an Apply but the API server: 500 nodes in 25 racks with two sessions each, an advertisement for each
// rack, and one for all that changes.
func BenchmarkManyNodes(b *testing.B) {
	want := backends.Desired{Peers: []backends.Peer{router("tor-a", "192.0.2.1"), router("tor-b", "192.0.2.2")}, BGPAdvertisements: []backends.BGPAdvertisement{bgp("all")}}
	for i := range 500 {
		want.Nodes = append(want.Nodes, node(fmt.Sprintf("node-%03d.example.com", i), "rack", fmt.Sprint(i%25)))
	}
	for i := range 25 {
		want.BGPAdvertisements = append(want.BGPAdvertisements, bgp(fmt.Sprintf("rack-%d", i), func(a *backends.BGPAdvertisement) {
			a.NodeSelectors = []labels.Selector{selector(fmt.Sprintf("rack=%d", i))}
		}))
	}
	objects := run(want).objects
	var nodeConfigs []object
	for _, n := range want.Nodes {
		nodeConfigs = append(nodeConfigs, &v2.CiliumBGPNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: n.Name}})
	}
	world := worldOf(append(objects, nodeConfigs...)...)
	after := want
	after.BGPAdvertisements = append([]backends.BGPAdvertisement{bgp("all", func(a *backends.BGPAdvertisement) { a.Peers = []string{"tor-a"} })}, want.BGPAdvertisements[1:]...)
	b.ReportAllocs()
	for b.Loop() {
		t := run(after, func(f *facts) { f.world = world })
		if now, waiting := t.order(t.compare()); len(now) != 1 || len(waiting) != 0 {
			b.Fatal(len(now), waiting)
		}
		t.outcome(on, nil)
	}
	b.ReportMetric(float64(len(objects)), "objects")
}
