package membership

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

// BenchmarkMembers has many members in one process, with the profile LAN, and measures how long it takes until all know each other,
// until all know of a claim, and until all know that a member has died. With the machine's processors shared by all of them, real
// nodes are faster.
func BenchmarkMembers(b *testing.B) {
	for _, n := range []int{10, 100, 300} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				members(b, n)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func members(b *testing.B, n int) {
	const firstPort = 10_000
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	groups := make([]*Group, n)
	began := time.Now()
	for i := range groups {
		groups[i] = New(Config{
			Node: fmt.Sprint("n", i), BindAddr: netip.MustParseAddr("127.0.0.1"), BindPort: uint16(firstPort + i), Profile: LAN, Secret: []byte("secret"),
			Peers: func(context.Context) ([]string, error) {
				return []string{fmt.Sprint("127.0.0.1:", firstPort), fmt.Sprint("127.0.0.1:", firstPort+i/2)}, nil
			},
			Changed: func() {}, Joined: func(string) {}, Log: slog.New(slog.DiscardHandler),
		})
		require.NoError(b, groups[i].Listen())
		groups[i].SetLinks([]backends.Link{{Name: "eth0", IPv4: true}}, false)
		running.Go(func() { groups[i].join(ctx) })
	}
	all := func(what string, check func(*Group) bool) time.Duration {
		since := time.Now()
		for i, g := range groups {
			if g == nil {
				continue
			}
			require.Eventually(b, func() bool { return check(g) }, 2*time.Minute, 5*time.Millisecond, "%s at %d", what, i)
		}
		return time.Since(since)
	}
	all("all members", func(g *Group) bool { return len(g.Members()) == n })
	b.ReportMetric(time.Since(began).Seconds(), "all-joined-s")

	groups[0].Claim(of(addrs...))
	b.ReportMetric(all("the claim", func(g *Group) bool { return len(g.Members()["n0"].Claims) == len(addrs) }).Seconds(), "claim-s")

	require.NoError(b, groups[n-1].list.Shutdown())
	dead := fmt.Sprint("n", n-1)
	groups[n-1] = nil
	b.ReportMetric(all("the death", func(g *Group) bool { _, is := g.Members()[dead]; return !is }).Seconds(), "death-s")
	cancel()
	running.Wait()
	for _, g := range groups {
		if g != nil {
			require.NoError(b, g.list.Shutdown())
		}
	}
}
