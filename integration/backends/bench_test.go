package backends

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
)

// manyPools is a cluster with n pools, all advertised in both ways by one object each, and 10 Services for each.
func manyPools(n int) backends.Desired {
	var want backends.Desired
	var names []string
	for p := range n {
		name := fmt.Sprintf("pool-%04d", p)
		names = append(names, name)
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(p >> 8), byte(p), 0}), 24)
		want.Announcements = append(want.Announcements, backends.Announcement{Prefix: prefix, Pool: name})
		for s := range 10 {
			addr := netip.AddrFrom4([4]byte{10, byte(p >> 8), byte(p), byte(s)})
			want.Services = append(want.Services, backends.Service{Namespace: "shop", Name: fmt.Sprintf("web-%d-%d", p, s), Pool: name, Addrs: []netip.Addr{addr}})
		}
	}
	want.BGPAdvertisements = []backends.BGPAdvertisement{{Source: source("BGPAdvertisement", "all"), Pools: poolsNamed(names...)}}
	want.L2Advertisements = []backends.L2Advertisement{{Source: source("L2Advertisement", "all"), Pools: poolsNamed(names...)}}
	return want
}

// poolChange has one of so many pools come and go, with ten Services each, on the API server. The CPU time is that of this process: the
// backend's and its client's.
func poolChange(b *testing.B, f backendtest.Fixture, peers []backends.Peer, pools int) {
	wants := [2]backends.Desired{manyPools(pools), manyPools(pools - 1)}
	wants[0].Peers, wants[1].Peers = peers, peers
	r := &backendtest.Recorder{}
	backend := f.New(b, r)
	require.NoError(b, backend.Apply(b.Context(), wants[0]))
	r.Take()
	before, n := cpu(b), 0
	for b.Loop() {
		n++
		require.NoError(b, backend.Apply(b.Context(), wants[n%2]))
	}
	writes := len(r.Take())
	require.NotZero(b, writes)
	b.ReportMetric(float64(writes)/float64(n), "writes/op")
	b.ReportMetric(float64((cpu(b)-before).Milliseconds())/float64(n), "cpu-ms/op")
}

func BenchmarkCiliumPoolChange(b *testing.B) {
	f := installCilium(b, false)
	defer f.Reset(b)
	poolChange(b, f, nil, 1000)
}

// BenchmarkCalicoPoolChange has as many pools as Calico takes, nearly: 100 prefixes of each family is the limit. It does not count the writes of the record, of which there is one for each change.
func BenchmarkCalicoPoolChange(b *testing.B) {
	f := installCalico(b, calicoRaw, false)
	for name, peers := range map[string][]backends.Peer{"Calico's peers": nil, "two peers": {peer("tor-a", "192.0.2.1"), peer("tor-b", "192.0.2.2")}} {
		b.Run(name, func(b *testing.B) {
			f.Reset(b)
			poolChange(b, f, peers, 90)
			f.Reset(b)
		})
	}
}

// cpu returns the CPU time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
