package layer2

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/backends"
)

const (
	running = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_BROADCAST
	index   = 7
)

// device returns an Ethernet interface that is up, changed.
func device(change func(*netlink.LinkAttrs)) netlink.Link {
	a := netlink.LinkAttrs{Index: index, Name: "eth0", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, RawFlags: running, EncapType: "ether"}
	if change != nil {
		change(&a)
	}
	return &netlink.Device{LinkAttrs: a}
}

func TestUsable(t *testing.T) {
	subnets := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}
	both := []usable{{
		Link:  backends.Link{Name: "eth0", Prefixes: subnets, IPv4: true, IPv6: true},
		index: index, mac: ownMAC, local: local,
	}}
	only := func(v4, v6 bool) []usable {
		u := both[0]
		u.IPv4, u.IPv6 = v4, v6
		if !v6 {
			u.local = netip.Addr{}
		}
		return []usable{u}
	}
	flags := func(f uint32) func(*netlink.LinkAttrs) { return func(a *netlink.LinkAttrs) { a.RawFlags = f } }
	for _, tc := range []struct {
		name   string
		change func(*netlink.LinkAttrs)
		local  int // flags of the link-local address; -1: there is none
		more   netlink.Link
		want   []usable
	}{
		{name: "usable", want: both},
		{name: "down", change: flags(unix.IFF_BROADCAST)},
		{name: "no carrier", change: flags(unix.IFF_UP | unix.IFF_BROADCAST)},
		{name: "loopback", change: flags(running | unix.IFF_LOOPBACK)},
		{name: "no ARP", change: flags(running | unix.IFF_NOARP), want: only(false, true)},
		{name: "point to point", change: flags(running | unix.IFF_POINTOPOINT), want: only(false, true)},
		{name: "no ARP, no link-local address", change: flags(running | unix.IFF_NOARP), local: -1},
		{name: "no link-local address", local: -1, want: only(true, false)},
		{name: "tentative", local: unix.IFA_F_TENTATIVE, want: only(true, false)},
		{name: "optimistic", local: unix.IFA_F_TENTATIVE | unix.IFA_F_OPTIMISTIC, want: both},
		{name: "a duplicate", local: unix.IFA_F_PERMANENT | unix.IFA_F_DADFAILED, want: only(true, false)},
		{name: "a tunnel", change: func(a *netlink.LinkAttrs) { a.EncapType = "sit" }},
		{name: "InfiniBand", change: func(a *netlink.LinkAttrs) { a.HardwareAddr = make(net.HardwareAddr, 20) }},
		{name: "no MAC", change: func(a *netlink.LinkAttrs) { a.HardwareAddr = nil }},
		{name: "excluded", change: func(a *netlink.LinkAttrs) { a.Name = "cali123" }},
		{name: "enslaved to what is not known", change: func(a *netlink.LinkAttrs) { a.MasterIndex = 9 }},
		{
			name: "enslaved to a bridge", change: func(a *netlink.LinkAttrs) { a.MasterIndex = 9 },
			more: &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Index: 9, Name: "br0"}},
		}, {
			name: "enslaved to a bond", change: func(a *netlink.LinkAttrs) { a.MasterIndex = 9 },
			more: &netlink.Bond{LinkAttrs: netlink.LinkAttrs{Index: 9, Name: "bond0"}},
		}, {
			name: "in a VRF", change: func(a *netlink.LinkAttrs) { a.MasterIndex = 9 },
			more: &netlink.Vrf{LinkAttrs: netlink.LinkAttrs{Index: 9, Name: "red"}}, want: both,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tb := newTable()
			// News of addresses can come first.
			tb.setAddr(index, netip.MustParsePrefix("192.0.2.9/24"), 0)
			tb.setAddr(index, netip.MustParsePrefix("192.0.2.10/24"), 0)
			tb.setAddr(index, netip.MustParsePrefix("2001:db8::9/64"), 0)
			if tc.local >= 0 {
				tb.setAddr(index, netip.PrefixFrom(local, 64), tc.local)
			}
			tb.setLink(device(tc.change))
			if tc.more != nil {
				tb.setLink(tc.more)
			}
			assert.Equal(t, tc.want, tb.usable(DefaultExclude))
		})
	}
}

func TestNews(t *testing.T) {
	tb := newTable()
	news := func(kind uint16, family uint8, change func(*netlink.LinkAttrs)) {
		u := netlink.LinkUpdate{Header: unix.NlMsghdr{Type: kind}, Link: device(change)}
		u.Family = family
		tb.link(u)
	}
	names := func() (out []string) {
		for _, u := range tb.usable(nil) {
			out = append(out, u.Name)
		}
		return out
	}
	address := func(added bool) {
		_, n, err := net.ParseCIDR("192.0.2.0/24")
		require.NoError(t, err)
		tb.addr(netlink.AddrUpdate{LinkAddress: *n, LinkIndex: index, NewAddr: added})
	}
	news(unix.RTM_NEWLINK, unix.AF_UNSPEC, nil)
	assert.Equal(t, []string{"eth0"}, names())
	news(unix.RTM_DELLINK, unix.AF_BRIDGE, nil)
	assert.Equal(t, []string{"eth0"}, names(), "it left a bridge")
	news(unix.RTM_NEWLINK, unix.AF_UNSPEC, func(a *netlink.LinkAttrs) { a.HardwareAddr = nil; a.RawFlags = unix.IFF_UP })
	assert.Equal(t, []string{"eth0"}, names(), "wireless news")
	assert.Empty(t, tb.fell)
	news(unix.RTM_NEWLINK, unix.AF_UNSPEC, func(a *netlink.LinkAttrs) { a.RawFlags = unix.IFF_UP })
	assert.Empty(t, names())
	news(unix.RTM_NEWLINK, unix.AF_UNSPEC, func(a *netlink.LinkAttrs) { a.Name = "eth5" })
	assert.Equal(t, []string{"eth5"}, names())
	assert.True(t, tb.fell[index], "it was down in between")
	address(true)
	assert.Len(t, tb.usable(nil)[0].Prefixes, 1)
	address(false)
	assert.Empty(t, tb.usable(nil)[0].Prefixes)
	assert.Len(t, tb.own(), 1)
	news(unix.RTM_DELLINK, unix.AF_UNSPEC, nil)
	address(true)
	address(false)
	assert.Empty(t, tb.links, "late news of what has gone leave nothing behind")
	assert.Empty(t, tb.own())
}
