package bgp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// errSilent says that GoBGP cannot be reached.
var errSilent = errors.New("the speaker cannot reach itself over loopback: the interface lo is down, or a packet filter is in the way")

// errTaken says that another process came before the wire.
var errTaken = errors.New("another process of this machine has connected to the speaker's own port")

// loopbackWait is how long a connection over loopback may take.
const loopbackWait = 5 * time.Second

// freePort returns a port of loopback that nobody listens on. It may be taken the next moment.
func freePort() (uint16, error) {
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(loopback), 0)))
	if err != nil {
		return 0, fmt.Errorf("listen on loopback: %w", err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String()).Port(), nil
}

// anyLoopback returns an address of 127.0.0.0/8 that nobody can guess.
func anyLoopback() netip.Addr {
	n := rand.Uint32N(1<<24-1<<16) + 1<<16 // not from 127.0.0.0/16, where others are used to be
	return netip.AddrFrom4([4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)})
}

// dialLoopback connects from an address of loopback to a port there.
func dialLoopback(ctx context.Context, from netip.Addr, port uint16) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: loopbackWait, KeepAlive: -1, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp4", netip.AddrPortFrom(netip.MustParseAddr(loopback), port).String())
	switch {
	case err == nil:
		return c.(*net.TCPConn), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, err
	}
	return nil, fmt.Errorf("%w (%w)", errSilent, err)
}
