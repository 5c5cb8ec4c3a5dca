package bgp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// openWait is how long a router may take to open the session after it has accepted the connection.
const openWait = 30 * time.Second

// wire passes messages between GoBGP and the router, for the time of one connection.
type wire struct {
	*session
	inner, outer *net.TCPConn
	said         <-chan event // by GoBGP
	heard        chan event   // from the router
	out          *bufio.Writer
	ours         opening
	place        place
	state        State
	silent       bool      // hold time 0 was negotiated: no keepalives (RFC 4271, 4.4)
	confirmed    bool      // our first KEEPALIVE has been sent
	greeted      bool      // the router's first KEEPALIVE has come
	since        time.Time // when the session was established; zero: it never was
}

// run returns why the connection ended, in words; nothing if it was meant to.
func (w *wire) run(ctx context.Context) string {
	w.out = bufio.NewWriterSize(w.outer, 64<<10)
	stop := context.AfterFunc(ctx, func() { w.hurry() })
	defer stop()
	select {
	case <-w.drop: // meant for an earlier connection
	default:
	}
	err := w.open(ctx)
	wait := time.NewTimer(openWait)
	defer wait.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			w.mu.Lock()
			with := w.ending
			w.mu.Unlock()
			if with != nil {
				w.notify(ctx, with)
			}
			return ""
		case f := <-w.drop:
			err = f
		case e := <-w.said:
			err = w.fromGoBGP(ctx, e)
		case <-w.work:
			err = w.tell(ctx)
		case e := <-w.heard:
			err = w.fromRouter(ctx, e)
		case <-wait.C:
			if w.state != Established {
				err = &fault{code: codeHold, text: "the router accepts the connection, but does not open the session"}
			}
		}
	}
	var f *fault
	if errors.As(err, &f) {
		w.notify(ctx, f)
	}
	return err.Error()
}

// open sends OPEN.
func (w *wire) open(ctx context.Context) error {
	local, err := netip.ParseAddrPort(w.outer.LocalAddr().String())
	if err != nil {
		return err
	}
	w.place = placeOf(local.Addr())
	w.mu.Lock()
	restarting := !w.restarted
	w.mu.Unlock()
	w.ours = opening{
		asn: w.localASN, hold: w.hold, id: w.routerID, families: w.families(), refresh: true, fourOctets: true,
		gracefulRestart: w.gracefulRestart, restarting: restarting, preserved: w.families(),
		extended: w.carries(false) && w.place.addr.Is6(),
	}
	if !w.ours.id.IsValid() {
		w.ours.id = w.place.routerID(w.node)
	}
	m, err := w.ours.marshal()
	if err != nil {
		return err
	}
	w.state = OpenSent
	w.enter(OpenSent, func(s *Session) {
		s.LocalAddress, s.RouterID, s.PeerASN = w.place.addr, w.ours.id, w.peerASN
		s.PeerRouterID, s.Families, s.HoldTime, s.GracefulRestart = netip.Addr{}, nil, 0, false
	})
	return w.send(ctx, typeOpen, m)
}

// send writes messages of a type to the router.
func (w *wire) send(ctx context.Context, kind uint8, messages ...[]byte) error {
	// A router that takes nothing for so long is as good as dead (RFC 9687).
	_ = w.outer.SetWriteDeadline(time.Now().Add(max(w.hold, openWait)))
	if ctx.Err() != nil {
		w.hurry()
	}
	for _, m := range messages {
		if _, err := w.out.Write(m); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		w.sent.add(kind)
	}
	if err := w.out.Flush(); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// hurry lets nothing be written for longer than a moment.
func (w *wire) hurry() { _ = w.outer.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)) }

// notify sends a NOTIFICATION, if the router takes it.
func (w *wire) notify(ctx context.Context, f *fault) {
	w.hurry()
	if _, err := w.out.Write(notification(f)); err == nil && w.out.Flush() == nil {
		w.sent.add(typeNotification)
	}
}

// fromGoBGP passes on what GoBGP says.
func (w *wire) fromGoBGP(ctx context.Context, e event) error {
	if e.err != nil {
		return fmt.Errorf("GoBGP has closed the session: %w", e.err)
	}
	switch e.kind {
	case typeKeepalive:
		if w.silent {
			if _, err := w.inner.Write(e.body); err != nil {
				return err
			}
			if w.confirmed {
				return nil
			}
		}
		if err := w.send(ctx, e.kind, e.body); err != nil {
			return err
		}
		w.confirmed = true
		return w.establish(ctx)
	case typeNotification:
		if err := w.send(ctx, e.kind, e.body); err != nil {
			return err
		}
		why := describe(e.body[headerLen:])
		if e.body[headerLen] == codeHold {
			return fmt.Errorf("the router has been silent for longer than the hold time: %s", why)
		}
		return fmt.Errorf("we ended the session: %s", why)
	}
	return nil // OPEN and UPDATE are the wire's, and of all else GoBGP sends nothing
}

// fromRouter takes what the router says to GoBGP, if it is to know.
func (w *wire) fromRouter(ctx context.Context, e event) error {
	switch {
	case e.err != nil:
		return w.lost(e.err)
	case e.kind == typeNotification:
		return fmt.Errorf("the router ended the session: %s", describe(e.body))
	case e.kind == typeOpen && w.state == OpenSent:
		return w.opened(e.body)
	case e.kind == typeKeepalive && w.state == OpenConfirm:
		w.greeted = true
		return w.establish(ctx)
	case w.state == Established && e.kind == typeRefresh:
		w.mu.Lock()
		err := w.againLocked()
		w.mu.Unlock()
		if err != nil {
			return err
		}
		return w.hand(message(typeKeepalive, nil))
	case w.state == Established && (e.kind == typeKeepalive || e.kind == typeUpdate):
		return w.hand(message(typeKeepalive, nil))
	}
	return &fault{code: codeFSM, text: fmt.Sprintf("the router sends a message of type %d in the state %s", e.kind, w.state)}
}

// hand gives GoBGP a message.
func (w *wire) hand(m []byte) error {
	_ = w.inner.SetWriteDeadline(time.Now().Add(openWait))
	_, err := w.inner.Write(m)
	return err
}

// opened takes the router's OPEN, and lets GoBGP open.
func (w *wire) opened(body []byte) error {
	theirs, err := parseOpen(body)
	if err != nil {
		return malformed(err)
	}
	if err := w.check(&theirs, &w.ours); err != nil {
		return err
	}
	families := common(theirs.families, w.ours.families)
	hold := min(theirs.hold, w.hold)
	w.silent = hold == 0
	how := manner{fourOctets: theirs.fourOctets, hops: w.place.hops(theirs.extended && w.ours.extended).only(families)}
	if theirs.asn != w.localASN {
		how.asn = w.localASN
	}
	w.mu.Lock()
	w.manner = how
	w.mu.Unlock()
	w.state = OpenConfirm
	w.enter(OpenConfirm, func(s *Session) {
		s.PeerASN, s.PeerRouterID, s.HoldTime = theirs.asn, theirs.id, hold
		s.GracefulRestart = theirs.gracefulRestart && w.gracefulRestart
		for _, f := range families {
			s.Families = append(s.Families, f.String())
		}
	})
	// What GoBGP need not know it is not told.
	theirs.families, theirs.gracefulRestart, theirs.restarting, theirs.preserved = families, false, false, nil
	if w.silent {
		theirs.hold = defaultHold
	}
	m, err := theirs.marshal()
	if err != nil {
		return err
	}
	return w.hand(m)
}

// establish lets GoBGP begin once both sides have confirmed the session.
func (w *wire) establish(ctx context.Context) error {
	if w.state != OpenConfirm || !w.confirmed || !w.greeted {
		return nil
	}
	if err := w.engine.establish(ctx, func() error { return w.hand(message(typeKeepalive, nil)) }); err != nil {
		return err
	}
	w.state, w.since = Established, time.Now()
	w.mu.Lock()
	w.restarted = true
	name := w.name
	err := w.beginLocked()
	w.mu.Unlock()
	if err != nil {
		return err
	}
	w.enter(Established, func(s *Session) { s.Established++ })
	w.log.Info("BGP session is up", "peer", name, "addr", w.key.String(), "localAddr", w.place.addr)
	if n := w.snapshot().Pending; n > 0 {
		w.log.Warn("some prefixes cannot be told: the router does not take their family, or this side has no next hop of it",
			"peer", name, "prefixes", n, "iface", w.place.iface)
	}
	return nil
}

// lost puts the end of a connection in words.
func (w *wire) lost(err error) error {
	var f *fault
	switch {
	case errors.As(err, &f):
		return f
	case !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the connection is lost: %w", err)
	case w.state == OpenSent:
		return fmt.Errorf("the router closes the connection at once: it expects no session from %s", w.place.addr)
	}
	return errors.New("the router has closed the connection")
}
