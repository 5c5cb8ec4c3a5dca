package netlab

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Responder is a toy speaker: it answers ARP and NDP for some addresses from a host's eth0.
type Responder struct {
	mac   net.HardwareAddr
	addrs []netip.Addr
	conn  *packet.Conn
	done  chan struct{} // closed when it answers no more
}

// Respond has a host answer for addresses until the test ends, or Silence is called.
func (h *Host) Respond(t testing.TB, addrs ...netip.Addr) *Responder {
	t.Helper()
	r := &Responder{mac: h.MAC("eth0"), addrs: addrs, done: make(chan struct{})}
	require.NoError(t, h.Do(func() error {
		iface, err := net.InterfaceByName("eth0")
		if err == nil {
			r.conn, err = packet.Listen(iface, packet.Raw, unix.ETH_P_ALL, nil)
		}
		return err
	}))
	go func() {
		defer close(r.done)
		b := make([]byte, 2048)
		for {
			n, _, err := r.conn.ReadFrom(b)
			if errors.Is(err, unix.ENETDOWN) {
				continue // told once when the link goes down
			} else if err != nil {
				return
			}
			r.answer(b[:n])
		}
	}()
	t.Cleanup(func() {
		assert.NoError(t, r.conn.Close())
		<-r.done
	})
	return r
}

func (r *Responder) answer(b []byte) {
	var f ethernet.Frame
	if f.UnmarshalBinary(b) != nil {
		return
	}
	switch f.EtherType {
	case ethernet.EtherTypeARP:
		var p arp.Packet
		if p.UnmarshalBinary(f.Payload) == nil && p.Operation == arp.OperationRequest && slices.Contains(r.addrs, p.TargetIP) && p.SenderIP != p.TargetIP {
			r.send(arpFrame(arp.OperationReply, r.mac, p.TargetIP, p.SenderHardwareAddr, p.SenderIP))
		}
	case ethernet.EtherTypeIPv6:
		if len(f.Payload) <= ipv6Len || f.Payload[6] != unix.IPPROTO_ICMPV6 {
			return
		}
		from, _ := netip.AddrFromSlice(f.Payload[8:24])
		m, err := ndp.ParseMessage(f.Payload[ipv6Len:])
		if ns, ok := m.(*ndp.NeighborSolicitation); err == nil && ok && slices.Contains(r.addrs, ns.TargetAddress) {
			r.send(ndpFrame(r.advertisement(ns.TargetAddress, true), r.mac, ns.TargetAddress, f.Source, from))
		}
	}
}

func (r *Responder) advertisement(addr netip.Addr, solicited bool) ndp.Message {
	return &ndp.NeighborAdvertisement{
		Solicited: solicited, Override: true, TargetAddress: addr,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: r.mac}},
	}
}

// Announce says without being asked who has the addresses, in every way.
func (r *Responder) Announce() {
	for _, a := range r.addrs {
		if a.Is4() {
			r.send(arpFrame(arp.OperationRequest, r.mac, a, ethernet.Broadcast, a))
			r.send(arpFrame(arp.OperationReply, r.mac, a, ethernet.Broadcast, a))
			continue
		}
		everybody := netip.MustParseAddr("ff02::1")
		r.send(ndpFrame(r.advertisement(a, false), r.mac, a, multicastMAC(everybody), everybody))
	}
}

func (r *Responder) send(frame []byte, err error) {
	if err == nil {
		_, _ = r.conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]}) // nobody answers while the link is down
	}
}

// Silence ends the answers at once.
func (r *Responder) Silence(t testing.TB) {
	t.Helper()
	require.NoError(t, r.conn.SetReadDeadline(time.Unix(1, 0)))
	<-r.done
}
