package layer2

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/ndp"
)

const (
	ipv6Len      = 40
	icmpv6       = 58 // the next header of ICMPv6
	solicitation = 135
	neighbourAdv = 136
	minNDPLen    = 24 // of either message, without options
)

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = mac{0x33, 0x33, 0, 0, 0, 1}
)

// decideNDP says what to do about a frame. It answers valid neighbour solicitations (RFC 4861 section 7.1.1), those of duplicate
// address detection (RFC 4862) among them. Whoever advertises an announced address with a MAC that is not this node's, or
// sends from it, claims the address.
//
// A solicitation to a multicast address without the source link-layer address option is invalid and ignored; one that was sent to
// this node alone may leave the option out, and is answered to where the frame came from.
func decideNDP(frame []byte, s *state) verdict {
	m, ok := parseNDP(frame, s)
	if !ok {
		return verdict{}
	}
	switch body := m.body.(type) {
	case *ndp.NeighborAdvertisement:
		return decideAdvertisement(m, body, s)
	case *ndp.NeighborSolicitation:
		return decideSolicitation(m, body, s)
	}
	return verdict{}
}

// message is a neighbour discovery message as it came.
type message struct {
	from     mac
	src, dst netip.Addr
	body     ndp.Message
}

// parseNDP reads a solicitation or an advertisement and checks what RFC 4861 sections 7.1.1 and 7.1.2 ask of both.
func parseNDP(frame []byte, s *state) (message, bool) {
	const payloadAt = ethernetLen + ipv6Len
	if len(frame) < payloadAt+minNDPLen || binary.BigEndian.Uint16(frame[12:]) != etherTypeIPv6 {
		return message{}, false
	}
	dst, from := mac(frame[0:6]), mac(frame[6:12])
	if dst != s.mac && (dst[0] != 0x33 || dst[1] != 0x33) || !from.host() {
		return message{}, false
	}
	header := frame[ethernetLen:payloadAt]
	length := int(binary.BigEndian.Uint16(header[4:]))
	if header[0]>>4 != 6 || header[6] != icmpv6 || header[7] != ndp.HopLimit || length < minNDPLen || length > len(frame)-payloadAt {
		return message{}, false
	}
	payload := frame[payloadAt : payloadAt+length]
	kind, code := payload[0], payload[1]
	if kind != solicitation && kind != neighbourAdv || code != 0 || checksum(header[8:ipv6Len], payload) != 0 {
		return message{}, false
	}
	body, err := ndp.ParseMessage(payload)
	if err != nil {
		return message{}, false
	}
	m := message{from: from, src: netip.AddrFrom16([16]byte(header[8:24])), dst: netip.AddrFrom16([16]byte(header[24:40])), body: body}
	return m, !m.src.IsMulticast() && !m.src.IsLoopback()
}

// linkLayer returns the address in the link-layer address option, if there is one.
func linkLayer(options []ndp.Option, d ndp.Direction) (mac, bool) {
	for _, o := range options {
		if lla, ok := o.(*ndp.LinkLayerAddress); ok && lla.Direction == d && len(lla.Addr) == len(mac{}) {
			return mac(lla.Addr), true
		}
	}
	return mac{}, false
}

func decideAdvertisement(m message, na *ndp.NeighborAdvertisement, s *state) verdict {
	if !s.announces(na.TargetAddress) || m.dst.IsMulticast() && na.Solicited {
		return verdict{}
	}
	claimant, ok := linkLayer(na.Options, ndp.Target)
	if !ok {
		claimant = m.from
	}
	if s.isOwn(claimant) || claimant == (mac{}) {
		return verdict{}
	}
	return verdict{addr: na.TargetAddress, claimant: claimant}
}

func decideSolicitation(m message, ns *ndp.NeighborSolicitation, s *state) verdict {
	if !s.announces(ns.TargetAddress) || !s.local.IsValid() {
		return verdict{}
	}
	asker, hasOption := linkLayer(ns.Options, ndp.Source)
	switch {
	case m.src.IsUnspecified():
		// Duplicate address detection: somebody is about to take the address.
		if hasOption || m.dst != solicitedNode(ns.TargetAddress) {
			return verdict{}
		}
		return verdict{addr: ns.TargetAddress, reply: advertisement(ns.TargetAddress, allNodes, allNodesMAC, s)}
	case s.announces(m.src):
		if s.isOwn(m.from) {
			return verdict{}
		}
		return verdict{addr: m.src, claimant: m.from}
	case !hasOption && m.dst.IsMulticast(), hasOption && !asker.host():
		return verdict{}
	case !hasOption:
		asker = m.from
	}
	return verdict{addr: ns.TargetAddress, reply: advertisement(ns.TargetAddress, m.src, asker, s)}
}

// gratuitousNDP returns the frames that announce an IPv6 address: the unsolicited advertisement of RFC 4861 section 7.2.6.
func gratuitousNDP(addr netip.Addr, s *state) [][]byte {
	return [][]byte{advertisement(addr, allNodes, allNodesMAC, s)}
}

// advertisement makes a neighbour advertisement for addr. It is solicited unless it goes to all nodes.
//
// The override flag is always set, as RFC 4861 section 7.2.4 asks of the owner of a unicast address, which the announcer is: it is
// no proxy and no anycast member. MetalLB leaves it out of solicited answers. Without it a neighbour that still has the previous
// owner's MAC and asks again by multicast (mcast_resolicit) would ignore the answer (section 7.2.5) and go on sending to a dead
// node. The source is the link-local address because addr is on no interface.
func advertisement(addr, to netip.Addr, toMAC mac, s *state) []byte {
	m := &ndp.NeighborAdvertisement{
		Solicited: to != allNodes, Override: true, TargetAddress: addr,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: s.mac.hardware()}},
	}
	payload, err := ndp.MarshalMessageChecksum(m, s.local, to)
	if err != nil {
		panic(err) // an address of the wrong family
	}
	return ethernet(toMAC, s.mac, etherTypeIPv6, append(ipv6Header(s.local, to, len(payload)), payload...))
}

func ipv6Header(src, dst netip.Addr, payload int) []byte {
	b := make([]byte, ipv6Len, ipv6Len+payload)
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(payload))
	b[6], b[7] = icmpv6, ndp.HopLimit
	from, to := src.As16(), dst.As16()
	copy(b[8:], from[:])
	copy(b[24:], to[:])
	return b
}

// checksum returns the Internet checksum (RFC 1071) of an ICMPv6 message and its pseudo header (RFC 8200 section 8.1); addrs are
// the source and the destination. It is 0 if the message carries the right one.
func checksum(addrs, payload []byte) uint16 {
	sum := uint32(len(payload)) + icmpv6
	for _, b := range [][]byte{addrs, payload} {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			sum += uint32(b[len(b)-1]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// solicitedNode returns the solicited-node multicast address of an IPv6 address (RFC 4291 section 2.7.1).
func solicitedNode(addr netip.Addr) netip.Addr {
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		panic(err) // an address of the wrong family
	}
	return group
}
