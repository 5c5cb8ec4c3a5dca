package bfd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/backends/bgp/bfd"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// TestUnprivileged holds a session in a process of a user other than root, with the speaker's capability and with none.
func TestUnprivileged(t *testing.T) {
	for _, tc := range []struct {
		name string
		caps []uintptr
	}{{"NET_RAW", []uintptr{unix.CAP_NET_RAW}}, {"nothing", nil}} {
		for _, s := range shapes[:3] {
			t.Run(tc.name+"/"+s.name, func(t *testing.T) {
				host, other := s.build(t)
				c := s.config(fast)
				c.Interface = "eth0"
				p := start(t, host, &netlab.Rights{UID: netlab.Nobody, Capabilities: tc.caps}, c)
				n := run(t, other, back(s, c))
				n.await(back(s, c).Key(), bfd.Up, time.Time{})
				took, err := p.Stop()
				require.NoError(t, err)
				t.Logf("stopped within %s", took)
				down := n.await(back(s, c).Key(), bfd.Down, time.Time{})
				assert.Equal(t, bfd.AdminDown, down.Remote)
				assert.False(t, down.Failed, "a speaker that stops in good order has not failed")
			})
		}
	}
}

// back is the other side's Config of a session.
func back(s shape, c bfd.Config) bfd.Config {
	c.Peer, c.Local = s.node, netip.Addr{}
	if s.other.IsLinkLocalUnicast() {
		c.Local = s.other
	}
	return c
}

// TestFrozen stops a process for several times the detection time of its peer, which lives. It must not be taken for dead.
func TestFrozen(t *testing.T) {
	s := shapes[0]
	host, other := s.build(t)
	c := s.config(fast)
	c.DetectMultiplier = 100 // the peer is to be patient
	p := start(t, host, nil, c)
	b := back(s, c)
	b.DetectMultiplier = 3
	n := run(t, other, b)
	n.await(b.Key(), bfd.Up, time.Time{})
	for range 5 {
		sent := n.Statuses()[b.Key()].ControlSent
		p.Freeze()
		until(t, "20 packets that nobody reads", func() bool { return n.Statuses()[b.Key()].ControlSent > sent+20 })
		p.Thaw()
		sent = n.Statuses()[b.Key()].ControlSent
		until(t, "5 that somebody does", func() bool { return n.Statuses()[b.Key()].ControlSent > sent+5 })
	}
	assert.Zero(t, n.Statuses()[b.Key()].SessionDown)
	assert.NotContains(t, p.Log(), "state=Down")

	// A peer that dies while nobody reads is found out.
	p.Freeze()
	other.Cut()
	sent := n.Statuses()[b.Key()].ControlSent
	until(t, "time to pass", func() bool { return n.Statuses()[b.Key()].ControlSent > sent+5 })
	thawed := time.Now()
	p.Thaw()
	until(t, "the end", func() bool { return strings.Contains(p.Log(), "state=Down") })
	t.Logf("down %s after it went on", time.Since(thawed).Round(time.Millisecond))
}

// TestForged sends packets that are not the peer's, many of them, from one hop farther away and from strangers.
func TestForged(t *testing.T) {
	s := shapes[0]
	host, other := s.build(t)
	c := s.config(fast)
	n := run(t, host, c)
	m := run(t, other, back(s, c))
	n.await(c.Key(), bfd.Up, time.Time{})
	m.await(back(s, c).Key(), bfd.Up, time.Time{})
	down := []byte{0x20, 0x40, 3, 24, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}
	for _, tc := range []struct {
		name  string
		ttl   int
		bytes []byte
		want  bfd.Reason
	}{
		{"a TTL of 254", 254, down, bfd.WrongTTL},
		{"a TTL of 1", 1, down, bfd.WrongTTL},
		{"a discriminator of nobody's", 255, append([]byte{0x20, 0xc0, 3, 24, 0, 0, 0, 9, 0, 0, 0, 1}, down[12:]...), bfd.UnknownSession},
		{"rubbish", 255, []byte("BFD? No."), bfd.Truncated},
	} {
		const many = 20000
		before := n.Dropped()[tc.want]
		fd := -1
		require.NoError(t, other.Do(func() (err error) {
			fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			return err
		}))
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TTL, tc.ttl))
		for range many {
			require.NoError(t, unix.Sendto(fd, tc.bytes, 0, &unix.SockaddrInet4{Port: 3784, Addr: s.node.As4()}))
		}
		require.NoError(t, unix.Close(fd))
		received := n.Statuses()[c.Key()].ControlReceived
		until(t, "more packets of the peer's", func() bool { return n.Statuses()[c.Key()].ControlReceived > received+5 })
		t.Logf("%s: %d of %d refused, the rest lost", tc.name, n.Dropped()[tc.want]-before, many)
		assert.Greater(t, n.Dropped()[tc.want], before)
	}
	assert.Zero(t, n.Statuses()[c.Key()].SessionDown)
	assert.Zero(t, m.Statuses()[back(s, c).Key()].SessionDown)
}

// TestRemade replaces the interface that a session is bound to by another of the same name.
func TestRemade(t *testing.T) {
	l := netlab.New(t, nil)
	node := l.AddHost("node")
	c := bfd.Config{Peer: addr("192.0.2.2"), Interface: "wan", TransmitInterval: fast, ReceiveInterval: fast}
	var other *netlab.Host
	for _, end := range []string{"one", "two"} {
		other = l.AddHost(end)
		node.Command("ip", "link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns", other.Namespace())
		for _, h := range []struct {
			*netlab.Host
			addr string
		}{{node, "192.0.2.1/24"}, {other, "192.0.2.2/24"}} {
			h.Command("ip", "addr", "add", h.addr, "dev", "wan")
			h.Command("ip", "link", "set", "wan", "up")
		}
		if end == "one" {
			first := run(t, node, c)
			run(t, other, bfd.Config{Peer: addr("192.0.2.1"), TransmitInterval: fast, ReceiveInterval: fast})
			first.await(c.Key(), bfd.Up, time.Time{})
			at := time.Now()
			node.Command("ip", "link", "del", "wan")
			first.await(c.Key(), bfd.Down, at)
			defer func() {
				up := first.await(c.Key(), bfd.Up, at)
				t.Logf("up again %s after the first interface had gone", up.at.Sub(at).Round(time.Millisecond))
			}()
		} else {
			run(t, other, bfd.Config{Peer: addr("192.0.2.1"), TransmitInterval: fast, ReceiveInterval: fast})
		}
	}
}

// TestManySessions holds 500 sessions of 50 ms and says what they cost.
func TestManySessions(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	const many = 500
	l := netlab.New(t, nil)
	var addrs []netip.Prefix
	var configs, others []bfd.Config
	local := addr("10.1.255.254")
	for i := range many {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i / 200), byte(i%200 + 1)})
		addrs = append(addrs, netip.PrefixFrom(a, 16))
		configs = append(configs, bfd.Config{Peer: a, TransmitInterval: fast, ReceiveInterval: fast})
		others = append(others, bfd.Config{Peer: local, Local: a, TransmitInterval: fast, ReceiveInterval: fast})
	}
	host, other := l.AddHost("node", netip.PrefixFrom(local, 16)), l.AddHost("other", addrs...)
	n := run(t, other, others...)
	p := start(t, host, nil, configs...)
	count := func() (up, received, downs uint64) {
		for _, st := range n.Statuses() {
			if st.State == bfd.Up {
				up++
			}
			received += st.ControlReceived
			downs += st.SessionDown
		}
		return up, received, downs
	}
	until(t, fmt.Sprintf("%d sessions", many), func() bool { up, _, _ := count(); return up == many })
	began, used := time.Now(), p.CPU()
	_, first, _ := count()
	until(t, "50000 packets", func() bool { _, received, _ := count(); return received > first+50000 })
	_, last, downs := count()
	took := time.Since(began)
	t.Logf("%d sessions of %s: %.0f packets/s each way, %.0f %% of a processor, %d MiB, down %d times", many, fast,
		float64(last-first)/took.Seconds(), (p.CPU()-used)/took.Seconds()*100, p.RSS()>>20, downs)
}
