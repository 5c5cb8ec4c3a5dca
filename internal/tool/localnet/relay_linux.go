package localnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
)

// Relay makes a server on the machine's loopback answer on that of a namespace, at the same address.
type Relay struct {
	ns     *Namespace
	target string

	mu       sync.Mutex // protects all the following
	listener net.Listener
	open     map[net.Conn]bool
	gate     chan struct{}  // closed while data may pass
	busy     sync.WaitGroup // goroutines
}

// NewRelay starts a relay to server, as a rest.Config names it.
func NewRelay(ns *Namespace, server string) (*Relay, error) {
	target := server
	if u, err := url.Parse(server); err == nil && u.Host != "" {
		target = u.Host
	}
	r := &Relay{ns: ns, target: target, open: map[net.Conn]bool{}, gate: make(chan struct{})}
	return r, r.Restore()
}

// Hang keeps connections and takes new ones, and lets nothing pass.
func (r *Relay) Hang() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.gate:
		r.gate = make(chan struct{})
	default: // it hangs
	}
}

// pass ends Hang.
func (r *Relay) pass() {
	select {
	case <-r.gate:
	default:
		close(r.gate)
	}
}

// gated is a connection that is written to only while data may pass.
type gated struct {
	net.Conn
	relay *Relay
}

// Write waits until data may pass.
func (g gated) Write(b []byte) (int, error) {
	g.relay.mu.Lock()
	gate := g.relay.gate
	g.relay.mu.Unlock()
	<-gate
	return g.Conn.Write(b)
}

// Restore listens, if it does not already, and lets data pass.
func (r *Relay) Restore() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pass()
	if r.listener != nil {
		return nil
	}
	listener, err := r.ns.Listen(r.target)
	if err != nil {
		return err
	}
	r.listener = listener
	r.busy.Go(func() { r.accept(listener) })
	return nil
}

// Listen opens a TCP socket in the namespace.
func (n *Namespace) Listen(address string) (net.Listener, error) {
	var listener net.Listener
	err := n.Do(func() error {
		var err error
		listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp", address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s in %q: %w", address, n.name, err)
	}
	return listener, nil
}

func (r *Relay) accept(listener net.Listener) {
	for {
		inside, err := listener.Accept()
		if err != nil {
			return // closed by Cut
		}
		outside, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = inside.Close() // the server is down, which is what the client is to see
			continue
		}
		r.mu.Lock()
		if r.listener != listener { // Cut in between
			_, _ = inside.Close(), outside.Close()
		} else {
			r.open[inside], r.open[outside] = true, true
			r.busy.Go(func() { r.copy(inside, outside) })
			r.busy.Go(func() { r.copy(outside, inside) })
		}
		r.mu.Unlock()
	}
}

// copy ends both connections when one of them ends.
func (r *Relay) copy(to, from net.Conn) {
	_, _ = io.Copy(gated{to, r}, from) // either end may close at any time
	_, _ = to.Close(), from.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, to)
	delete(r.open, from)
}

// Cut closes the socket and every connection, and waits until all are closed.
func (r *Relay) Cut() error {
	r.mu.Lock()
	var err error
	if r.listener != nil {
		err = r.listener.Close()
		r.listener = nil
	}
	for c := range r.open {
		_ = c.Close() // its copy reports nothing either
	}
	r.pass() // to the ends of the copies
	r.mu.Unlock()
	r.busy.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("cut the relay in %q: %w", r.ns.name, err)
	}
	return nil
}
