package bfd

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// world is a network without sockets: datagrams arrive at once, or never.
type world struct {
	mu        sync.Mutex // protects all the following
	listeners map[netip.Addr]map[endpoint]*fakeListener
	cut       bool // nothing arrives any more
	ttl       int
	broken    error // of listen
}

func newWorld() *world {
	return &world{listeners: map[netip.Addr]map[endpoint]*fakeListener{}, ttl: 255}
}

// host is a world as one address sees it.
type host struct {
	*world
	addr netip.Addr
}

type fakeListener struct {
	queue  chan datagram
	wake   chan struct{}
	closed chan struct{}
	stall  atomic.Pointer[chan struct{}] // while there is one that is not closed, run does nothing
}

func (h host) listen(e endpoint) (listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken != nil {
		return nil, h.broken
	}
	l := &fakeListener{queue: make(chan datagram, 1000), wake: make(chan struct{}, 1), closed: make(chan struct{})}
	if h.listeners[h.addr] == nil {
		h.listeners[h.addr] = map[endpoint]*fakeListener{}
	}
	if old := h.listeners[h.addr][e]; old != nil {
		select {
		case <-old.closed:
		default:
			return nil, errors.New("address already in use")
		}
	}
	h.listeners[h.addr][e] = l
	return l, nil
}

func (l *fakeListener) run(ready func() bool) {
	for {
		select {
		case <-l.wake:
			if stall := l.stall.Load(); stall != nil {
				<-*stall
			}
			for ready() {
			}
		case <-l.closed:
			return
		}
	}
}

func (l *fakeListener) read() (datagram, bool) {
	select {
	case d := <-l.queue:
		return d, true
	default:
		return datagram{}, false
	}
}

func (l *fakeListener) close() { close(l.closed) }

func (l *fakeListener) deliver(d datagram) {
	select {
	case l.queue <- d:
	default:
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

type fakeSender struct {
	host
	config Config
}

func (h host) dial(c Config) (sender, error) { return fakeSender{h, c}, nil }

func (s fakeSender) send(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.listeners[s.config.Peer][endpointOf(s.config)]; l != nil && !s.cut {
		l.deliver(datagram{data: slices.Clone(b), from: s.addr, to: s.config.Peer, ttl: s.ttl})
	}
	return nil
}

func (host) returns(c Config) bool { return c.Peer == right }

func (fakeSender) index() int  { return 0 }
func (fakeSender) stale() bool { return false }
func (fakeSender) close()      {}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// runServer runs a Server at an address and returns it and the states that it tells.
func runServer(t *testing.T, w *world, addr netip.Addr, configs ...Config) (*Server, *[]State) {
	t.Helper()
	var told []State
	s := New(Options{Changed: func(_ Key, st Status) { told = append(told, st.State) }})
	s.network = host{w, addr}
	require.NoError(t, s.Set(configs))
	assert.Empty(t, s.Statuses())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		assert.Empty(t, s.listeners)
		assert.Empty(t, s.sessions)
		assert.Empty(t, s.bySource)
		assert.Empty(t, s.byDiscriminator)
		assert.Empty(t, s.timers)
	})
	synctest.Wait()
	return s, &told
}

var (
	left, right = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	toRight     = Config{Peer: right, TransmitInterval: fast, ReceiveInterval: fast}
	toLeft      = Config{Peer: left, TransmitInterval: fast, ReceiveInterval: fast}
)

// pass lets d pass on the bubble's clock.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, told := runServer(t, w, left, toRight)
		b, _ := runServer(t, w, right, toLeft)
		status := func() Status { return a.Statuses()[toRight.Key()] }
		pass(3 * time.Second)
		require.Equal(t, Up, status().State)
		assert.Equal(t, []State{Init, Up}, *told)
		st := status()
		assert.Equal(t, fast, st.TransmitInterval)
		assert.Equal(t, 3*fast, st.DetectionTime)
		pass(10 * time.Second)
		sent := status().ControlSent - st.ControlSent
		assert.InDelta(t, 10*time.Second/(fast*7/8), sent, 10, "jitter")

		// A change of intervals is not seen in the state; one that the other side does not allow has no effect.
		slower := toRight
		slower.TransmitInterval, slower.ReceiveInterval, slower.DetectMultiplier = 4*fast, 2*fast, 5
		require.NoError(t, a.Set([]Config{slower}))
		pass(time.Second)
		assert.Equal(t, 4*fast, status().TransmitInterval)
		assert.Equal(t, 6*fast, status().DetectionTime)
		assert.Equal(t, 20*fast, b.Statuses()[toLeft.Key()].DetectionTime)
		require.Error(t, a.Set([]Config{slower, slower}))
		bad := slower
		bad.TransmitInterval = time.Millisecond
		require.ErrorContains(t, a.Set([]Config{bad}), "transmitInterval 1ms is out of range")
		pass(time.Second)
		assert.Equal(t, []State{Init, Up}, *told)
		require.NoError(t, a.Set([]Config{toRight}))
		pass(time.Second)

		w.set(func() { w.cut = true })
		pass(3 * fast)
		assert.Equal(t, []State{Init, Up, Down}, *told)
		assert.True(t, status().Failed)
		assert.EqualValues(t, 1, status().SessionDown)
		w.set(func() { w.cut = false })
		pass(3 * time.Second)
		assert.Equal(t, Up, status().State)
		assert.False(t, status().Failed)

		// One side's administrator.
		require.NoError(t, b.Set(nil))
		synctest.Wait()
		assert.Equal(t, Down, status().State)
		assert.Equal(t, AdminDown, status().Remote)
		assert.False(t, status().Failed)
		assert.Empty(t, b.Statuses())
		require.NoError(t, b.Set([]Config{toLeft}), "before the old session has gone")
		pass(3 * time.Second)
		assert.Equal(t, Up, status().State)
		require.NoError(t, b.Set(nil))
		pass(time.Minute)
		b.mu.Lock()
		assert.Empty(t, b.sessions)
		assert.Empty(t, b.listeners)
		b.mu.Unlock()
		assert.Equal(t, Down, status().State)
	})
}

// TestLateReader stalls what reads the socket for longer than the detection time. The peer lives, and is not declared down.
func TestLateReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, told := runServer(t, w, left, toRight)
		_, _ = runServer(t, w, right, toLeft)
		pass(3 * time.Second)
		l := w.listeners[left][endpoint{}]
		stall := make(chan struct{})
		l.stall.Store(&stall)
		pass(time.Second)
		assert.Equal(t, []State{Init, Up}, *told)
		assert.Zero(t, a.Statuses()[toRight.Key()].SessionDown)
		w.set(func() { w.cut = true })
		pass(6 * fast)
		assert.Equal(t, []State{Init, Up, Down}, *told, "but a dead one is")
		close(stall)
	})
}

// TestRefusals is what handle does with what it does not want.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		several := Config{Peer: right, MultiHop: true, MinimumTTL: 250}
		bound := Config{Peer: netip.MustParseAddr("192.0.2.3"), Local: left}
		s, told := runServer(t, w, left, toRight, several, bound)
		own := func(c Config) uint32 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.sessions[c.Key()].machine.local
		}
		for _, tc := range []struct {
			name string
			at   endpoint
			d    datagram
			p    packet
			want Reason
		}{
			{"a stranger", endpoint{}, datagram{from: left, ttl: 255}, packet{state: Down}, UnknownSession},
			{"a stranger who names a session", endpoint{}, datagram{from: left, ttl: 255}, packet{state: Up, your: own(toRight)}, WrongSource},
			{"one hop too many", endpoint{}, datagram{from: right, ttl: 254}, packet{state: Down}, WrongTTL},
			{"no TTL", endpoint{}, datagram{from: right, ttl: -1}, packet{state: Down}, WrongTTL},
			{"one hop too many of several", endpoint{multiHop: true}, datagram{from: right, ttl: 249}, packet{state: Down}, WrongTTL},
			{"a discriminator of nobody's", endpoint{}, datagram{from: right, ttl: 255}, packet{state: Up, your: own(toRight) ^ own(several)}, UnknownSession},
			{"a session over several hops at the port of a single one", endpoint{}, datagram{from: right, ttl: 255}, packet{state: Down, your: own(several)}, WrongSource},
			{"another address of ours", endpoint{}, datagram{from: bound.Peer, to: right, ttl: 255}, packet{state: Down}, UnknownSession},
			{"another VRF", endpoint{vrf: "red"}, datagram{from: right, ttl: 255}, packet{state: Down}, UnknownSession},
			{"another family", endpoint{v6: true}, datagram{from: netip.AddrFrom16(right.As16()), ttl: 255}, packet{state: Down}, UnknownSession},
		} {
			tc.p.my, tc.p.multiplier = 9, 3
			tc.d.data = tc.p.append(nil)
			before := s.Dropped()[tc.want]
			s.mu.Lock()
			s.handleLocked(time.Now(), tc.at, tc.d)
			s.mu.Unlock()
			assert.Equal(t, before+1, s.Dropped()[tc.want], tc.name)
		}
		synctest.Wait()
		assert.Empty(t, *told)
		assert.EqualValues(t, 3, s.Statuses()[toRight.Key()].Dropped+s.Statuses()[several.Key()].Dropped)

		w.listeners[left][endpoint{multiHop: true}].deliver(datagram{data: packet{state: Down, my: 9, multiplier: 3}.append(nil), from: right, to: left, ttl: 250})
		synctest.Wait()
		assert.Equal(t, Init, s.Statuses()[several.Key()].State)
	})
}

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.broken = errors.New("address already in use")
		a, told := runServer(t, w, left, toRight)
		runServer(t, w, right, Config{Peer: left, Passive: true})
		assert.Contains(t, a.Statuses()[toRight.Key()].Fault, "address already in use")
		require.NoError(t, a.Set([]Config{toRight}))
		w.set(func() { w.broken = nil })
		pass(5 * time.Second)
		assert.Empty(t, a.Statuses()[toRight.Key()].Fault)
		assert.Equal(t, Up, (*told)[len(*told)-1])
	})
}

// TestPending is what a receiver that is slow misses, and what it does not.
func TestPending(t *testing.T) {
	for _, tc := range []struct{ changes, want []State }{
		{[]State{Init, Up}, []State{Init, Up}},
		{[]State{Up, Down}, []State{Down}},
		{[]State{Up, Down, Init, Up}, []State{Init, Up}},
		{[]State{Down, Up, Down, Up}, []State{Down, Up}},
		{[]State{Down, Init}, []State{Init}},
	} {
		s := New(Options{Changed: func(Key, Status) {}})
		x := &session{config: toRight, machine: newMachine(time.Now(), 1, usual, func() float64 { return 0 })}
		for _, st := range tc.changes {
			x.machine.state = st
			s.changedLocked(time.Now(), x)
		}
		var got []State
		for _, st := range x.pending {
			got = append(got, st.State)
		}
		assert.Equal(t, tc.want, got, "%v", tc.changes)
		assert.Len(t, s.news, 1)
	}
}

func TestValidate(t *testing.T) {
	v6 := netip.MustParseAddr("fe80::1")
	for _, tc := range []struct {
		config Config
		says   string
	}{
		{Config{}, `peer "invalid IP" is not the address of a host`},
		{Config{Peer: netip.MustParseAddr("224.0.0.1")}, `peer "224.0.0.1" is not`},
		{Config{Peer: netip.MustParseAddr("::ffff:192.0.2.1")}, `is not the address of a host`},
		{Config{Peer: v6.WithZone("eth0"), Interface: "eth0"}, `is not the address of a host`},
		{Config{Peer: v6}, "a link-local peer needs an interface"},
		{Config{Peer: v6, Interface: "eth0", MultiHop: true}, "over several hops"},
		{Config{Peer: left, Local: v6}, `local "fe80::1" is not an address of this host in the peer's family`},
		{Config{Peer: left, MultiHop: true, MinimumTTL: 255}, "minimumTTL 255 is out of range"},
		{Config{Peer: left, ReceiveInterval: 9 * time.Millisecond}, "BFD session with 192.0.2.1: receiveInterval 9ms is out of range; use 10ms to 1m0s"},
		{Config{Peer: left, EchoInterval: 2 * time.Minute}, "echoInterval 2m0s is out of range"},
		{Config{Peer: left}, ""},
		{Config{Peer: v6, Interface: "eth0", Local: v6}, ""},
	} {
		if err := tc.config.Validate(); tc.says == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, tc.says)
		}
	}
}

func TestUnsupported(t *testing.T) {
	v6 := netip.MustParseAddr("fd00::1")
	assert.Empty(t, Unsupported(Config{Peer: left, EchoInterval: fast}))
	for c, says := range map[Config]string{
		{Peer: left, EchoMode: true}:                 "sends no echo packets of its own",
		{Peer: left, EchoMode: true, MultiHop: true}: "over several hops",
		{Peer: v6, EchoMode: true}:                   "on IPv6",
	} {
		fields := Unsupported(c)
		require.Len(t, fields, 1)
		assert.Equal(t, "echoMode", fields[0].Field)
		assert.Contains(t, fields[0].Reason, says)
	}
}

// TestEcho is who is told that it may send echo packets.
func TestEcho(t *testing.T) {
	s := New(Options{})
	s.network = host{newWorld(), left}
	for _, tc := range []struct {
		name   string
		config Config
		want   time.Duration
	}{
		{"returned", Config{Peer: right, EchoMode: true, EchoInterval: fast}, fast},
		{"by default", Config{Peer: right, EchoMode: true}, defaultEchoInterval},
		{"not asked for", Config{Peer: right, EchoInterval: fast}, 0},
		{"several hops", Config{Peer: right, EchoMode: true, MultiHop: true}, 0},
		{"IPv6", Config{Peer: netip.MustParseAddr("fd00::1"), EchoMode: true}, 0},
		{"the kernel does not forward", Config{Peer: left, EchoMode: true}, 0},
	} {
		assert.Equal(t, tc.want, s.timingOf(tc.config.complete()).echo, tc.name)
	}
	echoing := usual
	echoing.echo = fast
	b := newBench(t, echoing)
	b.put(Up)
	assert.Equal(t, fast, b.send(false).echo)
	p := peer(Down)
	p.diagnostic = EchoFunctionFailed
	b.m.receive(b.now, p)
	assert.Zero(t, b.send(false).echo, "they do not come back")
	b.m.receive(b.now, peer(Down))
	b.m.receive(b.now, peer(Up))
	assert.Zero(t, b.send(false).echo)
	b.m.configure(b.now, echoing)
	assert.Zero(t, b.send(false).echo)
	echoing.echo *= 2
	b.m.configure(b.now, echoing)
	assert.Equal(t, 2*fast, b.send(false).echo)
}
