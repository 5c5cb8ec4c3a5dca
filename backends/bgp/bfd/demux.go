package bfd

import (
	"slices"
	"time"
)

const (
	batch      = 64   // datagrams that are handled before others get their turn
	drainLimit = 4096 // more than a receive buffer holds; without a bound, a flood would never let a session end
)

// source is by what a packet finds its session that does not name it.
type source struct {
	peer     [16]byte
	endpoint endpoint
}

func sourceOf(c Config) source { return source{c.Peer.As16(), endpointOf(c)} }

// serve handles what a listener receives, until it is closed.
func (s *Server) serve(l *opened) {
	l.run(func() bool {
		s.mu.Lock()
		defer s.unlock()
		return s.drainLocked(l, batch) > 0
	})
}

// drainLocked handles what a listener has received, at most limit datagrams, and returns how many there were.
func (s *Server) drainLocked(l *opened, limit int) int {
	if l == nil {
		return 0
	}
	for n := range limit {
		d, ok := l.read()
		if !ok {
			return n
		}
		s.handleLocked(time.Now(), l.at, d)
	}
	return limit
}

// handleLocked does what RFC 5880, 6.8.6 says about a datagram, and RFC 5881, 5 about its TTL.
func (s *Server) handleLocked(now time.Time, at endpoint, d datagram) {
	p, reason := parse(d.data)
	var x *session
	switch {
	case reason != accepted:
		x = s.bySourceLocked(at, d) // only to blame the right one
	case p.your != 0:
		if x = s.byDiscriminator[p.your]; x == nil {
			reason = UnknownSession
		} else if !belongs(x, at, d) {
			reason, x = WrongSource, nil
		}
	default:
		if x = s.bySourceLocked(at, d); x == nil {
			reason = UnknownSession
		}
	}
	if reason == accepted && d.ttl < int(x.config.minimumTTL()) {
		reason = WrongTTL
	}
	if reason != accepted {
		s.refuseLocked(now, x, d, reason)
		return
	}
	x.received++
	s.actLocked(now, x, x.machine.receive(now, p))
	s.timeLocked(x, false)
}

// bySourceLocked returns the session that a datagram belongs to by where it comes from; nil: none. A session that is bound to the
// interface or the address it came to goes before one that takes any.
func (s *Server) bySourceLocked(at endpoint, d datagram) *session {
	var best *session
	for _, x := range s.bySource[source{d.from.As16(), at}] {
		if belongs(x, at, d) && (best == nil || specific(x.config) > specific(best.config)) {
			best = x
		}
	}
	return best
}

func specific(c Config) int {
	n := 0
	if c.Interface != "" {
		n += 2
	}
	if c.Local.IsValid() {
		n++
	}
	return n
}

// belongs reports whether a datagram can be a session's.
func belongs(x *session, at endpoint, d datagram) bool {
	c := x.config
	if x.at != at || c.Peer != d.from || c.Local.IsValid() && c.Local != d.to {
		return false
	}
	return c.Interface == "" || x.out != nil && (x.out.index() == d.index || c.VRF != "")
}

// refuseLocked counts a datagram that is not accepted, and says so now and then.
func (s *Server) refuseLocked(now time.Time, x *session, d datagram, reason Reason) {
	s.dropped[reason]++
	if x != nil {
		x.dropped++
	}
	last, log := &s.complained[reason].strangers, s.log.Debug
	if x != nil { // a peer of ours: somebody has to do something about it
		last, log = &s.complained[reason].peers, s.log.Warn
	}
	if now.Sub(*last) < complainInterval {
		return
	}
	*last = now
	log("BFD packet refused", "peer", d.from, "reason", reason.String(), "ttl", d.ttl, "count", s.dropped[reason])
}

// complaint is when it was last said that datagrams were refused.
type complaint struct{ peers, strangers time.Time }

// complainInterval is how long nothing more is said of what is refused for the same reason.
const complainInterval = time.Minute

// indexLocked makes a session be found; unindexLocked ends that.
func (s *Server) indexLocked(x *session) {
	s.byDiscriminator[x.machine.local] = x
	k := sourceOf(x.config)
	s.bySource[k] = append(s.bySource[k], x)
}

func (s *Server) unindexLocked(x *session) {
	delete(s.byDiscriminator, x.machine.local)
	k := sourceOf(x.config)
	rest := slices.DeleteFunc(s.bySource[k], func(y *session) bool { return y == x })
	if s.bySource[k] = rest; len(rest) == 0 {
		delete(s.bySource, k)
	}
}
