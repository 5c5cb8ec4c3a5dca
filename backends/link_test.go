package backends

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLinkCarries(t *testing.T) {
	eth0 := Link{Name: "eth0", IPv4: true, IPv6: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}}
	only4 := eth0
	only4.IPv6 = false
	for _, tc := range []struct {
		name       string
		link       Link
		addr       string
		interfaces []string
		sameSubnet bool
		want       bool
	}{
		{name: "any link", link: eth0, addr: "198.51.100.7", want: true},
		{name: "any link, IPv6", link: eth0, addr: "2001:db8:1::7", want: true},
		{name: "no link-local address", link: only4, addr: "2001:db8::7"},
		{name: "no ARP", link: Link{Name: "eth0", IPv6: true}, addr: "192.0.2.7"},
		{name: "named", link: eth0, addr: "192.0.2.7", interfaces: []string{"eth1", "eth0"}, want: true},
		{name: "not named", link: eth0, addr: "192.0.2.7", interfaces: []string{"eth1"}},
		{name: "in the subnet", link: eth0, addr: "192.0.2.7", sameSubnet: true, want: true},
		{name: "in the subnet, IPv6", link: eth0, addr: "2001:db8::7", sameSubnet: true, want: true},
		{name: "outside the subnet", link: eth0, addr: "198.51.100.7", sameSubnet: true},
		{name: "outside the subnet, IPv6", link: eth0, addr: "2001:db8:1::7", sameSubnet: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.want, tc.link.Carries(netip.MustParseAddr(tc.addr), tc.interfaces, tc.sameSubnet))
		})
	}
	assert.True(t, eth0.Equal(eth0))
	assert.False(t, eth0.Equal(only4))
}
