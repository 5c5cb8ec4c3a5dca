package bgp

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
)

// flood is how many routes a router sends in TestFlood.
var flood = flag.Int("bgp.flood", 100_000, "routes that a router sends to the speaker in TestFlood")

// message returns a BGP message.
func message(kind byte, body ...byte) []byte {
	m := make([]byte, 19, 19+len(body))
	for i := range 16 {
		m[i] = 0xff
	}
	binary.BigEndian.PutUint16(m[16:], uint16(19+len(body)))
	m[18] = kind
	return append(m, body...)
}

// openMessage is the OPEN of AS 65002 with hold time 90 and the ID 192.0.2.2, without capabilities.
var openMessage = message(1, 4, 0xfd, 0xea, 0, 90, 192, 0, 2, 2, 0)

// rogue listens on the BGP port of a host and treats each connection as it is told.
func rogue(t *testing.T, h *netlab.Host, addr netip.Addr, treat func(net.Conn)) *atomic.Int64 {
	t.Helper()
	var l net.Listener
	require.NoError(t, h.Do(func() error {
		var err error
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 179).String())
		return err
	}))
	t.Cleanup(func() { _ = l.Close() })
	var connections atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer c.Close()
				treat(c)
			}()
		}
	}()
	return &connections
}

// read returns the type of the next message.
func read(c net.Conn) (byte, []byte, error) {
	h := make([]byte, 19)
	if _, err := io.ReadFull(c, h); err != nil {
		return 0, nil, err
	}
	body := make([]byte, int(binary.BigEndian.Uint16(h[16:]))-19)
	_, err := io.ReadFull(c, body)
	return h[18], body, err
}

// handshake establishes a session.
func handshake(c net.Conn) error {
	if _, _, err := read(c); err != nil {
		return err
	}
	if _, err := c.Write(append(append([]byte{}, openMessage...), message(4)...)); err != nil {
		return err
	}
	_, _, err := read(c) // KEEPALIVE
	return err
}

func TestHostilePeers(t *testing.T) {
	for _, tc := range []struct {
		name  string
		treat func(net.Conn)
		says  string
	}{
		{"garbage", func(c net.Conn) {
			_, _ = c.Write([]byte(strings.Repeat("SSH-2.0-OpenSSH_9.2\r\n", 100)))
			_, _ = io.Copy(io.Discard, c)
		}, "the router sends what is not BGP"},
		{"a length that cannot be", func(c net.Conn) {
			m := message(2)
			binary.BigEndian.PutUint16(m[16:], 65535)
			_ = handshake(c)
			_, _ = c.Write(m)
			_, _ = io.Copy(io.Discard, c)
		}, "the router sends a message of type 2 with 65535 octets"},
		{"an unknown type", func(c net.Conn) {
			_, _ = c.Write(message(77))
			_, _ = io.Copy(io.Discard, c)
		}, "the router sends a message of the unknown type 77"},
		{"a storm of NOTIFICATIONs", func(c net.Conn) {
			_, _, _ = read(c)
			for range 1000 {
				if _, err := c.Write(message(3, 6, 5)); err != nil {
					return
				}
			}
		}, "the router ended the session: connection rejected (NOTIFICATION 6/5)"},
		{"malformed OPEN", func(c net.Conn) {
			_, _ = c.Write(message(1, 4, 0xfd, 0xea, 0, 90, 192, 0, 2, 2, 4, 2, 200, 1, 4))
			_, _ = io.Copy(io.Discard, c)
		}, "malformed OPEN"},
		{"hold time 1", func(c net.Conn) {
			_, _ = c.Write(message(1, 4, 0xfd, 0xea, 0, 1, 192, 0, 2, 2, 0))
			_, _ = io.Copy(io.Discard, c)
		}, "the router's hold time is 1s; it must be 0s or at least 3s"},
		{"version 3", func(c net.Conn) {
			_, _ = c.Write(message(1, 3, 0xfd, 0xea, 0, 90, 192, 0, 2, 2, 0))
			_, _ = io.Copy(io.Discard, c)
		}, "the router speaks version 3 of BGP"},
		{"UPDATE before OPEN", func(c net.Conn) {
			_, _ = c.Write(message(2, 0, 0, 0, 0))
			_, _ = io.Copy(io.Discard, c)
		}, "the router sends a message of type 2 in the state OpenSent"},
		{"closes at once", func(net.Conn) {}, "the router closes the connection at once: it expects no session from 192.0.2.1"},
		{"UPDATEs of rubbish", func(c net.Conn) {
			_ = handshake(c)
			for range 1000 {
				if _, err := c.Write(message(2, 0xff, 0xff, 0, 1, 2, 3, 4, 5)); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, c)
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := netlab.New(t, nil)
			node, bad, good := l.AddHost("node", nodeV4), l.AddHost("bad", netip.MustParsePrefix("192.0.2.66/24")), l.AddHost("good", routerV4)
			connections := rogue(t, bad, netip.MustParseAddr("192.0.2.66"), tc.treat)
			r := routing.StartFRR(t, l, good, external("192.0.2.2"))
			s := startSpeaker(t, l, node, bgp.Config{}, nil)
			s.want = backends.NodeDesired{
				Peers: []backends.Peer{
					peer("good", routerV4.Addr(), 65001, 65002), peer("bad", netip.MustParseAddr("192.0.2.66"), 65001, 65002),
					peer("nowhere", netip.MustParseAddr("192.0.2.67"), 65001, 65002),
				},
				Routes: routes("198.51.100.1/32"),
			}
			s.apply()
			s.established("good")
			r.Hears("ipv4", "198.51.100.1/32")
			if tc.says == "" {
				s.established("bad")
				await(t, "all the rubbish", func() bool { return s.session("bad").Received.Update == 1000 })
				assert.Equal(t, bgp.Established, s.session("bad").State)
			} else {
				await(t, tc.says, func() bool { return strings.HasPrefix(s.session("bad").LastError, tc.says) })
				began := time.Now()
				at := connections.Load()
				await(t, "a second attempt", func() bool { return connections.Load() > at })
				assert.Greater(t, time.Since(began), time.Second, "it must not try again at once")
			}
			assert.Less(t, s.p.CPU(), 3.0, "seconds of processor time")
			assert.EqualValues(t, 1, s.session("good").Established)
			await(t, "the reason why there is no session with nobody", func() bool { // no answer, or no way: both are said with the address
				return strings.HasPrefix(s.session("nowhere").LastError, "connect to 192.0.2.67:179: ")
			})
		})
	}
}

// TestFlood has a router send many routes, as one with a full table does. "-bgp.flood 1000000" is that; what stays is the same.
func TestFlood(t *testing.T) {
	l := netlab.New(t, nil)
	node, router := l.AddHost("node", nodeV4), l.AddHost("router", routerV4)
	sent := make(chan error, 1)
	rogue(t, router, routerV4.Addr(), func(c net.Conn) {
		if err := handshake(c); err != nil {
			return
		}
		go func() { _, _ = io.Copy(io.Discard, c) }()
		var batch []byte
		for i := range *flood {
			// Origin IGP, AS path 65002, next hop 192.0.2.2, one prefix of 32 bits.
			attrs := []byte{0x40, 1, 1, 0, 0x40, 2, 4, 2, 1, 0xfd, 0xea, 0x40, 3, 4, 192, 0, 2, 2}
			body := append([]byte{0, 0, 0, byte(len(attrs))}, attrs...)
			batch = append(batch, message(2, append(body, 32, 11, byte(i>>16), byte(i>>8), byte(i))...)...)
			if len(batch) > 60_000 || i == *flood-1 {
				if _, err := c.Write(batch); err != nil {
					sent <- err
					return
				}
				batch = batch[:0]
			}
		}
		sent <- nil
		for { // keep the session
			if _, err := c.Write(message(4)); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	})
	s := startSpeaker(t, l, node, bgp.Config{}, nil)
	s.want = backends.NodeDesired{Routes: routes("198.51.100.1/32")}
	s.order(order{Apply: &s.want}) // which says that there is no peer
	before := s.order(order{Memory: true}).Heap
	rss := s.p.RSS()
	s.want.Peers = []backends.Peer{peer("r", routerV4.Addr(), 65001, 65002)}
	s.apply()
	s.established("r")
	select {
	case err := <-sent:
		require.NoError(t, err)
	case <-time.After(2 * time.Minute):
		require.Fail(t, "the router could not send everything")
	}
	await(t, "all UPDATEs", func() bool { return s.session("r").Received.Update == uint64(*flood) })
	after := s.order(order{Memory: true}).Heap
	t.Logf("%d routes heard: heap %d KiB before the session, %d KiB after; resident %d KiB before, %d KiB after, at most %s; %.2f s of processor time",
		*flood, before>>10, after>>10, rss>>10, s.p.RSS()>>10, s.p.Status("VmHWM"), s.p.CPU())
	assert.Less(t, int64(after)-int64(before), int64(4<<20), "what the router says is not kept")
	var peak int64
	_, err := fmt.Sscanf(s.p.Status("VmHWM"), "%d kB", &peak)
	require.NoError(t, err)
	assert.Less(t, peak<<10-rss, int64(24<<20), "nor is it for a while")
	assert.Equal(t, bgp.Established, s.session("r").State)
}
