package bfd

import (
	"encoding/binary"
	"time"
)

// packetLen is the length of a control packet without authentication (RFC 5880, 4.1); with it, there are two more bytes at least.
const packetLen = 24

const version = 1

// The flags in the second byte.
const (
	flagPoll          = 1 << 5
	flagFinal         = 1 << 4
	flagIndependent   = 1 << 3 // C: survives its control plane; never set by us, for we are part of one
	flagAuthenticated = 1 << 2
	flagDemand        = 1 << 1
	flagMultipoint    = 1 << 0
)

// packet is a control packet (RFC 5880, 4.1). On the wire intervals are microseconds in 32 bits.
type packet struct {
	diagnostic         Diagnostic
	state              State
	poll, final        bool
	independent        bool
	demand             bool
	multiplier         uint8
	my, your           uint32 // discriminators
	minTx, minRx, echo time.Duration
}

// append adds the packet to b.
func (p packet) append(b []byte) []byte {
	flags := byte(p.state) << 6
	for _, f := range []struct {
		set bool
		bit byte
	}{{p.poll, flagPoll}, {p.final, flagFinal}, {p.independent, flagIndependent}, {p.demand, flagDemand}} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(b, version<<5|byte(p.diagnostic), flags, p.multiplier, packetLen)
	b = binary.BigEndian.AppendUint32(b, p.my)
	b = binary.BigEndian.AppendUint32(b, p.your)
	for _, interval := range []time.Duration{p.minTx, p.minRx, p.echo} {
		b = binary.BigEndian.AppendUint32(b, uint32(interval/time.Microsecond))
	}
	return b
}

// parse reads the payload of a datagram and refuses what RFC 5880, 6.8.6 has refused before a session is looked for. Bytes after the
// packet are no part of it.
func parse(b []byte) (packet, Reason) {
	if len(b) < packetLen {
		return packet{}, Truncated
	}
	flags, length := b[1], int(b[3])
	p := packet{
		diagnostic: Diagnostic(b[0] & 0x1f), state: State(flags >> 6),
		poll: flags&flagPoll != 0, final: flags&flagFinal != 0, independent: flags&flagIndependent != 0, demand: flags&flagDemand != 0,
		multiplier: b[2], my: binary.BigEndian.Uint32(b[4:]), your: binary.BigEndian.Uint32(b[8:]),
		minTx: microseconds(b[12:]), minRx: microseconds(b[16:]), echo: microseconds(b[20:]),
	}
	authenticated := flags&flagAuthenticated != 0
	switch {
	case b[0]>>5 != version:
		return p, WrongVersion
	case length < packetLen, authenticated && length < packetLen+2:
		return p, WrongLength
	case length > len(b):
		return p, Truncated
	case p.multiplier == 0:
		return p, ZeroMultiplier
	case flags&flagMultipoint != 0:
		return p, Multipoint
	case p.my == 0:
		return p, ZeroDiscriminator
	case p.your == 0 && p.state != Down && p.state != AdminDown:
		return p, MissingDiscriminator
	case authenticated:
		return p, Authenticated
	}
	return p, accepted
}

func microseconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}
