package layer2

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// groups are the solicited-node multicast groups that are joined on one interface. The kernel reports them by MLD, so switches that
// snoop it forward the solicitations. It allows a socket only so many groups (net.core.optmem_max); when one is full, another is
// opened. The sockets are unbound and receive nothing.
type groups struct {
	index   int
	sockets []*groupSocket
	joined  map[netip.Addr]*membership
}

type groupSocket struct{ fd, groups int }

// membership is a group and how many addresses need it.
type membership struct {
	socket *groupSocket
	users  int
}

func newGroups(index int) *groups { return &groups{index: index, joined: map[netip.Addr]*membership{}} }

func (g *groups) request(group netip.Addr) *unix.IPv6Mreq {
	return &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(g.index)}
}

// join makes sure that the group of addr is joined.
func (g *groups) join(addr netip.Addr) error {
	group := solicitedNode(addr)
	if m, ok := g.joined[group]; ok {
		m.users++
		return nil
	}
	s, err := g.joinSomewhere(group)
	if err != nil {
		return fmt.Errorf("join %s: %w", group, err)
	}
	s.groups++
	g.joined[group] = &membership{socket: s, users: 1}
	return nil
}

func (g *groups) joinSomewhere(group netip.Addr) (*groupSocket, error) {
	if n := len(g.sockets); n > 0 {
		last := g.sockets[n-1]
		err := unix.SetsockoptIPv6Mreq(last.fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, g.request(group))
		if !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.ENOBUFS) {
			return last, err
		}
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, g.request(group)); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	s := &groupSocket{fd: fd}
	g.sockets = append(g.sockets, s)
	return s, nil
}

// leave undoes one join of addr.
func (g *groups) leave(addr netip.Addr) {
	group := solicitedNode(addr)
	m, ok := g.joined[group]
	if !ok {
		return
	}
	if m.users--; m.users > 0 {
		return
	}
	delete(g.joined, group)
	m.socket.groups--
	// It fails if the interface has gone; then so has the membership.
	_ = unix.SetsockoptIPv6Mreq(m.socket.fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, g.request(group))
	for i, s := range g.sockets {
		if s == m.socket && s.groups == 0 {
			_ = unix.Close(s.fd)
			g.sockets = append(g.sockets[:i], g.sockets[i+1:]...)
			return
		}
	}
}

func (g *groups) close() {
	for _, s := range g.sockets {
		_ = unix.Close(s.fd)
	}
	g.sockets, g.joined = nil, map[netip.Addr]*membership{}
}
