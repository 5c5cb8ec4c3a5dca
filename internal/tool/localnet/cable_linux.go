package localnet

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Bridge makes a bridge that is up, without spanning tree and multicast snooping, so that it forwards from the first moment on and to
// everybody.
func (n *Namespace) Bridge(name string) (netlink.Link, error) {
	snooping := false
	b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: &snooping}
	if err := n.Links.LinkAdd(b); err != nil {
		return nil, fmt.Errorf("make the bridge %q in %q: %w", name, n.name, err)
	}
	return b, n.Up(name)
}

// Cable makes a cable from an interface of this namespace to one of another. Both are down; a nil MAC is made up by the kernel.
func (n *Namespace) Cable(iface string, other *Namespace, peer string, mac net.HardwareAddr) error {
	err := n.Links.LinkAdd(&netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: iface},
		PeerName:         peer,
		PeerHardwareAddr: mac,
		PeerNamespace:    netlink.NsFd(other.handle),
	})
	if err != nil {
		return fmt.Errorf("cable from %q in %q to %q in %q: %w", iface, n.name, peer, other.name, err)
	}
	return nil
}

// Assign sets an interface up with addresses, which work at once.
func (n *Namespace) Assign(iface string, addrs ...netip.Prefix) error {
	return n.Change(iface, func(l netlink.Link) error {
		if err := n.Links.LinkSetUp(l); err != nil {
			return err
		}
		for _, a := range addrs {
			if err := n.Links.AddrAdd(l, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD}); err != nil {
				return fmt.Errorf("add %s: %w", a, err)
			}
		}
		return nil
	})
}

// Route leads packets to a network through an address that is reached directly.
func (n *Namespace) Route(to netip.Prefix, via netip.Addr) error {
	if err := n.Links.RouteReplace(&netlink.Route{Dst: ipNet(to), Gw: via.AsSlice()}); err != nil {
		return fmt.Errorf("route %s via %s in %q: %w", to, via, n.name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
