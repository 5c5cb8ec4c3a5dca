package membership

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// latency is how long a packet takes from one node to another.
	latency = 500 * time.Microsecond
	// perByte is how much longer a stream takes for each byte: that of 1 Gbit/s.
	perByte = 8 * time.Nanosecond
	// again is after what time TCP sends again what was lost, and connectAgain after what time it tries again to connect, at first.
	again, connectAgain = 200 * time.Millisecond, time.Second
	// socketBuffer is how many packets wait for who reads them; more are dropped.
	socketBuffer = 1024
)

// network carries the packets and streams of members in a synctest bubble, so that they take simulated time. Processors are infinitely
// fast there.
type network struct {
	loss  float64          // of packets, 0 to 1
	wires map[string]*wire // by address; not changed once there are members
}

// wire connects a member to the network. It is its memberlist.Transport.
type wire struct {
	*network
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
	up      atomic.Bool // there is somebody who listens
	cut     atomic.Bool // everything from here and to here is lost
	traffic
}

// traffic counts what a member sends and receives: packets of UDP, and bytes of UDP and TCP, without headers.
type traffic struct{ sentPackets, sentBytes, receivedPackets, receivedBytes, lostPackets atomic.Int64 }

func (n *network) wire(addr netip.AddrPort) *wire {
	w := &wire{network: n, addr: addr, packets: make(chan *memberlist.Packet, socketBuffer), streams: make(chan net.Conn, socketBuffer)}
	n.wires[addr.String()] = w
	return w
}

// resend returns how much longer a stream takes because something is lost and sent again, each time after twice as long.
func (n *network) resend(after time.Duration) (late time.Duration) {
	for rand.Float64() < n.loss {
		late += after
		after *= 2
	}
	return late
}

func (w *wire) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	w.up.Store(true)
	return w.addr.Addr().AsSlice(), int(w.addr.Port()), nil
}

func (w *wire) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	w.sentPackets.Add(1)
	w.sentBytes.Add(int64(len(b)))
	to := w.wires[addr]
	if to == nil || w.cut.Load() || rand.Float64() < w.loss {
		return now, nil
	}
	p := &memberlist.Packet{Buf: bytes.Clone(b), From: net.UDPAddrFromAddrPort(w.addr)}
	time.AfterFunc(latency, func() {
		if !to.up.Load() || to.cut.Load() {
			return
		}
		p.Timestamp = time.Now()
		select {
		case to.packets <- p:
			to.receivedPackets.Add(1)
			to.receivedBytes.Add(int64(len(b)))
		default:
			to.lostPackets.Add(1)
		}
	})
	return now, nil
}

func (w *wire) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	return w.WriteTo(b, addr.Addr)
}

func (w *wire) PacketCh() <-chan *memberlist.Packet { return w.packets }

func (w *wire) StreamCh() <-chan net.Conn { return w.streams }

// DialTimeout has a node that is not there let the caller wait, and one where nobody listens refuse.
func (w *wire) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to := w.wires[addr]
	if to == nil || to.cut.Load() || w.cut.Load() || timeout < 2*latency {
		time.Sleep(timeout)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	wait := 2*latency + w.resend(connectAgain)
	time.Sleep(min(wait, timeout))
	if wait > timeout {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	if !to.up.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	there, back := newFlow(w, to), newFlow(to, w)
	select {
	case to.streams <- &stream{in: there, out: back}:
		return &stream{in: back, out: there}, nil
	default:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
}

func (w *wire) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return w.DialTimeout(addr.Addr, timeout)
}

func (w *wire) Shutdown() error {
	w.up.Store(false)
	return nil
}

// stream is one end of a connection.
type stream struct {
	in, out  *flow
	deadline atomic.Pointer[time.Time]
}

func (s *stream) Read(b []byte) (int, error) {
	var timeout <-chan time.Time
	if d := s.deadline.Load(); d != nil {
		timeout = time.After(time.Until(*d))
	}
	for {
		n, wait, err := s.in.take(b)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-s.in.more:
		case <-wait:
		case <-timeout:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (s *stream) Write(b []byte) (int, error) {
	s.out.put(bytes.Clone(b))
	return len(b), nil
}

func (s *stream) Close() error {
	s.out.put(nil)
	return nil
}

func (s *stream) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(s.out.from.addr) }
func (s *stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.out.to.addr) }

func (s *stream) SetDeadline(t time.Time) error {
	s.deadline.Store(&t)
	return nil
}

func (s *stream) SetReadDeadline(t time.Time) error { return s.SetDeadline(t) }
func (s *stream) SetWriteDeadline(time.Time) error  { return nil }

// flow is one direction of a stream.
type flow struct {
	from, to *wire
	more     chan struct{}

	mu     sync.Mutex // protects chunks
	chunks []chunk
}

// chunk is what has been written at once, and when it arrives; the end of the flow if it is empty.
type chunk struct {
	bytes []byte
	at    time.Time
}

func newFlow(from, to *wire) *flow { return &flow{from: from, to: to, more: make(chan struct{}, 1)} }

func (f *flow) put(b []byte) {
	f.from.sentBytes.Add(int64(len(b)))
	if f.from.cut.Load() || f.to.cut.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at := time.Now()
	if n := len(f.chunks); n > 0 && f.chunks[n-1].at.After(at) {
		at = f.chunks[n-1].at.Add(-latency)
	}
	f.chunks = append(f.chunks, chunk{b, at.Add(latency + f.from.resend(again) + time.Duration(len(b))*perByte)})
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// take returns what has arrived; if nothing has, what to wait for.
func (f *flow) take(b []byte) (n int, wait <-chan time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.chunks) == 0 {
		return 0, nil, nil
	}
	c := &f.chunks[0]
	if d := time.Until(c.at); d > 0 {
		return 0, time.After(d), nil
	}
	if len(c.bytes) == 0 {
		return 0, nil, io.EOF
	}
	n = copy(b, c.bytes)
	f.to.receivedBytes.Add(int64(n))
	if c.bytes = c.bytes[n:]; len(c.bytes) == 0 {
		f.chunks = f.chunks[1:]
	}
	return n, nil, nil
}
