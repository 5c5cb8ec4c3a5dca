package netlab

import (
	"net"
	"net/netip"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// Neighbour is an entry of a kernel's neighbour table.
type Neighbour struct {
	Iface string
	Addr  netip.Addr
	MAC   net.HardwareAddr
	Host  *Host // that has the MAC; nil if none has
	State int   // netlink.NUD_REACHABLE, NUD_STALE and so on
}

// Neighbours returns the host's neighbour tables, IPv4 and IPv6, without multicast groups.
func (h *Host) Neighbours() []Neighbour {
	t := h.lab.t
	t.Helper()
	var out []Neighbour
	for _, p := range h.ports {
		require.NoError(t, h.ns.Change(p.iface, func(l netlink.Link) error {
			list, err := h.ns.Links.NeighList(l.Attrs().Index, netlink.FAMILY_ALL)
			for _, n := range list {
				addr, ok := netip.AddrFromSlice(n.IP)
				if addr = addr.Unmap(); ok && !addr.IsMulticast() {
					out = append(out, Neighbour{Iface: p.iface, Addr: addr, MAC: n.HardwareAddr, Host: h.lab.HostOf(n.HardwareAddr), State: n.State})
				}
			}
			return err
		}))
	}
	return out
}

// Neighbour returns the host's entry for an address, and whether there is one.
func (h *Host) Neighbour(addr netip.Addr) (Neighbour, bool) {
	h.lab.t.Helper()
	for _, n := range h.Neighbours() {
		if n.Addr == addr {
			return n, true
		}
	}
	return Neighbour{}, false
}

// SetNeighbour makes a permanent entry in the host's neighbour table for eth0: packets for addr go to another host, asked or not.
func (h *Host) SetNeighbour(addr netip.Addr, to *Host) {
	h.lab.t.Helper()
	require.NoError(h.lab.t, h.ns.Change("eth0", func(l netlink.Link) error {
		return h.ns.Links.NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, IP: addr.AsSlice(), HardwareAddr: to.MAC("eth0"), State: netlink.NUD_PERMANENT,
		})
	}))
}

// ForgetNeighbours empties the host's neighbour tables, entries that were set by hand included.
func (h *Host) ForgetNeighbours() {
	h.lab.t.Helper()
	for _, p := range h.ports {
		require.NoError(h.lab.t, h.ns.Change(p.iface, func(l netlink.Link) error {
			list, err := h.ns.Links.NeighList(l.Attrs().Index, netlink.FAMILY_ALL)
			for i := range list {
				if err == nil && !list[i].IP.IsMulticast() {
					err = h.ns.Links.NeighDel(&list[i])
				}
			}
			return err
		}))
	}
}
