package allocator

import (
	"math"
	"math/bits"

	"go4.org/netipx"
)

// span is a range as keys, both ends included. It never mixes families.
type span struct{ first, last key }

func spanOf(r netipx.IPRange) span { return span{keyOf(r.From()), keyOf(r.To())} }

func (s span) contains(k key) bool { return !k.less(s.first) && !s.last.less(k) }

// size returns the number of addresses, saturating at MaxUint64; buggy ones are left out if avoid is set.
func (s span) size(avoid bool) uint64 {
	lo, borrow := bits.Sub64(s.last.lo, s.first.lo, 0)
	hi, _ := bits.Sub64(s.last.hi, s.first.hi, borrow)
	if hi > 0 || lo == math.MaxUint64 {
		return math.MaxUint64
	}
	n := lo + 1
	if avoid && s.first.is4() {
		n -= multiples(s.first.lo, s.last.lo, 0) + multiples(s.first.lo, s.last.lo, 0xff)
	}
	return n
}

// multiples counts the numbers in [a, b] whose last byte is low.
func multiples(a, b, low uint64) uint64 {
	upTo := func(n uint64) uint64 { return (n + 256 - low) / 256 } // numbers below or at n with that last byte
	return upTo(b) - upTo(a-1)
}

// buggy reports whether some old equipment would refuse the address: IPv4 ending in .0 or .255.
func buggy(k key) bool { return k.is4() && (k.lo&0xff == 0 || k.lo&0xff == 0xff) }
