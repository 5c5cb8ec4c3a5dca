package layer2

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
)

var (
	ownMAC   = mac{0x02, 0, 0, 0, 0, 0x01}
	otherMAC = mac{0x02, 0, 0, 0, 0, 0x02}
	local    = netip.MustParseAddr("fe80::1")
)

// shapes are the ways in which addresses lie.
var shapes = []struct {
	name string
	one  func(r *rand.Rand, i int) netip.Addr
}{
	{"IPv4, a range", func(_ *rand.Rand, i int) netip.Addr {
		return netip.AddrFrom4([4]byte{192, 0, 2 + byte(i>>8), byte(i)})
	}},
	{"IPv4, every third", func(_ *rand.Rand, i int) netip.Addr {
		return netip.AddrFrom4([4]byte{192, 0, byte(3 * i >> 8), byte(3 * i)})
	}},
	{"IPv4, anywhere", func(r *rand.Rand, _ int) netip.Addr { return random4(r) }},
	{"IPv4, the ends", func(_ *rand.Rand, i int) netip.Addr {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(i/2)^-uint32(i%2))
		return netip.AddrFrom4(b)
	}},
	{"IPv6, a range", func(_ *rand.Rand, i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})
	}},
	{"IPv6, across a word", func(_ *rand.Rand, i int) netip.Addr {
		b := [16]byte{0x20, 1, 0xd, 0xb8}
		binary.BigEndian.PutUint64(b[8:], 1<<32-3+uint64(i))
		return netip.AddrFrom16(b)
	}},
	{"IPv6, one subnet", func(r *rand.Rand, _ int) netip.Addr {
		b := [16]byte{0x20, 1, 0xd, 0xb8}
		binary.BigEndian.PutUint64(b[8:], r.Uint64())
		return netip.AddrFrom16(b)
	}},
	{"IPv6, anywhere", func(r *rand.Rand, _ int) netip.Addr { return random6(r) }},
	{"IPv6, the ends", func(_ *rand.Rand, i int) netip.Addr {
		var b [16]byte
		for at := 0; at < 16; at += 8 {
			binary.BigEndian.PutUint64(b[at:], -uint64(i%2))
		}
		b[15] ^= byte(i / 2)
		return netip.AddrFrom16(b)
	}},
}

func random4(r *rand.Rand) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], r.Uint32())
	return netip.AddrFrom4(b)
}

func random6(r *rand.Rand) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], r.Uint64())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	return netip.AddrFrom16(b)
}

func sorted(addrs []netip.Addr) []netip.Addr {
	addrs = slices.Clone(addrs)
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// stranger returns an address that is likely to be near one of addrs.
func stranger(r *rand.Rand, addrs []netip.Addr, is4 bool) netip.Addr {
	if len(addrs) == 0 || r.IntN(3) == 0 {
		if is4 {
			return random4(r)
		}
		return random6(r)
	}
	near := addrs[r.IntN(len(addrs))]
	b := near.AsSlice()
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	out, _ := netip.AddrFromSlice(b)
	return out
}

// passes runs a program as the kernel would.
func passes(t testing.TB, vm *bpf.VM, frame []byte) bool {
	n, err := vm.Run(frame)
	require.NoError(t, err)
	require.True(t, n == 0 || n >= len(frame), "the filter cuts frames to %d bytes", n)
	return n > 0
}

// requestFor returns a well-formed question for target from sender.
func requestFor(sender, target netip.Addr, dst mac) []byte {
	if target.Is4() {
		return arpFrame(dst, otherMAC, arp.OperationRequest, sender, mac{}, target)
	}
	return solicitationFor(sender, target, dst, otherMAC)
}

func solicitationFor(src, target netip.Addr, dst, from mac) []byte {
	to := target
	if dst.group() {
		to = solicitedNode(target)
	}
	ns := &ndp.NeighborSolicitation{TargetAddress: target}
	if !src.IsUnspecified() {
		ns.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: from.hardware()}}
	}
	return ndpFrame(ns, src, to, dst, from)
}

func ndpFrame(m ndp.Message, src, to netip.Addr, dst, from mac) []byte {
	payload, err := ndp.MarshalMessageChecksum(m, src, to)
	if err != nil {
		panic(err)
	}
	return ethernet(dst, from, etherTypeIPv6, append(ipv6Header(src, to, len(payload)), payload...))
}

func groupMAC(target netip.Addr) mac {
	if target.Is4() {
		return broadcast
	}
	b := target.As16()
	return mac{0x33, 0x33, 0xff, b[13], b[14], b[15]}
}

func TestFilterAgainstOracle(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(len(shape.name))))
			for _, n := range []int{0, 1, 2, 3, 10, 100, 400, 1000, 3000} {
				var addrs []netip.Addr
				for i := range n {
					addrs = append(addrs, shape.one(r, i))
				}
				addrs = sorted(addrs)
				for _, limit := range []int{maxInstructions, 1000, 100} {
					checkFilter(t, r, addrs, shape.name[3] == '4', limit)
				}
			}
		})
	}
}

func checkFilter(t *testing.T, r *rand.Rand, addrs []netip.Addr, is4 bool, limit int) {
	make, nobody := ndpFilter, local
	if is4 {
		make, nobody = arpFilter, netip.MustParseAddr("100.64.1.1")
	}
	program := make(addrs, ownMAC, limit)
	require.LessOrEqual(t, len(program), limit)
	_, err := bpf.Assemble(program)
	require.NoError(t, err)
	vm, err := bpf.NewVM(program)
	require.NoError(t, err)
	for _, a := range addrs {
		require.True(t, passes(t, vm, requestFor(nobody, a, groupMAC(a))), "%s of %d", a, len(addrs))
		require.True(t, passes(t, vm, requestFor(nobody, a, ownMAC)), "%s of %d, unicast", a, len(addrs))
		require.False(t, passes(t, vm, requestFor(nobody, a, otherMAC)), "%s, to another host", a)
		if is4 {
			require.True(t, passes(t, vm, requestFor(a, nobody, broadcast)), "%s of %d, as the sender", a, len(addrs))
		}
	}
	// Only a program that was shortened may let others through. Strangers that share all words but the last with an address, and those
	// that do not, are equally wrong.
	exact := len(make(addrs, ownMAC, 1<<20)) <= limit
	for range 300 {
		a := stranger(r, addrs, is4)
		if _, in := slices.BinarySearchFunc(addrs, a, netip.Addr.Compare); in || !exact || overlapsWord(addrs, a) {
			continue
		}
		require.False(t, passes(t, vm, requestFor(nobody, a, groupMAC(a))), "%s is none of %d", a, len(addrs))
		if is4 {
			require.False(t, passes(t, vm, requestFor(a, nobody, broadcast)), "%s is none of %d, as the sender", a, len(addrs))
		}
	}
}

// overlapsWord reports whether a lies in a range of consecutive addresses that crosses a word, which is rounded.
func overlapsWord(addrs []netip.Addr, a netip.Addr) bool {
	if a.Is4() {
		return false
	}
	for _, s := range spansOf(addrs, len(addrs)) {
		if !slices.Equal(s.from[:3], s.to[:3]) && slices.Equal(s.from[:2], words(a)[:2]) {
			return true
		}
	}
	return false
}

func TestFilterOfOtherTraffic(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	client4, client6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	arpVM, err := bpf.NewVM(arpFilter([]netip.Addr{v4}, ownMAC, maxInstructions))
	require.NoError(t, err)
	ndpVM, err := bpf.NewVM(ndpFilter([]netip.Addr{v6}, ownMAC, maxInstructions))
	require.NoError(t, err)
	set := func(frame []byte, at int, v byte) []byte {
		frame = slices.Clone(frame)
		frame[at] = v
		return frame
	}
	request, ns := requestFor(client4, v4, broadcast), requestFor(client6, v6, groupMAC(v6))
	na := ndpFrame(&ndp.NeighborAdvertisement{Override: true, TargetAddress: v6}, v6, allNodes, allNodesMAC, otherMAC)
	for _, tc := range []struct {
		name  string
		frame []byte
		arp   bool
		ndp   bool
	}{
		{name: "a request", frame: request, arp: true},
		{name: "a solicitation", frame: ns, ndp: true},
		{name: "an advertisement", frame: na, ndp: true},
		{name: "empty"},
		{name: "half a request", frame: request[:30]},
		{name: "half a solicitation", frame: ns[:70]},
		{name: "another EtherType", frame: set(request, 13, 0)},
		{name: "another EtherType, IPv6", frame: set(ns, 13, 0)},
		{name: "a multicast request", frame: set(request, 5, 0xfe)},
		{name: "hop limit 64", frame: set(ns, 21, 64)},
		{name: "not ICMPv6", frame: set(ns, 20, 17)},
		{name: "another type", frame: set(ns, 54, 134)},
		{name: "another code", frame: set(ns, 55, 1)},
		{name: "broadcast IPv6", frame: append(slices.Repeat([]byte{0xff}, 6), ns[6:]...)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.arp, passes(t, arpVM, tc.frame), "ARP")
			assert.Equal(t, tc.ndp, passes(t, ndpVM, tc.frame), "NDP")
		})
	}
}

func TestHosted(t *testing.T) {
	p := hosted([]bpf.Instruction{bpf.RetConstant{Val: 1}})
	assert.Equal(t, bpf.LoadExtension{Num: bpf.ExtType}, p[0])
	_, err := bpf.Assemble(p)
	require.NoError(t, err)
}

func TestFilterSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, shape := range shapes {
		var addrs []netip.Addr
		for i := range 1000 {
			addrs = append(addrs, shape.one(r, i))
		}
		addrs = sorted(addrs)
		make := ndpFilter
		if addrs[0].Is4() {
			make = arpFilter
		}
		t.Logf("%-22s %4d addresses: %5d instructions", shape.name, len(addrs), len(make(addrs, ownMAC, 1<<20)))
	}
}
