// Package ranges reads ranges of addresses as pools and reservations have them.
package ranges

import (
	"fmt"
	"net/netip"
	"strings"

	"go4.org/netipx"
)

// Parse reads an entry of a pool: a CIDR, whose host bits are ignored, or "first-last" with optional blanks around both.
// IPv4-mapped IPv6 addresses become IPv4. The error says what is wrong and what would be right.
func Parse(s string) (netipx.IPRange, error) {
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
