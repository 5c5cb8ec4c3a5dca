package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
)

// feature is a row of the table: what is wanted, and what the router has then. expect lines are "prefix nexthop aspath localpref
// communities", sorted, "-" for nothing.
type feature struct {
	name   string
	peers  []backends.Peer
	routes []backends.Route
	frr    string // its configuration, below "router bgp"
	bird   string // protocol of BIRD
	expect []string
}

func seconds(n int) *time.Duration {
	d := time.Duration(n) * time.Second
	return &d
}

func dual(p *backends.Peer) { p.DualStack = true }

var features = []feature{
	{
		name:   "IPv4, external",
		peers:  []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002)},
		routes: routes("198.51.100.1/32", "2001:db8:1::1/128"), // the latter has no peer
		frr:    "neighbor 192.0.2.1 remote-as 65001",
		bird:   "neighbor 192.0.2.1 as 65001; ipv4 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 65001 - -"},
	},
	{
		name:   "IPv6, external",
		peers:  []backends.Peer{peer("r", routerV6.Addr(), 65001, 65002)},
		routes: routes("198.51.100.1/32", "2001:db8:1::1/128"),
		frr:    "neighbor 2001:db8::1 remote-as 65001\naddress-family ipv6 unicast\nneighbor 2001:db8::1 activate\nexit-address-family",
		bird:   "neighbor 2001:db8::1 as 65001; ipv6 { import all; };",
		expect: []string{"2001:db8:1::1/128 2001:db8::1 65001 - -"},
	},
	{
		name:  "IPv4, internal, local preference",
		peers: []backends.Peer{peer("r", routerV4.Addr(), 65002, 65002)},
		routes: []backends.Route{
			{Prefix: netip.MustParsePrefix("198.51.100.1/32"), LocalPref: 200}, {Prefix: netip.MustParsePrefix("198.51.100.2/32")},
		},
		frr:    "neighbor 192.0.2.1 remote-as 65002",
		bird:   "neighbor 192.0.2.1 as 65002; ipv4 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 - 200 -", "198.51.100.2/32 192.0.2.1 - 100 -"},
	},
	{
		name:   "local preference is not for external peers",
		peers:  []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002)},
		routes: []backends.Route{{Prefix: netip.MustParsePrefix("198.51.100.1/32"), LocalPref: 200}},
		frr:    "neighbor 192.0.2.1 remote-as 65001",
		bird:   "neighbor 192.0.2.1 as 65001; ipv4 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 65001 - -"},
	},
	{
		name:  "communities, standard and large, and an aggregate",
		peers: []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002)},
		routes: []backends.Route{{Prefix: netip.MustParsePrefix("198.51.100.0/26"), Communities: []backends.Community{
			{Parts: [3]uint32{65001, 300}}, {Parts: [3]uint32{64512, 100}}, {Large: true, Parts: [3]uint32{4200000000, 1, 2}},
		}}},
		frr:    "neighbor 192.0.2.1 remote-as 65001",
		bird:   "neighbor 192.0.2.1 as 65001; ipv4 { import all; };",
		expect: []string{"198.51.100.0/26 192.0.2.1 65001 - 64512:100,65001:300,4200000000:1:2"},
	},
	{
		name:   "both families over IPv4",
		peers:  []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, dual)},
		routes: routes("198.51.100.1/32", "2001:db8:1::1/128"),
		frr:    "neighbor 192.0.2.1 remote-as 65001\naddress-family ipv6 unicast\nneighbor 192.0.2.1 activate\nexit-address-family",
		bird:   "neighbor 192.0.2.1 as 65001; ipv4 { import all; }; ipv6 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 65001 - -", "2001:db8:1::1/128 2001:db8::1 65001 - -"},
	},
	{
		name:   "both families over IPv6",
		peers:  []backends.Peer{peer("r", routerV6.Addr(), 65001, 65002, dual)},
		routes: routes("198.51.100.1/32", "2001:db8:1::1/128"),
		frr:    "neighbor 2001:db8::1 remote-as 65001\naddress-family ipv6 unicast\nneighbor 2001:db8::1 activate\nexit-address-family",
		bird:   "neighbor 2001:db8::1 as 65001; ipv4 { import all; }; ipv6 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 65001 - -", "2001:db8:1::1/128 2001:db8::1 65001 - -"},
	},
	{
		name:   "TCP MD5",
		peers:  []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, func(p *backends.Peer) { p.Password = "secret" })},
		routes: routes("198.51.100.1/32"),
		frr:    "neighbor 192.0.2.1 remote-as 65001\nneighbor 192.0.2.1 password secret",
		bird:   "neighbor 192.0.2.1 as 65001; password \"secret\"; ipv4 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 65001 - -"},
	},
	{
		name:   "TCP MD5 over IPv6",
		peers:  []backends.Peer{peer("r", routerV6.Addr(), 65001, 65002, func(p *backends.Peer) { p.Password = "secret" })},
		routes: routes("2001:db8:1::1/128"),
		frr: "neighbor 2001:db8::1 remote-as 65001\nneighbor 2001:db8::1 password secret\n" +
			"address-family ipv6 unicast\nneighbor 2001:db8::1 activate\nexit-address-family",
		bird:   "neighbor 2001:db8::1 as 65001; password \"secret\"; ipv6 { import all; };",
		expect: []string{"2001:db8:1::1/128 2001:db8::1 65001 - -"},
	},
	{
		name: "local AS",
		peers: []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, func(p *backends.Peer) {
			p.LocalASN = 4200000001
		})},
		routes: routes("198.51.100.1/32"),
		frr:    "neighbor 192.0.2.1 remote-as 4200000001",
		bird:   "neighbor 192.0.2.1 as 4200000001; ipv4 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 4200000001 - -"},
	},
	{
		name: "dynamic AS, external",
		peers: []backends.Peer{peer("r", routerV4.Addr(), 65001, 0, func(p *backends.Peer) {
			p.DynamicASN = "external"
		})},
		routes: routes("198.51.100.1/32"),
		frr:    "neighbor 192.0.2.1 remote-as 65001",
		bird:   "neighbor 192.0.2.1 as 65001; ipv4 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 65001 - -"},
	},
	{
		name: "dynamic AS, internal",
		peers: []backends.Peer{peer("r", routerV4.Addr(), 65002, 0, func(p *backends.Peer) {
			p.DynamicASN = "internal"
		})},
		routes: []backends.Route{{Prefix: netip.MustParsePrefix("198.51.100.1/32"), LocalPref: 77}},
		frr:    "neighbor 192.0.2.1 remote-as 65002",
		bird:   "neighbor 192.0.2.1 as 65002; ipv4 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 - 77 -"},
	},
	{
		name: "timers, another port, source address, router ID, several hops",
		peers: []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, func(p *backends.Peer) {
			p.HoldTime, p.KeepaliveTime, p.MultiHop = seconds(9), seconds(3), true
			p.SourceAddress, p.RouterID = netip.MustParseAddr("192.0.2.101"), netip.MustParseAddr("10.9.8.7")
		})},
		routes: routes("198.51.100.1/32"),
		frr:    "neighbor 192.0.2.101 remote-as 65001\nneighbor 192.0.2.101 ebgp-multihop 255",
		bird:   "neighbor 192.0.2.101 as 65001; multihop; ipv4 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.101 65001 - -"},
	},
	{
		// A VRF's device cannot be made everywhere; the socket is bound the same way to any other.
		name:   "bound to a device",
		peers:  []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, func(p *backends.Peer) { p.VRF = "eth0" })},
		routes: routes("198.51.100.1/32"),
		frr:    "neighbor 192.0.2.1 remote-as 65001",
		bird:   "neighbor 192.0.2.1 as 65001; ipv4 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 65001 - -"},
	},
	{
		name:   "no keepalives",
		peers:  []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, func(p *backends.Peer) { p.HoldTime = seconds(0) })},
		routes: routes("198.51.100.1/32"),
		frr:    "neighbor 192.0.2.1 remote-as 65001",
		bird:   "neighbor 192.0.2.1 as 65001; ipv4 { import all; };",
		expect: []string{"198.51.100.1/32 192.0.2.1 65001 - -"},
	},
}

// second is one more address of the node.
var second = netip.MustParsePrefix("192.0.2.101/24")

// run has a speaker tell the routes of a feature to a router that start starts, until the router has what is expected. summary returns what
// it has.
func (f *feature) run(t *testing.T, start func(*netlab.Lab, *netlab.Host) (summary func() []string), expect []string) *speaker {
	t.Parallel()
	l := netlab.New(t, nil)
	node, router := l.AddHost("node", nodeV4, nodeV6, second), l.AddHost("router", routerV4, routerV6)
	summary := start(l, router)
	s := startSpeaker(t, l, node, bgp.Config{}, nil)
	s.want = backends.NodeDesired{Peers: f.peers, Routes: f.routes}
	s.order(order{Apply: &s.want})
	s.established("r")
	var got []string
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(got)
		}
	})
	await(t, strings.Join(expect, "; "), func() bool {
		got = summary()
		return slices.Equal(got, expect)
	})
	return s
}

func TestFeaturesFRR(t *testing.T) {
	for _, f := range features {
		t.Run(f.name, func(t *testing.T) {
			s := f.run(t, func(l *netlab.Lab, router *netlab.Host) func() []string {
				r := routing.StartFRR(t, l, router, "router bgp 65002\nbgp router-id 192.0.2.2\nno bgp ebgp-requires-policy\n"+f.frr+"\n")
				return func() []string { return summaryFRR(r) }
			}, f.expect)
			assert.Equal(t, len(f.expect), s.session("r").Prefixes)
		})
	}
}

// summaryFRR returns the routes as features expect them.
func summaryFRR(r *routing.FRR) []string {
	var out []string
	for _, family := range []string{"ipv4", "ipv6"} {
		for prefix := range r.Table(family) {
			for _, p := range r.Detail(family, prefix) {
				hop := "-"
				for _, h := range p.NextHops {
					if h.Scope != "link-local" {
						hop = h.IP
					}
				}
				pref := "-"
				if p.LocPrf != 0 {
					pref = fmt.Sprint(p.LocPrf)
				}
				comm := strings.Join(slices.DeleteFunc(append(strings.Fields(p.Community.String), strings.Fields(p.LargeCom.String)...),
					func(s string) bool { return s == "" }), ",")
				out = append(out, strings.Join([]string{prefix, hop, orDash(strings.Replace(p.ASPath.String, "Local", "", 1)), pref, orDash(comm)}, " "))
			}
		}
	}
	slices.Sort(out)
	return out
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func TestFeaturesBIRD(t *testing.T) {
	for _, f := range features {
		t.Run(f.name, func(t *testing.T) {
			f.run(t, func(l *netlab.Lab, router *netlab.Host) func() []string {
				r := routing.StartBIRD(t, l, router, "protocol bgp speaker { local as 65002; "+strings.ReplaceAll(f.bird, "import all;", "import all; export none;")+" }\n")
				return func() []string { return summaryBIRD(r) }
			}, f.birdExpect())
		})
	}
}

// birdExpect returns what BIRD has: it gives routes of external peers a local preference of 100, too.
func (f *feature) birdExpect() []string {
	var out []string
	for _, e := range f.expect {
		fields := strings.Fields(e)
		if fields[3] == "-" {
			fields[3] = "100"
		}
		out = append(out, strings.Join(fields, " "))
	}
	return out
}
