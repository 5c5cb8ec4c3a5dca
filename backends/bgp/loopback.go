package bgp

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// lobby is where a session's GoBGP server connects to.
type lobby struct {
	l *net.TCPListener
}

func openLobby() (*lobby, error) {
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(loopbackPeer), 0)))
	if err != nil {
		return nil, fmt.Errorf("listen on loopback: %w", err)
	}
	return &lobby{l: l}, nil
}

func (l *lobby) port() uint16 { return netip.MustParseAddrPort(l.l.Addr().String()).Port() }

func (l *lobby) close() { _ = l.l.Close() }

// errNotOurs says that another process has connected.
var errNotOurs = errors.New("another process of this machine connects to the speaker's own port")

// errSilent says that GoBGP does not get through.
var errSilent = errors.New("the speaker cannot reach itself over loopback: the interface lo is down, or a packet filter is in the way")

// lobbyWait is longer than GoBGP ever waits between two attempts.
const lobbyWait = 15 * time.Second

// accept waits for GoBGP. Others who connect are turned away. It tells refused about them, and if GoBGP does not come.
func (l *lobby) accept(ctx context.Context, refused func(error)) (*net.TCPConn, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.l.SetDeadline(time.Now()) })
	defer stop()
	for {
		_ = l.l.SetDeadline(time.Now().Add(lobbyWait))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c, err := l.l.AcceptTCP()
		if ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded) {
			refused(errSilent)
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := own(c); err == nil {
			return c, nil
		} else if ctx.Err() == nil {
			refused(err)
		}
		_ = c.Close()
	}
}

// own returns nil if the other end of a connection on loopback is a socket of this process.
func own(c *net.TCPConn) error {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return err
	}
	to, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return err
	}
	inode, err := socketOf(from, to)
	if err != nil {
		return err
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && target == "socket:["+inode+"]" {
			return nil
		}
	}
	return errNotOurs
}

// socketOf returns the inode of the socket with these ends, as proc(5) lists it.
func socketOf(local, remote netip.AddrPort) (string, error) {
	f, err := os.Open("/proc/self/net/tcp")
	if err != nil {
		return "", err
	}
	defer f.Close()
	want := procAddr(local) + " " + procAddr(remote)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && fields[1]+" "+fields[2] == want {
			return fields[9], nil
		}
	}
	return "", errNotOurs
}

// procAddr writes an address as /proc/net/tcp does: the octets as a number of the machine.
func procAddr(a netip.AddrPort) string {
	b := a.Addr().Unmap().As4()
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(b[:]), a.Port())
}
