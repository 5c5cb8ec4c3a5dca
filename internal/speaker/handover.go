package speaker

import (
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/announce"
)

const (
	// handoverWait is how long a node goes on answering for an address that another one is to announce, and has not announced yet.
	handoverWait = 2 * time.Second
	// linger is how long it goes on after the other one has: requests that have arrived wait to be read, and the other's first
	// announcement may get lost. It ends before the second one, which comes after 100 ms and has the last word.
	linger = 50 * time.Millisecond
)

// decided is who announces what.
type decided interface {
	Placement(netip.Addr) *announce.Placement
	Service(types.NamespacedName) *announce.Service
	// Claims reports whether a node says that it announces an address.
	Claims(node string, addr netip.Addr) bool
}

// handover is what this node announces, and what it announces only until another one does.
type handover struct {
	node string
	own  map[netip.Addr]bool // what it is to announce
	held map[netip.Addr]holding
}

type holding struct {
	interfaces []string
	until      time.Time // zero: it is ours
	lingers    bool      // the other one announces it
}

func newHandover(node string) *handover {
	return &handover{node: node, own: map[netip.Addr]bool{}, held: map[netip.Addr]holding{}}
}

// settle takes into account what has been decided on some addresses: on all of which the decision is another one than before. It returns
// what is to be announced from now on, with the interfaces, and when to decide again if nothing else happens; zero for never.
func (h *handover) settle(now time.Time, anew []netip.Addr, d decided) (wanted map[netip.Addr][]string, again time.Time) {
	for _, addr := range anew {
		if p := d.Placement(addr); p != nil && p.Node == h.node {
			h.own[addr] = true
		} else {
			delete(h.own, addr)
		}
	}
	wanted = make(map[netip.Addr][]string, len(h.own))
	for addr := range h.own {
		p := d.Placement(addr)
		h.held[addr] = holding{interfaces: p.Interfaces}
		wanted[addr] = p.Interfaces
	}
	for addr, x := range h.held {
		if _, ours := wanted[addr]; ours {
			continue
		}
		if x.until.IsZero() {
			x.until = now.Add(handoverWait)
		}
		p := d.Placement(addr)
		if end := now.Add(linger); p != nil && !x.lingers && d.Claims(p.Node, addr) {
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
