package bgp

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// State is a state of RFC 4271, 8.2.2.
type State string

// The states of a session.
const (
	Idle        State = "Idle"    // waits before it tries again
	Connect     State = "Connect" // tries to reach the router
	OpenSent    State = "OpenSent"
	OpenConfirm State = "OpenConfirm"
	Established State = "Established"
)

// Session is how a session is at a moment.
type Session struct {
	Peer      string     // name of the peer
	Address   netip.Addr // of the router; of an unnumbered session once it is found, with the interface as zone
	Interface string
	Port      uint16
	VRF       string

	State  State
	Since  time.Time     // of State
	Uptime time.Duration // since it was established; 0 if it is not
	// LastError says in words why the session ended last, or could not begin; empty if it never failed.
	LastError   string
	LastErrorAt time.Time

	LocalASN uint32
	// PeerASN is what is asked for, or, from OpenConfirm on, what the router says.
	PeerASN uint32

	// What follows is of the present session, from OpenConfirm on.

	LocalAddress           netip.Addr
	RouterID, PeerRouterID netip.Addr
	Families               []string      // ipv4, ipv6
	HoldTime               time.Duration // as negotiated
	GracefulRestart        bool          // both sides do it
	Prefixes               int           // that the router has been told

	// Pending counts the prefixes that the router is to hear and has not been told: there is no session, the router does not take
	// their family, or this side has no address of it that could be the next hop.
	Pending int

	// Counters, since the session was configured.

	Established    uint64 // how often
	Sent, Received Messages
}

// Messages counts messages by their type.
type Messages struct{ Open, Update, Notification, Keepalive, Refresh uint64 }

// Total returns the number of all messages.
func (m Messages) Total() uint64 {
	return m.Open + m.Update + m.Notification + m.Keepalive + m.Refresh
}

// counters counts messages by their type.
type counters [typeRefresh + 1]atomic.Uint64

func (c *counters) add(kind uint8) {
	if int(kind) < len(c) {
		c[kind].Add(1)
	}
}

func (c *counters) messages() Messages {
	return Messages{
		Open: c[typeOpen].Load(), Update: c[typeUpdate].Load(), Notification: c[typeNotification].Load(),
		Keepalive: c[typeKeepalive].Load(), Refresh: c[typeRefresh].Load(),
	}
}

// snapshot returns the session as it is now.
func (s *session) snapshot() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.status
	out.Peer = s.name
	out.Families = slices.Clone(out.Families)
	out.Pending = max(0, len(s.want)-out.Prefixes)
	if out.State == Established {
		out.Uptime = time.Since(out.Since)
	}
	out.Sent, out.Received = s.sent.messages(), s.received.messages()
	return out
}

// enter moves the session to a state; change may set more of the status.
func (s *session) enter(state State, change func(*Session)) {
	s.mu.Lock()
	if s.status.State != state {
		s.status.State, s.status.Since = state, time.Now()
	}
	if change != nil {
		change(&s.status)
	}
	s.mu.Unlock()
	s.changed()
}

// fail notes why a session ended or did not begin. It logs what is new.
func (s *session) fail(why string) {
	s.mu.Lock()
	news := s.status.LastError != why || s.status.State == Established
	name := s.name
	s.mu.Unlock()
	if news {
		s.log.Warn("BGP session is down", "peer", name, "err", why)
	}
	s.enter(Idle, func(x *Session) { x.LastError, x.LastErrorAt = why, time.Now() })
}

// Sessions returns all sessions, by the names of their peers; none unless the Backend runs.
func (b *Backend) Sessions() []Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Session, 0, len(b.sessions))
	for _, s := range b.sessions {
		out = append(out, s.snapshot())
	}
	slices.SortFunc(out, func(x, y Session) int {
		return cmp.Or(cmp.Compare(x.Peer, y.Peer), x.Address.Compare(y.Address))
	})
	return out
}
