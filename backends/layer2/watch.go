package layer2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// subscription is the kernel's news of interfaces and their addresses.
type subscription struct {
	links  chan netlink.LinkUpdate
	addrs  chan netlink.AddrUpdate
	faults chan error
	done   chan struct{}
}

// newsBuffer is what the kernel may hold until it is read, if net.core.rmem_max allows; when it is exceeded, news are lost and all is
// listed again.
const newsBuffer = 1 << 20

func subscribe() (*subscription, error) {
	s := &subscription{
		links: make(chan netlink.LinkUpdate, 64), addrs: make(chan netlink.AddrUpdate, 64),
		faults: make(chan error, 1), done: make(chan struct{}),
	}
	fault := func(err error) {
		select {
		case s.faults <- err:
		default: // one is enough
		}
	}
	err := netlink.LinkSubscribeWithOptions(s.links, s.done, netlink.LinkSubscribeOptions{ErrorCallback: fault, ReceiveBufferSize: newsBuffer})
	if err != nil {
		close(s.done)
		return nil, fmt.Errorf("subscribe to interfaces: %w", err)
	}
	err = netlink.AddrSubscribeWithOptions(s.addrs, s.done, netlink.AddrSubscribeOptions{ErrorCallback: fault, ReceiveBufferSize: newsBuffer})
	if err != nil {
		close(s.addrs)
		s.close()
		return nil, fmt.Errorf("subscribe to addresses: %w", err)
	}
	return s, nil
}

// close ends the subscription and waits until the goroutines behind it have ended.
func (s *subscription) close() {
	close(s.done)
	for range s.links {
	}
	for range s.addrs {
	}
}

// list returns everything there is at present.
func list() (*table, error) {
	h, err := netlink.NewHandleWithOptions(netlink.HandleOptions{DisableVFInfoCollection: true}, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := whole(func() ([]netlink.Link, error) { return h.LinkList() })
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	t := newTable()
	for _, l := range links {
		t.setLink(l)
	}
	for _, a := range addrs {
		if p, ok := prefixOf(*a.IPNet); ok {
			t.setAddr(a.LinkIndex, p, a.Flags)
		}
	}
	return t, nil
}

// whole lists again if something changed meanwhile.
func whole[T any](list func() ([]T, error)) ([]T, error) {
	for try := 0; ; try++ {
		out, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == 10 {
			return out, err
		}
	}
}

func prefixOf(n net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	p := netip.PrefixFrom(a.Unmap(), ones)
	return p, ok && p.IsValid()
}

// link stores one piece of news.
func (t *table) link(u netlink.LinkUpdate) {
	switch {
	case u.Family != unix.AF_UNSPEC:
		// A bridge tells of its ports; the ports themselves tell, too.
	case u.Header.Type == unix.RTM_DELLINK:
		t.deleteLink(u.Attrs().Index)
	default:
		t.setLink(u.Link)
	}
}

// addr stores one piece of news.
func (t *table) addr(u netlink.AddrUpdate) {
	p, ok := prefixOf(u.LinkAddress)
	switch {
	case !ok:
	case u.NewAddr:
		t.setAddr(u.LinkIndex, p, u.Flags)
	default:
		t.deleteAddr(u.LinkIndex, p)
	}
}

// drain stores all news that are there already.
func (s *subscription) drain(t *table) {
	for {
		select {
		case u, ok := <-s.links:
			if !ok {
				return
			}
			t.link(u)
		case u, ok := <-s.addrs:
			if !ok {
				return
			}
			t.addr(u)
		default:
			return
		}
	}
}

// retryAfter is how long it takes until what could not be opened is tried again.
const retryAfter = time.Second

// watch calls changed with everything there is, and again whenever the kernel has news. changed returns whether it wants to be called
// again soon although nothing has happened. watch returns an error if it cannot begin, and nil when ctx ends.
func (b *Backend) watch(ctx context.Context, changed func(*table) bool) error {
	for again := false; ; again = true {
		began := time.Now()
		err := b.watchOnce(ctx, again, changed)
		if ctx.Err() != nil {
			return nil
		}
		var lost *lostError
		heard := errors.As(err, &lost)
		if !again && !heard {
			return err
		}
		b.log.Warn("lost the kernel's news of interfaces; list them again", "err", err)
		if heard && time.Since(began) > retryAfter {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryAfter):
		}
	}
}

// lostError says that news may have been lost.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }

// watchOnce returns when the news end. If some were lost before, again is set: every link may have been down meanwhile.
func (b *Backend) watchOnce(ctx context.Context, again bool, changed func(*table) bool) error {
	s, err := b.subscribe()
	if err != nil {
		return err
	}
	defer s.close()
	t, err := list()
	if err != nil {
		return err
	}
	if again {
		for index := range t.links {
			t.fell[index] = true
		}
	}
	for {
		s.drain(t)
		var retry <-chan time.Time
		if changed(t) {
			retry = time.After(retryAfter)
		}
		clear(t.fell)
		select {
		case <-ctx.Done():
			return nil
		case <-retry:
		case err := <-s.faults:
			return &lostError{err}
		case u, ok := <-s.links:
			if !ok {
				return &lostError{errors.New("the subscription to interfaces has ended")}
			}
			t.link(u)
		case u, ok := <-s.addrs:
			if !ok {
				return &lostError{errors.New("the subscription to addresses has ended")}
			}
			t.addr(u)
		}
	}
}
