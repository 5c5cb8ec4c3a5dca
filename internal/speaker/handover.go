package speaker

import (
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/internal/announce"
)

const (
	// handoverWait is how long a node goes on answering for an address that another one is to announce, and has not announced yet.
	handoverWait = 2 * time.Second
	// linger is how long it goes on after the other one has: requests that have arrived wait to be read, and the other's first
	// announcement may get lost. It ends before the second one, which comes after 100 ms and has the last word.
	linger = 50 * time.Millisecond
)

// handover is what this node announces, and what it announces only until another one does.
type handover struct {
	node string
	held map[netip.Addr]holding
}

type holding struct {
	interfaces []string
	until      time.Time // zero: it is ours
	lingers    bool      // the other one announces it
}

func newHandover(node string) *handover { return &handover{node: node, held: map[netip.Addr]holding{}} }

// settle takes a decision into account. It returns what is to be announced from now on, with the interfaces, and when to decide
// again if nothing else happens; zero for never. claims reports whether a node says that it announces an address.
func (h *handover) settle(
	now time.Time, d announce.Decision, claims func(node string, addr netip.Addr) bool,
) (wanted map[netip.Addr][]string, again time.Time) {
	wanted = map[netip.Addr][]string{}
	for addr, p := range d.Placements {
		if p.Node == h.node {
			h.held[addr] = holding{interfaces: p.Interfaces}
			wanted[addr] = p.Interfaces
		}
	}
	for addr, x := range h.held {
		if _, ours := wanted[addr]; ours {
			continue
		}
		if x.until.IsZero() {
			x.until = now.Add(handoverWait)
		}
		p := d.Placements[addr]
		if end := now.Add(linger); p != nil && !x.lingers && claims(p.Node, addr) {
			x.lingers = true
			if end.Before(x.until) {
				x.until = end
			}
		}
		if p == nil || p.Node == "" || !now.Before(x.until) {
			delete(h.held, addr)
			continue
		}
		h.held[addr] = x
		wanted[addr] = x.interfaces
		if again.IsZero() || x.until.Before(again) {
			again = x.until
		}
	}
	return wanted, again
}

// ours reports whether an address is announced for good, not only until another node announces it.
func (h *handover) ours(addr netip.Addr) bool {
	x, held := h.held[addr]
	return held && x.until.IsZero()
}

// silence forgets everything: this node announces nothing.
func (h *handover) silence() { clear(h.held) }
