package backends

import (
	"net"
	"net/netip"
	"slices"
)

// Link is a network interface of a node that can announce at present: it is up, has a carrier and is not excluded.
type Link struct {
	Name string
	// Prefixes are the subnets of the interface's own addresses, link-local ones left out; masked and sorted.
	Prefixes []netip.Prefix
	// IPv4 is set if the interface speaks ARP, IPv6 if it has a link-local address to speak NDP from.
	IPv4, IPv6 bool
}

// Carries reports whether addr can be announced on the link. interfaces are the names of those that are allowed, empty for all;
// sameSubnet asks for a link whose subnet contains the address.
func (l Link) Carries(addr netip.Addr, interfaces []string, sameSubnet bool) bool {
	if addr.Is4() && !l.IPv4 || addr.Is6() && !l.IPv6 {
		return false
	}
	if len(interfaces) > 0 && !slices.Contains(interfaces, l.Name) {
		return false
	}
	return !sameSubnet || slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Equal reports whether two links are the same in every respect.
func (l Link) Equal(m Link) bool {
	return l.Name == m.Name && l.IPv4 == m.IPv4 && l.IPv6 == m.IPv6 && slices.Equal(l.Prefixes, m.Prefixes)
}

// Taken says who else has an address on the local network.
type Taken struct {
	MAC  net.HardwareAddr
	Link string // the name of the interface on which it answered
}
