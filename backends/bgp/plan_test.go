package bgp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

func duration(d time.Duration) *time.Duration { return &d }

func valid(change ...func(*backends.Peer)) backends.Peer {
	p := backends.Peer{
		Source: backends.Source{Kind: "BGPPeer", Namespace: "ns", Name: "p"},
		MyASN:  65001, PeerASN: 65002, Address: netip.MustParseAddr("192.0.2.2"),
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func TestFaultyPeers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*backends.Peer)
		want   string
	}{
		{"no fault", func(*backends.Peer) {}, ""},
		{"own AS 0", func(p *backends.Peer) { p.MyASN = 0 }, `spec.myASN "0": an AS number is 1 to 4294967295 (RFC 7607)`},
		{"AS 0", func(p *backends.Peer) { p.PeerASN = 0 }, `spec.peerASN "0": an AS number is 1 to 4294967295 (RFC 7607)`},
		{"unknown mode", func(p *backends.Peer) { p.PeerASN, p.DynamicASN = 0, "any" }, `spec.dynamicASN "any": neither internal nor external`},
		{"AS and mode", func(p *backends.Peer) { p.DynamicASN = "external" }, `spec.dynamicASN "external": peerASN is set, too`},
		{"hold time of 2s", func(p *backends.Peer) { p.HoldTime = duration(2 * time.Second) },
			`spec.holdTime "2s": use 0s, which turns it off, or 3s to 65535s (RFC 4271, 4.2)`},
		{"hold time too long", func(p *backends.Peer) { p.HoldTime = duration(65536 * time.Second) },
			`spec.holdTime "18h12m16s": use 0s, which turns it off, or 3s to 65535s (RFC 4271, 4.2)`},
		{"keepalive above hold", func(p *backends.Peer) {
			p.HoldTime, p.KeepaliveTime = duration(9*time.Second), duration(10*time.Second)
		},
			`spec.keepaliveTime "10s": more than the hold time of 9s`},
		{"no address", func(p *backends.Peer) { p.Address = netip.Addr{} }, `spec.peerAddress "": neither an address nor an interface is given`},
		{"address and interface", func(p *backends.Peer) { p.Interface = "eth0" }, `spec.interface "eth0": peerAddress is set, too`},
		{"group", func(p *backends.Peer) { p.Address = netip.MustParseAddr("ff02::1") }, `spec.peerAddress "ff02::1": it is not the address of a router`},
		{"source of another family", func(p *backends.Peer) { p.SourceAddress = netip.MustParseAddr("2001:db8::1") },
			`spec.sourceAddress "2001:db8::1": peerAddress 192.0.2.2 is of the other IP family`},
		{"router ID of IPv6", func(p *backends.Peer) { p.RouterID = netip.MustParseAddr("2001:db8::1") },
			`spec.routerID "2001:db8::1": a router ID is an IPv4 address`},
		{"impatient", func(p *backends.Peer) { p.ConnectTime = time.Millisecond }, `spec.connectTime "1ms": at least 1s`},
		{"password too long", func(p *backends.Peer) { p.Password = string(make([]byte, 81)) }, `spec.password "81 characters": TCP MD5 takes at most 80`},
		{"not ready", func(p *backends.Peer) { p.Unready = "no Secret" }, `the peer is not ready: no Secret`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := valid(tc.change)
			_, errs := settingsOf(&p)
			if tc.want == "" {
				require.Empty(t, errs)
				return
			}
			require.Len(t, errs, 1)
			assert.EqualError(t, errs[0], "BGPPeer/ns/p: "+tc.want)
			var e *PeerError
			assert.ErrorAs(t, errs[0], &e)
		})
	}
}

func TestTimers(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		hold, keepalive       *time.Duration
		wantHold, wantKeeping time.Duration
	}{
		{"neither", nil, nil, 90 * time.Second, 30 * time.Second},
		{"hold", duration(9 * time.Second), nil, 9 * time.Second, 3 * time.Second},
		{"keepalive", nil, duration(5 * time.Second), 15 * time.Second, 5 * time.Second},
		{"both", duration(20 * time.Second), duration(5 * time.Second), 20 * time.Second, 5 * time.Second},
		{"off", duration(0), nil, 0, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := valid(func(p *backends.Peer) { p.HoldTime, p.KeepaliveTime = tc.hold, tc.keepalive })
			s, errs := settingsOf(&p)
			require.Empty(t, errs)
			assert.Equal(t, tc.wantHold, s.hold)
			assert.Equal(t, tc.wantKeeping, s.keepalive)
		})
	}
}

func TestPlan(t *testing.T) {
	named := func(name, addr string, change ...func(*backends.Peer)) backends.Peer {
		return valid(append(change, func(p *backends.Peer) { p.Source.Name, p.Address = name, netip.MustParseAddr(addr) })...)
	}
	to := func(prefix string, peers ...string) backends.Route {
		return backends.Route{Prefix: netip.MustParsePrefix(prefix), Peers: peers}
	}
	for _, tc := range []struct {
		name   string
		want   backends.NodeDesired
		routes map[string][]string
		errs   []string
	}{
		{
			"families",
			backends.NodeDesired{
				Peers:  []backends.Peer{named("v4", "192.0.2.2"), named("v6", "2001:db8::2"), named("both", "192.0.2.3", func(p *backends.Peer) { p.DualStack = true })},
				Routes: []backends.Route{to("198.51.100.1/32"), to("2001:db8:1::1/128")},
			},
			map[string][]string{"v4": {"198.51.100.1/32"}, "v6": {"2001:db8:1::1/128"}, "both": {"198.51.100.1/32", "2001:db8:1::1/128"}},
			nil,
		},
		{
			"no peer of the family",
			backends.NodeDesired{Peers: []backends.Peer{named("v4", "192.0.2.2")}, Routes: []backends.Route{to("2001:db8:1::1/128")}},
			map[string][]string{"v4": nil},
			[]string{"announce 2001:db8:1::1/128: no peer of this node takes prefixes of its IP family: give it a peer of that family, or set dualStackAddressFamily"},
		},
		{
			"unknown peers",
			backends.NodeDesired{Peers: []backends.Peer{named("v4", "192.0.2.2")}, Routes: []backends.Route{to("198.51.100.1/32", "x"), to("198.51.100.2/32", "x", "v4")}},
			map[string][]string{"v4": {"198.51.100.2/32"}},
			[]string{`announce 198.51.100.1/32: none of the peers ["x"] is a usable peer of this node`},
		},
		{
			"the same address twice",
			backends.NodeDesired{
				Peers: []backends.Peer{
					named("a", "192.0.2.2"), named("b", "192.0.2.2"), named("c", "192.0.2.2", func(p *backends.Peer) { p.VRF = "red" }),
					named("d", "192.0.2.2", func(p *backends.Peer) { p.Port = 1179 }),
				},
				Routes: []backends.Route{to("198.51.100.1/32")},
			},
			map[string][]string{"a": {"198.51.100.1/32"}, "c": {"198.51.100.1/32"}, "d": {"198.51.100.1/32"}},
			[]string{`BGPPeer/ns/b: spec.peerAddress "192.0.2.2": it is the address of another peer: "a"`},
		},
		{
			"a faulty peer stops no other",
			backends.NodeDesired{
				Peers:  []backends.Peer{named("a", "192.0.2.2", func(p *backends.Peer) { p.MyASN = 0 }), named("b", "192.0.2.3")},
				Routes: []backends.Route{to("198.51.100.1/32")},
			},
			map[string][]string{"b": {"198.51.100.1/32"}},
			[]string{`BGPPeer/ns/a: spec.myASN "0": an AS number is 1 to 4294967295 (RFC 7607)`},
		},
		{
			"bad routes",
			backends.NodeDesired{Peers: []backends.Peer{named("a", "192.0.2.2")}, Routes: []backends.Route{
				{Prefix: netip.PrefixFrom(netip.MustParseAddr("198.51.100.1"), 24)},
				{Prefix: netip.MustParsePrefix("198.51.100.2/32"), Communities: []backends.Community{{Parts: [3]uint32{70000, 1}}}},
				to("198.51.100.3/32"),
				{Prefix: netip.MustParsePrefix("198.51.100.3/32"), LocalPref: 5},
				{Prefix: netip.MustParsePrefix("198.51.100.4/32"), Communities: make([]backends.Community, 961)},
			}},
			map[string][]string{"a": {"198.51.100.3/32"}},
			[]string{
				"announce 198.51.100.1/24: it is not a prefix that BGP can tell",
				"announce 198.51.100.2/32: community 70000:1: the numbers of a standard community are 0 to 65535 (RFC 1997)",
				`announce 198.51.100.3/32: peer "a" is to hear it twice, and differently`,
				"announce 198.51.100.4/32: its 961 communities are too many for a message of BGP",
			},
		},
		{
			"no peer",
			backends.NodeDesired{Routes: []backends.Route{to("198.51.100.1/32")}},
			map[string][]string{},
			[]string{"announce 198.51.100.1/32: this node has no usable peer"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, errs := newPlan(tc.want, func(string) (settings, bool) { return settings{}, false })
			var said []string
			for _, e := range errs {
				said = append(said, e.Error())
			}
			assert.Equal(t, tc.errs, said)
			got := map[string][]string{}
			for _, x := range p {
				got[x.name] = nil
				for _, r := range tc.want.Routes {
					if _, ok := x.routes[r.Prefix]; ok && (len(got[x.name]) == 0 || got[x.name][len(got[x.name])-1] != r.Prefix.String()) {
						got[x.name] = append(got[x.name], r.Prefix.String())
					}
				}
			}
			assert.Equal(t, tc.routes, got)
		})
	}
}

// TestFaultyPeerKeepsItsSession gives a peer that cannot be set up the routes of now, with the settings of before.
func TestFaultyPeerKeepsItsSession(t *testing.T) {
	good := valid()
	before, errs := settingsOf(&good)
	require.Empty(t, errs)
	bad := valid(func(p *backends.Peer) { p.Unready, p.Address = "no Secret", netip.MustParseAddr("192.0.2.99") })
	p, errs := newPlan(backends.NodeDesired{Peers: []backends.Peer{bad}, Routes: []backends.Route{{Prefix: netip.MustParsePrefix("198.51.100.1/32")}}},
		func(name string) (settings, bool) { return before, name == "p" })
	require.Len(t, errs, 1)
	assert.ErrorIs(t, errs[0], errUnready)
	require.Contains(t, p, before.key)
	assert.Equal(t, before, p[before.key].settings)
	assert.Len(t, p[before.key].routes, 1)
}

func TestTTL(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*backends.Peer)
		want   int
	}{
		{"external", func(*backends.Peer) {}, 1},
		{"external, several hops", func(p *backends.Peer) { p.MultiHop = true }, 255},
		{"internal", func(p *backends.Peer) { p.PeerASN = p.MyASN }, 0},
		{"internal by the local AS", func(p *backends.Peer) { p.LocalASN = p.PeerASN }, 0},
		{"dynamic, external", func(p *backends.Peer) { p.PeerASN, p.DynamicASN = 0, "external" }, 1},
		{"dynamic, internal", func(p *backends.Peer) { p.PeerASN, p.DynamicASN = 0, "internal" }, 0},
	} {
		p := valid(tc.change)
		s, errs := settingsOf(&p)
		require.Empty(t, errs, tc.name)
		assert.Equal(t, tc.want, s.ttl(), tc.name)
	}
}
