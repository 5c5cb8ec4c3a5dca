package layer2

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// mac is an Ethernet address, comparable.
type mac [6]byte

var broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// hardware returns the address as the libraries want it.
func (m mac) hardware() net.HardwareAddr { return m[:] }

// group reports whether the address is a multicast or the broadcast address.
func (m mac) group() bool { return m[0]&1 != 0 }

// host reports whether the address can be that of an interface.
func (m mac) host() bool { return !m.group() && m != mac{} }

// The EtherTypes, and the length of an Ethernet header.
const (
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
	ethernetLen   = 14
)

// ethernet appends payload to an Ethernet header. The kernel pads what is too short for the wire.
func ethernet(dst, src mac, etherType uint16, payload []byte) []byte {
	b := make([]byte, ethernetLen, ethernetLen+len(payload))
	copy(b, dst[:])
	copy(b[6:], src[:])
	binary.BigEndian.PutUint16(b[12:], etherType)
	return append(b, payload...)
}

// state is what a responder knows when it decides about a frame. It is never changed, only replaced.
type state struct {
	link  string // name and index of the link
	index int
	mac   mac        // of the link
	local netip.Addr // the link-local address of the link; invalid if it has none
	addrs map[netip.Addr]struct{}
	own   map[mac]struct{} // the MACs of all interfaces of this node
}

func (s *state) announces(a netip.Addr) bool {
	_, ok := s.addrs[a]
	return ok
}

func (s *state) isOwn(m mac) bool {
	_, ok := s.own[m]
	return ok || m == s.mac
}

// verdict is what is to be done about a frame: the zero value is nothing.
type verdict struct {
	addr  netip.Addr // the announced address that the frame is about
	reply []byte     // the frame that answers a request; nil if it was none
	// claimant is who else claims the address; zero if the frame is no such claim.
	claimant mac
}
