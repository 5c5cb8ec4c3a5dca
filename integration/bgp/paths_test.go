package bgp

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
)

// TestUnnumbered holds a session with whoever is the router of a link that has link-local addresses only.
func TestUnnumbered(t *testing.T) {
	t.Parallel()
	l := netlab.New(t, nil)
	node, router := l.AddHost("node"), l.AddHost("router")
	r := routing.StartFRR(t, l, router, `
router bgp 65002
 bgp router-id 192.0.2.2
 no bgp ebgp-requires-policy
 neighbor eth0 interface remote-as external
 address-family ipv6 unicast
  neighbor eth0 activate
 exit-address-family
`)
	s := startSpeaker(t, l, node, bgp.Config{}, &netlab.Rights{UID: netlab.Nobody, Capabilities: []uintptr{unix.CAP_NET_RAW}})
	s.want = backends.NodeDesired{
		Peers: []backends.Peer{peer("r", netip.Addr{}, 65001, 0, func(p *backends.Peer) {
			p.Interface, p.DynamicASN = "eth0", "external"
		})},
		Routes: routes("198.51.100.1/32", "2001:db8:1::1/128"),
	}
	s.apply()
	s.established("r")
	r.Hears("ipv4", "198.51.100.1/32")
	r.Hears("ipv6", "2001:db8:1::1/128")
	session := s.session("r")
	assert.True(t, session.Address.IsLinkLocalUnicast())
	assert.Equal(t, "eth0", session.Address.Zone())
	assert.EqualValues(t, 65002, session.PeerASN)
	hop := session.LocalAddress.WithZone("").String()
	for family, prefix := range map[string]string{"ipv4": "198.51.100.1/32", "ipv6": "2001:db8:1::1/128"} {
		p := r.Detail(family, prefix)
		require.Len(t, p, 1)
		assert.Equal(t, hop, p[0].NextHops[0].IP, family)
	}
	// FRR gives both to the kernel of the router.
	await(t, "the routes in the kernel", func() bool {
		return strings.Contains(router.Command("/usr/sbin/ip", "route"), "198.51.100.1") &&
			strings.Contains(router.Command("/usr/sbin/ip", "-6", "route"), "2001:db8:1::1")
	})
}

// TestExtendedNextHop tells IPv4 prefixes over IPv6 from a node without an IPv4 address (RFC 8950).
func TestExtendedNextHop(t *testing.T) {
	t.Parallel()
	l := netlab.New(t, nil)
	node, router := l.AddHost("node", nodeV6), l.AddHost("router", routerV6)
	r := routing.StartFRR(t, l, router, `
router bgp 65002
 bgp router-id 192.0.2.2
 no bgp ebgp-requires-policy
 neighbor 2001:db8::1 remote-as 65001
 neighbor 2001:db8::1 capability extended-nexthop
`)
	s := startSpeaker(t, l, node, bgp.Config{}, nil)
	s.want = backends.NodeDesired{Peers: []backends.Peer{peer("r", routerV6.Addr(), 65001, 65002, dual)}, Routes: routes("198.51.100.1/32")}
	s.apply()
	s.established("r")
	r.Hears("ipv4", "198.51.100.1/32")
	assert.Equal(t, "2001:db8::1", r.Detail("ipv4", "198.51.100.1/32")[0].NextHops[0].IP)
	id := s.session("r").RouterID
	assert.Equal(t, id.String(), r.Detail("ipv4", "198.51.100.1/32")[0].Peer.RouterID)
}

// TestRouterConnects has a session that only the router can begin.
func TestRouterConnects(t *testing.T) {
	for _, password := range []string{"", "secret"} {
		t.Run("password "+password, func(t *testing.T) {
			t.Parallel()
			l := netlab.New(t, nil)
			node, router := l.AddHost("node", nodeV4), l.AddHost("router", routerV4)
			config := external("192.0.2.2", "neighbor 192.0.2.1 port 1179", "neighbor 192.0.2.1 timers connect 1")
			if password != "" {
				config += "neighbor 192.0.2.1 password " + password + "\n"
			}
			r := routing.StartFRR(t, l, router, config)
			s := startSpeaker(t, l, node, bgp.Config{ListenPort: 1179}, nil)
			s.want = backends.NodeDesired{
				Peers: []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002, func(p *backends.Peer) {
					p.Port, p.Password = 1790, password // nobody is there
				})},
				Routes: routes("198.51.100.1/32"),
			}
			s.apply()
			s.established("r")
			r.Hears("ipv4", "198.51.100.1/32")
		})
	}
}
