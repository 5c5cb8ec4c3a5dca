package bgp

import (
	"bufio"
	"context"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fairlead/fairlead/backends"
)

// TestUpdates has the UPDATEs of whole sessions to the octet: a route, End-of-RIB, and the withdrawal. They are those of GoBGP's server.
func TestUpdates(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParsePrefix("198.51.100.0/26"), netip.MustParsePrefix("2001:db8:1::1/128")
	rich := func(p netip.Prefix) backends.Route {
		return backends.Route{Prefix: p, LocalPref: 200, Communities: []backends.Community{
			{Parts: [3]uint32{65001, 300}}, {Parts: [3]uint32{64512, 100}}, {Large: true, Parts: [3]uint32{4200000000, 1, 2}},
		}}
	}
	graceful, restarts := func(o *opening) { o.gracefulRestart = true }, func(p *backends.Peer) { p.GracefulRestart = true }
	for _, tc := range []struct {
		name     string
		addr     string
		asn      uint32
		families []family
		open     func(*opening)
		peer     func(*backends.Peer)
		route    backends.Route
		want     []string
	}{
		{"external", "127.0.0.1", 65002, []family{ipv4}, nil, nil, backends.Route{Prefix: v4},
			[]string{"000000144001010040020602010000fde94003047f0000011ac6336400", "00051ac63364000000"}},
		{"external, rich", "127.0.0.1", 65002, []family{ipv4}, nil, nil, rich(v4),
			[]string{"0000002e4001010040020602010000fde94003047f000001c00808fc000064fde9012cc0200cfa56ea0000000001000000021ac6336400",
				"00051ac63364000000"}},
		{"external, a large AS", "127.0.0.1", 65002, []family{ipv4}, nil, func(p *backends.Peer) { p.LocalASN = 4200000001 }, rich(v4),
			[]string{"0000002e400101004002060201fa56ea014003047f000001c00808fc000064fde9012cc0200cfa56ea0000000001000000021ac6336400",
				"00051ac63364000000"}},
		{"external, two octets", "127.0.0.1", 65002, []family{ipv4}, func(o *opening) { o.fourOctets = false }, nil, rich(v4),
			[]string{"0000002c400101004002040201fde94003047f000001c00808fc000064fde9012cc0200cfa56ea0000000001000000021ac6336400",
				"00051ac63364000000"}},
		{"external, a large AS in two octets", "127.0.0.1", 65002, []family{ipv4}, func(o *opening) { o.fourOctets = false },
			func(p *backends.Peer) { p.LocalASN = 4200000001 }, rich(v4),
			[]string{"000000354001010040020402015ba04003047f000001c00808fc000064fde9012cc0200cfa56ea000000000100000002c011060201fa56ea011ac6336400",
				"00051ac63364000000"}},
		{"internal", "127.0.0.1", 65001, []family{ipv4}, nil, nil, backends.Route{Prefix: v4},
			[]string{"00000015400101004002004003047f000001400504000000641ac6336400", "00051ac63364000000"}},
		{"internal, rich", "127.0.0.1", 65001, []family{ipv4}, nil, nil, rich(v4),
			[]string{"0000002f400101004002004003047f000001400504000000c8c00808fc000064fde9012cc0200cfa56ea0000000001000000021ac6336400",
				"00051ac63364000000"}},
		{"internal, draining", "127.0.0.1", 65001, []family{ipv4}, nil, nil, backends.Route{Prefix: v4, Draining: true},
			[]string{"0000001c400101004002004003047f00000140050400000000c00804ffff00001ac6336400", "00051ac63364000000"}},
		{"internal by dynamic AS", "127.0.0.1", 65001, []family{ipv4}, nil,
			func(p *backends.Peer) { p.PeerASN, p.DynamicASN = 0, "internal" }, backends.Route{Prefix: v4},
			[]string{"00000015400101004002004003047f000001400504000000641ac6336400", "00051ac63364000000"}},
		{"internal, two octets", "127.0.0.1", 65001, []family{ipv4}, func(o *opening) { o.fourOctets = false }, nil, backends.Route{Prefix: v4},
			[]string{"00000015400101004002004003047f000001400504000000641ac6336400", "00051ac63364000000"}},
		{"IPv6", "::1", 65002, []family{ipv6}, nil, nil, backends.Route{Prefix: v6},
			[]string{"000000364001010040020602010000fde9800e260002011000000000000000000000000000000001008020010db8000100000000000000000001",
				"00000017800f140002018020010db8000100000000000000000001"}},
		{"IPv6, rich, internal", "::1", 65001, []family{ipv6}, nil, nil, rich(v6),
			[]string{"0000005140010100400200400504000000c8c00808fc000064fde9012c" + // up to COMMUNITIES
				"800e260002011000000000000000000000000000000001008020010db8000100000000000000000001c0200cfa56ea000000000100000002",
				"00000017800f140002018020010db8000100000000000000000001"}},
		{"IPv4 with a next hop of IPv6", "::1", 65002, []family{ipv4, ipv6}, func(o *opening) { o.extended = true },
			func(p *backends.Peer) { p.DualStack = true }, rich(v4),
			[]string{"000000444001010040020602010000fde9c00808fc000064fde9012c" + // up to COMMUNITIES
				"800e1a0001011000000000000000000000000000000001001ac6336400c0200cfa56ea000000000100000002",
				"00051ac63364000000"}},
		{"graceful restart", "127.0.0.1", 65002, []family{ipv4}, graceful, restarts, backends.Route{Prefix: v4},
			[]string{"000000144001010040020602010000fde94003047f0000011ac6336400", "00000000", "00051ac63364000000"}},
		{"graceful restart, IPv6", "::1", 65002, []family{ipv6}, graceful, restarts, backends.Route{Prefix: v6},
			[]string{"000000364001010040020602010000fde9800e260002011000000000000000000000000000000001008020010db8000100000000000000000001",
				"00000006800f03000201",
				"00000017800f140002018020010db8000100000000000000000001"}},
		{"graceful restart of the router only", "127.0.0.1", 65002, []family{ipv4}, graceful, nil, backends.Route{Prefix: v4},
			[]string{"000000144001010040020602010000fde94003047f0000011ac6336400", "00051ac63364000000"}},
		{"graceful restart of the speaker only", "127.0.0.1", 65002, []family{ipv4}, nil, restarts, backends.Route{Prefix: v4},
			[]string{"000000144001010040020602010000fde94003047f0000011ac6336400", "00051ac63364000000"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStubAt(t, tc.addr, tc.asn, tc.families...)
			s.open = tc.open
			peer := s.peer("a")
			if tc.peer != nil {
				tc.peer(&peer)
			}
			b, _ := running(t)
			d := backends.NodeDesired{Peers: []backends.Peer{peer}, Routes: []backends.Route{tc.route}}
			require.NoError(t, b.Apply(context.Background(), d))
			s.await("the route", func() bool { return len(s.table) == 1 })
			d.Routes = nil
			require.NoError(t, b.Apply(context.Background(), d))
			s.await("no route", func() bool { return len(s.table) == 0 })
			s.mu.Lock()
			defer s.mu.Unlock()
			var got []string
			for _, body := range s.bodies {
				got = append(got, hex.EncodeToString(body))
			}
			assert.Equal(t, tc.want, got)
		})
	}
}

// TestSharedUpdates: prefixes of the same attributes share UPDATEs, in the first telling, in every change, after ROUTE-REFRESH, and when they
// are withdrawn.
func TestSharedUpdates(t *testing.T) {
	t.Parallel()
	const many = 3000
	for _, tc := range []struct {
		family                   family
		addr                     string
		told, changed, withdrawn int // UPDATEs
	}{
		// 4,096 octets are 804 or 806 IPv4 prefixes of 5 octets, or 236 IPv6 prefixes of 17.
		{ipv4, "127.0.0.1", 4, 2, 4},
		{ipv6, "::1", 13, 5, 13},
	} {
		t.Run(tc.family.String(), func(t *testing.T) {
			t.Parallel()
			s := newStubAt(t, tc.addr, 65002, tc.family)
			b, _ := running(t)
			ctx := context.Background()
			d := backends.NodeDesired{Peers: []backends.Peer{s.peer("a")}, Routes: numbered(tc.family, many)}
			require.NoError(t, b.Apply(ctx, d))
			updates := func(what string, want int, ok func() bool) {
				t.Helper()
				s.await(what, ok)
				s.mu.Lock()
				defer s.mu.Unlock()
				assert.Equal(t, want, s.updates, what)
				s.updates = 0
			}
			attrs := func(n int) func() bool {
				return func() bool {
					have := 0
					for _, a := range s.table {
						if strings.Contains(a, "65001:2") {
							have++
						}
					}
					return have == n
				}
			}
			all := func() bool { return len(s.table) == many }
			updates("all routes", tc.told, all)
			for i := range many {
				if i%3 == 0 { // scattered
					d.Routes[i].Communities = []backends.Community{{Parts: [3]uint32{65001, 2}}}
				}
			}
			require.NoError(t, b.Apply(ctx, d))
			updates("other attributes", tc.changed, attrs(many/3))
			s.note(func() { s.table = map[string]string{} })
			s.mu.Lock()
			_, err := s.conn.Write(message(typeRefresh, []byte{0, byte(tc.family), 0, bgp.SAFI_UNICAST}))
			s.mu.Unlock()
			require.NoError(t, err)
			s.await("all routes again", func() bool { return all() && attrs(many/3)() })
			s.note(func() { s.updates = 0 })
			d.Routes = nil
			require.NoError(t, b.Apply(ctx, d))
			updates("no route", tc.withdrawn, func() bool { return len(s.table) == 0 })
		})
	}
}

// anyRoutes are routes in few ways, as a plan has them.
func anyRoutes(r *rand.Rand, n int) map[netip.Prefix]*route {
	ways := []*route{{}, {localPref: 7}, {localPref: 8}, {communities: []backends.Community{{Parts: [3]uint32{1, 2}}}},
		{communities: []backends.Community{gracefulShutdown}, least: true}}
	out := map[netip.Prefix]*route{}
	for range n {
		bits := r.IntN(33)
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(8))}), bits)
		if r.IntN(2) == 0 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 14: byte(r.IntN(4)), 15: byte(r.IntN(8))}), 96+bits)
		}
		w := *ways[r.IntN(len(ways))] // equal, but not the same
		out[p.Masked()] = &w
	}
	return out
}

// TestChange goes from any routes to any others, and compares what a router that hears the UPDATEs has with what it has from being told
// everything at once. No UPDATE is too long, and none says what the router knows.
func TestChange(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, m := range []manner{
		{asn: 65001, fourOctets: true, hops: hops{v4: v4, v6: v6}}, {fourOctets: true, hops: hops{v4: v4}},
		{asn: 4200000001, hops: hops{v6: v6}}, {hops: hops{v4: v6, v6: v6}},
	} {
		hear := func(s *stub, updates [][]byte) (known int) {
			for _, u := range updates {
				require.LessOrEqual(t, len(u), maxMessage)
				parsed, err := bgp.ParseBGPMessage(u)
				require.NoError(t, err)
				before := maps.Clone(s.table)
				s.learn(parsed.Body.(*bgp.BGPUpdate))
				if maps.Equal(before, s.table) {
					known++
				}
			}
			return known
		}
		had, s := told{}, &stub{table: map[string]string{}}
		for range 60 {
			want := told{routes: anyRoutes(r, r.IntN(400)), draining: r.IntN(4) == 0}
			updates, n, err := m.change(had, want)
			require.NoError(t, err)
			if idle := hear(s, updates); m.asn == 0 { // others are not told the local preference
				assert.Zero(t, idle, "UPDATEs that say nothing new")
			}
			whole := &stub{table: map[string]string{}}
			updates, _, err = m.change(told{}, want)
			require.NoError(t, err)
			hear(whole, updates)
			assert.Equal(t, whole.table, s.table)
			assert.Len(t, s.table, n)
			updates, _, err = m.change(want, told{maps.Clone(want.routes), want.draining})
			require.NoError(t, err)
			assert.Empty(t, updates)
			had = want
		}
	}
}

// TestSlowRouter changes everything often while a router takes nothing: what is to be sent does not grow, and in the end the router has
// what is wanted last.
func TestSlowRouter(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer ours.Close()
	theirs, err := l.Accept()
	require.NoError(t, err)
	defer theirs.Close()

	changed := 0
	s := newSession(settings{localASN: 65001, peerASN: 65002, hold: defaultHold}, &Config{}, nil, func() { changed++ })
	w := &wire{session: s, outer: ours.(*net.TCPConn), out: bufio.NewWriterSize(ours, 64<<10)}
	s.manner = manner{asn: 65001, fourOctets: true, hops: hops{v4: netip.MustParseAddr("192.0.2.1"), v6: netip.MustParseAddr("2001:db8::1")}}
	s.mu.Lock()
	require.NoError(t, s.beginLocked())
	s.mu.Unlock()
	most := 0
	for i := range uint32(50) {
		routes := map[netip.Prefix]*route{}
		way := &route{communities: []backends.Community{{Parts: [3]uint32{65001, i}}}}
		for _, x := range append(numbered(ipv4, 2000), numbered(ipv6, 500)...)[i:] {
			routes[x.Prefix] = way
		}
		require.NoError(t, s.setRoutes("r", routes))
		most = max(most, len(s.queue))
	}
	assert.Equal(t, 6, most, "once all prefixes")
	for len(s.work) > 0 {
		<-s.work
		require.NoError(t, w.tell(context.Background()))
	}
	assert.Equal(t, 1, changed, "it shows how many prefixes the router has")
	assert.Equal(t, 2451, s.snapshot().Prefixes)
	s.flushed(context.Background(), flushWait) // returns at once
	require.NoError(t, w.outer.CloseWrite())

	said := make(chan event, 64)
	relay(context.Background(), theirs, said)
	router := &stub{table: map[string]string{}}
	for e := <-said; e.err == nil; e = <-said {
		m, err := bgp.ParseBGPMessage(e.body)
		require.NoError(t, err)
		router.learn(m.Body.(*bgp.BGPUpdate))
	}
	assert.Len(t, router.table, 2451)
	for p, attrs := range router.table {
		assert.Contains(t, attrs, "65001:49", p)
	}
}
