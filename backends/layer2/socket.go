package layer2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// socket is a packet socket on one interface. It gives and takes whole Ethernet frames, without an allocation.
type socket struct {
	conn   *packet.Conn
	raw    syscall.RawConn
	closed atomic.Bool // or else a receiver that never catches up would not see the end
}

// receiveBuffer is what the kernel may hold for a socket until it is read; it takes care of a burst without making anybody wait long.
const receiveBuffer = 1 << 20

// openSocket opens a socket that receives nothing before a filter is set.
func openSocket(index int, etherType int) (*socket, error) {
	nothing, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(&net.Interface{Index: index}, packet.Raw, etherType, &packet.Config{Filter: nothing})
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err // the rest says nothing of use
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%w (packet sockets need the capability NET_RAW)", err)
	}
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			// At most net.core.rmem_max is granted. It works with less.
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &socket{conn: conn, raw: raw}, nil
}

// receive calls handle with each frame until the socket is closed, and fault with any other error. The frame is only valid until
// handle returns.
func (s *socket) receive(handle func([]byte), fault func(error)) {
	buf := make([]byte, 2048) // longer than any frame of ARP or NDP that is answered
	var n int
	var readErr error
	read := func(fd uintptr) bool {
		for !s.closed.Load() {
			n, readErr = unix.Read(int(fd), buf)
			switch {
			case readErr == unix.EINTR:
			case readErr == unix.EAGAIN:
				return false
			case readErr != nil:
				return true
			default:
				handle(buf[:n])
			}
		}
		return true
	}
	for {
		if err := s.raw.Read(read); err != nil || s.closed.Load() {
			return
		}
		fault(readErr)
	}
}

// errBusy says that the kernel takes no more frames at the moment.
var errBusy = errors.New("the send buffer is full")

// send hands a frame to the kernel without waiting.
func (s *socket) send(frame []byte) error {
	var sendErr error
	err := s.raw.Control(func(fd uintptr) { sendErr = write(fd, frame) })
	if err != nil {
		return err
	}
	return sendErr
}

// sendWaiting hands a frame to the kernel as soon as there is room in the send buffer.
func (s *socket) sendWaiting(frame []byte) error {
	err := s.send(frame)
	if err != errBusy {
		return err
	}
	waitErr := s.raw.Write(func(fd uintptr) bool {
		err = write(fd, frame)
		return err != errBusy
	})
	if waitErr != nil {
		return waitErr
	}
	return err
}

func write(fd uintptr, frame []byte) error {
	for {
		_, err := unix.Write(int(fd), frame)
		switch err {
		case unix.EINTR:
		case unix.EAGAIN:
			return errBusy
		default:
			return err
		}
	}
}

// filter replaces the socket's filter, at once and as a whole. A kernel that has not got the memory for an exact one
// (net.core.optmem_max) gets a shorter one.
func (s *socket) filter(make build, addrs []netip.Addr, own mac) error {
	for limit := maxInstructions; ; limit /= 2 {
		raw, err := bpf.Assemble(hosted(make(addrs, own, limit-8)))
		if err != nil {
			return err
		}
		err = s.conn.SetBPF(raw)
		if err == nil || limit < 128 || !errors.Is(err, unix.ENOMEM) {
			return err
		}
	}
}

func (s *socket) close() {
	s.closed.Store(true)
	_ = s.conn.Close()
}
