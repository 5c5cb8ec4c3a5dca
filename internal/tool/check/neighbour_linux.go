package check

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neighbour implements Prober: it reads the kernel's neighbour table, which the connection before has filled.
func (*Here) Neighbour(addr netip.Addr) (detail string, found, onLink bool) {
	links, err := net.Interfaces()
	if err != nil {
		return err.Error(), false, false
	}
	for _, l := range links {
		if !hasSubnetOf(l, addr) {
			continue
		}
		onLink = true
		all, err := netlink.NeighList(l.Index, netlink.FAMILY_ALL)
		if err != nil {
			return err.Error(), false, false
		}
		for _, n := range all {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr && len(n.HardwareAddr) > 0 &&
				n.State&(unix.NUD_FAILED|unix.NUD_INCOMPLETE) == 0 {
				return fmt.Sprintf("%s on %s", n.HardwareAddr, l.Name), true, true
			}
		}
	}
	return "", false, onLink
}

func hasSubnetOf(l net.Interface, addr netip.Addr) bool {
	addrs, err := l.Addrs()
	if err != nil || l.Flags&net.FlagLoopback != 0 || l.Flags&net.FlagUp == 0 {
		return false
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Bits() < p.Addr().BitLen() && p.Masked().Contains(addr) && p.Addr() != addr {
			return true
		}
	}
	return false
}
