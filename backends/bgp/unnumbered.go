package bgp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"
)

// router returns the address of the router. On an unnumbered session that is the router of the link, which may be another each time.
func (s *session) router(ctx context.Context) (netip.Addr, error) {
	if s.address.IsValid() {
		return s.address, nil
	}
	addr, err := discover(ctx, s.iface)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("look for a router on %q: %w", s.iface, err)
	}
	s.mu.Lock()
	s.status.Address = addr
	s.mu.Unlock()
	return addr, nil
}

// discover finds the link-local address of the router on a link: the one that the kernel knows as a router, else one that advertises
// itself (RFC 4861). It tells the router of this node the same way; a router that is to hold an unnumbered session, like FRR, learns
// who its neighbours are from router advertisements. Ours says that this node is nobody's default router.
func discover(ctx context.Context, name string) (netip.Addr, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, err
	}
	conn, local, err := ndp.Listen(iface, ndp.LinkLocal)
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	source := []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: iface.HardwareAddr}}
	allNodes, allRouters := netip.MustParseAddr("ff02::1"), netip.MustParseAddr("ff02::2")
	if err := conn.WriteTo(&ndp.RouterAdvertisement{Options: source}, nil, allNodes); err != nil {
		return netip.Addr{}, err
	}
	if addr := knownRouter(iface.Index, local); addr.IsValid() {
		return addr.WithZone(name), nil
	}
	if err := conn.WriteTo(&ndp.RouterSolicitation{Options: source}, nil, allRouters); err != nil {
		return netip.Addr{}, err
	}
	for {
		m, control, from, err := conn.ReadFrom()
		if err != nil {
			return netip.Addr{}, fmt.Errorf("none advertises itself: %w", err)
		}
		_, advertised := m.(*ndp.RouterAdvertisement)
		// RFC 4861, 6.1.2: what has been forwarded is not to be believed.
		if advertised && control != nil && control.HopLimit == ndp.HopLimit && from.IsLinkLocalUnicast() &&
			from.WithZone("") != local.WithZone("") {
			return from.WithZone(name), nil
		}
	}
}

// knownRouter returns the router of a link that the kernel knows; invalid if there is none, or more than one. It may know this node, too.
func knownRouter(index int, local netip.Addr) netip.Addr {
	var found netip.Addr
	neighbours, err := netlink.NeighList(index, netlink.FAMILY_V6)
	if err != nil {
		return found
	}
	for _, n := range neighbours {
		addr, ok := netip.AddrFromSlice(n.IP)
		if !ok || !addr.IsLinkLocalUnicast() || addr == local.WithZone("") || n.Flags&netlink.NTF_ROUTER == 0 || n.State&netlink.NUD_FAILED != 0 {
			continue
		}
		if found.IsValid() {
			return netip.Addr{}
		}
		found = addr
	}
	return found
}
