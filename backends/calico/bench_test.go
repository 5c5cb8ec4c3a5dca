package calico

import (
	"fmt"
	"net/netip"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/fairlead/fairlead/backends"
)

// manyPools is a cluster with n pools in one advertisement, and 10 Services for each.
func manyPools(n int) backends.Desired {
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
	want.BGPAdvertisements = []backends.BGPAdvertisement{adv("all", pools(names...))}
	return want
}

// BenchmarkPoolChange is everything of an Apply but the API server: 1,000 pools, 10,000 Services, one pool comes.
func BenchmarkPoolChange(b *testing.B) {
	for _, mode := range []Aggregation{Disabled, PerIP} {
		for _, peers := range [][]backends.Peer{nil, {router("tor-a", "192.0.2.1"), router("tor-b", "192.0.2.2")}} {
			b.Run(fmt.Sprintf("%s, %d peers", mode, len(peers)), func(b *testing.B) {
				s := with1(func(s *surroundings) { s.mode, s.managesPeers = mode, peers != nil })
				before, now := manyPools(999), manyPools(1000)
				before.Peers, now.Peers = peers, peers
				first := merge(merging{want: route(before, s)})
				there := conf()
				there.Spec.ServiceLoadBalancerIPs, _ = first.spec[fieldBlocks].([]v3.ServiceLoadBalancerIPBlock)
				in := planned(now, after(plan(planned(before))))
				b.ReportAllocs()
				for b.Loop() {
					r := route(now, s)
					in.want.BGPAdvertisements = r.served
					plan(in)
					m := merge(merging{current: there, record: first.ours, want: r})
					if len(m.spec) == 0 || m.ours.with(first.ours).IsEmpty() {
						b.Fatal("nothing changes")
					}
				}
			})
		}
	}
}
