package cilium

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

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
