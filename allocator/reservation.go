package allocator

import (
	"cmp"
	"slices"

	"go4.org/netipx"
)

// Reservation keeps addresses out of automatic allocation. If it names an owner, nobody else is given them even on request, and
// the owner is given them before any other; if it names none, whoever asks for one of them by address may have it.
type Reservation struct {
	Name   string
	Owner  Owner // zero: nobody
	Ranges []netipx.IPRange
	// Use, if it is not empty, says who uses the addresses already, in words that end a sentence: "it is the address of node "n1"".
	// Nobody is given them then, whatever another reservation says, not even on request ([UsedError]); who holds one keeps it.
	Use string
}

// reservations are what is reserved at present.
type reservations struct {
	all  []reserved
	own  map[Owner][]span // by owner, in address order
	set  *netipx.IPSet    // union of all
	list []span           // of set
	used []span           // of those of all that have a use, disjoint, in address order
}

type reserved struct {
	span
	owner Owner
	name  string
	use   string
}

func newReservations(rs []Reservation) reservations {
	out := reservations{own: map[Owner][]span{}}
	var b, used netipx.IPSetBuilder
	for _, r := range rs {
		for _, ipr := range r.Ranges {
			s := spanOf(ipr)
			out.all = append(out.all, reserved{s, r.Owner, r.Name, r.Use})
			if r.Use != "" {
				used.AddRange(ipr)
			} else if r.Owner != (Owner{}) {
				out.own[r.Owner] = append(out.own[r.Owner], s)
			}
			b.AddRange(ipr)
		}
	}
	for _, spans := range out.own {
		slices.SortFunc(spans, func(a, b span) int { return a.first.compare(b.first) })
	}
	slices.SortFunc(out.all, func(a, b reserved) int { return cmp.Or(a.first.compare(b.first), cmp.Compare(a.name, b.name)) })
	out.set, _ = b.IPSet() // its only errors are invalid ranges, which Ranges does not hold
	for _, r := range out.set.Ranges() {
		out.list = append(out.list, spanOf(r))
	}
	inUse, _ := used.IPSet()
	for _, r := range inUse.Ranges() {
		out.used = append(out.used, spanOf(r))
	}
	return out
}

// has reports whether k is reserved.
func (r *reservations) has(k key) bool { return contains(r.list, k) }

// against returns the reservation that keeps k from owner, who asks for it by address: one of another owner, or of what is in use.
func (r *reservations) against(k key, owner Owner) (reserved, bool) {
	if !r.has(k) {
		return reserved{}, false
	}
	if contains(r.used, k) {
		for _, x := range r.all {
			if x.use != "" && x.contains(k) {
				return x, true
			}
		}
	}
	if slices.ContainsFunc(r.own[owner], func(s span) bool { return s.contains(k) }) {
		return reserved{}, false
	}
	for _, x := range r.all {
		if x.contains(k) && x.owner != (Owner{}) {
			return x, true
		}
	}
	return reserved{}, false
}

// contains searches spans, which are disjoint and in address order.
func contains(spans []span, k key) bool {
	i, found := slices.BinarySearchFunc(spans, k, func(s span, k key) int { return s.first.compare(k) })
	return found || i > 0 && spans[i-1].contains(k)
}

// SetReservations replaces all reservations. Nobody loses an address by it: who holds a reserved one keeps it.
func (a *Allocator) SetReservations(rs []Reservation) {
	next := newReservations(rs)
	if a.reserved.set != nil && a.reserved.set.Equal(next.set) {
		a.reserved = next // the same addresses, perhaps for other owners
		return
	}
	a.reserved = next
	for _, p := range a.pools {
		p.reserve(&a.reserved)
	}
	for k := range a.addrs {
		if pl := a.place(k); pl != nil {
			pl.pool.take(k)
		}
	}
}

// reserve makes p a pool of which nothing is taken but what is reserved.
func (p *pool) reserve(r *reservations) {
	p.reserved = nil
	p.taken = taken{avoidBuggy: p.AvoidBuggy}
	for i := range p.use {
		p.use[i] = usage{size: p.use[i].size}
	}
	for i, s := range p.spans {
		p.open.set(i)
		for _, x := range r.list {
			if x.last.less(s.first) || s.last.less(x.first) {
				continue
			}
			part := span{maxKey(s.first, x.first), minKey(s.last, x.last)}
			p.reserved = append(p.reserved, part)
			u := &p.use[index(part.first.family())]
			u.reserved = addSaturated(u.reserved, part.size(p.AvoidBuggy))
			p.taken.addSpan(part)
		}
	}
	slices.SortFunc(p.reserved, func(a, b span) int { return a.first.compare(b.first) })
}

func maxKey(a, b key) key {
	if a.less(b) {
		return b
	}
	return a
}

func minKey(a, b key) key {
	if a.less(b) {
		return a
	}
	return b
}

// pickReserved returns the lowest address of family f in p that is reserved for req's owner and that it may have.
func (a *Allocator) pickReserved(p *pool, f Family, req *Request) (key, bool) {
	for _, s := range a.reserved.own[req.Owner] {
		if s.first.family() != f {
			continue
		}
		for k, ok := s.first, true; ok && !s.last.less(k); k, ok = k.next() {
			pl := a.place(k)
			if pl == nil || pl.pool != p {
				if pl = a.placeFrom(k, p); pl == nil || s.last.less(pl.first) {
					break
				}
				k = pl.first
			}
			if p.usable(k) && !contains(a.reserved.used, k) && a.conflict(k, req, nil) == nil {
				return k, true
			}
		}
	}
	return key{}, false
}

// placeFrom returns the first place of p that begins after k, or nil.
func (a *Allocator) placeFrom(k key, p *pool) *place {
	i, _ := slices.BinarySearchFunc(a.places, k, func(pl place, k key) int { return pl.first.compare(k) })
	for ; i < len(a.places); i++ {
		if a.places[i].pool == p && k.less(a.places[i].first) {
			return &a.places[i]
		}
	}
	return nil
}

// withReserved returns the pools, in order, that have an address reserved for req's owner to give.
func (a *Allocator) withReserved(req *Request) []*pool {
	if len(a.reserved.own[req.Owner]) == 0 {
		return nil
	}
	var out []*pool
	for _, p := range a.pools {
		if p.External || !p.admits(req) {
			continue
		}
		for _, f := range []Family{req.Families.Primary, req.Families.Secondary} {
			if f == 0 || !req.wants(f) {
				continue
			}
			if _, ok := a.pickReserved(p, f, req); ok {
				out = append(out, p)
				break
			}
		}
	}
	return out
}
