package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// told is what a router hears of a set of routes. The set is never changed, so that it is the plan's own.
type told struct {
	routes   map[netip.Prefix]*route
	draining bool // RFC 8326
}

// of returns how a prefix is told; nil if it is not.
func (t told) of(p netip.Prefix) *route {
	r := t.routes[p]
	if r != nil && t.draining {
		r = r.drained()
	}
	return r
}

// alike reports whether a prefix of both is told in the same way.
func (t told) alike(o told, p netip.Prefix) bool {
	return t.draining == o.draining && t.routes[p] == o.routes[p] || t.of(p).equal(o.of(p))
}

// group is prefixes of a family that are told in the same way, sorted.
type group struct {
	family   family
	how      attributes
	prefixes []netip.Prefix
}

// group puts prefixes, which are sorted, into groups; they are sorted by their first prefixes.
func (m *manner) group(prefixes []netip.Prefix, t told) ([]*group, error) {
	type kind struct {
		family family
		route  *route
	}
	type octets struct {
		family        family
		before, after string
	}
	var out []*group
	known, same := map[kind]*group{}, map[octets]*group{}
	for _, p := range prefixes {
		k := kind{familyOf(p), t.routes[p]}
		g := known[k]
		if g == nil {
			a, err := m.attributes(t.of(p), m.hops.of(p), m.plain(k.family))
			if err != nil {
				return nil, err
			}
			o := octets{k.family, string(a.before), string(a.after)}
			if g = same[o]; g == nil {
				g = &group{family: k.family, how: a}
				same[o] = g
				out = append(out, g)
			}
			known[k] = g
		}
		g.prefixes = append(g.prefixes, p)
	}
	return out, nil
}

// change returns the UPDATEs that make what a router has heard, had, what it is to hear, want: first what is to be told, then what is not
// any more. It also returns how many prefixes the router has then.
func (m *manner) change(had, want told) (updates [][]byte, n int, err error) {
	var fresh []netip.Prefix
	for p := range want.routes {
		if !m.hops.of(p).IsValid() {
			continue
		}
		n++
		if had.routes[p] == nil || !want.alike(had, p) {
			fresh = append(fresh, p)
		}
	}
	slices.SortFunc(fresh, netip.Prefix.Compare)
	groups, err := m.group(fresh, want)
	if err != nil {
		return nil, 0, err
	}
	for _, g := range groups {
		updates = append(updates, m.announce(g.family, g.prefixes, g.how)...)
	}
	gone := map[family][]netip.Prefix{}
	for p := range had.routes {
		if want.routes[p] == nil && m.hops.of(p).IsValid() {
			gone[familyOf(p)] = append(gone[familyOf(p)], p)
		}
	}
	for _, f := range []family{ipv4, ipv6} {
		if len(gone[f]) > 0 {
			slices.SortFunc(gone[f], netip.Prefix.Compare)
			updates = append(updates, withdraw(f, gone[f])...)
		}
	}
	return updates, n, nil
}

// setRoutes makes routes what the router hears.
func (s *session) setRoutes(name string, routes map[netip.Prefix]*route) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name, s.want = name, routes
	return s.syncLocked()
}

// syncLocked hands the wire what has changed. While the wire has yet to send what changed before, it does so later: a router that takes
// little hears less often, and no queue grows.
func (s *session) syncLocked() error {
	if !s.tells {
		return nil
	}
	if s.stale = len(s.queue) > 0; s.stale {
		return nil
	}
	want := told{s.want, s.draining}
	updates, n, err := s.manner.change(s.told, want)
	if err != nil {
		return fmt.Errorf("make UPDATEs for peer %q: %w", s.name, err)
	}
	s.told, s.status.Prefixes = want, n
	s.enqueueLocked(updates)
	return nil
}

func (s *session) enqueueLocked(updates [][]byte) {
	s.queue = append(s.queue, updates...)
	if len(s.queue) > 0 {
		select {
		case s.work <- struct{}{}:
		default:
		}
	}
}

// beginLocked has a router be told everything.
func (s *session) beginLocked() error {
	s.tells, s.told = true, told{}
	if err := s.syncLocked(); err != nil {
		return err
	}
	s.enqueueLocked(s.endsOfRIBLocked())
	return nil
}

// againLocked has the router be told everything anew, as it asks for by ROUTE-REFRESH (RFC 2918).
func (s *session) againLocked() error {
	updates, _, err := s.manner.change(told{}, s.told)
	if err != nil {
		return err
	}
	s.enqueueLocked(append(updates, s.endsOfRIBLocked()...))
	return nil
}

// endsOfRIBLocked returns the End-of-RIB of each family, for which a router waits that does graceful restart (RFC 4724, 4.2).
func (s *session) endsOfRIBLocked() [][]byte {
	var out [][]byte
	for _, f := range []family{ipv4, ipv6} {
		if s.status.GracefulRestart && slices.Contains(s.status.Families, f.String()) {
			out = append(out, endOfRIB(f))
		}
	}
	return out
}

// endLocked forgets what the router has heard.
func (s *session) endLocked() {
	s.tells, s.told, s.queue, s.stale, s.status.Prefixes = false, told{}, nil, false, 0
	s.sentLocked()
}

// sentLocked lets go who waits for everything to be sent.
func (s *session) sentLocked() {
	close(s.sentAll)
	s.sentAll = make(chan struct{})
}

// chunk is how much is sent before it is seen what else there is to do.
const chunk = 64 << 10

// tell sends what is in the queue, or a part of it.
func (w *wire) tell(ctx context.Context) error {
	w.mu.Lock()
	n := 0
	for size := 0; n < len(w.queue) && size < chunk; n++ {
		size += len(w.queue[n])
	}
	batch := w.queue[:n]
	w.mu.Unlock()
	if err := w.send(ctx, typeUpdate, batch...); err != nil {
		return err
	}
	w.mu.Lock()
	w.queue = w.queue[n:]
	late := len(w.queue) == 0 && w.stale
	var err error
	if late {
		err = w.syncLocked()
	}
	if len(w.queue) > 0 {
		w.enqueueLocked(nil)
	} else {
		w.queue = nil
		w.sentLocked()
	}
	w.mu.Unlock()
	if late {
		w.changed()
	}
	return err
}

// flushed waits until the router has been sent everything that it is to hear, for some time.
func (s *session) flushed(ctx context.Context, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		s.mu.Lock()
		sent, done := s.sentAll, !s.tells || len(s.queue) == 0 && !s.stale
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-sent:
		case <-ctx.Done():
			return
		}
	}
}
