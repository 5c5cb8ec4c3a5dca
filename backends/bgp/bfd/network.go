package bfd

import "net/netip"

// endpoint is what one listening socket is for.
type endpoint struct {
	v6, multiHop bool
	vrf          string
}

func endpointOf(c Config) endpoint {
	return endpoint{v6: c.Peer.Is6(), multiHop: c.MultiHop, vrf: c.VRF}
}

// port is where control packets go (RFC 5881, 4; RFC 5883, 5).
func (e endpoint) port() uint16 {
	if e.multiHop {
		return 4784
	}
	return 3784
}

// datagram is what a listener has received.
type datagram struct {
	data     []byte     // valid until the next one is read
	from, to netip.Addr // without zones
	index    int        // of the interface it came in by
	ttl      int        // TTL or hop limit; -1: the kernel did not tell
}

// network is what a Server needs of the world.
type network interface {
	listen(endpoint) (listener, error)
	// dial opens what packets of a session are sent from. Its port is unique among those that are open (RFC 5881, 4).
	dial(Config) (sender, error)
	// returns reports whether what a session's peer sends to its own address by way of us goes back to it.
	returns(Config) bool
}

// listener receives.
type listener interface {
	// run calls ready whenever something may have come, until the listener is closed. ready reports whether it has read anything.
	run(ready func() bool)
	// read returns the next datagram that waits in the kernel, if there is one. It does not block.
	read() (datagram, bool)
	// close must not be called with anything locked that ready locks.
	close()
}

// sender sends to the peer of one session.
type sender interface {
	send([]byte) error
	// index returns that of the interface that the session is bound to; 0 if to none.
	index() int
	// stale reports whether there is another device by the name of the one that the sender is bound to.
	stale() bool
	close()
}
