package bgp

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// session is a peer: its GoBGP server, the routes that are to be told, what has been told, and the wire to the router.
type session struct {
	settings
	node           string
	log            *slog.Logger
	changed        func()
	engine         *engine
	incoming       chan *net.TCPConn // from the router; room for one
	drop           chan *fault       // asks to end the present connection; room for one
	work           chan struct{}     // says that there is something in queue; room for one
	sent, received counters

	failed int // attempts to connect since one succeeded; touched by serve alone

	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned

	mu        sync.Mutex // protects all the following
	name      string
	want      map[netip.Prefix]*route
	draining  bool     // RFC 8326
	tells     bool     // the session is established: the router is told routes, like this
	manner    manner   // of the last connection
	told      told     // what the router has once the queue is sent
	queue     [][]byte // UPDATEs, whole; only the wire takes them out
	stale     bool     // what is told is not what is wanted: the queue has to be sent first
	restarted bool     // the router knows that the speaker has restarted
	ending    *fault   // to end the last connection with; nil: without a word
	status    Session
	sentAll   chan struct{} // closed and replaced when the queue has been sent
}

func newSession(s settings, c *Config, e *engine, changed func()) *session {
	return &session{
		settings: s, node: c.NodeName, log: c.Log, changed: changed, engine: e,
		incoming: make(chan *net.TCPConn, 1), drop: make(chan *fault, 1), work: make(chan struct{}, 1), done: make(chan struct{}),
		sentAll: make(chan struct{}),
		status: Session{
			Address: s.address, Interface: s.iface, Port: s.port, VRF: s.vrf, State: Idle, Since: time.Now(),
			LocalASN: s.localASN, PeerASN: s.peerASN,
		},
	}
}

// start has the session come up, and stay so until stop.
func (s *session) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.done)
		for ctx.Err() == nil {
			if err := s.serve(ctx); err != nil && ctx.Err() == nil {
				s.fail(err.Error())
				pause(ctx, s.connect)
			}
		}
	}()
}

// stop ends the session and waits for that: with a NOTIFICATION, or without a word if there is none.
func (s *session) stop(with *fault) {
	s.mu.Lock()
	s.ending = with
	s.mu.Unlock()
	s.cancel()
	<-s.done
	select {
	case c := <-s.incoming: // too late
		_ = c.Close()
	default:
	}
}

// serve runs GoBGP and the wire.
func (s *session) serve(ctx context.Context) error {
	background := context.WithoutCancel(ctx)
	if err := s.engine.start(background, &s.settings); err != nil {
		return err
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.engine.stop(background); err != nil {
			s.log.Error("cannot stop GoBGP", "peer", s.name, "err", err)
		}
	}()
	for {
		inner, err := s.engine.connect(ctx, &s.settings)
		if err != nil {
			return err
		}
		up := s.attempt(ctx, inner)
		if err := s.engine.disconnect(background); err != nil {
			return err
		}
		wait := s.wait()
		if up < damping {
			wait = jitter(max(damping, s.connect))
		}
		if !pause(ctx, wait) {
			return nil
		}
	}
}

const (
	// soon is how long the first pause between two attempts is.
	soon = 250 * time.Millisecond
	// damping is how long the pause is, at least, after a session that did not last for as long, or that the router did not want
	// (RFC 4271, 8.1.1: DampPeerOscillations).
	damping = 5 * time.Second
)

// wait returns how long to pause before the next attempt to connect. Pauses grow until they are as long as they may be: a router that
// restarts is there again soon, or not for long.
func (s *session) wait() time.Duration {
	wait := s.connect
	if s.hurries && s.failed < 16 {
		wait = min(wait, soon<<s.failed)
	}
	return jitter(wait)
}

// jitter is RFC 4271's (section 10).
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + rand.Float64()/4))
}

// attempt brings GoBGP, which inner leads to, together with the router. It returns how long the session was up.
func (s *session) attempt(ctx context.Context, inner *net.TCPConn) (up time.Duration) {
	within, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer inner.Close()
	defer cancel()
	said := make(chan event, 64)
	readers.Go(func() { relay(within, inner, said) })
	select {
	case e := <-said:
		if e.err != nil || e.kind != typeOpen {
			s.engine.elsewhere()
			s.fail(errTaken.Error())
			return 0
		}
	case <-ctx.Done():
		return 0
	}
	outer := s.reach(within, said)
	if outer == nil {
		return 0
	}
	defer outer.Close()
	s.failed = 0
	w := &wire{session: s, inner: inner, outer: outer, said: said, heard: make(chan event, 16)}
	readers.Go(func() { receive(within, outer, w.heard, s.received.add) })
	why := w.run(ctx)
	s.mu.Lock()
	s.endLocked()
	s.mu.Unlock()
	if why != "" {
		s.fail(why)
	} else {
		s.enter(Idle, nil)
	}
	if w.since.IsZero() {
		return 0
	}
	return time.Since(w.since)
}
