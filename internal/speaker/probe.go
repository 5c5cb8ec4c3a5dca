package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead/fairlead/backends"
)

// takenFor is for how long an address that somebody else answered for is not asked for again.
const takenFor = 10 * time.Minute

// takenError says that somebody else has an address on the local network.
type takenError struct {
	By, Link string
}

// Error says who has it.
func (e *takenError) Error() string {
	return fmt.Sprintf("%s answers for it on the local network (seen on %s)", e.By, e.Link)
}

// probes keep an address from being announced for the first time before it was asked for, and while somebody else answers for it.
type probes struct {
	ask  func(context.Context, map[netip.Addr][]string) map[netip.Addr]backends.Taken
	wake func()
	// aside is called with what somebody else has.
	aside func(netip.Addr, takenBy)

	mu    sync.Mutex
	heard map[netip.Addr]bool // somebody of the cluster has announced it
	free  map[netip.Addr]bool // asked for, and nobody answered
	busy  map[netip.Addr]bool // is being asked for
	taken map[netip.Addr]takenBy
}

type takenBy struct {
	err   *takenError
	until time.Time
}

func newProbes() *probes {
	return &probes{heard: map[netip.Addr]bool{}, free: map[netip.Addr]bool{}, busy: map[netip.Addr]bool{}, taken: map[netip.Addr]takenBy{}}
}

// hear notes of which addresses a speaker says that it announces them, or does not.
func (p *probes) hear(claims map[netip.Addr]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, claimed := range claims {
		if claimed {
			p.heard[addr] = true
		}
	}
}

// hold takes out of wanted what is not to be announced yet, or not at all, and returns why not of the latter. Addresses that somebody of
// the cluster announces already, or did, are not asked for: a hand-over does not wait.
func (p *probes) hold(ctx context.Context, wanted map[netip.Addr][]string, now time.Time) map[netip.Addr]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	refused := map[netip.Addr]error{}
	ask := map[netip.Addr][]string{}
	for addr, interfaces := range wanted {
		if x, taken := p.taken[addr]; taken && now.Before(x.until) {
			refused[addr] = x.err
			delete(wanted, addr)
			continue
		}
		delete(p.taken, addr)
		if p.heard[addr] || p.free[addr] {
			continue
		}
		delete(wanted, addr)
		if !p.busy[addr] {
			p.busy[addr], ask[addr] = true, interfaces
		}
	}
	if len(ask) > 0 {
		go p.run(ctx, ask)
	}
	return refused
}

// forget forgets addresses that no Service has any more and nobody announces: whoever is given one next asks for it anew.
func (p *probes) forget(addrs []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, addr := range addrs {
		delete(p.heard, addr)
		delete(p.free, addr)
		delete(p.taken, addr)
	}
}

func (p *probes) run(ctx context.Context, ask map[netip.Addr][]string) {
	found := p.ask(ctx, ask)
	p.mu.Lock()
	for addr := range ask {
		delete(p.busy, addr)
		if x, is := found[addr]; is {
			by := takenBy{&takenError{By: x.MAC.String(), Link: x.Link}, time.Now().Add(takenFor)}
			p.taken[addr] = by
			p.aside(addr, by)
		} else {
			p.free[addr] = true
		}
	}
	p.mu.Unlock()
	p.wake()
}
