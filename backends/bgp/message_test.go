package bgp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var fullOpening = opening{
	asn: 4200000001, hold: 90 * time.Second, id: netip.MustParseAddr("192.0.2.1"), families: []family{ipv4, ipv6},
	gracefulRestart: true, restarting: true, preserved: []family{ipv4, ipv6}, extended: true, refresh: true, fourOctets: true,
}

func TestOpenRoundTrip(t *testing.T) {
	for _, o := range []opening{
		fullOpening,
		{asn: 65001, id: netip.MustParseAddr("192.0.2.1"), families: []family{ipv6}, fourOctets: true},
		{asn: 65001, hold: 3 * time.Second, id: netip.MustParseAddr("192.0.2.1"), families: []family{ipv4}},
	} {
		m, err := o.marshal()
		require.NoError(t, err)
		e := next(bufio.NewReader(bytes.NewReader(m)))
		require.NoError(t, e.err)
		require.EqualValues(t, typeOpen, e.kind)
		got, err := parseOpen(e.body)
		require.NoError(t, err)
		o.preserved = nil // of no interest
		assert.Equal(t, o, got)
	}
}

func FuzzOpen(f *testing.F) {
	m, err := fullOpening.marshal()
	require.NoError(f, err)
	f.Add(m[headerLen:])
	f.Add([]byte{4, 0xfd, 0xea, 0, 90, 192, 0, 2, 2, 4, 2, 200, 1, 4})
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := parseOpen(body)
		if err != nil || len(o.families) == 0 { // with neither family there is no session
			return
		}
		// What is understood can be handed to GoBGP.
		m, err := o.marshal()
		require.NoError(t, err)
		again, err := parseOpen(m[headerLen:])
		require.NoError(t, err)
		assert.Equal(t, o.families, again.families)
	})
}

// FuzzReceive reads any stream to its end.
func FuzzReceive(f *testing.F) {
	f.Add(append(message(typeKeepalive, nil), message(typeUpdate, make([]byte, 100))...))
	f.Add(notification(&fault{code: 6, subcode: 2, data: []byte{5, 'h', 'e', 'l', 'l', 'o'}}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		in := bufio.NewReader(bytes.NewReader(stream))
		for e := next(in); e.err == nil; e = next(in) {
			assert.LessOrEqual(t, len(e.body), maxMessage)
			if e.kind == typeNotification {
				assert.NotEmpty(t, describe(e.body))
			}
		}
	})
}

func TestDescribe(t *testing.T) {
	for want, body := range map[string][]byte{
		"bad peer AS (NOTIFICATION 2/2)":                       {2, 2},
		"hold timer expired (NOTIFICATION 4/0)":                {4, 0},
		`administrative shutdown (NOTIFICATION 6/2): "bye  ?"`: {6, 2, 6, 'b', 'y', 'e', '\n', ' ', 0xff},
		"administrative shutdown (NOTIFICATION 6/2)":           {6, 2, 200, 'x'}, // shorter than it says
		"UPDATE message error (NOTIFICATION 3/11)":             {3, 11},
		"unknown error (NOTIFICATION 99/1)":                    {99, 1},
		"NOTIFICATION without a code":                          {1},
		"cease (NOTIFICATION 6/200)":                           {6, 200},
		"message in the wrong state (NOTIFICATION 5/3)":        {5, 3},
		"BFD down (NOTIFICATION 6/10)":                         {6, 10},
		"message header error (NOTIFICATION 1/9)":              {1, 9},
		"unsupported capability (NOTIFICATION 2/7)":            {2, 7},
		"administrative reset (NOTIFICATION 6/4)":              {6, 4},
		"too many prefixes (NOTIFICATION 6/1)":                 {6, 1, 0, 1, 1, 0, 0, 0, 9},
		"configuration changed (NOTIFICATION 6/6)":             {6, 6},
		"connection collision (NOTIFICATION 6/7)":              {6, 7},
	} {
		assert.Equal(t, want, describe(body))
	}
}

func TestReceiveCountsButSkipsUpdates(t *testing.T) {
	var stream []byte
	for range 1000 {
		stream = append(stream, message(typeUpdate, make([]byte, 200))...)
	}
	stream = append(stream, message(typeKeepalive, nil)...)
	events := make(chan event, 100)
	var c counters
	receive(t.Context(), bytes.NewReader(stream), events, c.add)
	close(events)
	var kinds []uint8
	var last error
	for e := range events {
		kinds, last = append(kinds, e.kind), e.err
	}
	assert.LessOrEqual(t, len(kinds), 4, "a sign of life in a second, the KEEPALIVE, the end")
	assert.Equal(t, io.EOF, last)
	assert.EqualValues(t, 1000, c.messages().Update)
	assert.EqualValues(t, 1, c.messages().Keepalive)
}

func TestHops(t *testing.T) {
	v4, v6, ll := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0")
	bare := ll.WithZone("")
	for _, tc := range []struct {
		name     string
		place    place
		extended bool
		want     hops
	}{
		{"IPv4 only", place{addr: v4, others: []netip.Addr{v4}}, false, hops{v4: v4}},
		{"IPv4 with IPv6 beside", place{addr: v4, others: []netip.Addr{v4, v6}}, false, hops{v4: v4, v6: v6}},
		{"IPv6 only", place{addr: v6, others: []netip.Addr{v6}}, false, hops{v6: v6}},
		{"IPv6 only, extended", place{addr: v6, others: []netip.Addr{v6}}, true, hops{v4: v6, v6: v6}},
		{"IPv6 with IPv4 beside, extended", place{addr: v6, others: []netip.Addr{v6, v4}}, true, hops{v4: v4, v6: v6}},
		{"unnumbered, extended", place{addr: ll, others: []netip.Addr{v4}}, true, hops{v4: bare, v6: bare}},
		{"unnumbered, not extended", place{addr: ll, others: []netip.Addr{v4}}, false, hops{v4: v4, v6: bare}},
		{"unnumbered, not extended, no IPv4", place{addr: ll}, false, hops{v6: bare}},
	} {
		assert.Equal(t, tc.want, tc.place.hops(tc.extended), tc.name)
	}
}

func TestRouterID(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	assert.Equal(t, v4, place{addr: v4}.routerID("n"))
	assert.Equal(t, v4, place{addr: v6, others: []netip.Addr{v6, v4}}.routerID("n"))
	assert.Equal(t, crcOf("node1"), place{addr: v6}.routerID("node1"))
}

// crcOf is the checksum bit by bit, as octets from the least to the most significant.
func crcOf(s string) netip.Addr {
	crc := ^uint32(0)
	for _, b := range []byte(s) {
		crc ^= uint32(b)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xedb88320
			} else {
				crc >>= 1
			}
		}
	}
	crc = ^crc
	return netip.AddrFrom4([4]byte{byte(crc), byte(crc >> 8), byte(crc >> 16), byte(crc >> 24)})
}

// TestOthersAreTurnedAway connects to the port that is GoBGP's, from another address than the wire's, and from the wire's when that is taken.
func TestOthersAreTurnedAway(t *testing.T) {
	e := newEngine(slog.New(slog.DiscardHandler))
	s := &settings{localASN: 65001, peerASN: 65002, key: key{address: netip.MustParseAddr("192.0.2.1")}}
	require.NoError(t, e.start(t.Context(), s))
	defer func() { assert.NoError(t, e.stop(context.Background())) }()
	turnedAway := func(from netip.Addr) {
		c, err := dialLoopback(t.Context(), from, e.port)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = c.Read(make([]byte, 1))
		assert.True(t, errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET), "%s: %v", from, err)
	}
	local := netip.MustParseAddr(loopback)
	turnedAway(local)
	mine, err := e.connect(t.Context(), s)
	require.NoError(t, err)
	defer mine.Close()
	turnedAway(local)
	turnedAway(e.wire)
	spokenTo := func(wire *net.TCPConn) {
		said := make(chan event, 1)
		go relay(t.Context(), wire, said)
		first := <-said
		require.NoError(t, first.err)
		assert.Equal(t, uint8(typeOpen), first.kind, "GoBGP speaks to the wire")
	}
	spokenTo(mine)
	require.NoError(t, e.disconnect(t.Context()))

	was := e.wire
	e.elsewhere()
	assert.NotEqual(t, was, e.wire)
	again, err := e.connect(t.Context(), s)
	require.NoError(t, err)
	defer again.Close()
	assert.Equal(t, e.wire, netip.MustParseAddrPort(again.LocalAddr().String()).Addr())
	assert.True(t, e.wire.IsLoopback())
	spokenTo(again) // GoBGP is not stopped while it makes its OPEN
}

// TestWait: attempts come soon at first and then more and more slowly, and never faster than the user has asked for.
func TestWait(t *testing.T) {
	within := func(want time.Duration, s *session) {
		t.Helper()
		for range 100 { // RFC 4271, 10: 0.75 to 1 of it
			assert.InDelta(t, want*7/8, s.wait(), float64(want/8))
		}
	}
	s := &session{settings: settings{connect: 5 * time.Second, hurries: true}}
	for i, want := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second} {
		s.failed = i
		within(want, s)
	}
	s.failed = 1 << 20
	within(5*time.Second, s)
	within(8*time.Second, &session{settings: settings{connect: 8 * time.Second}})
}
