package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// wire asks and listens on the link itself, beside the kernel's own ARP and NDP.
type wire struct {
	mac            net.HardwareAddr
	ipv4, ipv6     netip.Addr   // own
	arps, ndps     *packet.Conn // nil if no address of the family is probed
	arpRaw, ndpRaw syscall.RawConn
}

// heard is told of a message about addr; kind is empty for an answer to a question.
type heard func(addr netip.Addr, at time.Time, mac net.HardwareAddr, kind Kind)

func openWire(h *Host, addrs []netip.Addr) (*wire, error) {
	w := &wire{mac: h.MAC("eth0"), ipv4: h.Addr(false), ipv6: h.Addr(true)}
	for _, a := range addrs {
		if a.Is4() && !w.ipv4.IsValid() || a.Is6() && !w.ipv6.IsValid() {
			return nil, fmt.Errorf("probe %s: %q has no address of that family", a, h.name)
		}
	}
	err := h.Do(func() error {
		iface, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if w.ipv4.IsValid() {
			if w.arps, w.arpRaw, err = openPacket(iface, unix.ETH_P_ARP, nil); err != nil {
				return err
			}
		}
		if w.ipv6.IsValid() {
			w.ndps, w.ndpRaw, err = openPacket(iface, unix.ETH_P_IPV6, advertisementsOnly)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the wire of %q: %w", h.name, err), w.close())
	}
	return w, nil
}

// advertisementsOnly lets neighbour advertisements pass, without extension headers, as RFC 4861 has them.
var advertisementsOnly = []bpf.Instruction{
	bpf.LoadAbsolute{Off: ethernetLen + 6, Size: 1}, // next header
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_ICMPV6, SkipTrue: 3},
	bpf.LoadAbsolute{Off: ethernetLen + ipv6Len, Size: 1}, // type
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 136, SkipTrue: 1},
	bpf.RetConstant{Val: 1 << 16},
	bpf.RetConstant{Val: 0},
}

const (
	ethernetLen = 14
	ipv6Len     = 40
)

func openPacket(iface *net.Interface, protocol int, filter []bpf.Instruction) (*packet.Conn, syscall.RawConn, error) {
	cfg := &packet.Config{}
	if filter != nil {
		var err error
		if cfg.Filter, err = bpf.Assemble(filter); err != nil {
			return nil, nil, err
		}
	}
	c, err := packet.Listen(iface, packet.Raw, protocol, cfg)
	if err != nil {
		return nil, nil, err
	}
	raw, err := c.SyscallConn()
	if err == nil {
		err = control(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
	}
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, raw, nil
}

func control(raw syscall.RawConn, fn func(fd int) error) error {
	var inner error
	err := raw.Control(func(fd uintptr) { inner = fn(int(fd)) })
	return errors.Join(err, inner)
}

func (w *wire) close() error {
	var errs []error
	for _, c := range []*packet.Conn{w.arps, w.ndps} {
		if c == nil {
			continue
		}
		if err := c.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ask sends one question.
func (w *wire) ask(addr netip.Addr) error {
	if addr.Is4() {
		frame, err := arpFrame(arp.OperationRequest, w.mac, w.ipv4, ethernet.Broadcast, addr)
		if err != nil {
			return err
		}
		_, err = w.arps.WriteTo(frame, &packet.Addr{HardwareAddr: ethernet.Broadcast})
		return err
	}
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		return err
	}
	question := &ndp.NeighborSolicitation{
		TargetAddress: addr,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: w.mac}},
	}
	to := multicastMAC(group)
	frame, err := ndpFrame(question, w.mac, w.ipv6, to, group)
	if err != nil {
		return err
	}
	_, err = w.ndps.WriteTo(frame, &packet.Addr{HardwareAddr: to})
	return err
}

// multicastMAC maps an IPv6 group to its link-layer address (RFC 2464, 7).
func multicastMAC(group netip.Addr) net.HardwareAddr {
	b := group.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// arpFrame returns an ARP packet in its Ethernet frame. A target that is not asked for its MAC has none in the packet.
func arpFrame(op arp.Operation, mac net.HardwareAddr, addr netip.Addr, to net.HardwareAddr, target netip.Addr) ([]byte, error) {
	p, err := arp.NewPacket(op, mac, addr, to, target)
	if err != nil {
		return nil, err
	}
	payload, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return (&ethernet.Frame{Destination: to, Source: mac, EtherType: ethernet.EtherTypeARP, Payload: payload}).MarshalBinary()
}

// ndpFrame returns a message in its IPv6 packet and Ethernet frame, with the hop limit of 255 that RFC 4861 asks for.
func ndpFrame(m ndp.Message, mac net.HardwareAddr, addr netip.Addr, to net.HardwareAddr, target netip.Addr) ([]byte, error) {
	message, err := ndp.MarshalMessageChecksum(m, addr, target)
	if err != nil {
		return nil, err
	}
	header := make([]byte, 8, ipv6Len+len(message))
	header[0] = 6 << 4
	binary.BigEndian.PutUint16(header[4:], uint16(len(message)))
	header[6], header[7] = unix.IPPROTO_ICMPV6, 255
	header = append(header, addr.AsSlice()...)
	header = append(header, target.AsSlice()...)
	return (&ethernet.Frame{
		Destination: to, Source: mac, EtherType: ethernet.EtherTypeIPv6, Payload: append(header, message...),
	}).MarshalBinary()
}

// listeners returns what listens to each of the wire's sockets until it is closed.
func (w *wire) listeners() []func(heard) {
	var out []func(heard)
	if w.arps != nil {
		out = append(out, func(tell heard) { receive(w.arpRaw, func(frame []byte, at time.Time) { hearARP(frame, at, tell) }) })
	}
	if w.ndps != nil {
		out = append(out, func(tell heard) { receive(w.ndpRaw, func(frame []byte, at time.Time) { hearNDP(frame, at, tell) }) })
	}
	return out
}

// receive calls take with each frame and the time at which the kernel got it, so that a busy machine does not blur the order of things.
func receive(raw syscall.RawConn, take func([]byte, time.Time)) {
	frame, control := make([]byte, 2048), make([]byte, 128)
	for {
		var n, oobn int
		var inner error
		err := raw.Read(func(fd uintptr) bool {
			n, oobn, _, _, inner = unix.Recvmsg(int(fd), frame, control, unix.MSG_DONTWAIT)
			return inner != unix.EAGAIN && inner != unix.EINTR
		})
		switch {
		case err != nil:
			return // closed
		case inner == nil:
			take(frame[:n], timestamp(control[:oobn]))
		case inner != unix.ENETDOWN: // which is told once when the link goes down
			return
		}
	}
}

func timestamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err == nil {
		for _, m := range messages {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
				return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
		}
	}
	return time.Now()
}

func hearARP(frame []byte, at time.Time, tell heard) {
	var f ethernet.Frame
	var p arp.Packet
	if f.UnmarshalBinary(frame) != nil || p.UnmarshalBinary(f.Payload) != nil {
		return
	}
	switch {
	case p.SenderIP == p.TargetIP && p.Operation == arp.OperationRequest:
		tell(p.SenderIP, at, p.SenderHardwareAddr, ARPRequest)
	case p.Operation == arp.OperationReply && (p.SenderIP == p.TargetIP || f.Destination.String() == ethernet.Broadcast.String()):
		tell(p.SenderIP, at, p.SenderHardwareAddr, ARPReply)
	case p.Operation == arp.OperationReply:
		tell(p.SenderIP, at, p.SenderHardwareAddr, "")
	}
}

func hearNDP(frame []byte, at time.Time, tell heard) {
	if len(frame) < ethernetLen+ipv6Len {
		return
	}
	m, err := ndp.ParseMessage(frame[ethernetLen+ipv6Len:])
	na, ok := m.(*ndp.NeighborAdvertisement)
	if err != nil || !ok {
		return
	}
	mac := net.HardwareAddr(append([]byte(nil), frame[6:12]...)) // of the frame, unless the message names another
	for _, o := range na.Options {
		if target, ok := o.(*ndp.LinkLayerAddress); ok && target.Direction == ndp.Target {
			mac = target.Addr
		}
	}
	kind := UnsolicitedNA
	if na.Solicited {
		kind = ""
	}
	tell(na.TargetAddress, at, mac, kind)
}
