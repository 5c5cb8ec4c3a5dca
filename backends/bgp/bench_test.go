package bgp

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

// counter is a router on loopback that counts what it hears and keeps nothing, so that what is measured is the sender.
type counter struct {
	l        net.Listener
	families []family
	asn      uint32

	updates, told, withdrawn atomic.Int64 // UPDATEs, and prefixes in them
	sessions                 atomic.Int64
	news                     chan struct{} // room for one
}

func newCounter(b testing.TB, asn uint32, f family) *counter {
	network, at := "tcp4", "127.0.0.1:0"
	if f == ipv6 {
		network, at = "tcp6", "[::1]:0"
	}
	l, err := net.Listen(network, at)
	if err != nil {
		b.Skip(err)
	}
	c := &counter{l: l, families: []family{f}, asn: asn, news: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(conn) })
		}
	})
	b.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return c
}

func (c *counter) peer(name string) backends.Peer {
	at := netip.MustParseAddrPort(c.l.Addr().String())
	return backends.Peer{
		Source: backends.Source{Kind: "BGPPeer", Namespace: "ns", Name: name}, MyASN: 65001, PeerASN: c.asn,
		Address: at.Addr(), Port: at.Port(), ConnectTime: time.Second,
	}
}

func (c *counter) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	buf := make([]byte, maxMessage)
	for {
		if _, err := io.ReadFull(in, buf[:headerLen]); err != nil {
			return
		}
		body := buf[headerLen:binary.BigEndian.Uint16(buf[16:])]
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		switch buf[18] {
		case typeOpen:
			mine := opening{asn: c.asn, hold: 90 * time.Second, id: netip.MustParseAddr("192.0.2.2"), families: c.families, fourOctets: true}
			m, err := mine.marshal()
			if err != nil {
				return
			}
			_, _ = conn.Write(append(m, message(typeKeepalive, nil)...))
		case typeKeepalive:
			c.sessions.Add(1)
		case typeUpdate:
			c.updates.Add(1)
			told, withdrawn := prefixesIn(body)
			c.told.Add(int64(told))
			c.withdrawn.Add(int64(withdrawn))
		}
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
}

// prefixesIn counts the prefixes that an UPDATE tells and withdraws (RFC 4271, 4.3; RFC 4760, 3 and 4).
func prefixesIn(body []byte) (told, withdrawn int) {
	count := func(b []byte) (n int) {
		for ; len(b) > 0; n++ {
			b = b[1+(int(b[0])+7)/8:]
		}
		return n
	}
	n := int(binary.BigEndian.Uint16(body))
	withdrawn, body = count(body[2:2+n]), body[2+n:]
	n = int(binary.BigEndian.Uint16(body))
	attrs, body := body[2:2+n], body[2+n:]
	told = count(body)
	for len(attrs) > 0 {
		kind, start, n := attrs[1], 3, int(attrs[2])
		if attrs[0]&0x10 != 0 {
			start, n = 4, int(binary.BigEndian.Uint16(attrs[2:]))
		}
		value := attrs[start : start+n]
		switch kind {
		case 14:
			told += count(value[5+int(value[3]):])
		case 15:
			withdrawn += count(value[3:])
		}
		attrs = attrs[start+n:]
	}
	return told, withdrawn
}

func (c *counter) await(b testing.TB, what string, ok func() bool) {
	b.Helper()
	for deadline := time.After(time.Minute); !ok(); {
		select {
		case <-c.news:
		case <-deadline:
			require.Fail(b, "never happened: "+what)
		}
	}
}

// numbered returns n prefixes of a family.
func numbered(f family, n int) []backends.Route {
	out := make([]backends.Route, n)
	for i := range out {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if f == ipv6 {
			a = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		}
		out[i] = backends.Route{Prefix: netip.PrefixFrom(a, a.BitLen()), Communities: []backends.Community{{Parts: [3]uint32{65001, 1}}}}
	}
	return out
}

// heap returns what is in use after two collections: the second takes what the first has finalized.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRoutes is 10,000 prefixes of the same attributes to peers whose sessions are up: from Apply until the last of them has heard the
// last, until all are withdrawn again, with how many UPDATEs to each, and what the routes keep of memory, of all peers together.
func BenchmarkRoutes(b *testing.B) {
	const many = 10_000
	for _, f := range []family{ipv4, ipv6} {
		for _, peers := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/%d", f, peers), func(b *testing.B) {
				var all []*counter
				var none backends.NodeDesired
				for i := range peers {
					c := newCounter(b, 65002+uint32(i), f)
					all, none.Peers = append(all, c), append(none.Peers, c.peer(fmt.Sprint("peer-", i)))
				}
				d := backends.NodeDesired{Peers: none.Peers, Routes: numbered(f, many)}
				be, _ := running(b)
				require.NoError(b, be.Apply(context.Background(), none))
				for _, c := range all {
					c.await(b, "the session", func() bool { return c.sessions.Load() > 0 })
				}
				ctx := context.Background()
				var telling, withdrawing, used time.Duration
				var updates int64
				var kept float64
				rounds := int64(0)
				for b.Loop() {
					rounds++
					before := heap()
					updatesBefore, began, burnt := all[0].updates.Load(), time.Now(), cpu()
					require.NoError(b, be.Apply(ctx, d))
					for _, c := range all {
						c.await(b, "10,000 prefixes", func() bool { return c.told.Load() >= many*rounds })
					}
					telling += time.Since(began)
					used += cpu() - burnt
					updates += all[0].updates.Load() - updatesBefore
					kept += heap() - before
					began = time.Now()
					require.NoError(b, be.Apply(ctx, none))
					for _, c := range all {
						c.await(b, "no prefix", func() bool { return c.withdrawn.Load() >= many*rounds })
					}
					withdrawing += time.Since(began)
				}
				n := float64(rounds)
				b.ReportMetric(0, "ns/op") // telling and withdrawing are apart
				b.ReportMetric(float64(telling.Milliseconds())/n, "ms-told")
				b.ReportMetric(float64(used.Milliseconds())/n, "ms-cpu")
				b.ReportMetric(float64(withdrawing.Milliseconds())/n, "ms-withdrawn")
				b.ReportMetric(float64(updates)/n, "updates/peer")
				b.ReportMetric(kept/n/(1<<20), "MiB-kept")
			})
		}
	}
}

// BenchmarkRoute is one prefix more, and one less, beside 10,000 others: from Apply to the router.
func BenchmarkRoute(b *testing.B) {
	c := newCounter(b, 65002, ipv4)
	be, _ := running(b)
	d := backends.NodeDesired{Peers: []backends.Peer{c.peer("a")}, Routes: numbered(ipv4, 10_000)}
	less := d
	less.Routes = d.Routes[1:]
	ctx := context.Background()
	require.NoError(b, be.Apply(ctx, less))
	c.await(b, "the routes", func() bool { return c.told.Load() == int64(len(less.Routes)) })
	for told, withdrawn := c.told.Load(), int64(0); b.Loop(); {
		told++
		require.NoError(b, be.Apply(ctx, d))
		c.await(b, "one more", func() bool { return c.told.Load() == told })
		withdrawn++
		require.NoError(b, be.Apply(ctx, less))
		c.await(b, "one less", func() bool { return c.withdrawn.Load() == withdrawn })
	}
}
