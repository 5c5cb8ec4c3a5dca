package layer2

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/arp"
)

const arpLen = 28 // of a packet with Ethernet and IPv4 addresses

// arpHead begins every ARP packet for IPv4 on Ethernet (RFC 826): hardware type 1, protocol type IPv4, lengths 6 and 4.
var arpHead = []byte{0, 1, 8, 0, 6, 4}

// decideARP says what to do about a frame. It answers requests, RFC 5227 probes among them, that were sent to the broadcast
// address or to the link's own; never an announcement, whose sender and target are one address. Whoever sends from an announced
// address with a MAC that is not this node's claims the address.
func decideARP(frame []byte, s *state) verdict {
	if len(frame) < ethernetLen+arpLen || binary.BigEndian.Uint16(frame[12:]) != etherTypeARP {
		return verdict{}
	}
	if dst := mac(frame[0:6]); dst != broadcast && dst != s.mac {
		return verdict{}
	}
	payload := frame[ethernetLen : ethernetLen+arpLen]
	var p arp.Packet
	if !bytes.HasPrefix(payload, arpHead) || p.UnmarshalBinary(payload) != nil {
		return verdict{}
	}
	sender := mac(p.SenderHardwareAddr)
	switch {
	case p.Operation != arp.OperationRequest && p.Operation != arp.OperationReply, sender == mac{}:
		return verdict{}
	case s.announces(p.SenderIP):
		if s.isOwn(sender) {
			return verdict{}
		}
		return verdict{addr: p.SenderIP, claimant: sender}
	case p.Operation != arp.OperationRequest, p.SenderIP == p.TargetIP, !s.announces(p.TargetIP), !sender.host():
		return verdict{}
	}
	reply := arpFrame(sender, s.mac, arp.OperationReply, p.TargetIP, sender, p.SenderIP)
	return verdict{addr: p.TargetIP, reply: reply}
}

// gratuitousARP returns the frames that announce an IPv4 address: the request of RFC 5227 section 2.3 and, for those who only learn
// from replies, the reply of RFC 5944 section 4.6.
func gratuitousARP(addr netip.Addr, s *state) [][]byte {
	return [][]byte{
		arpFrame(broadcast, s.mac, arp.OperationRequest, addr, mac{}, addr),
		arpFrame(broadcast, s.mac, arp.OperationReply, addr, s.mac, addr),
	}
}

// arpFrame makes a frame to dst, from and on behalf of src. Both addresses have to be IPv4.
func arpFrame(dst, src mac, op arp.Operation, addr netip.Addr, target mac, targetAddr netip.Addr) []byte {
	p, err := arp.NewPacket(op, src.hardware(), addr, target.hardware(), targetAddr)
	if err != nil {
		panic(err) // an address of the wrong family
	}
	b, err := p.MarshalBinary()
	if err != nil {
		panic(err) // never returned
	}
	return ethernet(dst, src, etherTypeARP, b)
}
