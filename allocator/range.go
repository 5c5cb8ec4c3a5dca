package allocator

import (
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"strings"

	"go4.org/netipx"
)

// ParseRange reads an entry of a pool: a CIDR, whose host bits are ignored, or "first-last" with optional blanks around both.
// IPv4-mapped IPv6 addresses become IPv4. The error says what is wrong and what would be right.
func ParseRange(s string) (netipx.IPRange, error) {
	if first, last, isRange := strings.Cut(s, "-"); isRange {
		return parseBounds(strings.TrimSpace(first), strings.TrimSpace(last))
	}
	p, err := parsePrefix(s)
	if err != nil {
		return netipx.IPRange{}, fmt.Errorf("%q is neither a CIDR like 192.0.2.0/24 or 2001:db8::/64 nor a range like 192.0.2.10-192.0.2.20", s)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netipx.IPRange{}, fmt.Errorf("%q mixes IPv4 and IPv6 addresses: write an IPv4 CIDR", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return netipx.RangeOfPrefix(p.Masked()), nil
}

// parsePrefix is netip.ParsePrefix, but takes leading zeros in the length, as net.ParseCIDR does and so MetalLB.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, bits, ok := strings.Cut(s, "/"); ok {
		if short := strings.TrimLeft(bits, "0"); short != "" {
			s = addr + "/" + short
		} else if bits != "" {
			s = addr + "/0"
		}
	}
	return netip.ParsePrefix(s)
}

func parseBounds(first, last string) (netipx.IPRange, error) {
	from, err := parseAddr(first)
	if err != nil {
		return netipx.IPRange{}, err
	}
	to, err := parseAddr(last)
	if err != nil {
		return netipx.IPRange{}, err
	}
	switch {
	case from.Is4() != to.Is4():
		return netipx.IPRange{}, fmt.Errorf("range %s-%s mixes IPv4 and IPv6: use one entry for each family", from, to)
	case to.Less(from):
		return netipx.IPRange{}, fmt.Errorf("range %s-%s ends before it begins: write %s-%s", from, to, to, from)
	}
	return netipx.IPRangeFrom(from, to), nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address like 192.0.2.1 or 2001:db8::1", s)
	}
	return a.Unmap(), nil
}

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
