package allocator

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// key is an address as a 128-bit number, IPv4 in its IPv4-mapped form (RFC 4291, section 2.5.5.2).
// It is what every index of the engine is keyed by: 16 bytes, no pointers, cheap to compare.
type key struct{ hi, lo uint64 }

const (
	mapped    = 0xffff << 32       // low half of ::ffff:0.0.0.0
	mappedMax = mapped + 1<<32 - 1 // low half of ::ffff:255.255.255.255
)

func keyOf(a netip.Addr) key {
	b := a.As16()
	return key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (k key) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return netip.AddrFrom16(b).Unmap()
}

func (k key) is4() bool { return k.hi == 0 && k.lo >= mapped && k.lo <= mappedMax }

func (k key) family() Family {
	if k.is4() {
		return IPv4
	}
	return IPv6
}

func (k key) compare(o key) int {
	if c := cmp.Compare(k.hi, o.hi); c != 0 {
		return c
	}
	return cmp.Compare(k.lo, o.lo)
}

func (k key) less(o key) bool { return k.hi < o.hi || k.hi == o.hi && k.lo < o.lo }

// next returns the following address; ok is false after the last one of all.
func (k key) next() (n key, ok bool) {
	lo, carry := bits.Add64(k.lo, 1, 0)
	hi, over := bits.Add64(k.hi, 0, carry)
	return key{hi, lo}, over == 0
}

// prev returns the preceding address; ok is false before the first one of all.
func (k key) prev() (p key, ok bool) {
	lo, borrow := bits.Sub64(k.lo, 1, 0)
	hi, under := bits.Sub64(k.hi, 0, borrow)
	return key{hi, lo}, under == 0
}
