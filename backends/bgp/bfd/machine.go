package bfd

import "time"

// slow is the shortest interval that a session which is not Up may ask for (RFC 5880, 6.8.3).
const slow = time.Second

// timing is what a machine is configured with.
type timing struct {
	transmit, receive time.Duration
	multiplier        uint8
	passive           bool
	echo              time.Duration // what the peer's echo packets may follow each other in; 0: they are not returned
}

// remote is what is known of the other side. The names in RFC 5880, 6.8.1 are in brackets.
type remote struct {
	state         State // [RemoteSessionState]
	diagnostic    Diagnostic
	discriminator uint32 // [RemoteDiscr]; 0: it was not heard for a detection time
	minTx, minRx  time.Duration
	multiplier    uint8 // 0 as long as discriminator is
	demand        bool
}

// machine is the state machine of one session (RFC 5880, 6.8). It has no clock and no socket: every event comes with the time at which
// it happens, and what is to be done comes back as actions. Nothing happens by itself; tick is to be called at next.
type machine struct {
	timing
	local  uint32         // [LocalDiscr]
	jitter func() float64 // in [0, 1)

	state      State
	diagnostic Diagnostic
	since      time.Time // of state
	failed     bool      // see Status.Failed
	ups, downs uint64
	echoFailed bool // the peer says that its echo packets do not come back
	remote     remote

	// desired and required are what packets say [DesiredMinTxInterval, RequiredMinRxInterval]; sending and expecting what holds: the
	// same, unless the peer has to know first (6.8.3).
	desired, required, sending, expecting time.Duration
	polling                               bool // a Poll Sequence is under way
	pollAgain                             bool // and is followed by another: what it was about has changed meanwhile

	sent, heard          time.Time     // last
	scheduled            time.Duration // the interval that transmitAt comes from
	transmitAt, detectAt time.Time     // zero: never
}

// actions is what an event asks for.
type actions struct {
	send    bool // a packet, at once
	final   bool // which answers a Poll
	changed bool // the state is another
}

func newMachine(now time.Time, local uint32, t timing, jitter func() float64) *machine {
	m := &machine{timing: t, local: local, jitter: jitter, state: Down, since: now}
	m.remote.state = Down
	m.forget()
	m.desired, m.required = max(slow, t.transmit), t.receive
	m.sending, m.expecting = m.desired, m.required
	m.schedule(now)
	return m
}

// forget drops what goes with a peer that is not heard (6.8.1).
func (m *machine) forget() {
	m.remote = remote{state: m.remote.state, diagnostic: m.remote.diagnostic, minRx: time.Microsecond}
	m.polling, m.pollAgain = false, false
	m.sending, m.expecting = m.desired, m.required
}

// transition returns the state that follows (6.8.6; the diagram is in 6.2).
func transition(s, received State) State {
	switch {
	case s == AdminDown:
		return AdminDown
	case received == AdminDown:
		return Down
	case s == Down && received == Down:
		return Init
	case s == Down && received == Init, s == Init && received >= Init:
		return Up
	case s == Up && received == Down:
		return Down
	}
	return s
}

// receive is told of a packet of this session that is to be accepted (6.8.6).
func (m *machine) receive(now time.Time, p packet) actions {
	m.remote = remote{
		state: p.state, diagnostic: p.diagnostic, discriminator: p.my, minTx: p.minTx, minRx: p.minRx, multiplier: p.multiplier,
		demand: p.demand,
	}
	if p.final {
		m.finish()
	}
	if m.state == AdminDown {
		m.schedule(now)
		return actions{}
	}
	if p.state == Down && p.diagnostic == EchoFunctionFailed {
		m.echoFailed = true
	}
	m.heard = now
	out := m.enter(now, transition(m.state, p.state), NeighborSignaledSessionDown)
	m.schedule(now)
	if p.poll {
		out.send, out.final = true, true
	}
	return out
}

// tick does what is due. If lost says so, what has been received and not been read is to be handed to receive first.
func (m *machine) tick(now time.Time) actions {
	var out actions
	if m.lost(now) {
		m.forget()
		if m.state == Init || m.state == Up {
			out = m.enter(now, Down, ControlDetectionTimeExpired)
		}
		m.schedule(now)
	}
	if !m.transmitAt.IsZero() && !now.Before(m.transmitAt) {
		out.send = true
	}
	return out
}

// lost reports whether the detection time has passed since a packet was received.
func (m *machine) lost(now time.Time) bool { return !m.detectAt.IsZero() && !now.Before(m.detectAt) }

// next returns when tick is due; zero: not before another event.
func (m *machine) next() time.Time {
	if m.detectAt.IsZero() || !m.transmitAt.IsZero() && m.transmitAt.Before(m.detectAt) {
		return m.transmitAt
	}
	return m.detectAt
}

// disable takes the session down for its administrator, for good (6.8.16).
func (m *machine) disable(now time.Time) actions {
	out := m.enter(now, AdminDown, AdministrativelyDown)
	m.schedule(now)
	return out
}

// configure changes how the session is run. A session that is Up stays Up.
func (m *machine) configure(now time.Time, t timing) {
	m.echoFailed = m.echoFailed && t.echo == m.echo
	m.timing = t
	m.advertise()
	m.schedule(now)
}

// enter changes the state, if it is another.
func (m *machine) enter(now time.Time, to State, why Diagnostic) actions {
	if to == m.state {
		return actions{}
	}
	switch {
	case to == Up:
		m.ups++
		m.failed = false
	case m.state == Up:
		m.downs++
		m.failed = to == Down && !(why == NeighborSignaledSessionDown && m.remote.state == AdminDown)
	}
	if to <= Down {
		m.diagnostic = why
	}
	m.state, m.since = to, now
	m.advertise()
	return actions{send: true, changed: true} // sooner than the next interval ends: 6.8.7 asks for it where contents change
}

// advertise brings what packets say up to date. If they say something else from now on, the peer is polled, and what would take it by
// surprise waits for its answer: sending less often, and giving it less time (6.8.3).
func (m *machine) advertise() {
	desired, required := m.timing.transmit, m.timing.receive
	if m.state != Up {
		desired = max(slow, desired)
	}
	if desired == m.desired && required == m.required {
		return
	}
	m.desired, m.required = desired, required
	if m.remote.discriminator == 0 { // nobody would answer
		m.sending, m.expecting = desired, required
		return
	}
	m.pollAgain = m.polling
	m.polling = true
	if m.state == Up {
		m.sending, m.expecting = min(m.sending, desired), max(m.expecting, required)
	} else {
		m.sending, m.expecting = desired, required
	}
}

// finish is told that the peer answers a Poll (6.5). If the Poll has changed while it was under way, the answer may be to the older.
func (m *machine) finish() {
	switch {
	case !m.polling:
	case m.pollAgain:
		m.pollAgain = false
	default:
		m.polling = false
		m.sending, m.expecting = m.desired, m.required
	}
}

// mayTransmit reports whether packets may be sent that answer no Poll (6.8.7).
func (m *machine) mayTransmit() bool {
	switch {
	case m.passive && m.remote.discriminator == 0:
		return false
	case m.remote.minRx == 0:
		return false
	case m.remote.demand && m.state == Up && m.remote.state == Up:
		return m.polling
	}
	return true
}

// interval is the time between packets, before jitter.
func (m *machine) interval() time.Duration { return max(m.sending, m.remote.minRx) }

// detectionTime is how long nothing may be heard (6.8.4); 0 if nothing was heard anyway.
func (m *machine) detectionTime() time.Duration {
	return time.Duration(m.remote.multiplier) * max(m.expecting, m.remote.minTx)
}

// schedule brings transmitAt and detectAt up to date. A shorter interval counts from the last packet, at once (6.8.3); a longer one
// from the next.
func (m *machine) schedule(now time.Time) {
	if interval := m.interval(); !m.mayTransmit() {
		m.transmitAt = time.Time{}
	} else if m.transmitAt.IsZero() || interval < m.scheduled {
		at := m.sent.Add(m.jittered(interval))
		if at.Before(now) {
			at = now
		}
		if m.transmitAt.IsZero() || at.Before(m.transmitAt) {
			m.transmitAt = at
		}
		m.scheduled = interval
	}
	m.detectAt = time.Time{}
	if m.remote.multiplier != 0 && m.state != AdminDown {
		m.detectAt = m.heard.Add(m.detectionTime())
	}
}

// jittered takes up to a quarter from an interval; at least a tenth if one packet that is late takes the session down (6.8.7).
func (m *machine) jittered(interval time.Duration) time.Duration {
	low, high := 0.75, 1.0
	if m.multiplier == 1 {
		high = 0.9
	}
	return time.Duration(float64(interval) * (low + (high-low)*m.jitter()))
}

// packet returns the packet that an event asks for; false if none may be sent. A Final is sent in addition to those that are sent
// periodically.
func (m *machine) packet(now time.Time, final bool) (packet, bool) {
	p := packet{
		diagnostic: m.diagnostic, state: m.state, poll: m.polling && !final, final: final, multiplier: m.multiplier,
		my: m.local, your: m.remote.discriminator, minTx: m.desired, minRx: m.required,
	}
	if !m.echoFailed {
		p.echo = m.echo
	}
	if final {
		return p, true
	}
	if !m.mayTransmit() {
		return p, false
	}
	m.sent, m.scheduled = now, m.interval()
	m.transmitAt = now.Add(m.jittered(m.scheduled))
	return p, true
}
