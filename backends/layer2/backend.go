package layer2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/backends"
)

// Config is what a Backend needs to know. The zero value of each field has a meaning.
type Config struct {
	// Exclude matches the names of interfaces that are never used. Nil means DefaultExclude; to exclude none, pass an empty list.
	Exclude []*regexp.Regexp
	// SameSubnet restricts an address to the links whose subnet contains it.
	SameSubnet bool
	// GratuitousInterval is how often addresses are announced unasked after the series at takeover; 0: never.
	GratuitousInterval time.Duration
	// Observer is told of frames; nil: nobody is.
	Observer Observer
	// Changed, if not nil, is called with the usable links once at the start of Run and whenever they change, when everything that
	// is wanted is in effect on them. No lock is held, so it may call the Backend. Calls do not overlap.
	Changed func([]backends.Link)
	// Log is where it logs to; nil: nowhere.
	Log *slog.Logger
}

// Observer is told of frames. Its methods are called from several goroutines, for each frame, and must be fast.
type Observer interface {
	// Received is called for a valid request for an address that is announced.
	Received(addr netip.Addr)
	// Answered is called when the answer was handed to the kernel.
	Answered(addr netip.Addr)
	// Gratuitous is called for each unsolicited frame: twice for an announcement of an IPv4 address, once for one of an IPv6 address.
	Gratuitous(addr netip.Addr)
	// Conflict is called for each frame by which somebody else claims an address that is announced here.
	Conflict(addr netip.Addr, mac net.HardwareAddr, link string)
}

// nobody is an Observer that does not care.
type nobody struct{}

func (nobody) Received(netip.Addr)                           {}
func (nobody) Answered(netip.Addr)                           {}
func (nobody) Gratuitous(netip.Addr)                         {}
func (nobody) Conflict(netip.Addr, net.HardwareAddr, string) {}

// Backend answers ARP requests and neighbour solicitations for addresses. It implements backends.LinkBackend.
type Backend struct {
	exclude    []*regexp.Regexp
	sameSubnet bool
	observer   Observer
	changed    func([]backends.Link)
	log        *slog.Logger
	scheduler  *scheduler
	claims     claims
	subscribe  func() (*subscription, error)
	receivers  sync.WaitGroup
	byIndex    atomic.Pointer[map[int]*responder] // a copy of responders, for the scheduler

	mu         sync.Mutex // protects all the following
	running    bool
	listed     bool                    // the links are known
	want       map[netip.Addr][]string // announced addresses with the names of the interfaces they are restricted to
	responders map[int]*responder      // by index of the link
	own        map[mac]struct{}
	denied     error  // why no socket can be opened, if that will not change
	fault      string // what was logged last of links that cannot be opened
	told       []backends.Link
}

var _ backends.LinkBackend = (*Backend)(nil)

// New returns a Backend that announces nothing yet. It opens and starts nothing before Run.
func New(c Config) *Backend {
	b := &Backend{
		exclude: c.Exclude, sameSubnet: c.SameSubnet, observer: c.Observer, changed: c.Changed, log: c.Log,
		responders: map[int]*responder{}, subscribe: subscribe,
	}
	if b.exclude == nil {
		b.exclude = DefaultExclude
	}
	if b.observer == nil {
		b.observer = nobody{}
	}
	if b.changed == nil {
		b.changed = func([]backends.Link) {}
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.byIndex.Store(&map[int]*responder{})
	b.scheduler = newScheduler(c.GratuitousInterval, b.gratuitous, func(addr netip.Addr, frames int) {
		for range frames {
			b.observer.Gratuitous(addr)
		}
	})
	return b
}

// Apply announces exactly want.Addresses, each on the usable links it may be announced on; it looks at nothing else.
//
// When it returns, requests are answered, or are not any more, and no unsolicited frame is sent for what was withdrawn; the first
// unsolicited frames of what was added follow at once, but at most 20 in a millisecond. An address that no usable link carries at
// present costs a *backends.AnnounceError and is announced as soon as there is such a link; Config.Changed tells when it is worth
// applying again. Before Run has listed the links, the set is only stored, which is no error.
func (b *Backend) Apply(_ context.Context, want backends.NodeDesired) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	b.want = make(map[netip.Addr][]string, len(want.Addresses))
	for _, a := range want.Addresses {
		if err := announceable(a.Addr); err != nil {
			errs = append(errs, &backends.AnnounceError{Prefix: netip.PrefixFrom(a.Addr, a.Addr.BitLen()), Err: err})
			continue
		}
		b.want[a.Addr] = slices.Clone(a.Interfaces)
	}
	if !b.listed {
		return errors.Join(errs...)
	}
	failed, _ := b.distributeLocked()
	for _, addr := range slices.SortedFunc(maps.Keys(failed), netip.Addr.Compare) {
		errs = append(errs, &backends.AnnounceError{Prefix: netip.PrefixFrom(addr, addr.BitLen()), Err: failed[addr]})
	}
	return errors.Join(errs...)
}

// announceable returns why an address cannot be announced on a link, whatever links there are.
func announceable(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return errors.New("there is no address")
	case a.Is4In6():
		return errors.New("an IPv4 address in the form of an IPv6 address has no link layer of its own")
	case a.IsUnspecified(), a.IsLoopback(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return errors.New("it is not the address of a host")
	}
	return nil
}

// distributeLocked makes every responder announce what is wanted on its link, and returns what failed for which address. faulty is set
// if something failed on a link that carries the address.
func (b *Backend) distributeLocked() (failed map[netip.Addr]error, faulty bool) {
	failed = map[netip.Addr]error{}
	carried := make(map[netip.Addr]bool, len(b.want))
	for _, r := range b.sortedLocked() {
		link := r.serves().Link
		addrs := map[netip.Addr]struct{}{}
		for a, interfaces := range b.want {
			if link.Carries(a, interfaces, b.sameSubnet) {
				addrs[a] = struct{}{}
				carried[a] = true
			}
		}
		for a, err := range b.announce(r, addrs, b.own) {
			failed[a] = errors.Join(failed[a], err)
			faulty = true
		}
	}
	for a, interfaces := range b.want {
		if !carried[a] {
			failed[a] = b.whyNotLocked(a, interfaces)
		}
	}
	return failed, faulty
}

// whyNotLocked says why no link carries an address.
func (b *Backend) whyNotLocked(addr netip.Addr, interfaces []string) error {
	links := b.linksLocked()
	names := make([]string, len(links))
	family := 0
	for i, l := range links {
		names[i] = l.Name
		if l.Carries(addr, nil, false) {
			family++
		}
	}
	switch {
	case b.denied != nil:
		return b.denied
	case len(links) == 0:
		return errors.New("no interface of this node is usable at present")
	case family == 0 && addr.Is6():
		return fmt.Errorf("none of the usable interfaces %q has an IPv6 link-local address", names)
	case family == 0:
		return fmt.Errorf("none of the usable interfaces %q speaks ARP", names)
	case len(interfaces) > 0 && !slices.ContainsFunc(links, func(l backends.Link) bool { return l.Carries(addr, interfaces, false) }):
		return fmt.Errorf("none of the interfaces %q is usable at present; usable are %q", interfaces, names)
	}
	return fmt.Errorf("none of the usable interfaces %q has a subnet that contains it", names)
}

// Run opens sockets on the usable links, now and as they change, answers, and announces. It returns nil when ctx ends; the sockets
// are closed then, but what was applied is kept and comes into effect again if Run is called again.
func (b *Backend) Run(ctx context.Context) error {
	b.mu.Lock()
	if b.running {
		b.mu.Unlock()
		return errors.New("the layer 2 backend runs already")
	}
	b.running = true
	b.mu.Unlock()

	schedule, stop := context.WithCancel(ctx)
	var scheduling sync.WaitGroup
	scheduling.Go(func() { b.scheduler.run(schedule) })
	err := b.watch(ctx, b.reconcile)
	stop()
	scheduling.Wait()

	b.mu.Lock()
	for index, r := range b.responders {
		b.close(r)
		delete(b.responders, index)
	}
	b.publishLocked()
	b.running, b.listed, b.denied, b.fault = false, false, nil, ""
	b.mu.Unlock()
	b.receivers.Wait()
	return err
}

// reconcile opens and closes what the links ask for. It returns whether to try again soon.
func (b *Backend) reconcile(t *table) (again bool) {
	b.mu.Lock()
	links := t.usable(b.exclude)
	b.own = t.own()
	for index, r := range b.responders {
		i := slices.IndexFunc(links, func(u usable) bool { return u.index == index })
		if i < 0 || links[i].mac != r.mac || t.fell[index] {
			b.close(r)
			delete(b.responders, index)
		}
	}
	var errs []error
	b.denied = nil
	for _, u := range links {
		r, ok := b.responders[u.index]
		if !ok {
			r = newResponder(u)
			b.responders[u.index] = r
		}
		r.usable = u
		if err := b.open(r); err != nil {
			if !errors.Is(err, os.ErrPermission) {
				errs, again = append(errs, err), true
			} else if b.denied == nil {
				b.denied = backends.Flatten(err)[0] // the others say the same
				errs = append(errs, b.denied)
			}
		}
	}
	b.publishLocked()
	_, faulty := b.distributeLocked() // what fails is an error of the next Apply, too
	again = again || faulty
	first := !b.listed
	b.listed = true
	now := b.linksLocked()
	tell := first || !slices.EqualFunc(b.told, now, backends.Link.Equal)
	b.told = now
	b.noteLocked(errors.Join(errs...))
	b.mu.Unlock()
	if tell {
		b.changed(cloneLinks(now))
	}
	return again
}

// noteLocked logs what is wrong with opening sockets, once as long as it stays the same.
func (b *Backend) noteLocked(err error) {
	message := ""
	if err != nil {
		message = err.Error()
	}
	if message != b.fault && message != "" {
		b.log.Warn("cannot announce on every link", "err", err)
	}
	b.fault = message
}

// publishLocked lets the scheduler know the responders.
func (b *Backend) publishLocked() {
	m := maps.Clone(b.responders)
	b.byIndex.Store(&m)
}

// sortedLocked returns the responders by the names of their links.
func (b *Backend) sortedLocked() []*responder {
	return slices.SortedFunc(maps.Values(b.responders), func(x, y *responder) int { return cmp.Compare(x.Name, y.Name) })
}

func (b *Backend) linksLocked() []backends.Link {
	var out []backends.Link
	for _, r := range b.sortedLocked() {
		if l := r.serves().Link; l.IPv4 || l.IPv6 {
			out = append(out, l)
		}
	}
	return out
}

func cloneLinks(links []backends.Link) []backends.Link {
	out := slices.Clone(links)
	for i := range out {
		out[i].Prefixes = slices.Clone(out[i].Prefixes)
	}
	return out
}

// Links returns the links that can announce at present, by name; none before Run has listed them.
func (b *Backend) Links() []backends.Link {
	b.mu.Lock()
	defer b.mu.Unlock()
	return cloneLinks(b.linksLocked())
}

// Repeat announces addrs again, or everything if none is given, with the whole series of a takeover: for instance after a partition
// has healed.
func (b *Backend) Repeat(addrs ...netip.Addr) { b.scheduler.repeat(addrs) }
