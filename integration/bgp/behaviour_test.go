package bgp

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
)

// external is FRR's configuration for a node in AS 65001.
func external(router string, more ...string) string {
	return "router bgp 65002\nbgp router-id " + router + "\nno bgp ebgp-requires-policy\nneighbor 192.0.2.1 remote-as 65001\n" +
		strings.Join(more, "\n") + "\n"
}

// pair is a node with a speaker and a router.
type pair struct {
	*netlab.Lab
	node, router *netlab.Host
	frr          *routing.FRR
	*speaker
}

// newPair starts both; the session is not established yet.
func newPair(t *testing.T, config string, c bgp.Config, change ...func(*backends.Peer)) *pair {
	t.Helper()
	t.Parallel()
	p := &pair{Lab: netlab.New(t, nil)}
	p.node, p.router = p.AddHost("node", nodeV4, nodeV6), p.AddHost("router", routerV4, routerV6)
	p.frr = routing.StartFRR(t, p.Lab, p.router, config)
	p.speaker = startSpeaker(t, p.Lab, p.node, c, nil)
	p.want = backends.NodeDesired{Peers: []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, change...)}, Routes: routes("198.51.100.1/32")}
	p.order(order{Apply: &p.want})
	return p
}

// sameSession asserts that a router still has the session that it had. FRR works the second of its beginning out anew each time.
func sameSession(t *testing.T, before, after routing.Peer) {
	t.Helper()
	assert.Equal(t, before.ConnectionsEstab, after.ConnectionsEstab)
	assert.InDelta(t, before.BGPTimerUpEstablish, after.BGPTimerUpEstablish, 1)
}

func TestOneUpdatePerChange(t *testing.T) {
	t.Parallel()
	l := netlab.New(t, nil)
	node := l.AddHost("node", nodeV4, nodeV6)
	var peers []backends.Peer
	var routers []*routing.FRR
	for i, name := range []string{"r0", "r1"} {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)})
		h := l.AddHost(name, netip.PrefixFrom(addr, 24))
		routers = append(routers, routing.StartFRR(t, l, h, external(addr.String())))
		peers = append(peers, peer(name, addr, 65001, 65002))
	}
	s := startSpeaker(t, l, node, bgp.Config{}, nil)
	s.want = backends.NodeDesired{Peers: peers, Routes: routes("198.51.100.1/32", "198.51.100.2/32")}
	s.apply()
	s.established("r0", "r1")
	for _, r := range routers {
		r.Hears("ipv4", "198.51.100.1/32", "198.51.100.2/32")
	}
	for _, tc := range []struct {
		name    string
		change  func()
		updates [2]int
		hear    [2][]string
	}{
		{"nothing", func() {}, [2]int{0, 0}, [2][]string{{"1", "2"}, {"1", "2"}}},
		{"one more", func() { s.want.Routes = append(s.want.Routes, routes("198.51.100.3/32")...) }, [2]int{1, 1}, [2][]string{{"1", "2", "3"}, {"1", "2", "3"}}},
		{"one less", func() { s.want.Routes = s.want.Routes[1:] }, [2]int{1, 1}, [2][]string{{"2", "3"}, {"2", "3"}}},
		{"other attributes", func() { s.want.Routes[0].Communities = []backends.Community{{Parts: [3]uint32{1, 2}}} }, [2]int{1, 1}, [2][]string{{"2", "3"}, {"2", "3"}}},
		{"for one only", func() { s.want.Routes[1].Peers = []string{"r1"} }, [2]int{1, 0}, [2][]string{{"2"}, {"2", "3"}}},
		{"for the other only", func() { s.want.Routes[1].Peers = []string{"r0"} }, [2]int{1, 1}, [2][]string{{"2", "3"}, {"2"}}},
		{"differently for both", func() {
			s.want.Routes = append(s.want.Routes, backends.Route{
				Prefix: s.want.Routes[1].Prefix, Peers: []string{"r1"}, Communities: []backends.Community{{Parts: [3]uint32{3, 4}}},
			})
		}, [2]int{0, 1}, [2][]string{{"2", "3"}, {"2", "3"}}},
	} {
		var before [2]routing.Peer
		for i, r := range routers {
			before[i] = r.Neighbor("192.0.2.1")
		}
		tc.change()
		s.apply()
		for i, r := range routers {
			var want []string
			for _, n := range tc.hear[i] {
				want = append(want, "198.51.100."+n+"/32")
			}
			r.Hears("ipv4", want...)
			await(t, fmt.Sprintf("%s: %d updates at r%d", tc.name, tc.updates[i], i), func() bool {
				return r.Neighbor("192.0.2.1").MessageStats.UpdatesRecv == before[i].MessageStats.UpdatesRecv+tc.updates[i]
			})
			after := r.Neighbor("192.0.2.1")
			sameSession(t, before[i], after)
			assert.Equal(t, before[i].MessageStats.RouteRefreshRecv, after.MessageStats.RouteRefreshRecv, tc.name)
		}
	}
	assert.Equal(t, "3:4", routers[1].Detail("ipv4", "198.51.100.3/32")[0].Community.String)
	assert.Empty(t, routers[0].Detail("ipv4", "198.51.100.3/32")[0].Community.String)

	// Another setting begins that session anew, and no other.
	before := routers[1].Neighbor("192.0.2.1")
	s.want.Peers[0].HoldTime = seconds(30)
	s.apply()
	await(t, "r0's new session", func() bool { return s.session("r0").HoldTime == 30*time.Second })
	s.established("r0", "r1")
	routers[0].Hears("ipv4", "198.51.100.2/32", "198.51.100.3/32")
	assert.NotZero(t, routers[0].Neighbor("192.0.2.1").MessageStats.NotificationsRecv)
	after := routers[1].Neighbor("192.0.2.1")
	sameSession(t, before, after)
	assert.Equal(t, before.MessageStats.UpdatesRecv, after.MessageStats.UpdatesRecv)

	// Another name is not another session.
	s.want.Peers[1].Source.Name = "renamed"
	s.want.Routes = routes("198.51.100.9/32")
	s.apply()
	routers[1].Hears("ipv4", "198.51.100.9/32")
	sameSession(t, before, routers[1].Neighbor("192.0.2.1"))

	// A peer that goes hears no more; the others stay.
	s.want.Peers = s.want.Peers[1:]
	s.apply()
	routers[0].Hears("ipv4")
	sameSession(t, before, routers[1].Neighbor("192.0.2.1"))
}

func TestWrongAS(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{}, func(p *backends.Peer) { p.PeerASN = 65009 })
	await(t, "the reason", func() bool {
		return p.session("r").LastError == "the router's AS is 65002, but peerASN is 65009"
	})
	assert.NotZero(t, p.session("r").Sent.Notification)
}

func TestRouterExpectsAnotherAS(t *testing.T) {
	p := newPair(t, strings.Replace(external("192.0.2.2"), "65001", "65008", 1), bgp.Config{})
	await(t, "the reason", func() bool {
		return p.session("r").LastError == "the router ended the session: bad peer AS (NOTIFICATION 2/2)"
	})
}

func TestDynamicASIsChecked(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{}, func(p *backends.Peer) { p.PeerASN, p.DynamicASN = 0, "internal" })
	await(t, "the reason", func() bool {
		return p.session("r").LastError == "the router's AS is 65002, but dynamicASN internal asks for our own, 65001"
	})
}

func TestWrongPassword(t *testing.T) {
	p := newPair(t, external("192.0.2.2", "neighbor 192.0.2.1 password right"), bgp.Config{}, func(p *backends.Peer) { p.Password = "wrong" })
	await(t, "the reason", func() bool {
		return strings.Contains(p.session("r").LastError, "its TCP MD5 password is another")
	})
	// It comes up as soon as the password is right, which is that session's own affair.
	p.want.Peers[0].Password = "right"
	p.apply()
	p.established("r")
	p.frr.Hears("ipv4", "198.51.100.1/32")
	// A Secret that is missing changes nothing.
	before := p.frr.Neighbor("192.0.2.1")
	p.want.Peers[0].Password, p.want.Peers[0].Unready = "", `there is no Secret "x"`
	p.want.Routes = routes("198.51.100.2/32")
	r := p.order(order{Apply: &p.want})
	assert.Equal(t, []string{`BGPPeer/fairlead-system/r: the peer is not ready: there is no Secret "x"`}, r.Errors)
	p.frr.Hears("ipv4", "198.51.100.2/32")
	sameSession(t, before, p.frr.Neighbor("192.0.2.1"))
}

func TestHoldTimer(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{}, func(p *backends.Peer) { p.HoldTime = seconds(3) })
	p.established("r")
	p.router.Cut()
	await(t, "the reason", func() bool {
		return strings.HasPrefix(p.session("r").LastError, "the router has been silent for longer than the hold time")
	})
	p.router.Mend()
	p.established("r")
	p.frr.Hears("ipv4", "198.51.100.1/32")
}

func TestRouterRestarts(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{})
	p.established("r")
	p.frr.BGPD.Kill()
	await(t, "the reason", func() bool {
		return p.session("r").LastError == "the router has closed the connection" || strings.Contains(p.session("r").LastError, "refuses")
	})
	p.frr.Start()
	p.established("r")
	p.frr.Hears("ipv4", "198.51.100.1/32")
	assert.EqualValues(t, 2, p.session("r").Established)
}

func TestRouterShutsDown(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{})
	p.established("r")
	p.frr.Vtysh("configure terminal", "router bgp 65002", "neighbor 192.0.2.1 shutdown message maintenance")
	await(t, "the reason", func() bool {
		return strings.Contains(p.session("r").LastError, `administrative shutdown (NOTIFICATION 6/2): "maintenance"`)
	})
}

func TestLinkIsPulled(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{}, func(p *backends.Peer) { p.HoldTime = seconds(3) })
	p.established("r")
	p.node.LinkDown()
	await(t, "the end of the session", func() bool { return p.session("r").State != bgp.Established })
	assert.Equal(t, 1, p.session("r").Pending)
	p.node.LinkUp()
	p.established("r")
	p.frr.Hears("ipv4", "198.51.100.1/32")
	assert.Zero(t, p.session("r").Pending)
}

func TestLoopbackIsDown(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{})
	p.established("r")
	p.node.Command("/usr/sbin/ip", "link", "set", "lo", "down")
	p.order(order{Down: "r"})
	await(t, "the reason", func() bool { return strings.Contains(p.session("r").LastError, "the interface lo is down") })
	p.node.Command("/usr/sbin/ip", "link", "set", "lo", "up")
	p.established("r")
	p.frr.Hears("ipv4", "198.51.100.1/32")
}

// TestPending has a router that does not take IPv6, and one to which there is no IPv6 next hop.
func TestPending(t *testing.T) {
	t.Parallel()
	l := netlab.New(t, nil)
	node, router := l.AddHost("node", nodeV4), l.AddHost("router", routerV4)
	r := routing.StartFRR(t, l, router, external("192.0.2.2", "address-family ipv6 unicast", "neighbor 192.0.2.1 activate", "exit-address-family"))
	s := startSpeaker(t, l, node, bgp.Config{}, nil)
	s.want = backends.NodeDesired{Peers: []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, dual)}, Routes: routes("198.51.100.1/32", "2001:db8:1::1/128")}
	s.apply()
	s.established("r")
	r.Hears("ipv4", "198.51.100.1/32")
	assert.Equal(t, 1, s.session("r").Prefixes)
	assert.Equal(t, 1, s.session("r").Pending)
	assert.Equal(t, []string{"ipv4", "ipv6"}, s.session("r").Families)
	r.Hears("ipv6")
}

func TestRefresh(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{})
	p.established("r")
	p.frr.Hears("ipv4", "198.51.100.1/32")
	before := p.frr.Neighbor("192.0.2.1").MessageStats.UpdatesRecv
	p.frr.Vtysh("clear bgp ipv4 unicast * in")
	await(t, "the routes again", func() bool { return p.frr.Neighbor("192.0.2.1").MessageStats.UpdatesRecv > before })
}

func TestBFDDown(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{})
	p.established("r")
	p.order(order{Down: "r"})
	p.frr.Hears("ipv4")
	assert.Equal(t, "BFD says that the router cannot be reached", p.session("r").LastError)
	p.established("r")
	p.frr.Hears("ipv4", "198.51.100.1/32")
}

func TestShutdown(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{})
	p.established("r")
	p.frr.Hears("ipv4", "198.51.100.1/32")
	seen := make(chan report, 1)
	before := p.frr.Neighbor("192.0.2.1").MessageStats
	go func() { seen <- p.order(order{Shutdown: &backends.Leave{Wait: 2 * time.Second}}) }()
	await(t, "the community", func() bool {
		d := p.frr.Detail("ipv4", "198.51.100.1/32")
		return len(d) == 1 && d[0].Community.String == "graceful-shutdown"
	})
	assert.Empty(t, (<-seen).Sessions)
	p.frr.Hears("ipv4")
	after := p.frr.Neighbor("192.0.2.1")
	assert.Equal(t, 2, after.MessageStats.UpdatesRecv-before.UpdatesRecv, "one that marks the route, one that withdraws it")
	assert.Contains(t, after.LastNotification, "Cease/Administrative Shutdown")
	// It is gone.
	assert.Empty(t, p.order(order{Apply: &p.want}).Sessions)
}

// TestShutdownInternal goes away from a router of the same AS, which does not know the community.
func TestShutdownInternal(t *testing.T) {
	p := newPair(t, strings.Replace(external("192.0.2.2"), "router bgp 65002", "router bgp 65001", 1), bgp.Config{}, func(p *backends.Peer) { p.PeerASN = 65001 })
	p.want.Routes[0].LocalPref = 200
	p.apply()
	p.established("r")
	p.frr.Hears("ipv4", "198.51.100.1/32")
	assert.EqualValues(t, 200, p.frr.Detail("ipv4", "198.51.100.1/32")[0].LocPrf)
	p.want.Routes[0].Draining = true
	p.apply()
	await(t, "the local preference", func() bool {
		d := p.frr.Detail("ipv4", "198.51.100.1/32")
		return len(d) == 1 && d[0].LocPrf == 0 && d[0].Community.String == "graceful-shutdown"
	})
	p.want.Routes[0].Draining = false
	p.apply()
	await(t, "the local preference", func() bool {
		d := p.frr.Detail("ipv4", "198.51.100.1/32")
		return len(d) == 1 && d[0].LocPrf == 200 && d[0].Community.String == ""
	})
}

// TestComingBack keeps the routes of a peer that does graceful restart, and withdraws those of another.
func TestComingBack(t *testing.T) {
	for _, graceful := range []bool{true, false} {
		t.Run(fmt.Sprint(graceful), func(t *testing.T) {
			p := newPair(t, external("192.0.2.2"), bgp.Config{}, func(p *backends.Peer) { p.GracefulRestart = graceful })
			p.established("r")
			p.frr.Hears("ipv4", "198.51.100.1/32")
			before := p.frr.Neighbor("192.0.2.1").MessageStats
			began := time.Now()
			assert.Empty(t, p.order(order{Shutdown: &backends.Leave{Wait: 2 * time.Second, Back: true}}).Sessions)
			if !graceful {
				p.frr.Hears("ipv4")
				return
			}
			assert.Less(t, time.Since(began), 2*time.Second, "there is nobody to wait for")
			await(t, "a stale route", func() bool {
				d := p.frr.Detail("ipv4", "198.51.100.1/32")
				return len(d) == 1 && d[0].Stale && d[0].Community.String == ""
			})
			after := p.frr.Neighbor("192.0.2.1").MessageStats
			assert.Equal(t, before.UpdatesRecv, after.UpdatesRecv)
			assert.Equal(t, before.NotificationsRecv, after.NotificationsRecv)
		})
	}
}

func TestGracefulRestart(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*testing.T, *pair)
	}{
		{"stopped", func(t *testing.T, p *pair) {
			_, err := p.p.Stop()
			require.NoError(t, err)
		}},
		{"killed", func(t *testing.T, p *pair) { p.p.Kill() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPair(t, external("192.0.2.2"), bgp.Config{}, func(p *backends.Peer) { p.GracefulRestart = true })
			p.want.Routes = routes("198.51.100.1/32", "198.51.100.2/32")
			p.apply()
			p.established("r")
			assert.True(t, p.session("r").GracefulRestart)
			p.frr.Hears("ipv4", "198.51.100.1/32", "198.51.100.2/32")
			events := p.frr.Neighbor("192.0.2.1")
			tc.end(t, p)
			await(t, "stale routes", func() bool {
				t := p.frr.Table("ipv4")
				return len(t) == 2 && p.frr.Detail("ipv4", "198.51.100.1/32")[0].Stale
			})
			assert.Equal(t, events.MessageStats.NotificationsRecv, p.frr.Neighbor("192.0.2.1").MessageStats.NotificationsRecv)
			s := startSpeaker(t, p.Lab, p.node, bgp.Config{}, nil)
			s.want = p.want
			s.want.Routes = routes("198.51.100.1/32", "198.51.100.3/32")
			s.apply()
			await(t, "the new routes, and no old one", func() bool {
				table := p.frr.Table("ipv4")
				assert.Len(t, table["198.51.100.1/32"], 1, "the route must be there all the time")
				return len(table) == 2 && len(table["198.51.100.3/32"]) == 1 && !p.frr.Detail("ipv4", "198.51.100.1/32")[0].Stale
			})
		})
	}
}

func TestWithoutGracefulRestartRunWithdrawsNothing(t *testing.T) {
	p := newPair(t, external("192.0.2.2"), bgp.Config{})
	p.established("r")
	p.frr.Hears("ipv4", "198.51.100.1/32")
	before := p.frr.Neighbor("192.0.2.1").MessageStats
	_, err := p.p.Stop()
	require.NoError(t, err)
	await(t, "the end of the session", func() bool { return p.frr.Neighbor("192.0.2.1").BGPState != "Established" })
	after := p.frr.Neighbor("192.0.2.1").MessageStats
	assert.Equal(t, before.UpdatesRecv, after.UpdatesRecv)
	assert.Equal(t, before.NotificationsRecv, after.NotificationsRecv)
}

// TestUnprivileged holds sessions as a user other than root, with TCP MD5 and bound to a device, with NET_RAW and with no capability
// at all. The speaker has the former, which unnumbered sessions need.
func TestUnprivileged(t *testing.T) {
	for _, tc := range []struct {
		name string
		caps []uintptr
	}{{"NET_RAW", []uintptr{unix.CAP_NET_RAW}}, {"nothing", nil}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := netlab.New(t, nil)
			node, router := l.AddHost("node", nodeV4), l.AddHost("router", routerV4)
			r := routing.StartFRR(t, l, router, external("192.0.2.2", "neighbor 192.0.2.1 password secret"))
			s := startSpeaker(t, l, node, bgp.Config{}, &netlab.Rights{UID: netlab.Nobody, Capabilities: tc.caps})
			s.want = backends.NodeDesired{
				Peers:  []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, func(p *backends.Peer) { p.Password, p.VRF = "secret", "eth0" })},
				Routes: routes("198.51.100.1/32"),
			}
			s.apply()
			s.established("r")
			r.Hears("ipv4", "198.51.100.1/32")
			_ = s.p.Signal(syscall.SIGTERM)
			<-s.p.Done()
		})
	}
}
