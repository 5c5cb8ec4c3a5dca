package bfd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// kernel is the network of this machine.
type kernel struct {
	// enter calls a function that opens sockets, in the network namespace that they are to be in.
	enter func(func() error) error
}

const (
	networkControl = 0xc0    // DSCP CS6: packets by which routers live or die go first
	receiveBuffer  = 1 << 20 // more than a thousand packets, if net.core.rmem_max lets it
)

func (k kernel) listen(e endpoint) (listener, error) {
	var conn *net.UDPConn
	err := k.enter(func() error {
		var err error
		conn, err = open(family(e.v6), e.vrf, netip.AddrPortFrom(unspecified(e.v6), e.port()), func(fd int) error {
			// At most net.core.rmem_max is granted. It works with less.
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			if e.v6 {
				return errors.Join(unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, 1),
					unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1))
			}
			return errors.Join(unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVTTL, 1), unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_PKTINFO, 1))
		})
		return err
	})
	if errors.Is(err, unix.EADDRINUSE) {
		err = fmt.Errorf("%w (is another BFD daemon running on this node?)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", e.port(), err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &listening{conn: conn, raw: raw, data: make([]byte, 128), control: make([]byte, 128)}, nil
}

func family(v6 bool) string {
	if v6 {
		return "udp6"
	}
	return "udp4"
}

func unspecified(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// open opens a UDP socket bound to a device, if one is named, and to an address.
func open(family, device string, at netip.AddrPort, options func(fd int) error) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return control(raw, func(fd int) error {
			if device != "" {
				if err := unix.BindToDevice(fd, device); err != nil {
					return fmt.Errorf("bind to %q: %w", device, err)
				}
			}
			return options(fd)
		})
	}}
	conn, err := config.ListenPacket(context.Background(), family, at.String()) // which does not block
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err // the rest says nothing of use
	}
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

func control(raw syscall.RawConn, fn func(fd int) error) error {
	var inner error
	err := raw.Control(func(fd uintptr) { inner = fn(int(fd)) })
	return errors.Join(err, inner)
}

// listening is a listener of the kernel.
type listening struct {
	conn          *net.UDPConn
	raw           syscall.RawConn
	closed        atomic.Bool
	data, control []byte
}

func (l *listening) run(ready func() bool) {
	for !l.closed.Load() {
		if err := l.raw.Read(func(uintptr) bool { return l.closed.Load() || ready() }); err != nil {
			return
		}
	}
}

func (l *listening) read() (d datagram, ok bool) {
	err := l.raw.Control(func(fd uintptr) {
		for {
			n, oobn, _, from, err := unix.Recvmsg(int(fd), l.data, l.control, unix.MSG_DONTWAIT)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return
			}
			d = datagram{data: l.data[:n], ttl: -1}
			switch a := from.(type) {
			case *unix.SockaddrInet4:
				d.from = netip.AddrFrom4(a.Addr)
			case *unix.SockaddrInet6:
				d.from = netip.AddrFrom16(a.Addr)
			}
			d.annotate(l.control[:oobn])
			ok = true
			return
		}
	})
	return d, ok && err == nil
}

// annotate fills in what control messages tell.
func (d *datagram) annotate(messages []byte) {
	for len(messages) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(messages)
		if err != nil {
			return
		}
		messages = rest
		switch {
		case header.Level == unix.SOL_IP && header.Type == unix.IP_TTL && len(data) >= 4,
			header.Level == unix.SOL_IPV6 && header.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			d.ttl = int(int32(binary.NativeEndian.Uint32(data)))
		case header.Level == unix.SOL_IP && header.Type == unix.IP_PKTINFO && len(data) >= 12: // struct in_pktinfo
			d.index = int(int32(binary.NativeEndian.Uint32(data)))
			d.to = netip.AddrFrom4([4]byte(data[8:12]))
		case header.Level == unix.SOL_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= 20: // struct in6_pktinfo
			d.to = netip.AddrFrom16([16]byte(data[:16]))
			d.index = int(int32(binary.NativeEndian.Uint32(data[16:])))
		}
	}
}

func (l *listening) close() {
	l.closed.Store(true)
	_ = l.conn.Close()
}

func (k kernel) returns(c Config) bool {
	name := "ip_forward"
	if c.Interface != "" {
		name = filepath.Join("conf", c.Interface, "forwarding")
	}
	var value []byte
	err := k.enter(func() (err error) {
		value, err = os.ReadFile(filepath.Join("/proc/sys/net/ipv4", name))
		return err
	})
	return err == nil && string(bytes.TrimSpace(value)) == "1"
}

// The ports that a session may send from (RFC 5881, 4).
const firstPort, lastPort = 49152, 65535

func (k kernel) dial(c Config) (sender, error) {
	local := c.Local
	if !local.IsValid() {
		local = unspecified(c.Peer.Is6())
	}
	s := &sending{device: c.VRF}
	err := k.enter(func() error {
		if c.Interface != "" {
			s.device = c.Interface
		}
		if s.device != "" {
			link, err := net.InterfaceByName(s.device)
			if err != nil {
				return fmt.Errorf("interface %q: %w", s.device, err)
			}
			s.link = link.Index
		}
		if local.Is6() && local.IsLinkLocalUnicast() {
			local = local.WithZone(strconv.Itoa(s.link))
		}
		err := error(unix.EADDRINUSE)
		for range 100 { // nobody has taken a hundred ports in a row that are drawn by lot, unless all
			port := uint16(firstPort + rand.IntN(lastPort-firstPort+1))
			s.conn, err = open(family(c.Peer.Is6()), s.device, netip.AddrPortFrom(local, port), sendingOptions(c.Peer.Is6()))
			if !errors.Is(err, unix.EADDRINUSE) {
				break
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	if s.raw, err = s.conn.SyscallConn(); err != nil {
		return nil, errors.Join(err, s.conn.Close())
	}
	port := int(endpointOf(c).port())
	if c.Peer.Is6() {
		to := &unix.SockaddrInet6{Port: port, Addr: c.Peer.As16()}
		if c.Peer.IsLinkLocalUnicast() {
			to.ZoneId = uint32(s.link)
		}
		s.to = to
	} else {
		s.to = &unix.SockaddrInet4{Port: port, Addr: c.Peer.As4()}
	}
	return s, nil
}

// sendingOptions makes packets start with a TTL of 255 and lets the socket receive nothing, for nobody reads it.
func sendingOptions(v6 bool) func(fd int) error {
	return func(fd int) error {
		nothing, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
		if err != nil {
			return err
		}
		filter := unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: nothing[0].Op, K: nothing[0].K}}
		errs := []error{unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter)}
		if v6 {
			errs = append(errs, unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, 255),
				unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TCLASS, networkControl))
		} else {
			errs = append(errs, unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TTL, 255),
				unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TOS, networkControl))
		}
		return errors.Join(errs...)
	}
}

// sending is a sender of the kernel. It is not connected: a connected socket keeps the route and the source address that it had at
// first, and reports ICMP errors in place of sending.
type sending struct {
	conn   *net.UDPConn
	raw    syscall.RawConn
	to     unix.Sockaddr
	device string // that it is bound to; empty: none
	link   int    // of the device
}

func (s *sending) send(b []byte) error {
	return control(s.raw, func(fd int) error {
		for {
			if err := unix.Sendto(fd, b, unix.MSG_DONTWAIT, s.to); err != unix.EINTR {
				return err
			}
		}
	})
}

func (s *sending) index() int { return s.link }

func (s *sending) stale() bool {
	if s.device == "" {
		return false
	}
	is, err := unix.NewIfreq(s.device)
	if err == nil {
		err = control(s.raw, func(fd int) error { return unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, is) })
	}
	return err == nil && int(is.Uint32()) != s.link // if it is gone, another may come
}

func (s *sending) close() { _ = s.conn.Close() }
