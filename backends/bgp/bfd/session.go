package bfd

import (
	"fmt"
	"time"
)

// session is a machine and what it needs. Server.mu guards it.
type session struct {
	config  Config
	machine *machine
	at      endpoint
	out     sender // nil as long as it cannot be opened
	retryAt time.Time
	fault   string
	said    logged
	leaving time.Time // when it goes for good, once it is not wanted any more; zero: it is
	counters
	pending []Status // for Options.Changed

	due   time.Time // when the timers look at it next
	place int       // among the timers; -1: none
}

// logged keeps the log of a session short, whatever its peer or its link does.
type logged struct {
	fault   string // the last that was logged, and when
	faultAt time.Time
	changes int // since then
	since   time.Time
}

// The log has so many changes of a session in a complainInterval; the rest is for those who debug.
const loggedChanges = 10

// counters are those of Counters that the machine does not keep.
type counters struct{ sent, received, dropped, sendErrors uint64 }

func (s *session) status() Status {
	m := s.machine
	return Status{
		State: m.state, Remote: m.remote.state, Diagnostic: m.diagnostic, RemoteDiagnostic: m.remote.diagnostic,
		Since: m.since, Failed: m.failed,
		TransmitInterval: m.interval(), ReceiveInterval: max(m.expecting, m.remote.minTx), DetectionTime: m.detectionTime(),
		RemoteMultiplier: m.remote.multiplier,
		Fault:            s.fault,
		Counters: Counters{
			ControlSent: s.sent, ControlReceived: s.received, Dropped: s.dropped, SendErrors: s.sendErrors,
			SessionUp: m.ups, SessionDown: m.downs,
		},
	}
}

// timingOf is what the machine of a session is configured with.
func (s *Server) timingOf(c Config) timing {
	t := timing{transmit: c.TransmitInterval, receive: c.ReceiveInterval, multiplier: c.DetectMultiplier, passive: c.Passive}
	if c.EchoMode && c.Peer.Is4() && !c.MultiHop && s.network.returns(c) {
		t.echo = c.EchoInterval
	}
	return t
}

// next returns when something is to be done for the session; zero: not before another event.
func (s *session) next() time.Time {
	at := s.machine.next()
	for _, t := range []time.Time{s.retryAt, s.leaving} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// retryInterval is how often it is tried to open what could not be opened.
const retryInterval = time.Second

// openLocked opens what the session needs and has not got.
func (s *Server) openLocked(now time.Time, x *session) error {
	x.retryAt = time.Time{}
	err := s.listenLocked(x.at)
	if err == nil && x.out == nil {
		x.out, err = s.network.dial(x.config)
	}
	if err != nil {
		err = fmt.Errorf("BFD session with %s: %w", x.config.Key(), err)
		s.faultLocked(now, x, err)
		return err
	}
	if bound(x.config) && x.machine.state == Down { // its device may be replaced, also while nothing is sent
		x.retryAt = now.Add(retryInterval)
	}
	return nil
}

// repairLocked opens what could not be opened, and again what is bound to a device that has been replaced by another of the same name.
func (s *Server) repairLocked(now time.Time, x *session) {
	if x.out != nil && x.out.stale() {
		x.out.close()
		x.out = nil
		if x.at.vrf != "" {
			s.unlistenLocked(x.at)
		}
	}
	_ = s.openLocked(now, x) // what fails is noted, and tried again
}

func bound(c Config) bool { return c.Interface != "" || c.VRF != "" }

// faultLocked notes why a session cannot work, and to try again later.
func (s *Server) faultLocked(now time.Time, x *session, err error) {
	x.fault = err.Error()
	if x.said.fault != x.fault || now.Sub(x.said.faultAt) >= complainInterval {
		s.log.Warn("BFD session cannot send", "peer", x.config.Peer, "session", x.config.Key().String(), "err", err)
		x.said.fault, x.said.faultAt = x.fault, now
	}
	if x.retryAt.IsZero() {
		x.retryAt = now.Add(retryInterval)
		s.timeLocked(x, false)
	}
}

// actLocked does what a machine asks for.
func (s *Server) actLocked(now time.Time, x *session, a actions) {
	if a.changed {
		s.changedLocked(now, x)
		if x.retryAt.IsZero() && bound(x.config) && x.machine.state == Down {
			x.retryAt = now.Add(retryInterval)
			s.timeLocked(x, false)
		}
	}
	if !a.send {
		return
	}
	p, ok := x.machine.packet(now, a.final)
	if !ok || x.out == nil {
		return
	}
	s.buffer = p.append(s.buffer[:0])
	if err := x.out.send(s.buffer); err != nil {
		x.sendErrors++ // most pass: no route, a link without carrier, no buffer
		s.faultLocked(now, x, fmt.Errorf("BFD session with %s: send: %w", x.config.Key(), err))
		return
	}
	x.sent++
	if x.fault != "" {
		s.log.Debug("BFD session can send again", "peer", x.config.Peer, "session", x.config.Key().String())
		x.fault = ""
	}
}

// dueLocked does what is due for a session.
func (s *Server) dueLocked(now time.Time, x *session) {
	if !x.leaving.IsZero() && !now.Before(x.leaving) {
		s.dropLocked(x)
		return
	}
	if !x.retryAt.IsZero() && !now.Before(x.retryAt) {
		s.repairLocked(now, x)
	}
	if x.machine.lost(now) {
		s.drainLocked(s.listeners[x.at], drainLimit)
	}
	s.actLocked(now, x, x.machine.tick(now))
}

// changedLocked notes a change of state for Options.Changed, and logs it. What the receiver is behind with is bounded: the last
// status that is not Up, and the Up after it.
func (s *Server) changedLocked(now time.Time, x *session) {
	st := x.status()
	attrs := []any{"peer", x.config.Peer, "session", x.config.Key().String(), "state", st.State.String(), "diagnostic", st.Diagnostic.String(),
		"remoteState", st.Remote.String(), "remoteDiagnostic", st.RemoteDiagnostic.String()}
	if now.Sub(x.said.since) >= complainInterval {
		x.said.since, x.said.changes = now, 0
	}
	x.said.changes++
	switch {
	case x.said.changes > loggedChanges:
		s.log.Debug("BFD session changed", attrs...)
	case st.State == Up:
		s.log.Info("BFD session is up", attrs...)
	case st.Failed && st.State == Down:
		s.log.Warn("BFD session is down", attrs...)
	default:
		s.log.Debug("BFD session changed", attrs...)
	}
	if s.changed == nil {
		return
	}
	if len(x.pending) == 0 {
		s.news = append(s.news, x)
	}
	if st.State == Up && len(x.pending) > 0 && x.pending[0].State != Up {
		x.pending = append(x.pending[:1], st)
	} else {
		x.pending = append(x.pending[:0], st)
	}
	select {
	case s.told <- struct{}{}:
	default:
	}
}
