package bgp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// patience is how long a router may take to accept a connection.
const patience = 5 * time.Second

// reach connects to the router, or takes a connection of the router's, again and again; it returns nil when ctx ends or GoBGP gives up.
func (s *session) reach(ctx context.Context, said <-chan event) *net.TCPConn {
	for {
		s.enter(Connect, nil)
		again := time.NewTimer(s.wait())
		tries, cancel := context.WithCancel(ctx)
		type result struct {
			conn *net.TCPConn
			err  error
		}
		dialed := make(chan result, 1)
		go func() {
			c, err := s.dial(tries)
			dialed <- result{c, err}
		}()
		var conn *net.TCPConn
		gone := false
		for waiting := true; waiting; {
			select {
			case r := <-dialed:
				dialed = nil
				if conn = r.conn; conn == nil {
					s.failed++
					s.fail(r.err.Error())
					continue
				}
				waiting = false
			case conn = <-s.incoming:
				waiting = false
			case <-again.C:
				waiting = dialed != nil
				again.Reset(patience)
			case <-said: // it says nothing more before it hears from the router
				waiting, gone = false, true
			case <-ctx.Done():
				waiting, gone = false, true
			}
		}
		again.Stop()
		cancel()
		if dialed != nil {
			if r := <-dialed; r.conn != nil {
				_ = r.conn.Close()
			}
		}
		if conn != nil || gone {
			return conn
		}
	}
}

// dial connects to the router.
func (s *session) dial(ctx context.Context) (*net.TCPConn, error) {
	addr, err := s.router(ctx)
	if err != nil {
		return nil, err
	}
	to := netip.AddrPortFrom(addr, s.port)
	c, err := dial(ctx, &s.settings, to, min(patience, max(s.connect, time.Second)))
	if err != nil {
		return nil, fmt.Errorf("%s", s.why(to, err))
	}
	return c, nil
}
