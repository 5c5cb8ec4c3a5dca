package bgp

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
)

// TestManyRoutes tells 10,000 prefixes to two routers. What it logs are figures, not promises.
func TestManyRoutes(t *testing.T) {
	const many = 10_000
	l := netlab.New(t, nil)
	node := l.AddHost("node", nodeV4)
	var routers []*routing.FRR
	s := startSpeaker(t, l, node, bgp.Config{}, nil)
	for i, name := range []string{"r0", "r1"} {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)})
		routers = append(routers, routing.StartFRR(t, l, l.AddHost(name, netip.PrefixFrom(addr, 24)), external(addr.String())))
		s.want.Peers = append(s.want.Peers, peer(name, addr, 65001, 65002))
	}
	s.apply()
	s.established("r0", "r1")
	empty := s.p.RSS()
	for i := range many {
		s.want.Routes = append(s.want.Routes, backends.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32)})
	}
	accepted := func(n int) {
		t.Helper()
		for _, r := range routers {
			await(t, "every route", func() bool {
				return r.Neighbor("192.0.2.1").AddressFamilyInfo["ipv4Unicast"].AcceptedPrefixCounter == n
			})
		}
	}
	began := time.Now()
	s.apply()
	accepted(many)
	t.Logf("%d prefixes were in both routers %s after Apply; resident memory %d KiB before, %d KiB after, heap %d KiB", many,
		time.Since(began).Round(time.Millisecond), empty>>10, s.p.RSS()>>10, s.order(order{Memory: true}).Heap>>10)
	assert.Equal(t, many, s.session("r0").Prefixes)

	// Prefixes of the same attributes share UPDATEs, with a router that comes back as well.
	for _, r := range routers {
		assert.Less(t, r.Neighbor("192.0.2.1").MessageStats.UpdatesRecv, many/100)
	}
	routers[0].BGPD.Kill()
	routers[0].Start()
	s.established("r0")
	before := s.session("r0")
	accepted(many)
	t.Logf("the session with a router that was killed took %d UPDATEs", routers[0].Neighbor("192.0.2.1").MessageStats.UpdatesRecv)
	assert.Less(t, routers[0].Neighbor("192.0.2.1").MessageStats.UpdatesRecv, many/100)
	assert.EqualValues(t, 2, before.Established)

	cpu, rest := s.p.CPU(), time.After(5*time.Second)
	<-rest
	t.Logf("%.2f s of processor time in 5 s at rest", s.p.CPU()-cpu)
	s.want.Routes = nil
	s.apply()
	accepted(0)
}

// TestGracefulRestartBIRD is TestGracefulRestart with BIRD as the helper.
func TestGracefulRestartBIRD(t *testing.T) {
	t.Parallel()
	l := netlab.New(t, nil)
	node, router := l.AddHost("node", nodeV4, nodeV6), l.AddHost("router", routerV4, routerV6)
	r := routing.StartBIRD(t, l, router, "protocol bgp speaker { local as 65002; neighbor 192.0.2.1 as 65001; ipv4 { import all; export none; }; ipv6 { import all; export none; }; }\n")
	want := backends.NodeDesired{
		Peers:  []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, dual, func(p *backends.Peer) { p.GracefulRestart = true })},
		Routes: routes("198.51.100.1/32", "2001:db8:1::1/128"),
	}
	first := startSpeaker(t, l, node, bgp.Config{}, nil)
	first.want = want
	first.apply()
	first.established("r")
	await(t, "both routes", func() bool { return len(summaryBIRD(r)) == 2 })
	first.p.Kill()
	await(t, "the restart", func() bool { return !strings.Contains(r.Birdc("show", "protocols", "all", "speaker"), "Established") })
	assert.Len(t, summaryBIRD(r), 2, "the routes must stay")
	second := startSpeaker(t, l, node, bgp.Config{}, nil)
	second.want = want
	second.want.Routes = routes("198.51.100.1/32", "198.51.100.9/32")
	second.apply()
	second.established("r")
	await(t, "the new routes, and no old one", func() bool {
		got := strings.Join(summaryBIRD(r), "\n")
		assert.Contains(t, got, "198.51.100.1/32", "the route must be there all the time")
		return strings.Contains(got, "198.51.100.9/32") && !strings.Contains(got, "2001:db8:1::1")
	})
}
