package layer2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/backends"
)

// The addresses of wire number n.
func on(n int) (v4, v6 netip.Addr) {
	return netip.MustParseAddr(fmt.Sprintf("192.0.%d.77", n)), netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%d::77", n))
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	if !isolated(t) {
		return
	}
	l := newLab(t)
	w := l.connect("eth0", 1)
	n := l.run(Config{})
	n.await("eth0")
	v4, v6 := on(1)
	w.requireSilent(v4, v6)
	n.apply(v4, v6)
	w.requireAnswered(v4, v6)
	own, err := netlink.AddrList(w.link(), netlink.FAMILY_ALL)
	require.NoError(t, err)
	for _, a := range own {
		assert.False(t, a.IP.Equal(v4.AsSlice()) || a.IP.Equal(v6.AsSlice()), "the address is on an interface")
	}

	e := w.listen()
	c4, c6 := netip.MustParseAddr("192.0.1.1"), netip.MustParseAddr("2001:db8:0:1::1")
	for _, tc := range []struct {
		name  string
		addr  netip.Addr
		frame []byte
		dst   mac
	}{
		{"unicast request", v4, arpFrame(w.mac, w.peerMAC, 1, c4, mac{}, v4), w.peerMAC},
		{"probe", v4, arpFrame(broadcast, w.peerMAC, 1, none4, mac{}, v4), w.peerMAC},
		{"unicast solicitation", v6, solicitationFor(c6, v6, w.mac, w.peerMAC), w.peerMAC},
		{"duplicate address detection", v6, solicitationFor(none6, v6, groupMAC(v6), w.peerMAC), allNodesMAC},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.NoError(t, e.send(tc.frame))
			got := e.until("an answer", func(f []byte) bool {
				return about(f, tc.addr) && mac(f[:6]) == tc.dst && (solicited(f, tc.addr) || tc.dst == allNodesMAC)
			})
			assert.Equal(t, w.mac, mac(got[6:12]))
		})
	}
	assert.Positive(t, n.watch.of(n.watch.received, v4))
	assert.Positive(t, n.watch.of(n.watch.answered, v6))

	// A tag of a VLAN that the node has no interface for is taken off before the frame reaches the socket.
	seen := n.watch.of(n.watch.received, v4)
	require.NoError(t, e.send(tagged(arpFrame(broadcast, w.peerMAC, 1, c4, mac{}, v4))))
	require.NoError(t, e.send(arpFrame(otherMAC, w.peerMAC, 1, c4, mac{}, v4)))
	require.NoError(t, e.send(arpFrame(broadcast, w.peerMAC, 1, c4, mac{}, v4)))
	e.until("the answer to the last", func(f []byte) bool { return about(f, v4) && solicited(f, v4) })
	require.Eventually(t, func() bool { return n.watch.of(n.watch.received, v4) > seen }, timeout, time.Millisecond)
	assert.Equal(t, seen+1, n.watch.of(n.watch.received, v4))

	n.apply(v6)
	w.requireSilent(v4)
	w.requireAnswered(v6)
	n.apply()
	w.requireSilent(v6)
}

func TestGratuitousOnTheWire(t *testing.T) {
	t.Parallel()
	if !isolated(t) {
		return
	}
	l := newLab(t)
	w := l.connect("eth0", 1)
	n := l.run(Config{})
	n.await("eth0")
	v4, v6 := on(1)
	e := w.listen()
	n.apply(v4, v6)
	got := e.during(4500*time.Millisecond, v4, v6)
	var requests, replies, advertisements int
	for _, f := range got {
		switch {
		case about(f, v6):
			advertisements++
			assert.Equal(t, allNodesMAC, mac(f[:6]))
		case f[21] == 1:
			requests++
			assert.Equal(t, broadcast, mac(f[:6]))
		default:
			replies++
			assert.Equal(t, broadcast, mac(f[:6]))
		}
	}
	assert.Equal(t, []int{6, 6, 6}, []int{requests, replies, advertisements})
	assert.Equal(t, 12, n.watch.of(n.watch.gratuitous, v4))
	assert.Equal(t, 6, n.watch.of(n.watch.gratuitous, v6))

	n.apply(v6, v4)
	assert.Empty(t, e.during(300*time.Millisecond, v4, v6), "an equal set costs no packet")
	n.Repeat()
	assert.GreaterOrEqual(t, len(e.during(time.Second, v4, v6)), 6)
	n.apply(v6)
	e.during(10*time.Millisecond, v4) // what was under way
	assert.Empty(t, e.during(2*time.Second, v4), "repetitions of what was withdrawn")
}

func TestLinkChanges(t *testing.T) {
	t.Parallel()
	if !isolated(t) {
		return
	}
	l := newLab(t)
	w := l.connect("eth0", 1)
	l.connect("veth9", 9)
	v4, v6 := on(1)
	n := l.run(Config{})
	_ = n.Apply(t.Context(), desired(v4, v6)) // the link may be on its way up
	n.await("eth0")
	w.requireAnswered(v4, v6)
	e := w.listen()
	announced := func() {
		t.Helper()
		e.until("gratuitous ARP", func(f []byte) bool { return about(f, v4) && !solicited(f, v4) })
		e.until("an unsolicited advertisement", func(f []byte) bool { return about(f, v6) && !solicited(f, v6) })
	}
	fails := func(text string) {
		t.Helper()
		err := n.Apply(t.Context(), desired(v4, v6))
		require.ErrorContains(t, err, text)
		require.Len(t, backends.Flatten(err), 2)
		var one *backends.AnnounceError
		require.ErrorAs(t, err, &one)
		assert.Equal(t, v4, one.Prefix.Addr())
	}
	flush := func() { e.during(10*time.Millisecond, v4) }
	for _, tc := range []struct {
		name     string
		down, up func()
	}{
		{"link down", func() { require.NoError(t, netlink.LinkSetDown(w.link())) }, func() { require.NoError(t, netlink.LinkSetUp(w.link())) }},
		{"carrier lost", func() { require.NoError(t, l.at.LinkSetDown(w.peerLink())) }, func() {
			require.NoError(t, l.at.LinkSetUp(w.peerLink()))
			require.NoError(t, l.at.AddrReplace(w.peerLink(), hostAddr(t, 6, 1, 1))) // went when the link did
		}},
		{"renamed to an excluded name", func() { require.NoError(t, netlink.LinkSetName(w.link(), "cali7")); w.name = "cali7" },
			func() { require.NoError(t, netlink.LinkSetName(w.link(), "eth7")); w.name = "eth7" }},
		{"enslaved", func() {
			require.NoError(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cbr0"}}))
			bridge, err := netlink.LinkByName("cbr0")
			require.NoError(t, err)
			require.NoError(t, netlink.LinkSetMaster(w.link(), bridge))
		}, func() { require.NoError(t, netlink.LinkSetNoMaster(w.link())) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			flush()
			tc.down()
			n.await()
			fails("no interface of this node is usable at present")
			assert.Empty(t, n.Links())
			flush()
			tc.up()
			announced()
			n.await(w.name)
			n.apply(v4, v6)
			w.requireAnswered(v4, v6)
		})
	}
	t.Run("renamed", func(t *testing.T) {
		require.NoError(t, netlink.LinkSetName(w.link(), "eth8"))
		w.name = "eth8"
		n.await("eth8")
		w.requireAnswered(v4, v6)
	})
	t.Run("another MAC", func(t *testing.T) {
		flush()
		require.NoError(t, netlink.LinkSetHardwareAddr(w.link(), net.HardwareAddr{2, 0, 0, 7, 7, 7}))
		w.refresh()
		e.until("gratuitous ARP from the new address", func(f []byte) bool { return about(f, v4) && mac(f[6:12]) == w.mac && !solicited(f, v4) })
		w.requireAnswered(v4, v6)
	})
	t.Run("a new interface", func(t *testing.T) {
		w2 := l.connect("eth1", 2)
		n.await("eth1", "eth8")
		other4, other6 := on(2)
		n.apply(v4, v6, other4, other6)
		w2.requireAnswered(other4, other6)
		require.NoError(t, netlink.LinkDel(w2.link()))
		n.await("eth8")
	})
}

func TestLostNews(t *testing.T) {
	t.Parallel()
	if !isolated(t) {
		return
	}
	l := newLab(t)
	w := l.connect("eth0", 1)
	l.run(Config{}).await("eth0")
	subscriptions, taken := make(chan *subscription, 10), 0
	b := New(Config{})
	b.subscribe = func() (*subscription, error) {
		s, err := subscribe()
		if taken++; taken == 2 {
			err = errors.New("not now") // it has to try again
			s.close()
		}
		subscriptions <- s
		return s, err
	}
	v4, v6 := on(1)
	require.NoError(t, b.Apply(t.Context(), desired(v4, v6)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	first := <-subscriptions
	w.requireAnswered(v4, v6)
	e := w.listen()
	e.during(4200*time.Millisecond, v4)
	first.faults <- errors.New("no buffer space available")
	// The link may have been down meanwhile, so everything is announced anew.
	e.until("gratuitous ARP", func(f []byte) bool { return about(f, v4) && !solicited(f, v4) })
	e.until("an unsolicited advertisement", func(f []byte) bool { return about(f, v6) && !solicited(f, v6) })
	w.requireAnswered(v4, v6)
	require.NoError(t, netlink.LinkSetDown(w.link()))
	require.Eventually(t, func() bool { return len(b.Links()) == 0 }, timeout, time.Millisecond, "news are heard again")
	cancel()
	require.NoError(t, <-done)
}

func TestSelection(t *testing.T) {
	t.Parallel()
	if !isolated(t) {
		return
	}
	l := newLab(t)
	w1, w2 := l.connect("eth1", 1), l.connect("eth2", 2)
	one4, one6 := on(1)
	two4, two6 := on(2)
	far := netip.MustParseAddr("198.51.100.7")
	t.Run("by name", func(t *testing.T) {
		lab := *l
		lab.tb = t
		n := lab.run(Config{})
		n.await("eth1", "eth2")
		require.NoError(t, n.Apply(t.Context(), restricted([]string{"eth1"}, one4, one6, two4, two6)))
		w1.requireAnswered(one4, one6)
		w2.requireSilent(two4, two6)
		require.NoError(t, n.Apply(t.Context(), restricted([]string{"eth2", "eth9"}, two4, two6)))
		w1.requireSilent(one4, one6)
		w2.requireAnswered(two4, two6)
		err := n.Apply(t.Context(), restricted([]string{"eth9"}, one4))
		assert.EqualError(t, err, `announce 192.0.1.77/32: none of the interfaces ["eth9"] is usable at present; usable are ["eth1" "eth2"]`)
	})
	t.Run("same subnet", func(t *testing.T) {
		lab := *l
		lab.tb = t
		n := lab.run(Config{SameSubnet: true})
		n.await("eth1", "eth2")
		err := n.Apply(t.Context(), desired(one4, one6, far))
		assert.EqualError(t, err, `announce 198.51.100.7/32: none of the usable interfaces ["eth1" "eth2"] has a subnet that contains it`)
		w1.requireAnswered(one4, one6)
		e := w2.listen()
		require.NoError(t, e.send(arpFrame(broadcast, w2.peerMAC, 1, none4, mac{}, one4)))
		assert.Empty(t, e.during(200*time.Millisecond, one4, one6))
	})
	t.Run("not possible", func(t *testing.T) {
		err := New(Config{}).Apply(t.Context(), backends.NodeDesired{Addresses: []backends.LinkAddress{
			{}, {Addr: netip.MustParseAddr("ff02::1")}, {Addr: netip.MustParseAddr("192.0.2.1")},
		}})
		assert.EqualError(t, err, "announce invalid Prefix: there is no address\nannounce ff02::1/128: it is not the address of a host")
	})
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	if !isolated(t) {
		return
	}
	l := newLab(t)
	w := l.connect("eth0", 1)
	n := l.run(Config{})
	n.await("eth0")
	v4, v6 := on(1)
	n.apply(v4, v6)
	e := w.listen()
	e.during(4200*time.Millisecond, v4) // the series has to be over
	for _, tc := range []struct {
		name  string
		addr  netip.Addr
		frame []byte
	}{
		{"IPv4", v4, arpFrame(broadcast, w.peerMAC, 2, v4, w.peerMAC, v4)},
		{"IPv6", v6, gratuitousNDP(v6, &state{mac: w.peerMAC, local: netip.MustParseAddr("fe80::99")})[0]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.NoError(t, e.send(tc.frame))
			select {
			case got := <-n.watch.conflicts:
				assert.Equal(t, fmt.Sprint(tc.addr, " ", w.peerMAC.hardware(), " eth0"), got)
			case <-time.After(timeout):
				require.Fail(t, "no conflict")
			}
			e.until("a defence", func(f []byte) bool { return about(f, tc.addr) && !solicited(f, tc.addr) })
		})
	}
}

func TestManyAddresses(t *testing.T) {
	t.Parallel()
	for _, small := range []bool{false, true} {
		t.Run(fmt.Sprintf("small optmem_max %v", small), func(t *testing.T) {
			if !isolated(t) {
				return
			}
			l := newLab(t)
			if small {
				sysctl(t, "core/optmem_max", "20480") // what kernels before 6.7 have
			}
			w := l.connect("eth0", 1)
			n := l.run(Config{})
			n.await("eth0")
			before := memberships(t)
			var all []netip.Addr
			for i := range 1000 {
				all = append(all, netip.AddrFrom4([4]byte{192, 0, 1, 77}), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: 1, 12: byte(i), 13: 2, 14: byte(i >> 8), 15: byte(i)}))
				if i > 0 {
					all[2*i] = netip.AddrFrom4([4]byte{198, 51, byte(i >> 6), byte(i << 2)})
				}
			}
			n.apply(all...)
			assert.Equal(t, before+1000, memberships(t), "solicited-node groups")
			v4 := all[0]
			w.requireAnswered(v4)
			for i := 1; i < len(all); i += 198 {
				w.requireAnswered(all[i])
			}
			e := w.listen()
			for _, i := range []int{2, 500, 1998} {
				require.NoError(t, e.send(arpFrame(broadcast, w.peerMAC, 1, none4, mac{}, all[i])))
				e.until("an answer", func(f []byte) bool { return about(f, all[i]) && solicited(f, all[i]) })
			}
			n.apply(v4)
			assert.Equal(t, before, memberships(t))
			w.requireSilent(all[1])
			w.requireAnswered(v4)
		})
	}
}

// memberships counts the IPv6 multicast groups of eth0.
func memberships(t *testing.T) int {
	b, err := os.ReadFile("/proc/thread-self/net/igmp6")
	require.NoError(t, err)
	count := 0
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == "eth0" {
			count++
		}
	}
	return count
}

func TestRunAgain(t *testing.T) {
	t.Parallel()
	if !isolated(t) {
		return
	}
	l := newLab(t)
	w := l.connect("eth0", 1)
	v4, v6 := on(1)
	b := New(Config{})
	require.NoError(t, b.Apply(t.Context(), desired(v4, v6)), "before Run, the set is only stored")
	assert.Empty(t, b.Links())
	b.Repeat()
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		require.Eventually(t, func() bool { return len(b.Links()) == 1 && b.Links()[0].IPv6 }, timeout, time.Millisecond)
		w.requireAnswered(v4, v6)
		assert.ErrorContains(t, b.Run(ctx), "runs already")
		cancel()
		require.NoError(t, <-done)
		w.requireSilent(v4, v6)
	}
	assert.Empty(t, b.Links())
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	sockets := 0
	for _, f := range files {
		if target, _ := os.Readlink("/proc/self/fd/" + f.Name()); bytes.HasPrefix([]byte(target), []byte("socket:")) {
			sockets++
		}
	}
	assert.LessOrEqual(t, sockets, 1, "only the lab's own socket is left")
}
