package layer2

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
)

// maxInstructions is the kernel's limit for a filter (BPF_MAXINSNS).
const maxInstructions = 4096

// build makes a filter for sorted addresses of one family, of at most limit instructions.
type build func(addrs []netip.Addr, own mac, limit int) []bpf.Instruction

// arpFilter lets ARP packets through that were sent to the broadcast address or to own, and whose target or sender is one of addrs.
func arpFilter(addrs []netip.Addr, own mac, limit int) []bpf.Instruction {
	const senderAt, targetAt = ethernetLen + 14, ethernetLen + 24
	return fitted(addrs, limit, func(w *writer, spans []span) label {
		sender := w.member(senderAt, spans, w.accept, w.reject)
		target := w.member(targetAt, spans, w.accept, sender)
		toAll := w.load(4, 2, w.test(bpf.JumpEqual, 0xffff, target, w.reject))
		to := w.test(bpf.JumpEqual, 0xffffffff, toAll, w.sentTo(own, target))
		return w.etherType(etherTypeARP, w.load(0, 4, to))
	})
}

// ndpFilter lets neighbour solicitations and advertisements through that were sent to a multicast address or to own, and whose target
// is one of addrs.
func ndpFilter(addrs []netip.Addr, own mac, limit int) []bpf.Instruction {
	const nextHeaderAt, typeAt, targetAt = ethernetLen + 6, ethernetLen + ipv6Len, ethernetLen + ipv6Len + 8
	return fitted(addrs, limit, func(w *writer, spans []span) label {
		target := w.member(targetAt, spans, w.accept, w.reject)
		advertised := w.test(bpf.JumpEqual, neighbourAdv<<8, target, w.reject)
		next := w.load(typeAt, 2, w.test(bpf.JumpEqual, solicitation<<8, target, advertised))
		next = w.load(nextHeaderAt, 2, w.test(bpf.JumpEqual, icmpv6<<8|255, next, w.reject))
		unicast := w.load(0, 4, w.sentTo(own, next))
		return w.etherType(etherTypeIPv6, w.load(0, 2, w.test(bpf.JumpEqual, 0x3333, next, unicast)))
	})
}

// sentTo emits the test whether register A begins the Ethernet address own and the rest follows.
func (w *writer) sentTo(own mac, then label) label {
	rest := w.load(4, 2, w.test(bpf.JumpEqual, uint32(binary.BigEndian.Uint16(own[4:])), then, w.reject))
	return w.test(bpf.JumpEqual, binary.BigEndian.Uint32(own[:4]), rest, w.reject)
}

func (w *writer) etherType(want uint32, then label) label {
	return w.load(12, 2, w.test(bpf.JumpEqual, want, then, w.reject))
}

// fitted makes a program of at most limit instructions; if it has to, of one that lets more through.
func fitted(addrs []netip.Addr, limit int, body func(*writer, []span) label) []bpf.Instruction {
	if len(addrs) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: 0}}
	}
	for spans := len(addrs); ; {
		w := newWriter()
		body(w, spansOf(addrs, spans))
		if p := w.program(); len(p) <= limit || spans == 1 {
			return p
		}
		spans = max(1, min(spans-1, spans*limit/len(w.backward)))
	}
}

// hosted puts a test before a program that rejects what the kernel does not regard as sent to this host: what passes by on a
// promiscuous interface, and frames of a VLAN that has no interface here, whose tag the kernel takes off before it hands them over.
func hosted(program []bpf.Instruction) []bpf.Instruction {
	const packetMulticast = 2 // the last of PACKET_HOST, PACKET_BROADCAST and PACKET_MULTICAST
	return append([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: packetMulticast, SkipFalse: 1},
		bpf.RetConstant{Val: 0},
	}, program...)
}
