package bgp

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"
	"slices"
)

// place is what a session's end on this side is: an address, on an interface with others.
type place struct {
	addr   netip.Addr
	iface  string
	others []netip.Addr // of the interface, those that routers can reach, in the kernel's order
}

// placeOf finds the interface that has an address.
func placeOf(addr netip.Addr) place {
	p := place{addr: addr.Unmap()}
	ifaces, err := net.Interfaces()
	if err != nil {
		return p
	}
	for _, i := range ifaces {
		if addr.Zone() != "" && addr.Zone() != i.Name {
			continue
		}
		found := false
		var others []netip.Addr
		for _, a := range addresses(i) {
			found = found || a == p.addr.WithZone("")
			if a.IsGlobalUnicast() {
				others = append(others, a)
			}
		}
		if found {
			p.iface, p.others = i.Name, others
			return p
		}
	}
	return p
}

func addresses(i net.Interface) []netip.Addr {
	list, err := i.Addrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, addr.Unmap())
			}
		}
	}
	return out
}

// of returns the interface's first address of a family; invalid if there is none.
func (p place) of(is6 bool) netip.Addr {
	for _, a := range p.others {
		if a.Is6() == is6 {
			return a
		}
	}
	return netip.Addr{}
}

// hops are the next hops of a session; an invalid one says that prefixes of that family cannot be told.
type hops struct{ v4, v6 netip.Addr }

func (h hops) of(p netip.Prefix) netip.Addr {
	if p.Addr().Is6() {
		return h.v6
	}
	return h.v4
}

// only returns h without the families that are not among those.
func (h hops) only(families []family) hops {
	if !slices.Contains(families, ipv4) {
		h.v4 = netip.Addr{}
	}
	if !slices.Contains(families, ipv6) {
		h.v6 = netip.Addr{}
	}
	return h
}

// hops returns the local address of the session and, for the other family, an address of the same interface. IPv4 prefixes may have an
// IPv6 next hop if the router says so (RFC 8950); an IPv4 address is preferred, except on an unnumbered session.
func (p place) hops(extended bool) hops {
	if p.addr.Is4() {
		return hops{v4: p.addr, v6: p.of(true)}
	}
	h := hops{v4: p.of(false), v6: p.addr.WithZone("")}
	if extended && (!h.v4.IsValid() || p.addr.IsLinkLocalUnicast()) {
		h.v4 = h.v6
	}
	return h
}

// routerID returns what a session opens with if no ID is asked for: its own IPv4 address, else one of its interface, else a number
// made from the node's name, as MetalLB does.
func (p place) routerID(node string) netip.Addr {
	if p.addr.Is4() {
		return p.addr
	}
	if a := p.of(false); a.IsValid() {
		return a
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], crc32.ChecksumIEEE([]byte(node)))
	return netip.AddrFrom4(b)
}
