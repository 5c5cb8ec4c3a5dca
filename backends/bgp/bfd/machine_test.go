package bfd

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const fast = 50 * time.Millisecond

// bench is a machine with a clock that the test moves.
type bench struct {
	t   *testing.T
	now time.Time
	m   *machine
}

// newBench has no jitter: intervals are three quarters of what they are at most.
func newBench(t *testing.T, tm timing) *bench {
	now := time.Unix(1_000_000, 0)
	return &bench{t: t, now: now, m: newMachine(now, 7, tm, func() float64 { return 0 })}
}

var usual = timing{transmit: fast, receive: fast, multiplier: 3}

// peer is a packet of a peer that knows the session.
func peer(s State) packet {
	return packet{state: s, multiplier: 3, my: 9, your: 7, minTx: fast, minRx: fast}
}

// put brings the machine into a state.
func (b *bench) put(s State) {
	b.t.Helper()
	switch s {
	case AdminDown:
		b.m.disable(b.now)
	case Init:
		b.m.receive(b.now, peer(Down))
	case Up:
		b.m.receive(b.now, peer(Init))
		b.m.packet(b.now, false)
		final := peer(Up)
		final.final = true
		b.m.receive(b.now, final)
		require.False(b.t, b.m.polling)
	}
	require.Equal(b.t, s, b.m.state)
}

// send takes the packet that is asked for.
func (b *bench) send(final bool) packet {
	b.t.Helper()
	p, ok := b.m.packet(b.now, final)
	require.True(b.t, ok)
	return p
}

// pass lets time pass until something is due, and does it.
func (b *bench) pass() actions {
	b.t.Helper()
	require.False(b.t, b.m.next().IsZero())
	b.now = b.m.next()
	return b.m.tick(b.now)
}

// TestTransitions is the diagram of RFC 5880, 6.2 and the text of 6.8.6 and 6.8.4, every state with every event.
func TestTransitions(t *testing.T) {
	const expired = State(99) // the detection time
	for _, tc := range []struct {
		from, event, to State
		diagnostic      Diagnostic
	}{
		{AdminDown, AdminDown, AdminDown, AdministrativelyDown},
		{AdminDown, Down, AdminDown, AdministrativelyDown},
		{AdminDown, Init, AdminDown, AdministrativelyDown},
		{AdminDown, Up, AdminDown, AdministrativelyDown},
		{Down, AdminDown, Down, NoDiagnostic},
		{Down, Down, Init, NoDiagnostic},
		{Down, Init, Up, NoDiagnostic},
		{Down, Up, Down, NoDiagnostic},
		{Down, expired, Down, NoDiagnostic},
		{Init, AdminDown, Down, NeighborSignaledSessionDown},
		{Init, Down, Init, NoDiagnostic},
		{Init, Init, Up, NoDiagnostic},
		{Init, Up, Up, NoDiagnostic},
		{Init, expired, Down, ControlDetectionTimeExpired},
		{Up, AdminDown, Down, NeighborSignaledSessionDown},
		{Up, Down, Down, NeighborSignaledSessionDown},
		{Up, Init, Up, NoDiagnostic},
		{Up, Up, Up, NoDiagnostic},
		{Up, expired, Down, ControlDetectionTimeExpired},
	} {
		name := fmt.Sprintf("%s receives %s", tc.from, tc.event)
		if tc.event == expired {
			name = fmt.Sprintf("%s hears nothing", tc.from)
		}
		t.Run(name, func(t *testing.T) {
			b := newBench(t, usual)
			b.put(tc.from)
			var out actions
			if tc.event == expired {
				if tc.from == Down { // with a peer that it has heard
					b.m.receive(b.now, peer(Up))
				}
				b.now = b.now.Add(b.m.detectionTime() - 1)
				require.False(t, b.m.lost(b.now))
				b.now = b.now.Add(1)
				require.True(t, b.m.lost(b.now))
				out = b.m.tick(b.now)
				assert.Zero(t, b.m.remote.discriminator, "6.8.1")
				assert.False(t, b.m.lost(b.now.Add(time.Hour)))
			} else {
				out = b.m.receive(b.now, peer(tc.event))
				assert.Equal(t, tc.event, b.m.remote.state)
				assert.Equal(t, tc.from != AdminDown, b.m.lost(b.now.Add(b.m.detectionTime())))
			}
			assert.Equal(t, tc.to, b.m.state)
			assert.Equal(t, tc.diagnostic, b.m.diagnostic)
			assert.Equal(t, tc.from != tc.to, out.changed)
			if out.changed {
				assert.True(t, out.send)
				assert.Equal(t, b.now, b.m.since)
				p := b.send(false)
				assert.Equal(t, tc.to, p.state)
				assert.Equal(t, tc.diagnostic, p.diagnostic)
			}
			assert.Equal(t, tc.from == Up && tc.to != Up && tc.event != AdminDown, b.m.failed)
		})
	}
}

// TestIntervals follows a session: slow, Up and fast, gone.
func TestIntervals(t *testing.T) {
	b := newBench(t, usual)
	assert.Equal(t, b.now, b.m.next(), "the first packet is sent at once")
	require.True(t, b.pass().send)
	p := b.send(false)
	assert.Equal(t, packet{state: Down, multiplier: 3, my: 7, minTx: slow, minRx: fast}, p)
	assert.Equal(t, b.now.Add(slow*3/4), b.m.next())

	hello := peer(Down)
	hello.your, hello.minTx = 0, slow
	require.True(t, b.m.receive(b.now, hello).send)
	p = b.send(false)
	assert.Equal(t, packet{state: Init, multiplier: 3, my: 7, your: 9, minTx: slow, minRx: fast}, p)
	assert.Equal(t, 3*slow, b.m.detectionTime())

	b.now = b.now.Add(time.Millisecond)
	require.True(t, b.m.receive(b.now, peer(Up)).send)
	p = b.send(false)
	assert.Equal(t, packet{state: Up, poll: true, multiplier: 3, my: 7, your: 9, minTx: fast, minRx: fast}, p)
	assert.Equal(t, b.now.Add(fast*3/4), b.m.next(), "a shorter interval is kept to at once")
	assert.Equal(t, 3*fast, b.m.detectionTime())

	require.True(t, b.pass().send)
	assert.True(t, b.send(false).poll, "a Poll goes on until it is answered")
	final := peer(Up)
	final.final = true
	b.m.receive(b.now, final)
	require.True(t, b.pass().send)
	assert.False(t, b.send(false).poll)

	for range 2 { // two more, then three have been missed
		require.True(t, b.pass().send)
		b.send(false)
	}
	for b.m.state == Up {
		b.pass()
		if b.m.state == Up {
			b.send(false)
		}
	}
	assert.Equal(t, b.now, b.m.heard.Add(3*fast))
	p = b.send(false)
	assert.Equal(t, packet{diagnostic: ControlDetectionTimeExpired, state: Down, multiplier: 3, my: 7, minTx: slow, minRx: fast}, p)
	assert.Equal(t, b.now.Add(slow*3/4), b.m.next())
	assert.EqualValues(t, 1, b.m.ups)
	assert.EqualValues(t, 1, b.m.downs)
}

// TestRemoteInterval keeps to what the peer can take.
func TestRemoteInterval(t *testing.T) {
	b := newBench(t, usual)
	b.put(Up)
	b.send(false)
	p := peer(Up)
	p.minRx = 10 * fast
	b.m.receive(b.now, p)
	require.True(t, b.pass().send)
	b.send(false)
	assert.Equal(t, b.now.Add(10*fast*3/4), b.m.transmitAt, "a longer interval begins with the next packet")
	b.now = b.now.Add(fast)
	b.m.receive(b.now, peer(Up))
	assert.Equal(t, b.now, b.m.transmitAt, "a shorter one counts from the last, which is long ago")
	p.minRx = 0
	b.m.receive(b.now, p)
	assert.True(t, b.m.transmitAt.IsZero(), "the peer wants no packets")
	p.poll = true
	assert.Equal(t, actions{send: true, final: true}, b.m.receive(b.now, p), "but an answer to its Poll")
	b.m.receive(b.now, peer(Up))
	assert.False(t, b.m.transmitAt.IsZero())
}

// TestTimerChanges is RFC 5880, 6.8.3.
func TestTimerChanges(t *testing.T) {
	answer := peer(Up)
	answer.final = true
	for _, tc := range []struct {
		name             string
		to               timing
		interval, detect time.Duration // while the Poll is under way
		after, detected  time.Duration
	}{
		{"send less often", timing{transmit: 4 * fast, receive: fast, multiplier: 3}, fast, 3 * fast, 4 * fast, 3 * fast},
		{"send more often", timing{transmit: 20 * time.Millisecond, receive: fast, multiplier: 3}, fast, 3 * fast, fast, 3 * fast},
		{"receive less often", timing{transmit: fast, receive: 4 * fast, multiplier: 3}, fast, 12 * fast, fast, 12 * fast},
		{"both", timing{transmit: 4 * fast, receive: 4 * fast, multiplier: 3}, fast, 12 * fast, 4 * fast, 12 * fast},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, usual)
			b.put(Up)
			b.m.configure(b.now, tc.to)
			p := b.send(false)
			assert.True(t, p.poll)
			assert.Equal(t, tc.to.transmit, p.minTx)
			assert.Equal(t, tc.to.receive, p.minRx)
			assert.Equal(t, tc.interval, b.m.interval())
			assert.Equal(t, tc.detect, b.m.detectionTime())
			b.m.receive(b.now, answer)
			assert.Equal(t, tc.after, b.m.interval())
			assert.Equal(t, tc.detected, b.m.detectionTime())
			assert.False(t, b.send(false).poll)
			assert.Equal(t, Up, b.m.state)
		})
	}
	t.Run("receive more often again", func(t *testing.T) {
		b := newBench(t, timing{transmit: fast, receive: 4 * fast, multiplier: 3})
		b.put(Up)
		require.Equal(t, 12*fast, b.m.detectionTime())
		b.m.configure(b.now, usual)
		assert.Equal(t, 12*fast, b.m.detectionTime(), "the peer does not know yet")
		b.m.receive(b.now, answer)
		assert.Equal(t, 3*fast, b.m.detectionTime())
	})
	t.Run("twice", func(t *testing.T) {
		b := newBench(t, usual)
		b.put(Up)
		b.m.configure(b.now, timing{transmit: 4 * fast, receive: fast, multiplier: 3})
		b.m.configure(b.now, timing{transmit: 8 * fast, receive: fast, multiplier: 3})
		b.m.receive(b.now, answer)
		assert.Equal(t, fast, b.m.interval(), "the answer may be to the first")
		assert.True(t, b.send(false).poll)
		b.m.receive(b.now, answer)
		assert.Equal(t, 8*fast, b.m.interval())
	})
	t.Run("of a session that is not Up", func(t *testing.T) {
		b := newBench(t, usual)
		b.put(Init)
		b.m.configure(b.now, timing{transmit: 2 * slow, receive: fast, multiplier: 5})
		assert.Equal(t, 2*slow, b.m.interval())
		assert.EqualValues(t, 5, b.send(false).multiplier)
	})
	t.Run("that changes nothing", func(t *testing.T) {
		b := newBench(t, usual)
		b.put(Up)
		b.m.configure(b.now, usual)
		assert.False(t, b.send(false).poll)
	})
}

func TestPoll(t *testing.T) {
	for _, s := range []State{Down, Init, Up} {
		b := newBench(t, usual)
		b.put(s)
		b.m.configure(b.now, timing{transmit: 4 * slow, receive: fast, multiplier: 3})
		p := peer(s)
		p.poll = true
		out := b.m.receive(b.now, p)
		assert.True(t, out.send && out.final)
		at := b.m.next()
		f := b.send(true)
		assert.True(t, f.final)
		assert.False(t, f.poll, "never both")
		assert.Equal(t, at, b.m.next(), "it does not replace one that is due")
	}
	b := newBench(t, usual)
	b.put(AdminDown)
	p := peer(Up)
	p.poll = true
	assert.Equal(t, actions{}, b.m.receive(b.now, p), "6.8.6 discards it before it is answered")
}

func TestPassiveMachine(t *testing.T) {
	passive := usual
	passive.passive = true
	b := newBench(t, passive)
	assert.True(t, b.m.next().IsZero())
	_, ok := b.m.packet(b.now, false)
	assert.False(t, ok)
	assert.True(t, b.m.receive(b.now, peer(Down)).send)
	b.send(false)
	assert.False(t, b.m.transmitAt.IsZero())
	b.now = b.m.detectAt
	b.m.tick(b.now)
	assert.Equal(t, Down, b.m.state)
	_, ok = b.m.packet(b.now, false)
	assert.False(t, ok, "silent again")
	assert.True(t, b.m.next().IsZero())
	b.m.configure(b.now, usual)
	assert.Equal(t, b.m.sent.Add(slow*3/4), b.m.next(), "not passive any more")
}

// TestDemand is the part of RFC 5880, 6.8.7 that binds those who do not support demand mode.
func TestDemand(t *testing.T) {
	b := newBench(t, usual)
	b.put(Up)
	p := peer(Up)
	p.demand = true
	b.m.receive(b.now, p)
	assert.True(t, b.m.transmitAt.IsZero())
	assert.False(t, b.m.detectAt.IsZero(), "the peer is watched as before")
	p.poll = true
	assert.True(t, b.m.receive(b.now, p).final)
	assert.False(t, b.send(true).demand)
	b.m.configure(b.now, timing{transmit: 2 * fast, receive: fast, multiplier: 3})
	assert.True(t, b.send(false).poll, "a Poll of our own is sent")
	p.poll, p.final = false, true
	b.m.receive(b.now, p)
	assert.True(t, b.m.transmitAt.IsZero())
	p.state, p.final = Down, false
	assert.True(t, b.m.receive(b.now, p).send)
	b.send(false)
}

func TestJitter(t *testing.T) {
	for _, tc := range []struct {
		multiplier uint8
		low, high  time.Duration
	}{{1, 750, 900}, {2, 750, 1000}, {255, 750, 1000}} {
		m := &machine{timing: timing{multiplier: tc.multiplier}}
		m.jitter = func() float64 { return 0 }
		assert.Equal(t, tc.low*time.Millisecond, m.jittered(time.Second))
		m.jitter = func() float64 { return 1 }
		assert.Equal(t, tc.high*time.Millisecond, m.jittered(time.Second))
	}
}

func TestAdministrators(t *testing.T) {
	b := newBench(t, usual)
	b.put(Up)
	b.m.receive(b.now, peer(AdminDown))
	assert.Equal(t, Down, b.m.state)
	assert.False(t, b.m.failed)
	b.now = b.m.detectAt
	b.m.tick(b.now)
	assert.False(t, b.m.failed, "the peer ends, as it said it would")
	assert.Equal(t, AdminDown, b.m.remote.state)

	b = newBench(t, usual)
	b.put(Up)
	out := b.m.disable(b.now)
	assert.True(t, out.send && out.changed)
	p := b.send(false)
	assert.Equal(t, AdminDown, p.state)
	assert.Equal(t, AdministrativelyDown, p.diagnostic)
	assert.Equal(t, slow, p.minTx)
	assert.False(t, b.m.failed)
}
