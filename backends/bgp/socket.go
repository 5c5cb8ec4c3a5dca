package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPassword is the kernel's TCP_MD5SIG_MAXKEYLEN.
const maxPassword = 80

// dial connects to a router.
func dial(ctx context.Context, s *settings, to netip.AddrPort, timeout time.Duration) (*net.TCPConn, error) {
	d := net.Dialer{
		Timeout: timeout, KeepAlive: -1, // BGP has its own
		Control: func(_, _ string, raw syscall.RawConn) error {
			return control(raw, func(fd int) error { return s.prepare(fd, to.Addr()) })
		},
	}
	if s.source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.source, 0))
	}
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// prepare sets what the peer asks for on a socket that is not connected yet.
func (s *settings) prepare(fd int, to netip.Addr) error {
	if s.vrf != "" {
		if err := unix.BindToDevice(fd, s.vrf); err != nil {
			return fmt.Errorf("bind to the VRF %q: %w", s.vrf, err)
		}
	}
	if s.password != "" {
		if err := setMD5(fd, to, s.password); err != nil {
			return fmt.Errorf("set the TCP MD5 password: %w", err)
		}
	}
	return s.setTTL(fd, to.Is6())
}

func (s *settings) setTTL(fd int, is6 bool) error {
	ttl := s.ttl()
	if ttl == 0 {
		return nil
	}
	if is6 {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl))
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl))
}

// setMD5 has segments from and to an address signed (RFC 2385); an empty password ends that. The kernel asks for no capability.
func setMD5(fd int, addr netip.Addr, password string) error {
	sig := &unix.TCPMD5Sig{Keylen: uint16(len(password))}
	copy(sig.Key[:], password)
	if addr.Is4() {
		sig.Addr.Family = unix.AF_INET
		b := addr.As4()
		copy(sig.Addr.Data[2:], b[:]) // sockaddr_in: port, address
	} else {
		sig.Addr.Family = unix.AF_INET6
		b := addr.As16()
		copy(sig.Addr.Data[6:], b[:]) // sockaddr_in6: port, flow, address
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, sig))
}

func control(raw syscall.RawConn, fn func(fd int) error) error {
	var inner error
	err := raw.Control(func(fd uintptr) { inner = fn(int(fd)) })
	return errors.Join(err, inner)
}

// why puts the failure of a connection in words.
func (s *settings) why(to netip.AddrPort, err error) string {
	var hint string
	var timeout net.Error
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		hint = "it refuses the connection: no BGP speaker listens there"
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		hint = "there is no way to it"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		hint = fmt.Sprintf("the source address %s is not one of this node", s.source)
	case errors.Is(err, unix.ENODEV):
		hint = fmt.Sprintf("there is no VRF %q on this node", s.vrf)
	case errors.As(err, &timeout) && timeout.Timeout() && s.password != "":
		hint = "it does not answer: it is down, a firewall is in between, or its TCP MD5 password is another"
	case errors.As(err, &timeout) && timeout.Timeout():
		hint = "it does not answer: it is down, a firewall is in between, or it wants a TCP MD5 password"
	default:
		return fmt.Sprintf("connect to %s: %v", to, err)
	}
	return fmt.Sprintf("connect to %s: %s", to, hint)
}
