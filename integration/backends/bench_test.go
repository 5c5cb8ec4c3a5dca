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

// BenchmarkCiliumPoolChange has one of 1,000 pools come and go, with 10,000 Services, on the API server. The CPU time is that of
// this process: the backend's and its client's.
func BenchmarkCiliumPoolChange(b *testing.B) {
	f := installCilium(b, false)
	defer f.Reset(b)
	var wants [2]backends.Desired
	for i := range wants {
		var names []string
		for p := range 1000 - i {
			name := fmt.Sprintf("pool-%04d", p)
			names = append(names, name)
			prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(p >> 8), byte(p), 0}), 24)
			wants[i].Announcements = append(wants[i].Announcements, backends.Announcement{Prefix: prefix, Pool: name})
			for s := range 10 {
				addr := netip.AddrFrom4([4]byte{10, byte(p >> 8), byte(p), byte(s)})
				wants[i].Services = append(wants[i].Services, backends.Service{Namespace: "shop", Name: fmt.Sprintf("web-%d-%d", p, s), Pool: name, Addrs: []netip.Addr{addr}})
			}
		}
		wants[i].BGPAdvertisements = []backends.BGPAdvertisement{{Source: source("BGPAdvertisement", "all"), Pools: poolsNamed(names...)}}
		wants[i].L2Advertisements = []backends.L2Advertisement{{Source: source("L2Advertisement", "all"), Pools: poolsNamed(names...)}}
	}
	r := &backendtest.Recorder{}
	backend := f.New(b, r)
	require.NoError(b, backend.Apply(b.Context(), wants[0]))
	r.Take()
	before, n := cpu(b), 0
	for b.Loop() {
		n++
		require.NoError(b, backend.Apply(b.Context(), wants[n%2]))
	}
	b.ReportMetric(float64(len(r.Take()))/float64(n), "writes/op")
	b.ReportMetric(float64((cpu(b)-before).Milliseconds())/float64(n), "cpu-ms/op")
}

// cpu returns the CPU time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
