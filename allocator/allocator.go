package allocator

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"slices"
)

// Allocator gives addresses of pools to owners. The zero value has no pools and is ready to use.
type Allocator struct {
	pools  []*pool // in the order they are tried
	open   []*pool // those of pools that serve every owner automatically, same order
	byName map[string]*pool
	places []place // spans of all pools, by address
	owners map[Owner]*holding
	addrs  map[key]*holding // first of the holders of an address
	groups map[Sharing]*group

	reserved reservations
	external external
}

// Change says that an address belongs to another pool than before, or to none.
type Change struct {
	Owner    Owner
	Addr     netip.Addr
	From, To string // pools; To is empty if the address has left every pool, From if it was in none
}

// SetPools replaces the pools. It frees nothing: an address that lies in no pool any more stays with its owner until the owner
// is released or allocated for again, and comes home if a later set of pools contains it. The changes are returned by owner.
//
// On error, an [ErrInvalidPools], nothing has changed.
func (a *Allocator) SetPools(specs []Pool) ([]Change, error) {
	if err := validate(specs); err != nil {
		return nil, err
	}
	next := Allocator{byName: make(map[string]*pool, len(specs))}
	fresh := map[*pool]bool{}
	for _, spec := range specs {
		p := a.byName[spec.Name]
		if p != nil && p.sameAddresses(spec) {
			q := *p
			q.Pool = spec
			p = &q
		} else {
			p = newPool(spec)
			p.reserve(&a.reserved)
			fresh[p] = true
		}
		next.pools = append(next.pools, p)
		next.byName[spec.Name] = p
	}
	slices.SortFunc(next.pools, order)
	var err error
	if next.places, err = placesOf(next.pools); err != nil {
		return nil, err
	}

	var changes []Change
	for owner, h := range a.owners {
		for i, held := range h.has {
			if !held {
				continue
			}
			from, to := poolName(a.place(h.keys[i])), poolName(next.place(h.keys[i]))
			if from != to {
				changes = append(changes, Change{Owner: owner, Addr: h.keys[i].addr(), From: from, To: to})
			}
		}
	}
	slices.SortFunc(changes, func(x, y Change) int { return cmp.Or(x.Owner.Compare(y.Owner), x.Addr.Compare(y.Addr)) })

	if len(fresh) > 0 {
		for k := range a.addrs {
			if pl := next.place(k); pl != nil && fresh[pl.pool] {
				pl.pool.take(k)
			}
		}
	}
	a.pools, a.byName, a.places, a.open = next.pools, next.byName, next.places, nil
	for _, p := range a.pools {
		if p.AutoAssign && !p.Restricted {
			a.open = append(a.open, p)
		}
	}
	return changes, nil
}

func poolName(pl *place) string {
	if pl == nil {
		return ""
	}
	return pl.pool.Name
}

// place returns where k belongs, or nil if it is in no pool.
func (a *Allocator) place(k key) *place {
	i, found := slices.BinarySearchFunc(a.places, k, func(pl place, k key) int { return pl.first.compare(k) })
	if !found {
		i--
	}
	if i < 0 || !a.places[i].contains(k) {
		return nil
	}
	return &a.places[i]
}

// PoolOf returns the name of the pool that contains addr; ok is false if none does.
func (a *Allocator) PoolOf(addr netip.Addr) (name string, ok bool) {
	if !addr.IsValid() {
		return "", false
	}
	pl := a.place(keyOf(addr))
	return poolName(pl), pl != nil
}

// Held returns what owner holds, including addresses that have left every pool (those have an empty Pool).
func (a *Allocator) Held(owner Owner) Assignment {
	h := a.owners[owner]
	if h == nil {
		return Assignment{}
	}
	return a.assignment(h)
}

func (a *Allocator) assignment(h *holding) Assignment {
	var out Assignment
	if h.has[0] {
		out.IPv4 = Grant{h.keys[0].addr(), poolName(a.place(h.keys[0]))}
	}
	if h.has[1] {
		out.IPv6 = Grant{h.keys[1].addr(), poolName(a.place(h.keys[1]))}
	}
	return out
}

// Holders returns the owners of addr, by name.
func (a *Allocator) Holders(addr netip.Addr) []Owner {
	if !addr.IsValid() {
		return nil
	}
	k := keyOf(addr)
	var out []Owner
	for h := a.addrs[k]; h != nil; h = h.next(index(k.family())) {
		out = append(out, h.owner)
	}
	slices.SortFunc(out, Owner.Compare)
	return out
}

// All returns every owner and what it holds, in no particular order.
func (a *Allocator) All() iter.Seq2[Owner, Assignment] {
	return func(yield func(Owner, Assignment) bool) {
		for owner, h := range a.owners {
			if !yield(owner, a.assignment(h)) {
				return
			}
		}
	}
}

// Shares returns with whom owner shares its addresses and the ports it uses; both are zero if it shares with nobody.
func (a *Allocator) Shares(owner Owner) (Sharing, PortSet) {
	h := a.owners[owner]
	if h == nil || h.share == nil {
		return Sharing{}, PortSet{}
	}
	return h.share.group.sharing, h.share.ports
}

// Len returns the number of owners that hold something.
func (a *Allocator) Len() int { return len(a.owners) }

// Release frees what owner holds and returns it; releasing nothing is no error.
func (a *Allocator) Release(owner Owner) Assignment {
	h := a.owners[owner]
	if h == nil {
		delete(a.external.asks, owner)
		return Assignment{}
	}
	was := a.assignment(h)
	a.remove(h)
	return was
}

func (a *Allocator) remove(h *holding) {
	for i, f := range []Family{IPv4, IPv6} {
		if h.has[i] {
			a.detach(h, f)
		}
	}
	delete(a.owners, h.owner)
	delete(a.external.asks, h.owner)
}

// Restore records that the owner of req already holds addrs, as read from where assignments are kept. It does not ask whether
// they would be given out today, nor whether a pool contains them, only that nobody else holds them without sharing ([ErrInUse],
// [ErrSharingConflict]). On error, or if the owner holds something already, nothing has changed.
func (a *Allocator) Restore(req Request, addrs ...netip.Addr) error {
	if a.owners[req.Owner] != nil {
		return fmt.Errorf("%w: %s holds addresses already", ErrInvalidRequest, req.Owner)
	}
	var seen [2]bool
	for _, addr := range addrs {
		if !addr.IsValid() {
			return fmt.Errorf("%w: %s holds an invalid address", ErrInvalidRequest, req.Owner)
		}
		k := keyOf(addr)
		f := index(k.family())
		if seen[f] {
			return fmt.Errorf("%w: %s holds two %s addresses", ErrInvalidRequest, req.Owner, k.family())
		}
		seen[f] = true
		if c := a.conflict(k, &req, nil); c != nil {
			return c
		}
	}
	if len(addrs) > 0 {
		h := a.hold(&req)
		for _, addr := range addrs {
			a.attach(h, keyOf(addr))
		}
	}
	return nil
}

// hold makes an empty holding for req and enters it.
func (a *Allocator) hold(req *Request) *holding {
	if a.owners == nil {
		a.owners, a.addrs, a.groups = map[Owner]*holding{}, map[key]*holding{}, map[Sharing]*group{}
	}
	h := &holding{owner: req.Owner, share: a.shareOf(req)}
	a.owners[req.Owner] = h
	return h
}

// Stats counts the distinct addresses of one pool.
type Stats struct {
	AssignedIPv4, AssignedIPv6   int64
	AvailableIPv4, AvailableIPv6 int64
	TotalIPv4, TotalIPv6         int64 // that can be given out, held, reserved or free
	ReservedIPv4, ReservedIPv6   int64 // of the total, reserved, held or not
}

// Stats returns the counters of a pool; ok is false if there is no such pool. They are never negative, and a count of
// available addresses that does not fit saturates at MaxInt64, as MetalLB's does from 2^62 addresses on. Reserved addresses are
// not available; they are assigned only if somebody holds them.
func (a *Allocator) Stats(name string) (s Stats, ok bool) {
	p := a.byName[name]
	if p == nil {
		return Stats{}, false
	}
	v4, v6 := p.use[0], p.use[1]
	return Stats{
		AssignedIPv4: saturate(v4.held), AvailableIPv4: available(v4), TotalIPv4: saturate(v4.size), ReservedIPv4: saturate(v4.reserved),
		AssignedIPv6: saturate(v6.held), AvailableIPv6: available(v6), TotalIPv6: saturate(v6.size), ReservedIPv6: saturate(v6.reserved),
	}, true
}

func saturate(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

func available(u usage) int64 {
	if u.size >= 1<<62 {
		return math.MaxInt64
	}
	return saturate(u.size - min(u.size, addSaturated(u.busy, u.reserved)))
}

// Pools returns the names of the pools in the order in which they are tried.
func (a *Allocator) Pools() []string {
	out := make([]string, len(a.pools))
	for i, p := range a.pools {
		out[i] = p.Name
	}
	return out
}

func check(req *Request) error {
	f := req.Families
	valid := func(g Family) bool { return g == IPv4 || g == IPv6 }
	switch {
	case req.Owner == Owner{}:
		return fmt.Errorf("%w: it names no owner", ErrInvalidRequest)
	case !valid(f.Primary) || f.Dual() && (!valid(f.Secondary) || f.Primary == f.Secondary):
		return fmt.Errorf("%w: families %s and %s", ErrInvalidRequest, f.Primary, f.Secondary)
	case req.Pool != "" && len(req.Pools) > 0:
		return fmt.Errorf("%w: it names one pool and a list of pools", ErrInvalidRequest)
	case req.Policy == RequireDualStack && !f.Dual():
		return fmt.Errorf("%w: dual stack is required but only %s can be used", ErrInvalidRequest, f.Primary)
	case req.IPv4.IsValid() && FamilyOf(req.IPv4) != IPv4, req.IPv6.IsValid() && FamilyOf(req.IPv6) != IPv6:
		return fmt.Errorf("%w: an address was asked for as the wrong family", ErrInvalidRequest)
	}
	if !req.explicit() {
		return nil
	}
	for _, g := range []Family{IPv4, IPv6} {
		if req.wants(g) != req.asked(g).IsValid() {
			return fmt.Errorf("%w: an address was asked for each of %s, but exactly %s is needed",
				ErrInvalidRequest, familiesOf(func(g Family) bool { return req.asked(g).IsValid() }), familiesOf(req.wants))
		}
	}
	return nil
}

func familiesOf(in func(Family) bool) string {
	switch {
	case in(IPv4) && in(IPv6):
		return "IPv4 and IPv6"
	case in(IPv4):
		return "IPv4"
	default:
		return "IPv6"
	}
}
