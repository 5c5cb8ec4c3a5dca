package bfd

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// What a Config that leaves it out gets: the values of FRR, which are those that MetalLB's users have.
const (
	defaultInterval         = 300 * time.Millisecond
	defaultEchoInterval     = 50 * time.Millisecond
	defaultDetectMultiplier = 3
	defaultMinimumTTL       = 254 // one router between the peers
)

// The intervals that can be asked for, as a BFDProfile can.
const (
	minimumInterval = 10 * time.Millisecond
	maximumInterval = 60 * time.Second
)

// Config describes one session. Peer is required; what else is left out has a default.
type Config struct {
	// Peer is the other side, without a zone. An IPv6 link-local one needs Interface.
	Peer netip.Addr
	// Local is the address that packets are sent from and to; invalid: what the kernel chooses, and any.
	Local netip.Addr
	// Interface is the link that the session is bound to; empty: by route. A session over several hops has none.
	Interface string
	// VRF is the device whose routes are used; empty: none.
	VRF string
	// MultiHop is a session over several hops (RFC 5883, port 4784), not one (RFC 5881, port 3784).
	MultiHop bool
	// MinimumTTL is what is left at least of the 255 that a packet over several hops sets out with; 0: 254. On a single
	// hop it is always 255 (RFC 5082). BIRD sets out with the kernel's default of 64, so a peer that runs it needs a smaller one.
	MinimumTTL uint8
	// TransmitInterval is the shortest time between packets that we want to send, ReceiveInterval that we can receive; 0:
	// 300 ms.
	TransmitInterval, ReceiveInterval time.Duration
	// DetectMultiplier is how many packets in a row the peer may miss; 0: 3.
	DetectMultiplier uint8
	// Passive sends nothing before the peer is heard (RFC 5880, 6.1).
	Passive bool
	// EchoMode lets the peer send echo packets, one in each EchoInterval at most (0: 50 ms); see Unsupported.
	EchoMode     bool
	EchoInterval time.Duration
}

// Key tells sessions apart.
type Key struct {
	Peer, Local    netip.Addr
	Interface, VRF string
	MultiHop       bool
}

// String describes the session for messages.
func (k Key) String() string {
	s := k.Peer.String()
	if k.Interface != "" {
		s += "%" + k.Interface
	}
	if k.Local.IsValid() {
		s += " from " + k.Local.String()
	}
	if k.VRF != "" {
		s += fmt.Sprintf(" in %q", k.VRF)
	}
	if k.MultiHop {
		s += " over several hops"
	}
	return s
}

// Key returns what tells the session from others.
func (c Config) Key() Key {
	return Key{Peer: c.Peer, Local: c.Local, Interface: c.Interface, VRF: c.VRF, MultiHop: c.MultiHop}
}

// Validate returns all that is wrong with a Config.
func (c Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !unicast(c.Peer) {
		fault("peer %q is not the address of a host", c.Peer)
	}
	if c.Local.IsValid() && (!unicast(c.Local) || c.Local.Is4() != c.Peer.Is4()) {
		fault("local %q is not an address of this host in the peer's family", c.Local)
	}
	if c.Peer.IsLinkLocalUnicast() && c.Peer.Is6() && c.Interface == "" {
		fault("a link-local peer needs an interface")
	}
	if c.MultiHop && c.Interface != "" {
		fault("interface %q cannot be used over several hops", c.Interface)
	}
	if c.MultiHop && c.Peer.Is6() && c.Peer.IsLinkLocalUnicast() {
		fault("a link-local peer is never several hops away")
	}
	if c.MinimumTTL == 255 {
		fault("minimumTTL 255 is out of range; use 1 to 254")
	}
	for _, i := range []struct {
		field string
		value time.Duration
	}{{"transmitInterval", c.TransmitInterval}, {"receiveInterval", c.ReceiveInterval}, {"echoInterval", c.EchoInterval}} {
		if i.value != 0 && (i.value < minimumInterval || i.value > maximumInterval) {
			fault("%s %s is out of range; use %s to %s", i.field, i.value, minimumInterval, maximumInterval)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("BFD session with %s: %w", c.Key(), errors.Join(errs...))
}

// unicast reports whether an address can be a side of a session.
func unicast(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// complete fills in the defaults.
func (c Config) complete() Config {
	c.MinimumTTL = cmp.Or(c.MinimumTTL, defaultMinimumTTL)
	c.TransmitInterval = cmp.Or(c.TransmitInterval, defaultInterval)
	c.ReceiveInterval = cmp.Or(c.ReceiveInterval, defaultInterval)
	c.EchoInterval = cmp.Or(c.EchoInterval, defaultEchoInterval)
	c.DetectMultiplier = cmp.Or(c.DetectMultiplier, defaultDetectMultiplier)
	return c
}

// minimumTTL is what a packet of the session must have left.
func (c Config) minimumTTL() uint8 {
	if c.MultiHop {
		return c.MinimumTTL
	}
	return 255
}
