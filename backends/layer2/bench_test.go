package layer2

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkAnswer measures the time from a request to its answer as another network namespace sees it: at rest, under 100,000 frames of
// junk a second that the filter drops or has to let through, and under 10,000 other requests a second.
func BenchmarkAnswer(b *testing.B) {
	if !isolated(b) {
		return
	}
	v4, v6 := on(1)
	l := newLab(b)
	w := l.connect("eth0", 1)
	n := l.run(Config{Observer: nobody{}, Log: slog.New(slog.DiscardHandler)})
	n.await("eth0")
	var many []netip.Addr
	for i := range 1000 {
		many = append(many, netip.AddrFrom4([4]byte{198, 51, byte(i >> 6), byte(i << 2)}))
	}
	n.apply(append(many, v4, v6)...)
	e := w.listen()
	e.during(5*time.Second, v4)
	c4, c6 := netip.MustParseAddr("192.0.1.1"), netip.MustParseAddr("2001:db8:0:1::1")
	request := arpFrame(broadcast, w.peerMAC, 1, c4, mac{}, v4)
	for _, tc := range []struct {
		name  string
		addr  netip.Addr
		frame []byte
		junk  []byte
		rate  int // of junk, frames/s
	}{
		{"ARP at rest", v4, request, nil, 0},
		{"NDP at rest", v6, solicitationFor(c6, v6, groupMAC(v6), w.peerMAC), nil, 0},
		{"ARP, junk for others", v4, request, arpFrame(broadcast, w.peerMAC, 1, c4, mac{}, netip.MustParseAddr("192.0.1.99")), 100_000},
		{"ARP, junk about an announced address", v4, request, arpFrame(broadcast, w.peerMAC, 2, c4, mac{}, many[7]), 100_000},
		{"ARP, claims of an announced address", v4, request, arpFrame(broadcast, w.peerMAC, 2, many[7], mac{}, many[7]), 100_000},
		{"ARP, requests for another announced address", v4, request, arpFrame(broadcast, w.peerMAC, 1, c4, mac{}, many[7]), 10_000},
	} {
		b.Run(tc.name, func(b *testing.B) {
			stop := flood(b, w, tc.junk, tc.rate)
			before := processorTime()
			start := time.Now()
			var took []time.Duration
			lost := 0
			for b.Loop() {
				at := time.Now()
				if err := e.sendWaiting(tc.frame); err != nil {
					b.Fatal(err)
				}
				if e.answered(tc.addr) {
					took = append(took, time.Since(at))
				} else {
					lost++
				}
				time.Sleep(time.Millisecond)
			}
			b.ReportMetric(float64(stop()), "junk/s")
			b.ReportMetric((processorTime()-before).Seconds()/time.Since(start).Seconds(), "CPUs")
			b.ReportMetric(float64(lost), "lost")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-us")
		})
	}
}

// answered waits for an answer, for a second.
func (e *ear) answered(addr netip.Addr) bool {
	deadline := time.After(time.Second)
	for {
		select {
		case f := <-e.frames:
			if about(f, addr) && solicited(f, addr) {
				return true
			}
		case <-deadline:
			return false
		}
	}
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// flood sends a frame rate times a second, if the machine can, until the function it returns is called, which returns the rate.
func flood(b *testing.B, w *wired, frame []byte, rate int) func() int {
	if frame == nil {
		return func() int { return 0 }
	}
	var s *socket
	w.lab.inClient(func() {
		var err error
		if s, err = openSocket(w.peerLink().Attrs().Index, unix.ETH_P_ARP); err != nil {
			b.Fatal(err)
		}
	})
	done := make(chan struct{})
	var wg sync.WaitGroup
	sent, began := 0, time.Now()
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			for due := int(time.Since(began).Seconds() * float64(rate)); sent < due; sent++ {
				_ = s.sendWaiting(frame)
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
	return func() int {
		close(done)
		wg.Wait()
		s.close()
		return int(float64(sent) / time.Since(began).Seconds())
	}
}

func BenchmarkFilter(b *testing.B) {
	for _, tc := range []struct {
		name  string
		make  build
		first netip.Addr
		step  int
	}{
		{"IPv4 range of 1000", arpFilter, netip.MustParseAddr("192.0.2.0"), 1},
		{"IPv4 1000 apart", arpFilter, netip.MustParseAddr("192.0.2.0"), 3},
		{"IPv6 1000 apart", ndpFilter, netip.MustParseAddr("2001:db8::"), 3},
	} {
		b.Run(tc.name, func(b *testing.B) {
			var addrs []netip.Addr
			for a := tc.first; len(addrs) < 1000; {
				addrs = append(addrs, a)
				for range tc.step {
					a = a.Next()
				}
			}
			for b.Loop() {
				tc.make(addrs, ownMAC, maxInstructions)
			}
		})
	}
}

// BenchmarkTakeover measures how long Apply takes to begin to answer for 1,000 addresses, to find that nothing has changed, and to withdraw them.
func BenchmarkTakeover(b *testing.B) {
	if !isolated(b) {
		return
	}
	l := newLab(b)
	l.connect("eth0", 1)
	n := l.run(Config{Observer: nobody{}, Log: slog.New(slog.DiscardHandler)})
	n.await("eth0")
	for _, tc := range []struct {
		name  string
		first netip.Addr
	}{{"IPv4", netip.MustParseAddr("198.51.0.0")}, {"IPv6", netip.MustParseAddr("2001:db8:0:1::")}} {
		var addrs []netip.Addr
		for a := tc.first; len(addrs) < 1000; a = a.Next().Next() {
			addrs = append(addrs, a)
		}
		b.Run(tc.name, func(b *testing.B) {
			var add, equal, withdraw time.Duration
			for b.Loop() {
				start := time.Now()
				n.apply(addrs...)
				added := time.Now()
				n.apply(addrs...)
				again := time.Now()
				n.apply()
				add, equal, withdraw = add+added.Sub(start), equal+again.Sub(added), withdraw+time.Since(again)
			}
			for name, d := range map[string]time.Duration{"add-ms": add, "equal-ms": equal, "withdraw-ms": withdraw} {
				b.ReportMetric(d.Seconds()*1000/float64(b.N), name)
			}
		})
	}
}
