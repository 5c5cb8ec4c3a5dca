package bfd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends/bgp/bfd"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

var routers = []struct {
	name  string
	start func(*testing.T, *netlab.Host, time.Duration, neighbour) router
}{{"BIRD", startBIRD}, {"FRR", startFRR}}

// each calls a test with every router in every shape.
func each(t *testing.T, shapes []shape, test func(t *testing.T, s shape, node, other *netlab.Host, start func(time.Duration, neighbour) router)) {
	netlab.Skip(t)
	for _, r := range routers {
		for _, s := range shapes {
			t.Run(r.name+"/"+s.name, func(t *testing.T) {
				node, other := s.build(t)
				test(t, s, node, other, func(interval time.Duration, n neighbour) router { return r.start(t, other, interval, n) })
			})
		}
	}
}

const fast = 50 * time.Millisecond

// TestSession comes up, changes its intervals on either side without going down, and finds out that the peer has died.
func TestSession(t *testing.T) {
	each(t, shapes, func(t *testing.T, s shape, host, _ *netlab.Host, start func(time.Duration, neighbour) router) {
		c := s.config(fast)
		n := run(t, host, c)
		began := time.Now()
		r := start(fast, s.neighbour())
		up := n.await(c.Key(), bfd.Up, time.Time{})
		t.Logf("up %s after the router was started", up.at.Sub(began).Round(time.Millisecond))
		until(t, "the router to be up", func() bool { return r.state(s.node) == "Up" })
		settled := func(transmit, detection time.Duration) func() bool {
			return func() bool {
				st := n.Statuses()[c.Key()]
				require.Zero(t, st.SessionDown, "%+v", st)
				return st.TransmitInterval == transmit && st.DetectionTime == detection
			}
		}
		until(t, "fast intervals", settled(fast, 3*fast))

		c.TransmitInterval, c.ReceiveInterval = 4*fast, 4*fast
		require.NoError(t, n.Set([]bfd.Config{c}))
		until(t, "our slower intervals", settled(4*fast, 12*fast))
		c.TransmitInterval, c.ReceiveInterval = fast, fast
		require.NoError(t, n.Set([]bfd.Config{c}))
		until(t, "our faster intervals", settled(fast, 3*fast))
		r.retime(4 * fast)
		until(t, "the router's slower intervals", settled(4*fast, 12*fast))
		r.retime(fast)
		until(t, "the router's faster intervals", settled(fast, 3*fast))
		before := n.Statuses()[c.Key()]
		until(t, "a second at that", func() bool { return n.Statuses()[c.Key()].ControlReceived > before.ControlReceived+20 })
		assert.Equal(t, "Up", r.state(s.node))
		assert.Zero(t, n.Statuses()[c.Key()].SessionDown)
		assert.Empty(t, n.Dropped())

		killed := time.Now()
		r.process().Kill()
		down := n.await(c.Key(), bfd.Down, killed)
		t.Logf("down %s after the router was killed; detection time %s", down.at.Sub(killed).Round(time.Millisecond), 3*fast)
		assert.Equal(t, bfd.ControlDetectionTimeExpired, down.Diagnostic)
		assert.True(t, down.Failed)
	})
}

// TestPassive comes up with either side waiting for the other.
func TestPassive(t *testing.T) {
	each(t, shapes[:1], func(t *testing.T, s shape, host, _ *netlab.Host, start func(time.Duration, neighbour) router) {
		c, other := s.config(fast), s.neighbour()
		other.passive = true
		n := run(t, host, c)
		start(fast, other)
		n.await(c.Key(), bfd.Up, time.Time{})
	})
	each(t, shapes[:2], func(t *testing.T, s shape, host, _ *netlab.Host, start func(time.Duration, neighbour) router) {
		c := s.config(fast)
		c.Passive = true
		n := run(t, host, c)
		assert.Zero(t, n.Statuses()[c.Key()].ControlSent)
		r := start(fast, s.neighbour())
		n.await(c.Key(), bfd.Up, time.Time{})
		killed := time.Now()
		r.process().Kill()
		n.await(c.Key(), bfd.Down, killed)
		sent := n.Statuses()[c.Key()].ControlSent
		until(t, "time to pass", func() bool { return time.Since(killed) > 2500*time.Millisecond })
		assert.Equal(t, sent, n.Statuses()[c.Key()].ControlSent, "a passive side is silent once the peer is not heard")
	})
}

// TestCut loses every packet while carriers stay, and takes the carrier away.
func TestCut(t *testing.T) {
	each(t, shapes[:2], func(t *testing.T, s shape, host, other *netlab.Host, start func(time.Duration, neighbour) router) {
		c := s.config(fast)
		n := run(t, host, c)
		r := start(fast, s.neighbour())
		for _, fault := range []struct {
			name     string
			on, off  func(...string)
			affected *netlab.Host
		}{{"cut", other.Cut, other.Mend, other}, {"router's link down", other.LinkDown, other.LinkUp, other}, {"node's link down", host.LinkDown, host.LinkUp, host}} {
			n.await(c.Key(), bfd.Up, time.Time{})
			until(t, "both up at the fast rate", func() bool {
				st := n.Statuses()[c.Key()]
				return st.State == bfd.Up && st.DetectionTime == 3*fast && r.state(s.node) == "Up"
			})
			at := time.Now()
			fault.on()
			down := n.await(c.Key(), bfd.Down, at)
			t.Logf("%s: down after %s; detection time %s", fault.name, down.at.Sub(at).Round(time.Millisecond), 3*fast)
			until(t, "the router to notice", func() bool { return r.state(s.node) == "Down" })
			at = time.Now()
			fault.off()
			up := n.await(c.Key(), bfd.Up, at)
			t.Logf("%s: up again after %s", fault.name, up.at.Sub(at).Round(time.Millisecond))
		}
	})
}

// TestRemoved tells the router that it is the administrator who ends the session.
func TestRemoved(t *testing.T) {
	each(t, shapes[:2], func(t *testing.T, s shape, host, _ *netlab.Host, start func(time.Duration, neighbour) router) {
		c := s.config(fast)
		n := run(t, host, c)
		r := start(fast, s.neighbour())
		n.await(c.Key(), bfd.Up, time.Time{})
		until(t, "the router to be up", func() bool { return r.state(s.node) == "Up" })
		at := time.Now()
		require.NoError(t, n.Set(nil))
		until(t, "the router to hear of it", func() bool { return r.state(s.node) == "Down" })
		t.Logf("the router is down %s after the session was removed", time.Since(at).Round(time.Millisecond))
		require.NoError(t, n.Set([]bfd.Config{c}))
		n.await(c.Key(), bfd.Up, at)
	})
}

// TestEcho has FRR send echo packets by way of a kernel that forwards, that does not, and that seems to.
func TestEcho(t *testing.T) {
	netlab.Skip(t)
	s := shapes[0]
	for _, tc := range []struct {
		name              string
		forward, firewall bool
		echoes            bool
	}{
		{name: "the kernel forwards", forward: true, echoes: true},
		{name: "the kernel does not forward"},
		{name: "a firewall drops what is forwarded", forward: true, firewall: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, other := s.build(t)
			if tc.forward {
				host.Sysctl("ipv4/ip_forward", "1")
			}
			if tc.firewall {
				host.Command("nft", "add table ip filter; add chain ip filter forward { type filter hook forward priority 0; policy drop; }")
			}
			c := s.config(fast)
			c.EchoMode, c.EchoInterval = true, fast
			n := run(t, host, c)
			f := startFRR(t, other, fast, s.neighbour()).(*frr)
			f.vtysh("configure terminal", "bfd", f.peer(), "echo-mode", "echo transmit-interval 50")
			n.await(c.Key(), bfd.Up, time.Time{})
			until(t, "some seconds of it", func() bool { return n.Statuses()[c.Key()].ControlReceived > 50 })
			if tc.firewall {
				until(t, "the session to stay up", func() bool {
					st := n.Statuses()[c.Key()]
					return st.State == bfd.Up && time.Since(st.Since) > time.Second
				})
			}
			st := n.Statuses()[c.Key()]
			sent, received := f.echoes()
			t.Logf("echo packets: %d sent, %d came back; down %d times", sent, received, st.SessionDown)
			assert.Equal(t, bfd.Up, st.State)
			if tc.echoes {
				assert.InDelta(t, sent, received, 2)
				assert.Greater(t, received, 10)
			}
			if tc.firewall {
				assert.LessOrEqual(t, st.SessionDown, uint64(2))
			} else {
				assert.Zero(t, st.SessionDown)
			}
		})
	}
}

// TestMinimumTTL refuses packets from too far away: BIRD sets out with 64, and there is a router in between.
func TestMinimumTTL(t *testing.T) {
	for _, s := range shapes[3:] {
		t.Run(s.name, func(t *testing.T) {
			host, other := s.build(t)
			c := s.config(fast)
			c.MinimumTTL = 64
			n := run(t, host, c)
			startBIRD(t, other, fast, s.neighbour())
			until(t, "a refusal", func() bool { return n.Dropped()[bfd.WrongTTL] > 1 })
			st := n.Statuses()[c.Key()]
			assert.Equal(t, bfd.Down, st.State)
			assert.Zero(t, st.ControlReceived)
			assert.Positive(t, st.Dropped)
			c.MinimumTTL = 63
			require.NoError(t, n.Set([]bfd.Config{c}))
			n.await(c.Key(), bfd.Up, time.Time{})
		})
	}
}
