package layer2

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// responder is what is open on one link. Its fields are guarded by Backend.mu, but for those that are atomic.
type responder struct {
	usable
	arp, ndp  atomic.Pointer[socket] // nil if the link does not speak it, or it could not be opened
	groups    *groups
	announced map[netip.Addr]struct{}
	// stale is set if what the sockets do is not what announced says, because a filter could not be set.
	stale bool
	state atomic.Pointer[state]
	done  chan struct{} // closed when the responder is
}

func newResponder(u usable) *responder {
	r := &responder{usable: u, announced: map[netip.Addr]struct{}{}, groups: newGroups(u.index), done: make(chan struct{})}
	r.state.Store(&state{link: u.Name, index: u.index, mac: u.mac})
	return r
}

// serves returns the link as it can be used at present.
func (r *responder) serves() usable {
	u := r.usable
	u.IPv4, u.IPv6 = r.arp.Load() != nil, r.ndp.Load() != nil
	return u
}

// open opens the sockets that the link needs and has not got, and closes those it needs no more.
func (b *Backend) open(r *responder) error {
	arpErr := b.openOne(r, &r.arp, r.IPv4, "ARP")
	ndpErr := b.openOne(r, &r.ndp, r.IPv6, "NDP")
	return errors.Join(arpErr, ndpErr)
}

func (b *Backend) openOne(r *responder, at *atomic.Pointer[socket], wanted bool, protocol string) error {
	etherType, decide := etherTypeARP, decideARP
	if protocol == "NDP" {
		etherType, decide = etherTypeIPv6, decideNDP
	}
	s := at.Load()
	switch {
	case s != nil && !wanted:
		at.Store(nil)
		s.close()
	case s == nil && wanted:
		s, err := openSocket(r.index, etherType)
		if err != nil {
			return fmt.Errorf("open an %s socket on %q: %w", protocol, r.Name, err)
		}
		at.Store(s)
		r.stale = true // its filter lets nothing through
		b.receivers.Go(func() {
			s.receive(func(frame []byte) { b.handle(r, s, decide(frame, r.state.Load())) }, func(err error) { b.receiveFault(r, err) })
		})
	}
	return nil
}

// receiveFault is told that reading failed. A link that went down says so once; anything else must not keep a processor busy.
func (b *Backend) receiveFault(r *responder, err error) {
	b.log.Debug("receiving failed", "iface", r.state.Load().link, "err", err)
	select {
	case <-r.done:
	case <-time.After(10 * time.Millisecond):
	}
}

// handle does what was decided about a frame that came on a link.
func (b *Backend) handle(r *responder, s *socket, v verdict) {
	switch {
	case v.reply != nil:
		b.observer.Received(v.addr)
		if err := s.sendWaiting(v.reply); err != nil {
			b.log.Debug("could not answer", "addr", v.addr, "iface", r.state.Load().link, "err", err)
			return
		}
		b.observer.Answered(v.addr)
	case v.claimant != mac{}:
		st := r.state.Load()
		b.observer.Conflict(v.addr, v.claimant.hardware(), st.link)
		if b.claims.log(claim{v.addr, v.claimant}, time.Now()) {
			b.log.Warn("somebody else claims an address that is announced here", "addr", v.addr, "mac", v.claimant.hardware().String(), "iface",
				st.link)
		}
		b.scheduler.defend(place{st.index, v.addr})
	}
}

// announce makes a responder answer for exactly addrs, and returns what failed for which of them. With nothing to change, it does
// nothing. The state is replaced before the filter: what the filter lets through is always known to the state, and what is withdrawn
// is answered no more although the filter may still let it through.
func (b *Backend) announce(r *responder, addrs map[netip.Addr]struct{}, own map[mac]struct{}) map[netip.Addr]error {
	failed := map[netip.Addr]error{}
	for a := range addrs {
		if _, ok := r.announced[a]; !ok && a.Is6() {
			if err := r.groups.join(a); err != nil {
				failed[a] = fmt.Errorf("on %q: %w", r.Name, err)
				delete(addrs, a)
			}
		}
	}
	added, removed := difference(addrs, r.announced), difference(r.announced, addrs)
	r.announced = addrs
	old := r.state.Load()
	if len(added)+len(removed) > 0 || old.local != r.local || old.link != r.Name || !maps.Equal(old.own, own) {
		r.state.Store(&state{link: r.Name, index: r.index, mac: r.mac, local: r.local, addrs: addrs, own: own})
	}
	if len(added)+len(removed) > 0 || r.stale {
		if err := r.filter(); err != nil {
			r.stale = true
			for a := range addrs {
				failed[a] = fmt.Errorf("set the filter on %q: %w", r.Name, err)
			}
		}
	}
	for _, a := range added {
		b.scheduler.start(place{r.index, a})
	}
	for _, a := range removed {
		b.scheduler.stop(place{r.index, a})
		if a.Is6() {
			r.groups.leave(a)
		}
	}
	return failed
}

// filter sets the filters of both sockets to what is announced.
func (r *responder) filter() error {
	var v4, v6 []netip.Addr
	for a := range r.announced {
		if a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	slices.SortFunc(v4, netip.Addr.Compare)
	slices.SortFunc(v6, netip.Addr.Compare)
	var errs []error
	if s := r.arp.Load(); s != nil {
		errs = append(errs, s.filter(arpFilter, v4, r.mac))
	}
	if s := r.ndp.Load(); s != nil {
		errs = append(errs, s.filter(ndpFilter, v6, r.mac))
	}
	r.stale = false
	return errors.Join(errs...)
}

// close ends everything on the link. Nothing is withdrawn.
func (b *Backend) close(r *responder) {
	for a := range r.announced {
		b.scheduler.stop(place{r.index, a})
	}
	r.announced = map[netip.Addr]struct{}{}
	r.state.Store(&state{link: r.Name, index: r.index, mac: r.mac})
	close(r.done)
	for _, s := range []*atomic.Pointer[socket]{&r.arp, &r.ndp} {
		if s := s.Swap(nil); s != nil {
			s.close()
		}
	}
	r.groups.close()
}

// gratuitous announces an address on a link once.
func (b *Backend) gratuitous(p place) (int, error) {
	r, ok := (*b.byIndex.Load())[p.link]
	if !ok {
		return 0, nil
	}
	st, s, frames := r.state.Load(), r.arp.Load(), gratuitousARP
	if p.addr.Is6() {
		s, frames = r.ndp.Load(), gratuitousNDP
	}
	if s == nil || p.addr.Is6() && !st.local.IsValid() {
		return 0, nil
	}
	sent := 0
	for _, f := range frames(p.addr, st) {
		if err := s.send(f); err != nil {
			if err != errBusy && !errors.Is(err, os.ErrClosed) {
				b.log.Debug("could not announce", "addr", p.addr, "iface", st.link, "err", err)
			}
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// difference returns, sorted, what is in a and not in b.
func difference(a, b map[netip.Addr]struct{}) []netip.Addr {
	var out []netip.Addr
	for x := range a {
		if _, ok := b[x]; !ok {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}
