package layer2

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	vip4, vip6       = netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	client4, client6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	none4, none6     = netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::")
)

// testState announces vip4 and vip6; otherOwn is the MAC of another interface of the node.
func testState() *state {
	return &state{
		link: "eth0", index: 2, mac: ownMAC, local: local,
		addrs: map[netip.Addr]struct{}{vip4: {}, vip6: {}},
		own:   map[mac]struct{}{ownMAC: {}, otherOwn: {}},
	}
}

var otherOwn = mac{0x02, 0, 0, 0, 0, 0x03}

// patch returns the frame with some bytes replaced.
func patch(frame []byte, at int, b ...byte) []byte {
	frame = slices.Clone(frame)
	copy(frame[at:], b)
	return frame
}

func tagged(frame []byte) []byte {
	return slices.Concat(frame[:12], []byte{0x81, 0, 0, 5}, frame[12:])
}

// deed is what a verdict amounts to.
type deed string

const (
	nothing  deed = "nothing"
	answers  deed = "answers"
	conflict deed = "conflict"
)

func (v verdict) deed() deed {
	switch {
	case v.reply != nil:
		return answers
	case v.claimant != mac{}:
		return conflict
	}
	return nothing
}

func TestDecideARP(t *testing.T) {
	request := requestFor(client4, vip4, broadcast)
	reply := func(op arp.Operation, from mac, sender netip.Addr, dst mac, target netip.Addr) []byte {
		return arpFrame(dst, from, op, sender, mac{}, target)
	}
	for _, tc := range []struct {
		name  string
		frame []byte
		want  deed
	}{
		{"a request", request, answers},
		{"a padded request", append(slices.Clone(request), make([]byte, 18)...), answers},
		{"a unicast request", requestFor(client4, vip4, ownMAC), answers},
		{"a probe (RFC 5227)", requestFor(none4, vip4, broadcast), answers},
		{"a request of another interface of this node", reply(arp.OperationRequest, otherOwn, client4, broadcast, vip4), answers},
		{"a request for another address", requestFor(client4, netip.MustParseAddr("192.0.2.8"), broadcast), nothing},
		{"a request to another host", requestFor(client4, vip4, otherMAC), nothing},
		{"a request to a multicast address", requestFor(client4, vip4, allNodesMAC), nothing},
		{"a reply to us", reply(arp.OperationReply, otherMAC, client4, ownMAC, vip4), nothing},
		{"an announcement of another address", requestFor(client4, client4, broadcast), nothing},
		{"an announcement of our address", requestFor(vip4, vip4, broadcast), conflict},
		{"an announcing reply", reply(arp.OperationReply, otherMAC, vip4, broadcast, vip4), conflict},
		{"a request from our address", requestFor(vip4, client4, broadcast), conflict},
		{"our own announcement", reply(arp.OperationRequest, ownMAC, vip4, broadcast, vip4), nothing},
		{"our other interface's announcement", reply(arp.OperationRequest, otherOwn, vip4, broadcast, vip4), nothing},
		{"sender MAC is broadcast", patch(request, 22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), nothing},
		{"sender MAC is zero", patch(request, 22, 0, 0, 0, 0, 0, 0), nothing},
		{"RARP", patch(request, 21, 3), nothing},
		{"hardware type 6", patch(request, 15, 6), nothing},
		{"protocol type IPv6", patch(request, 16, 0x86, 0xdd), nothing},
		{"hardware addresses of 8 bytes", patch(request, 18, 8), nothing},
		{"hardware addresses of 255 bytes", patch(request, 18, 255), nothing},
		{"protocol addresses of 16 bytes", patch(request, 19, 16), nothing},
		{"protocol addresses of 0 bytes", patch(request, 19, 0), nothing},
		{"tagged", tagged(request), nothing},
		{"truncated", request[:41], nothing},
		{"a header", request[:14], nothing},
		{"empty", nil, nothing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.want, decideARP(tc.frame, testState()).deed())
		})
	}
}

func TestARPReply(t *testing.T) {
	for _, tc := range []struct {
		name   string
		sender netip.Addr
		dst    mac
	}{{"broadcast", client4, broadcast}, {"unicast", client4, ownMAC}, {"probe", none4, broadcast}} {
		t.Run(tc.name, func(t *testing.T) {
			v := decideARP(requestFor(tc.sender, vip4, tc.dst), testState())
			require.Equal(t, vip4, v.addr)
			assert.Equal(t, otherMAC[:], v.reply[0:6], "it goes to the asker alone")
			assert.Equal(t, ownMAC[:], v.reply[6:12])
			assert.Equal(t, []byte{8, 6}, v.reply[12:14])
			var p arp.Packet
			require.NoError(t, p.UnmarshalBinary(v.reply[14:]))
			assert.Equal(t, arp.OperationReply, p.Operation)
			assert.Equal(t, vip4, p.SenderIP)
			assert.Equal(t, ownMAC.hardware(), p.SenderHardwareAddr)
			assert.Equal(t, tc.sender, p.TargetIP)
			assert.Equal(t, otherMAC.hardware(), p.TargetHardwareAddr)
		})
	}
}

func TestDecideNDP(t *testing.T) {
	ns := requestFor(client6, vip6, groupMAC(vip6))
	group := solicitedNode(vip6)
	source := &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: otherMAC.hardware()}
	target := func(m mac) []ndp.Option {
		return []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: m.hardware()}}
	}
	bare := &ndp.NeighborSolicitation{TargetAddress: vip6}
	with := &ndp.NeighborSolicitation{TargetAddress: vip6, Options: []ndp.Option{source}}
	na := func(from mac, options []ndp.Option) []byte {
		return ndpFrame(&ndp.NeighborAdvertisement{Override: true, TargetAddress: vip6, Options: options}, local, allNodes, allNodesMAC, from)
	}
	for _, tc := range []struct {
		name  string
		frame []byte
		want  deed
	}{
		{"a solicitation", ns, answers},
		{"padded", append(slices.Clone(ns), 1, 2, 3), answers},
		{"unicast", requestFor(client6, vip6, ownMAC), answers},
		{"unicast without the option", ndpFrame(bare, client6, vip6, ownMAC, otherMAC), answers},
		{"from a link-local address", requestFor(netip.MustParseAddr("fe80::99"), vip6, groupMAC(vip6)), answers},
		{"multicast without the option", ndpFrame(bare, client6, group, groupMAC(vip6), otherMAC), nothing},
		{"duplicate address detection", requestFor(none6, vip6, groupMAC(vip6)), answers},
		{"duplicate address detection with the option", ndpFrame(with, none6, group, groupMAC(vip6), otherMAC), nothing},
		{"duplicate address detection to another group", ndpFrame(bare, none6, allNodes, allNodesMAC, otherMAC), nothing},
		{"another address", requestFor(client6, client6, groupMAC(client6)), nothing},
		{"an address of the same group", requestFor(client6, netip.MustParseAddr("2001:db8:1::7"), groupMAC(vip6)), nothing},
		{"to another host", requestFor(client6, vip6, otherMAC), nothing},
		{"to the broadcast address", requestFor(client6, vip6, broadcast), nothing},
		{"from our address", requestFor(vip6, vip6, groupMAC(vip6)), conflict},
		{"from our address, by this node", solicitationFor(vip6, vip6, groupMAC(vip6), otherOwn), nothing},
		{"an advertisement of our address", na(otherMAC, target(otherMAC)), conflict},
		{"an advertisement without the option", na(otherMAC, nil), conflict},
		{"our own advertisement", na(ownMAC, target(ownMAC)), nothing},
		{"our other interface's advertisement", na(otherOwn, target(otherOwn)), nothing},
		{"an advertisement of another address", ndpFrame(&ndp.NeighborAdvertisement{TargetAddress: client6}, client6, allNodes, allNodesMAC, otherMAC), nothing},
		{"a solicited advertisement to all", ndpFrame(&ndp.NeighborAdvertisement{Solicited: true, TargetAddress: vip6}, local, allNodes, allNodesMAC, otherMAC), nothing},
		{"a multicast source", ndpFrame(with, allNodes, group, groupMAC(vip6), otherMAC), nothing},
		{"source MAC is multicast", patch(ns, 6, 0x33, 0x33, 0, 0, 0, 1), nothing},
		{"hop limit 254", patch(ns, 21, 254), nothing},
		{"IP version 4", patch(ns, 14, 0x45), nothing},
		{"an extension header", patch(ns, 20, 0), nothing},
		{"wrong checksum", patch(ns, 56, ns[56]^1), nothing},
		{"code 1", patch(ns, 55, 1), nothing},
		{"router solicitation", patch(ns, 54, 133), nothing},
		{"payload longer than the frame", patch(ns, 18, 0xff, 0xff), nothing},
		{"payload of 23 bytes", patch(ns, 18, 0, 23), nothing},
		{"an option of length 0", patch(ns, 79, 0), nothing},
		{"tagged", tagged(ns), nothing},
		{"truncated", ns[:len(ns)-1], nothing},
		{"a header", ns[:14], nothing},
		{"empty", nil, nothing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.want, decideNDP(tc.frame, testState()).deed())
		})
	}
	t.Run("no link-local address", func(t *testing.T) {
		s := testState()
		s.local = netip.Addr{}
		assert.Equal(t, nothing, decideNDP(ns, s).deed())
	})
}

func TestNDPReply(t *testing.T) {
	for _, tc := range []struct {
		name      string
		src       netip.Addr
		dst       mac
		to        netip.Addr
		toMAC     mac
		solicited bool
	}{
		{"multicast", client6, groupMAC(vip6), client6, otherMAC, true},
		{"unicast", client6, ownMAC, client6, otherMAC, true},
		{"duplicate address detection", none6, groupMAC(vip6), allNodes, allNodesMAC, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := decideNDP(requestFor(tc.src, vip6, tc.dst), testState())
			require.Equal(t, vip6, v.addr)
			m, ok := parseNDP(v.reply, &state{mac: tc.toMAC})
			require.True(t, ok, "the answer is valid, checksum and hop limit included")
			assert.Equal(t, tc.toMAC[:], v.reply[:6])
			assert.Equal(t, local, m.src)
			assert.Equal(t, tc.to, m.dst)
			assert.Equal(t, &ndp.NeighborAdvertisement{
				Solicited: tc.solicited, Override: true, TargetAddress: vip6,
				Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: net.HardwareAddr(ownMAC[:])}},
			}, m.body)
		})
	}
}

func TestGratuitousFrames(t *testing.T) {
	frames := gratuitousARP(vip4, testState())
	require.Len(t, frames, 2)
	for i, op := range []arp.Operation{arp.OperationRequest, arp.OperationReply} {
		var p arp.Packet
		require.NoError(t, p.UnmarshalBinary(frames[i][14:]))
		assert.Equal(t, op, p.Operation)
		assert.Equal(t, broadcast[:], frames[i][:6])
		assert.Equal(t, []netip.Addr{vip4, vip4}, []netip.Addr{p.SenderIP, p.TargetIP})
		assert.Equal(t, ownMAC.hardware(), p.SenderHardwareAddr)
	}
	frames = gratuitousNDP(vip6, testState())
	require.Len(t, frames, 1)
	m, ok := parseNDP(frames[0], &state{mac: otherMAC})
	require.True(t, ok)
	assert.Equal(t, allNodes, m.dst)
	na := m.body.(*ndp.NeighborAdvertisement)
	assert.True(t, na.Override)
	assert.False(t, na.Solicited)
}

func FuzzARP(f *testing.F) {
	request := requestFor(client4, vip4, broadcast)
	for _, seed := range [][]byte{
		request, requestFor(none4, vip4, ownMAC), requestFor(vip4, vip4, broadcast), requestFor(client4, client4, broadcast),
		tagged(request), request[:30], patch(request, 18, 255, 255), patch(request, 21, 2), {},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		s := testState()
		before := slices.Clone(frame)
		v := decideARP(frame, s)
		require.Equal(t, before, frame, "the frame was changed")
		if v.deed() == nothing {
			return
		}
		// Whatever is done about it, it is ARP for IPv4 on Ethernet, sent to this host.
		require.True(t, len(frame) >= 42 && bytes.Equal(frame[12:20], []byte{8, 6, 0, 1, 8, 0, 6, 4}))
		require.True(t, mac(frame[:6]) == broadcast || mac(frame[:6]) == ownMAC)
		if v.deed() == conflict {
			require.Nil(t, v.reply)
			require.Equal(t, vip4.AsSlice(), frame[28:32])
			require.False(t, s.isOwn(mac(frame[22:28])))
			return
		}
		require.Equal(t, []byte{0, 1}, frame[20:22], "a request")
		require.Equal(t, vip4.AsSlice(), frame[38:42], "for the announced address")
		require.NotEqual(t, frame[28:32], frame[38:42], "no announcement")
		require.Len(t, v.reply, 42)
		require.Equal(t, frame[22:28], v.reply[:6])
		require.Equal(t, slices.Concat(ownMAC[:], vip4.AsSlice(), frame[22:32]), v.reply[22:42])
	})
}

func FuzzNDP(f *testing.F) {
	ns := requestFor(client6, vip6, groupMAC(vip6))
	for _, seed := range [][]byte{
		ns, requestFor(none6, vip6, groupMAC(vip6)), requestFor(client6, vip6, ownMAC), requestFor(vip6, vip6, ownMAC),
		gratuitousNDP(vip6, &state{mac: otherMAC, local: client6})[0], tagged(ns), ns[:60], patch(ns, 79, 0), patch(ns, 18, 255, 255), {},
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, frame []byte, repair bool) {
		s := testState()
		if repair && len(frame) > 58 {
			// Without this, hardly any frame would get past the checksum.
			copy(frame[12:], []byte{0x86, 0xdd, 6 << 4})
			n := len(frame) - 54
			copy(frame[18:], []byte{byte(n >> 8), byte(n), icmpv6, 255})
			frame[56], frame[57] = 0, 0
			sum := checksum(frame[22:54], frame[54:])
			frame[56], frame[57] = byte(sum>>8), byte(sum)
		}
		before := slices.Clone(frame)
		v := decideNDP(frame, s)
		require.Equal(t, before, frame, "the frame was changed")
		if v.deed() == nothing {
			return
		}
		require.GreaterOrEqual(t, len(frame), 78)
		require.Equal(t, []byte{0x86, 0xdd}, frame[12:14])
		require.True(t, bytes.HasPrefix(frame, []byte{0x33, 0x33}) || mac(frame[:6]) == ownMAC)
		require.Equal(t, []byte{icmpv6, 255}, frame[20:22])
		require.Equal(t, vip6.AsSlice(), frame[62:78], "it is about the announced address")
		if v.deed() == conflict {
			require.Nil(t, v.reply)
			require.False(t, s.isOwn(v.claimant))
			return
		}
		require.Equal(t, []byte{135, 0}, frame[54:56], "a solicitation")
		toAll := bytes.Equal(frame[22:38], none6.AsSlice())
		m, ok := parseNDP(v.reply, &state{mac: mac(v.reply[:6])})
		require.True(t, ok, "the answer is valid")
		require.Equal(t, vip6, m.body.(*ndp.NeighborAdvertisement).TargetAddress)
		require.Equal(t, toAll, m.dst == allNodes)
		require.Equal(t, toAll, mac(v.reply[:6]) == allNodesMAC)
		if !toAll {
			require.Equal(t, frame[22:38], m.dst.AsSlice())
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	s := testState()
	b.Run("ARP", func(b *testing.B) {
		frame := requestFor(client4, vip4, broadcast)
		b.ReportAllocs()
		for b.Loop() {
			decideARP(frame, s)
		}
	})
	b.Run("NDP", func(b *testing.B) {
		frame := requestFor(client6, vip6, groupMAC(vip6))
		b.ReportAllocs()
		for b.Loop() {
			decideNDP(frame, s)
		}
	})
	b.Run("ARP for another address", func(b *testing.B) {
		frame := requestFor(client4, client4.Next(), broadcast)
		b.ReportAllocs()
		for b.Loop() {
			decideARP(frame, s)
		}
	})
}
