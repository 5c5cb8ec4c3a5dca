package allocator

import (
	"errors"
	"net/netip"
	"slices"
)

// Reasons for which a pool is not even tried (Considered.Err).
var (
	// ErrNotAutomatic: the pool gives out addresses only to those who ask for it.
	ErrNotAutomatic = errors.New("pool does not assign automatically")
	// ErrNotAsked: the request is for another pool, or for addresses of another one.
	ErrNotAsked = errors.New("another pool is asked for")
)

// Considered is what a request meets at one pool.
type Considered struct {
	Pool string
	// Held are the addresses of the pool that the owner holds; Free are those that it would be given of it. IPv4 comes first.
	Held, Free []netip.Addr
	// Err says why the pool does not serve the request, or not all of it.
	Err error
}

// Serves reports whether the pool has something for the request.
func (c *Considered) Serves() bool { return len(c.Held)+len(c.Free) > 0 }

// Consider returns what a request meets at each pool: those that are tried come first, in the order in which they are tried, then
// pools that are not. Allocate takes the first that serves the request, or one that serves it in part if none does wholly. Nothing
// changes.
func (a *Allocator) Consider(req Request) ([]Considered, error) {
	if err := check(&req); err != nil {
		return nil, err
	}
	var out []Considered
	seen := map[*pool]bool{}
	try := func(pools []*pool) {
		for _, p := range pools {
			if !seen[p] {
				seen[p] = true
				out = append(out, a.consider(p, &req))
			}
		}
	}
	named := func(name string) {
		if p := a.byName[name]; p != nil {
			try([]*pool{p})
		} else {
			out = append(out, Considered{Pool: name, Err: &PoolError{Pool: name, Why: ErrUnknownPool}})
		}
	}
	rest := ErrNotAsked
	switch {
	case req.explicit():
		try(a.homes(&req))
	case req.Pool != "":
		named(req.Pool)
	case len(req.Pools) > 0:
		for _, name := range req.Pools {
			named(name)
		}
	default:
		rest = ErrNotAutomatic
		try(a.withReserved(&req))
		try(a.restricted(&req))
		try(a.open)
	}
	for _, p := range a.pools {
		if seen[p] {
			continue
		}
		c := Considered{Pool: p.Name, Held: a.heldOf(p, req.Owner), Err: &PoolError{Pool: p.Name, Why: rest}}
		if rest == ErrNotAutomatic && p.AutoAssign {
			c.Err = &PoolError{Pool: p.Name, Why: ErrNotAdmitted}
		}
		out = append(out, c)
	}
	return out, nil
}

// homes returns the pools of the addresses that req names.
func (a *Allocator) homes(req *Request) []*pool {
	var out []*pool
	for _, f := range []Family{IPv4, IPv6} {
		if addr := req.asked(f); addr.IsValid() {
			if pl := a.place(keyOf(addr.Unmap())); pl != nil && !slices.Contains(out, pl.pool) {
				out = append(out, pl.pool)
			}
		}
	}
	return out
}

func (a *Allocator) heldOf(p *pool, owner Owner) []netip.Addr {
	var out []netip.Addr
	for _, g := range a.Held(owner).Grants() {
		if g.Pool == p.Name {
			out = append(out, g.Addr)
		}
	}
	return out
}

// consider says what one pool that is tried has for req.
func (a *Allocator) consider(p *pool, req *Request) Considered {
	c := Considered{Pool: p.Name, Held: a.heldOf(p, req.Owner)}
	if !p.admits(req) {
		c.Err = &PoolError{Pool: p.Name, Why: ErrNotAdmitted}
		return c
	}
	if req.explicit() {
		if c.Err = a.refusal(req); c.Err == nil {
			for _, addr := range []netip.Addr{req.IPv4, req.IPv6} {
				if addr = addr.Unmap(); addr.IsValid() && p == a.place(keyOf(addr)).pool && !slices.Contains(c.Held, addr) {
					c.Free = append(c.Free, addr)
				}
			}
		}
		return c
	}
	var tried []Tried
	for _, f := range []Family{IPv4, IPv6} {
		if !req.wants(f) || slices.ContainsFunc(c.Held, func(addr netip.Addr) bool { return FamilyOf(addr) == f }) {
			continue
		}
		if k, ok := a.pick(p, f, req); ok {
			c.Free = append(c.Free, k.addr())
		} else {
			tried = append(tried, a.tried(p, f, req))
		}
	}
	if len(tried) > 0 {
		c.Err = &ExhaustedError{Tried: tried}
	}
	return c
}

// refusal returns why req cannot have the addresses that it names; what it holds of them already is no obstacle.
func (a *Allocator) refusal(req *Request) error {
	h := a.owners[req.Owner]
	if h == nil {
		_, err := a.chooseExplicit(req)
		return err
	}
	was := chosen{h.keys, h.has}
	before := Request{Owner: h.owner}
	if h.share != nil {
		before.Sharing, before.Ports = h.share.group.sharing, h.share.ports
	}
	a.remove(h)
	_, err := a.chooseExplicit(req)
	a.commit(&before, was)
	return err
}

// Reserved returns the reservations that have an address, by name.
func (a *Allocator) Reserved(addr netip.Addr) []Reservation {
	if !addr.IsValid() {
		return nil
	}
	k := keyOf(addr.Unmap())
	var out []Reservation
	for _, r := range a.reserved.all {
		if r.contains(k) {
			out = append(out, Reservation{Name: r.name, Owner: r.owner, Use: r.use})
		}
	}
	return out
}

// Usable reports whether an address that lies in a pool may be given out: false where the pool avoids those that end in .0 or .255.
func (a *Allocator) Usable(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	pl := a.place(keyOf(addr.Unmap()))
	return pl != nil && pl.pool.usable(keyOf(addr.Unmap()))
}
