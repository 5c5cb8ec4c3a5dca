package bgp

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// patience is how long a kernel may take to have what it is watched for.
const patience = 2 * time.Minute

// kernel watches the routes of a host's kernel, as the kernel tells of them.
type kernel struct {
	b *testing.B

	mu     sync.Mutex // protects all the following
	routes map[netip.Prefix]time.Time
	counts map[netip.Prefix]int // of routes, within the networks that has was called for
	last   time.Time            // of the last change
	err    error
	news   chan struct{}
}

func watch(b *testing.B, h *netlab.Host) *kernel {
	k := &kernel{b: b, routes: map[netip.Prefix]time.Time{}, counts: map[netip.Prefix]int{}, news: make(chan struct{})}
	updates, done := make(chan netlink.RouteUpdate, 1<<16), make(chan struct{})
	b.Cleanup(func() { close(done) })
	require.NoError(b, h.Do(func() error {
		return netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{
			ReceiveBufferSize: 64 << 20, ReceiveBufferForceSize: true,
			ErrorCallback: func(err error) { k.change(func() { k.err = err }) },
		})
	}))
	go func() {
		for u := range updates {
			if u.Dst == nil {
				continue
			}
			addr, ok := netip.AddrFromSlice(u.Dst.IP)
			bits, _ := u.Dst.Mask.Size()
			if !ok {
				continue
			}
			p := netip.PrefixFrom(addr, bits)
			k.change(func() {
				k.last = time.Now()
				_, known := k.routes[p]
				switch gone := u.Type == unix.RTM_DELROUTE; {
				case gone && known:
					delete(k.routes, p)
					k.count(p, -1)
				case !gone && !known:
					k.routes[p] = k.last
					k.count(p, 1)
				}
			})
		}
	}()
	return k
}

func (k *kernel) change(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	do()
	close(k.news)
	k.news = make(chan struct{})
}

// await waits until ok, which is called with the lock held, and returns when the last change was.
func (k *kernel) await(what string, ok func() bool) time.Time {
	k.b.Helper()
	deadline := time.After(patience)
	for {
		k.mu.Lock()
		yes, at, err, news, have := ok(), k.last, k.err, k.news, len(k.routes)
		k.mu.Unlock()
		require.NoError(k.b, err)
		if yes {
			return at
		}
		select {
		case <-news:
		case <-deadline:
			require.Fail(k.b, "never in the router's kernel: "+what, "it has %d routes; the last change was %s ago", have, time.Since(at).Round(time.Second))
		}
	}
}

// appears waits for a route and returns since when it is there.
func (k *kernel) appears(p netip.Prefix) time.Time {
	k.b.Helper()
	var at time.Time
	k.await(p.String(), func() bool {
		var there bool
		at, there = k.routes[p]
		return there
	})
	return at
}

// count takes in that a route has come, or gone. To count all anew at each change would take a core from what is measured.
func (k *kernel) count(p netip.Prefix, n int) {
	for within := range k.counts {
		if within.Contains(p.Addr()) {
			k.counts[within] += n
		}
	}
}

// has waits until there are exactly n routes within a network, and returns when that came true.
func (k *kernel) has(within netip.Prefix, n int, what string) time.Time {
	k.b.Helper()
	k.change(func() {
		if _, counted := k.counts[within]; counted {
			return
		}
		k.counts[within] = 0
		for p := range k.routes {
			if within.Contains(p.Addr()) {
				k.counts[within]++
			}
		}
	})
	return k.await(what, func() bool { return k.counts[within] == n })
}
