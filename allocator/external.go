package allocator

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Sentinels about external pools.
var (
	// ErrAwaitsProvider: the first pool that could serve the request waits for the answer of its Provider.
	ErrAwaitsProvider = errors.New("waiting for an allocator")
	// ErrRefused: the Provider of a pool that could serve the request gives no address for it, and no other pool has one.
	ErrRefused = errors.New("an allocator refuses")
	// ErrUnfitAnswer: the Provider of a pool that could serve the request has given an address that cannot be used, and no other pool has
	// one.
	ErrUnfitAnswer = errors.New("an allocator has given an address that cannot be used")
	// ErrNotGiven: the address that was asked for is of an external pool, whose Provider has not given it for this owner.
	ErrNotGiven = errors.New("the pool's allocator has not given this address")
)

// Ask is an address that the Provider of an external pool would have to give for an owner to have more of what it asks for.
type Ask struct {
	Owner  Owner
	Pool   string
	Family Family
}

// external is what the engine knows of external pools: what was answered, and what is asked.
type external struct {
	answers map[Ask]Answer
	asks    map[Owner][]Ask // of the last Allocate of each owner
}

// search is what one Allocate finds out on its way.
type search struct {
	asks []Ask
	had  chosen // what the owner held when it began
}

// Answer enters what the Provider of ask.Pool says. An address is for ask.Owner alone; whether it can be used is looked at when it is picked.
// The zero Answer withdraws what was said before. Nobody gains or loses anything before the next Allocate.
func (a *Allocator) Answer(ask Ask, answer Answer) {
	if answer == (Answer{}) {
		delete(a.external.answers, ask)
		return
	}
	if a.external.answers == nil {
		a.external.answers = map[Ask]Answer{}
	}
	a.external.answers[ask] = answer
}

// Asks returns what the Providers of external pools would have to give for owner to have what it last asked for, in the order in which
// its pools are tried; nothing if it has all, or is content.
func (a *Allocator) Asks(owner Owner) []Ask { return a.external.asks[owner] }

// note keeps what a search of req has found to be asked for.
func (a *Allocator) note(req *Request, err error) {
	h := a.owners[req.Owner]
	asks := slices.DeleteFunc(req.search.asks, func(ask Ask) bool {
		return err == nil && h != nil && h.has[index(ask.Family)]
	})
	if len(asks) == 0 {
		delete(a.external.asks, req.Owner)
		return
	}
	if a.external.asks == nil {
		a.external.asks = map[Owner][]Ask{}
	}
	a.external.asks[req.Owner] = asks
}

// pickGiven is pick for an external pool: an address that another owner shares, or the one that was given for the owner of req.
func (a *Allocator) pickGiven(p *pool, f Family, req *Request) (key, bool) {
	if g := a.groups[req.Sharing]; g != nil && req.Sharing.Key != "" {
		for _, s := range p.spans {
			if s.first.family() != f {
				continue
			}
			if k, ok := g.lowest(s, req.Ports, func(k key) bool { return p.usable(k) && !contains(p.reserved, k) }); ok {
				return k, true
			}
		}
	}
	ask := Ask{req.Owner, p.Name, f}
	if addr := a.external.answers[ask].Addr; addr.IsValid() && a.unfit(p, f, req, addr) == nil {
		return keyOf(addr), true
	}
	if req.search != nil && !slices.Contains(req.search.asks, ask) {
		req.search.asks = append(req.search.asks, ask)
	}
	return key{}, false
}

// unfit returns why an address that was given for the owner of req cannot be used; nil if it can.
func (a *Allocator) unfit(p *pool, f Family, req *Request, addr netip.Addr) error {
	if FamilyOf(addr) != f {
		return fmt.Errorf("it is no %s address", f)
	}
	k := keyOf(addr)
	pl := a.place(k)
	switch {
	case pl == nil:
		return fmt.Errorf("it is outside spec.addresses of pool %q", p.Name)
	case pl.pool != p:
		return fmt.Errorf("it is in pool %q", pl.pool.Name)
	case !p.usable(k):
		return ErrBuggyAddress
	}
	if c := a.conflict(k, req, nil); c != nil {
		return c
	}
	switch r, is := a.reserved.against(k, req.Owner); {
	case is && r.use != "":
		return &UsedError{Addr: addr, Use: r.use}
	case is:
		return &ReservedError{Addr: addr, Reservation: r.name, For: r.owner}
	}
	return nil
}

// awaits reports whether p, which has nothing for req at present, may yet be given an address of family f for it.
func (a *Allocator) awaits(p *pool, f Family, req *Request) bool {
	answer := a.external.answers[Ask{req.Owner, p.Name, f}]
	return p.External && p.use[index(f)].size > 0 && !answer.Addr.IsValid() && answer.Refusal == ""
}

// tried says how p, which has no address of family f for req, comes to have none.
func (a *Allocator) tried(p *pool, f Family, req *Request) Tried {
	t := p.tried(f)
	if !p.External || t.Size == 0 {
		return t
	}
	answer := a.external.answers[Ask{req.Owner, p.Name, f}]
	t.Answer = &answer
	if answer.Addr.IsValid() {
		t.Unfit = a.unfit(p, f, req, answer.Addr)
	}
	return t
}

// mayHave reports whether the owner of req may have k of the external pool p by asking for it: it was given for it, it has it, or somebody has
// it with whom it can share.
func (a *Allocator) mayHave(p *pool, k key, req *Request) bool {
	if addr := a.external.answers[Ask{req.Owner, p.Name, k.family()}].Addr; addr.IsValid() && keyOf(addr) == k {
		return true
	}
	i := index(k.family())
	return a.addrs[k] != nil || req.search != nil && req.search.had.has[i] && req.search.had.keys[i] == k
}
