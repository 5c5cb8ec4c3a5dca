package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Switch is a broadcast domain: a bridge in the fabric. While the lab is partitioned it is several bridges.
type Switch struct {
	lab     *Lab
	name    string
	bridges []netlink.Link // by group; the first is that of hosts in no group
}

// NewSwitch adds a switch; the lab's first one is there already.
func (l *Lab) NewSwitch() *Switch {
	l.t.Helper()
	s := &Switch{lab: l, name: fmt.Sprintf("sw%d", len(l.switches))}
	l.switches = append(l.switches, s)
	s.bridge(0)
	return s
}

// Switch returns a switch by its number, the lab's first one is 0.
func (l *Lab) Switch(i int) *Switch { return l.switches[i] }

// bridge returns the bridge of a group and makes it if need be.
func (s *Switch) bridge(group int) netlink.Link {
	s.lab.t.Helper()
	for len(s.bridges) <= group {
		b, err := s.lab.fabric.Bridge(fmt.Sprintf("%s.%d", s.name, len(s.bridges)))
		require.NoError(s.lab.t, err)
		s.bridges = append(s.bridges, b)
	}
	return s.bridges[group]
}

// port is a host's interface and the switch's end of its cable.
type port struct {
	sw    *Switch
	iface string // the host's end
	name  string // the switch's end
	mac   net.HardwareAddr
	addrs []netip.Prefix
	group int  // of the lab's partition
	cut   bool // on no bridge, though the carrier is there
}

// plug puts the switch's end on the bridge on which it belongs now.
func (p *port) plug() error {
	fabric := p.sw.lab.fabric
	return fabric.Change(p.name, func(l netlink.Link) error {
		if p.cut {
			return fabric.Links.LinkSetNoMaster(l)
		}
		return fabric.Links.LinkSetMaster(l, p.sw.bridge(p.group))
	})
}

// Attach gives the host one more interface, on a switch, and returns its name: eth0, eth1 and so on.
func (h *Host) Attach(s *Switch, addrs ...netip.Prefix) string {
	t, fabric := h.lab.t, h.lab.fabric
	t.Helper()
	i := len(h.ports)
	p := &port{
		sw: s, addrs: addrs,
		iface: fmt.Sprintf("eth%d", i),
		name:  fmt.Sprintf("%s.%d", h.name, i),
		mac:   net.HardwareAddr{0x02, 0xfa, 0x1e, 0xad, byte(h.number), byte(i)},
	}
	require.LessOrEqual(t, len(p.name), unix.IFNAMSIZ-1, "the name of the host %q is too long", h.name)
	require.NoError(t, fabric.Cable(p.name, h.ns, p.iface, p.mac))
	h.ports = append(h.ports, p)
	h.lab.mu.Lock()
	h.lab.macs[p.mac.String()] = h
	h.lab.mu.Unlock()
	require.NoError(t, p.plug())
	require.NoError(t, h.ns.Assign(p.iface, addrs...))
	require.NoError(t, fabric.Up(p.name))
	await(t, "the carrier of "+p.iface+" in "+h.ns.Name(), func() error {
		return errors.Join(fabric.Change(p.name, operational), h.ns.Change(p.iface, operational))
	})
	return p.iface
}

// operational returns nil once an interface can send.
func operational(l netlink.Link) error {
	if l.Attrs().OperState != netlink.OperUp {
		return errNotYet
	}
	return nil
}

// Partition divides every switch: the hosts of a group reach each other and nobody else. Hosts in no group are a group, too. Carriers
// stay. A second Partition replaces the first.
func (l *Lab) Partition(groups ...[]*Host) {
	l.t.Helper()
	for _, h := range l.hosts {
		group := 1 + slices.IndexFunc(groups, func(g []*Host) bool { return slices.Contains(g, h) })
		for _, p := range h.ports {
			p.group = group
			require.NoError(l.t, p.plug())
		}
	}
}

// Heal ends a partition. Hosts that are cut off stay so.
func (l *Lab) Heal() {
	l.t.Helper()
	l.Partition()
}
