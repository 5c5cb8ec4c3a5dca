package bgp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// doors are where routers may connect, by VRF; the one without a name is that of all other interfaces.
type doors map[string]*door

// door listens for connections of routers.
type door struct {
	l         net.Listener
	passwords map[netip.Addr]string
}

// listening returns the VRFs in which routers are let in, with the passwords of those that have one.
func (b *Backend) listening() map[string]map[netip.Addr]string {
	out := map[string]map[netip.Addr]string{}
	if b.config.ListenPort == 0 {
		return out
	}
	add := func(k key, password string) {
		if out[k.vrf] == nil {
			out[k.vrf] = map[netip.Addr]string{}
		}
		if k.address.IsValid() && password != "" {
			out[k.vrf][k.address] = password
		}
	}
	for k, s := range b.sessions {
		add(k, s.password)
	}
	for k := range b.ending {
		if p := b.plan[k]; p != nil && b.running && !b.gone {
			add(k, p.settings.password) // it begins anew in a moment
		}
	}
	return out
}

// listenLocked opens and closes doors, and sets passwords.
func (b *Backend) listenLocked() error {
	want := b.listening()
	for vrf, d := range b.doors {
		if _, ok := want[vrf]; !ok {
			_ = d.l.Close()
			delete(b.doors, vrf)
		}
	}
	var errs []error
	for vrf, passwords := range want {
		d, ok := b.doors[vrf]
		if !ok {
			var err error
			if d, err = b.openDoor(vrf); err != nil {
				errs = append(errs, err)
				continue
			}
			b.doors[vrf] = d
		}
		errs = append(errs, d.secure(passwords))
	}
	return errors.Join(errs...)
}

func (b *Backend) openDoor(vrf string) (*door, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		return control(raw, func(fd int) error {
			if vrf == "" {
				return nil
			}
			return unix.BindToDevice(fd, vrf)
		})
	}}
	lc.SetMultipathTCP(false) // which has no MD5
	l, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort("", strconv.Itoa(int(b.config.ListenPort))))
	if err != nil {
		return nil, err
	}
	d := &door{l: l, passwords: map[netip.Addr]string{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			b.admit(vrf, c.(*net.TCPConn))
		}
	}()
	return d, nil
}

// secure makes connections of routers with a password be signed.
func (d *door) secure(passwords map[netip.Addr]string) error {
	raw, err := d.l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var errs []error
	set := func(addr netip.Addr, password string) {
		errs = append(errs, control(raw, func(fd int) error {
			// The socket listens for both families: to it, an IPv4 address is one of IPv6.
			return setMD5(fd, netip.AddrFrom16(addr.As16()), password)
		}))
		d.passwords[addr] = password
	}
	for addr := range d.passwords {
		if passwords[addr] == "" {
			set(addr, "")
			delete(d.passwords, addr)
		}
	}
	for addr, password := range passwords {
		if d.passwords[addr] != password {
			set(addr, password)
		}
	}
	return errors.Join(errs...)
}

// admit gives a router's connection to its session, if that waits for one; else it is closed. A connection that the speaker has begun
// itself is never given up for another (RFC 4271, 6.8, has the routers' IDs decide; the router will).
func (b *Backend) admit(vrf string, c *net.TCPConn) {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		_ = c.Close()
		return
	}
	addr := from.Addr().Unmap()
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, s := range b.sessions {
		if k.vrf != vrf || s.snapshot().Address != addr {
			continue
		}
		if !s.waits() {
			_, _ = c.Write(notification(&fault{code: codeCease, subcode: ceaseCollision}))
			break
		}
		if raw, err := c.SyscallConn(); err == nil {
			_ = control(raw, func(fd int) error { return s.setTTL(fd, addr.Is6()) })
		}
		select {
		case s.incoming <- c:
			return
		default:
		}
	}
	_ = c.Close()
}

// waits reports whether the session has no connection.
func (s *session) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.State == Idle || s.status.State == Connect
}
