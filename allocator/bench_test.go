package allocator

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"go4.org/netipx"
)

// fill gives out the first room addresses of a pool and takes a random part back, so that percent of them stay in use.
func fill(tb testing.TB, pool string, room, percent int) (*Allocator, []Owner) {
	tb.Helper()
	owners := names(room)
	a := &Allocator{}
	_, err := a.SetPools([]Pool{{Name: "p", AutoAssign: true, Ranges: []netipx.IPRange{mustRange(pool)}}})
	require.NoError(tb, err)
	if percent == 0 {
		return a, nil
	}
	for _, o := range owners {
		if _, err := a.Allocate(request(o, pool)); err != nil {
			tb.Fatal(err)
		}
	}
	n := len(owners)
	rand.New(rand.NewPCG(1, uint64(n))).Shuffle(n, func(i, j int) { owners[i], owners[j] = owners[j], owners[i] })
	keep := n * percent / 100
	for _, o := range owners[keep:] {
		a.Release(o)
	}
	return a, owners[:keep]
}

func names(n int) []Owner {
	out := make([]Owner, n)
	for i := range out {
		out[i] = Owner{"default", fmt.Sprintf("service-%d", i)}
	}
	return out
}

func request(o Owner, pool string) Request {
	return Request{Owner: o, Families: Families{Primary: FamilyOf(mustRange(pool).From())}, Ports: Ports(Port{TCP, 80})}
}

// rooms are the pools of the benchmarks and how many of their addresses they use. Nobody has 2^64 Services: in the /64, and in
// the /8, "99 %" is 99 % of the room named here.
var rooms = []struct {
	pool string
	room int
}{
	{"10.0.0.0/24", 1 << 8}, {"10.0.0.0/16", 1 << 16}, {"10.0.0.0/8", 1 << 24}, {"2001:db8::/64", 1 << 20},
}

// BenchmarkAllocateRelease measures one allocation and, apart from it, one release.
func BenchmarkAllocateRelease(b *testing.B) {
	for _, r := range rooms {
		for _, percent := range []int{0, 50, 99} {
			b.Run(fmt.Sprintf("pool=%s/full=%d%%", r.pool, percent), func(b *testing.B) {
				a, held := fill(b, r.pool, r.room, percent)
				rng := rand.New(rand.NewPCG(2, 2))
				req := request(Owner{"default", "new"}, r.pool)
				runtime.GC() // filling the pool leaves garbage whose collection is not what is measured
				b.ReportAllocs()
				for b.Loop() {
					if _, err := a.Allocate(req); err != nil {
						b.Fatal(err)
					}
					if len(held) == 0 {
						a.Release(req.Owner)
						continue
					}
					// Free a random one and let its owner be the next to come, so that holes keep moving.
					i := rng.IntN(len(held))
					a.Release(held[i])
					held[i], req.Owner = req.Owner, held[i]
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2, "ns/operation")
			})
		}
	}
}

// BenchmarkMemory reports the heap that one assigned address costs, owner names not counted: packed as first fit leaves them,
// and scattered so that every second address is free.
func BenchmarkMemory(b *testing.B) {
	for _, r := range rooms {
		for _, every := range []int{1, 2} {
			b.Run(fmt.Sprintf("pool=%s/every=%d", r.pool, every), func(b *testing.B) {
				var before, after runtime.MemStats
				owners := names(r.room / every)
				for b.Loop() {
					runtime.GC()
					runtime.ReadMemStats(&before)
					a := &Allocator{}
					_, err := a.SetPools([]Pool{{Name: "p", AutoAssign: true, Ranges: []netipx.IPRange{mustRange(r.pool)}}})
					require.NoError(b, err)
					k := keyOf(mustRange(r.pool).From())
					for _, o := range owners {
						if err := a.Restore(request(o, r.pool), k.addr()); err != nil {
							b.Fatal(err)
						}
						k.lo += uint64(every)
					}
					runtime.GC()
					runtime.ReadMemStats(&after)
					runtime.KeepAlive(a)
				}
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(owners)), "B/address")
			})
		}
	}
}

// BenchmarkShared measures finding a place beside others that share: 1,000 addresses of one sharing key, all but the last of
// which use the wanted port.
func BenchmarkShared(b *testing.B) {
	a := &Allocator{}
	_, err := a.SetPools([]Pool{{Name: "p", AutoAssign: true, Ranges: []netipx.IPRange{mustRange("10.0.0.0/22")}}})
	require.NoError(b, err)
	for i := range 1024 {
		req := request(Owner{"default", fmt.Sprint(i)}, "10.0.0.0/22")
		req.Sharing = Sharing{Key: "k"}
		if i == 1023 {
			req.Ports = Ports(Port{UDP, 53})
			req.IPv4 = mustRange("10.0.3.255/32").From()
		}
		_, err := a.Allocate(req)
		require.NoError(b, err)
	}
	req := request(Owner{"default", "new"}, "10.0.0.0/22")
	req.Sharing = Sharing{Key: "k"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Allocate(req); err != nil {
			b.Fatal(err)
		}
		a.Release(req.Owner)
	}
}
