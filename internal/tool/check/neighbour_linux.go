package check

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// neighbours are this host's links, and who the kernel knows on them.
type neighbours struct {
	links []ownLink
	known map[int]map[netip.Addr]net.HardwareAddr // by index of the link; filled as it is asked for
	err   error
}

type ownLink struct {
	net.Interface
	subnets []netip.Prefix // with the host's own address
}

// Neighbour implements Prober: it reads the kernel's neighbour table, which the connections before have filled.
func (h *Here) Neighbour(addr netip.Addr) (detail string, found, onLink bool) {
	if h.neighbours == nil {
		h.neighbours = newNeighbours()
	}
	n := h.neighbours
	if n.err != nil {
		return n.err.Error(), false, false
	}
	for i := range n.links {
		l := &n.links[i]
		if !l.has(addr) {
			continue
		}
		onLink = true
		known, err := n.on(l.Index)
		if err != nil {
			return err.Error(), false, false
		}
		if mac, ok := known[addr]; ok {
			return fmt.Sprintf("%s on %s", mac, l.Name), true, true
		}
	}
	return "", false, onLink
}

func newNeighbours() *neighbours {
	n := &neighbours{known: map[int]map[netip.Addr]net.HardwareAddr{}}
	links, err := net.Interfaces()
	if err != nil {
		n.err = err
		return n
	}
	for _, l := range links {
		addrs, err := l.Addrs()
		if err != nil || l.Flags&net.FlagLoopback != 0 || l.Flags&net.FlagUp == 0 {
			continue
		}
		own := ownLink{Interface: l}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Bits() < p.Addr().BitLen() {
				own.subnets = append(own.subnets, p)
			}
		}
		n.links = append(n.links, own)
	}
	return n
}

// has reports whether a subnet of the link has an address, which is not the host's own.
func (l *ownLink) has(addr netip.Addr) bool {
	return slices.ContainsFunc(l.subnets, func(p netip.Prefix) bool { return p.Masked().Contains(addr) && p.Addr() != addr })
}

// on returns who answers on a link.
func (n *neighbours) on(index int) (map[netip.Addr]net.HardwareAddr, error) {
	if known := n.known[index]; known != nil {
		return known, nil
	}
	all, err := netlink.NeighList(index, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	known := map[netip.Addr]net.HardwareAddr{}
	for _, x := range all {
		if ip, ok := netip.AddrFromSlice(x.IP); ok && len(x.HardwareAddr) > 0 && x.State&(unix.NUD_FAILED|unix.NUD_INCOMPLETE) == 0 {
			known[ip.Unmap()] = x.HardwareAddr
		}
	}
	n.known[index] = known
	return known, nil
}
