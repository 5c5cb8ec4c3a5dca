package allocator

import (
	"errors"
	"slices"
	"strings"
)

// Allocate gives the owner of req what it asks for. It is idempotent: an owner that holds what it may hold keeps it, whatever
// else has become free. What a holder asks for in addition or instead is given before anything it holds is freed.
//
// The assignment is what the owner holds afterwards, also beside an error: a holder keeps its addresses if what it asks for
// cannot be had, if its pool has stopped admitting it ([ErrNotAdmitted]), and if its addresses have left every pool and no other
// can be had ([ErrNotInPool]; those have an empty Pool). It loses them only if its own new sharing key or ports forbid it to
// stay beside another holder and nothing else can be had.
//
// An owner that prefers dual stack and holds one address is given the missing one as soon as the same pool has it; until then
// there is no error. One that requires it, or that had both until one of them left every pool, is given both by another pool if its
// own has not the missing family: it does without one only if no pool that serves it has both. What a request names is never
// replaced by another address.
func (a *Allocator) Allocate(req Request) (Assignment, error) {
	if err := check(&req); err != nil {
		return a.Held(req.Owner), err
	}
	req.search = &search{}
	out, err := a.allocate(&req)
	a.note(&req, err)
	return out, err
}

func (a *Allocator) allocate(req *Request) (Assignment, error) {
	if h := a.owners[req.Owner]; h != nil {
		req.search.had = chosen{h.keys, h.has}
		return a.reallocate(req, h)
	}
	c, err := a.choose(req)
	if err != nil {
		return Assignment{}, err
	}
	h := a.commit(req, c)
	if len(req.search.asks) > 0 && len(req.Pools) == 0 && req.Policy == PreferDualStack {
		h, _ = a.gain(req, h) // it notes what its pool is yet to be given
	}
	return a.assignment(h), nil
}

// chosen are the addresses picked for a request, by index(family).
type chosen struct {
	keys [2]key
	has  [2]bool
}

func (c *chosen) set(k key) {
	i := index(k.family())
	c.keys[i], c.has[i] = k, true
}

func (a *Allocator) commit(req *Request, c chosen) *holding {
	h := a.hold(req)
	for i, has := range c.has {
		if has {
			a.attach(h, c.keys[i])
		}
	}
	return h
}

// reallocate decides what becomes of what h holds.
func (a *Allocator) reallocate(req *Request, h *holding) (Assignment, error) {
	for i, f := range []Family{IPv4, IPv6} {
		if h.has[i] && !req.wants(f) {
			a.detach(h, f)
		}
	}
	if h.empty() { // its family was exchanged for the other
		a.remove(h)
		return a.allocate(req)
	}
	if c := a.illegal(req, h); c != nil {
		return a.evict(req, h, c)
	}
	h = a.adjust(req, h)
	if len(req.Pools) > 0 && !req.explicit() {
		return a.adaptEach(req, h)
	}
	elsewhere, err := a.asksElsewhere(req, h)
	switch {
	case err != nil:
		return a.assignment(h), err
	case elsewhere:
		return a.move(req, h)
	case a.strayed(h):
		return a.rehome(req, h)
	}
	h, err = a.gain(req, h)
	if err == nil {
		err = a.admission(req, h)
	}
	return a.assignment(h), err
}

// illegal returns why h may not stay on one of its addresses, given req's sharing and ports; nil if it may.
func (a *Allocator) illegal(req *Request, h *holding) *ConflictError {
	for i, held := range h.has {
		if held {
			if c := a.conflict(h.keys[i], req, h); c != nil {
				return c
			}
		}
	}
	return nil
}

// evict moves h off an address that it may not share any more. If nothing else can be had, it is left with nothing.
func (a *Allocator) evict(req *Request, h *holding, why *ConflictError) (Assignment, error) {
	was := chosen{h.keys, h.has}
	a.remove(h)
	c, err := a.chooseAgain(req, was)
	if err != nil {
		return Assignment{}, &EvictedError{Conflict: why, Next: err}
	}
	return a.assignment(a.commit(req, c)), nil
}

// chooseAgain picks addresses for an owner that held was until now. One that held both families is not content with one as long as
// some pool has both, even where it only prefers to have both and another pool comes first.
func (a *Allocator) chooseAgain(req *Request, was chosen) (chosen, error) {
	if req.Policy == PreferDualStack && was.has[0] && was.has[1] {
		both := *req
		both.Policy = RequireDualStack
		if c, err := a.choose(&both); err == nil {
			return c, nil
		}
	}
	return a.choose(req)
}

// adjust gives h the sharing and ports of req. If they differ from what it has, they are legal for every address of h.
func (a *Allocator) adjust(req *Request, h *holding) *holding {
	old := h.share
	switch {
	case old == nil && req.Sharing.Key == "":
		return h
	case old != nil && old.group.sharing == req.Sharing && old.ports == req.Ports:
		return h
	}
	was := chosen{h.keys, h.has}
	a.remove(h)
	return a.commit(req, was)
}

// asksElsewhere reports whether req names addresses or a pool other than those h holds.
func (a *Allocator) asksElsewhere(req *Request, h *holding) (bool, error) {
	if req.Pool != "" && a.byName[req.Pool] == nil {
		return false, &PoolError{Pool: req.Pool, Why: ErrUnknownPool}
	}
	for i, f := range []Family{IPv4, IPv6} {
		if want := req.asked(f); want.IsValid() && (!h.has[i] || keyOf(want) != h.keys[i]) {
			return true, nil
		}
		if pl := a.place(h.keys[i]); h.has[i] && req.Pool != "" && pl != nil && pl.pool.Name != req.Pool {
			return true, nil
		}
	}
	return false, nil
}

// move exchanges what h holds for what req asks for, or leaves everything as it is.
func (a *Allocator) move(req *Request, h *holding) (Assignment, error) {
	was := chosen{h.keys, h.has}
	a.remove(h)
	c, err := a.chooseAgain(req, was)
	if err != nil {
		c = was
	}
	return a.assignment(a.commit(req, c)), err
}

// strayed reports whether an address of h lies in no pool any more.
func (a *Allocator) strayed(h *holding) bool {
	for i, held := range h.has {
		if held && a.place(h.keys[i]) == nil {
			return true
		}
	}
	return false
}

// rehome replaces the addresses of h that have left every pool. One that has not stays if its pool has the other family, too; if it
// has not, both are exchanged for those of a pool that has both. An address that req names is replaced by no other.
func (a *Allocator) rehome(req *Request, h *holding) (Assignment, error) {
	stray, home := Family(0), (*pool)(nil)
	for i, f := range []Family{IPv4, IPv6} {
		switch pl := a.place(h.keys[i]); {
		case !h.has[i]:
		case pl != nil:
			home = pl.pool
		case stray == 0:
			stray = f
		}
	}
	addr := h.keys[index(stray)].addr()
	if home == nil || req.explicit() {
		held, err := a.move(req, h)
		if err != nil {
			err = &StrayError{Addr: addr, Next: err}
		}
		return held, err
	}
	h, err := a.complete(req, h, home, stray)
	if err != nil {
		err = &StrayError{Addr: addr, Next: err}
	}
	return a.assignment(h), err
}

// complete gives h, which has one address in home, one of family f, too, in exchange for what it has of that family: from home, or, in
// exchange for everything, from a pool that has both. It returns what has become of h. On error, nothing has changed.
func (a *Allocator) complete(req *Request, h *holding, home *pool, f Family) (*holding, error) {
	if home.admits(req) {
		if k, ok := a.pick(home, f, req); ok {
			if h.has[index(f)] {
				a.detach(h, f)
			}
			a.attach(h, k)
			return h, nil
		}
		if a.awaits(home, f, req) {
			return h, &ExhaustedError{Tried: []Tried{a.tried(home, f, req)}}
		}
	}
	both := *req
	both.Policy = RequireDualStack
	c, err := a.choose(&both)
	if err == nil {
		a.remove(h)
		return a.commit(req, c), nil
	}
	if !home.admits(req) {
		return h, &PoolError{Pool: home.Name, Why: ErrNotAdmitted}
	}
	tried := []Tried{a.tried(home, f, req)} // also where home is no pool that is tried by itself
	if e, ok := errors.AsType[*ExhaustedError](err); ok {
		for _, t := range e.Tried {
			if t.Pool != home.Name {
				tried = append(tried, t)
			}
		}
	}
	return h, &ExhaustedError{Tried: tried}
}

// gain adds the second address that req asks for, from the pool of the first. Only who insists on both moves to another pool for it,
// and only then its absence is an error. It returns what has become of h.
func (a *Allocator) gain(req *Request, h *holding) (*holding, error) {
	if req.Policy == SingleStack || !req.Families.Dual() || h.has[0] && h.has[1] {
		return h, nil
	}
	missing, first := IPv4, h.keys[1]
	if h.has[0] {
		missing, first = IPv6, h.keys[0]
	}
	p := a.place(first).pool
	if req.Policy == RequireDualStack {
		return a.complete(req, h, p, missing)
	}
	if !p.admits(req) {
		return h, &PoolError{Pool: p.Name, Why: ErrNotAdmitted}
	}
	if k, ok := a.pick(p, missing, req); ok {
		a.attach(h, k)
	}
	return h, nil
}

// admission returns an error if a pool of h does not admit its owner.
func (a *Allocator) admission(req *Request, h *holding) error {
	for i, held := range h.has {
		if held {
			if p := a.place(h.keys[i]).pool; !p.admits(req) {
				return &PoolError{Pool: p.Name, Addr: h.keys[i].addr(), Why: ErrNotAdmitted}
			}
		}
	}
	return nil
}

func (p *pool) admits(req *Request) bool {
	return !p.Restricted || slices.Contains(req.Admitted, p.Name)
}

// choose picks addresses for an owner that holds nothing.
func (a *Allocator) choose(req *Request) (chosen, error) {
	switch {
	case req.explicit():
		return a.chooseExplicit(req)
	case req.Pool != "":
		return a.chooseFrom(req)
	case len(req.Pools) > 0:
		return a.chooseEach(req)
	}
	var tried []Tried
	// First what is reserved for the owner, then pools for some owners, then those that serve everybody.
	for _, group := range [][]*pool{a.withReserved(req), a.restricted(req), a.open} {
		c, got := a.chooseAmong(group, req)
		if got == everything {
			return c, nil
		}
		for _, p := range group {
			tried = append(tried, a.shortage(p, req)...)
		}
		if got == awaited {
			break
		}
	}
	return chosen{}, &ExhaustedError{Tried: tried}
}

// restricted returns the automatic pools that admit req by name, in order.
func (a *Allocator) restricted(req *Request) []*pool {
	var out []*pool
	for _, name := range req.Admitted {
		if p := a.byName[name]; p != nil && p.Restricted && p.AutoAssign {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, order)
	return slices.Compact(out)
}

// chooseFrom picks from the pool that req names.
func (a *Allocator) chooseFrom(req *Request) (chosen, error) {
	p := a.byName[req.Pool]
	switch {
	case p == nil:
		return chosen{}, &PoolError{Pool: req.Pool, Why: ErrUnknownPool}
	case !p.admits(req):
		return chosen{}, &PoolError{Pool: req.Pool, Why: ErrNotAdmitted}
	}
	if c, got := a.chooseAmong([]*pool{p}, req); got == everything {
		return c, nil
	}
	return chosen{}, &ExhaustedError{Tried: a.shortage(p, req)}
}

// chooseAmong picks from the first of the pools that gives all families; an owner that only prefers to have both is content with
// the first that gives the primary one, then the secondary one.
func (a *Allocator) chooseAmong(pools []*pool, req *Request) (chosen, found) {
	f := req.Families
	if req.Policy == SingleStack || !f.Dual() {
		return a.chooseFamilies(pools, req, f.Primary)
	}
	if c, got := a.chooseFamilies(pools, req, f.Primary, f.Secondary); got != nothing || req.Policy == RequireDualStack {
		return c, got
	}
	if c, got := a.chooseFamilies(pools, req, f.Primary); got != nothing {
		return c, got
	}
	return a.chooseFamilies(pools, req, f.Secondary)
}

// found is what a look through pools comes to.
type found uint8

const (
	nothing    found = iota
	awaited          // the first pool that could give everything waits for its Provider
	everything       // an address of each family
)

func (a *Allocator) chooseFamilies(pools []*pool, req *Request, families ...Family) (chosen, found) {
next:
	for _, p := range pools {
		if slices.ContainsFunc(families, func(f Family) bool { return p.use[index(f)].size == 0 }) {
			continue
		}
		var c chosen
		got := everything
		for _, f := range families {
			k, ok := a.pick(p, f, req)
			switch {
			case ok:
				c.set(k)
			case a.awaits(p, f, req):
				got = awaited
			default:
				continue next
			}
		}
		return c, got
	}
	return chosen{}, nothing
}

// pick returns the first address of family f that p has for req: one that is reserved for its owner, or else the lowest that is
// free or may be shared, of the first entry that has one. Sharing is permission, not a wish: a lower free address comes before a shared
// one.
func (a *Allocator) pick(p *pool, f Family, req *Request) (key, bool) {
	if p.use[index(f)].size == 0 {
		return key{}, false
	}
	if p.External {
		return a.pickGiven(p, f, req)
	}
	if k, ok := a.pickReserved(p, f, req); ok {
		return k, true
	}
	if g := a.groups[req.Sharing]; g != nil && req.Sharing.Key != "" {
		return a.pickShared(p, f, req, g)
	}
	for i := p.open.from(0); i >= 0; i = p.open.from(i + 1) {
		if p.spans[i].first.family() == f {
			if k, ok := p.lowestFree(i); ok {
				return k, true
			}
		}
	}
	return key{}, false
}

func (a *Allocator) pickShared(p *pool, f Family, req *Request, g *group) (key, bool) {
	for i, s := range p.spans {
		if s.first.family() != f {
			continue
		}
		free, isFree := p.lowestFree(i)
		if isFree && s.first.less(free) {
			s.last, _ = free.prev() // a shared address above the free one is of no interest
		} else if isFree {
			return free, true
		}
		if k, ok := g.lowest(s, req.Ports, func(k key) bool { return p.usable(k) && !contains(p.reserved, k) }); ok {
			return k, true
		}
		if isFree {
			return free, true
		}
	}
	return key{}, false
}

// chooseExplicit checks the addresses that req names: of one pool, or of those that req names, which may refuse them, and free or
// shareable.
func (a *Allocator) chooseExplicit(req *Request) (chosen, error) {
	var c chosen
	var home *pool
	for _, f := range []Family{IPv4, IPv6} {
		addr := req.asked(f).Unmap()
		if !addr.IsValid() {
			continue
		}
		k := keyOf(addr)
		pl := a.place(k)
		switch {
		case pl == nil:
			return chosen{}, &PoolError{Addr: addr, Why: ErrNotInPool}
		case req.Pool != "" && pl.pool.Name != req.Pool:
			return chosen{}, &MismatchError{Addr: addr, Pool: pl.pool.Name, Want: req.Pool}
		case len(req.Pools) > 0 && !slices.Contains(req.Pools, pl.pool.Name):
			return chosen{}, &MismatchError{Addr: addr, Pool: pl.pool.Name, Want: strings.Join(req.Pools, ",")}
		case len(req.Pools) == 0 && home != nil && pl.pool != home:
			return chosen{}, &MismatchError{Addr: addr, Pool: pl.pool.Name, Want: home.Name}
		case !pl.pool.admits(req):
			return chosen{}, &PoolError{Pool: pl.pool.Name, Addr: addr, Why: ErrNotAdmitted}
		case !pl.pool.usable(k):
			return chosen{}, &PoolError{Pool: pl.pool.Name, Addr: addr, Why: ErrBuggyAddress}
		}
		if conflict := a.conflict(k, req, nil); conflict != nil {
			return chosen{}, conflict
		}
		switch r, is := a.reserved.against(k, req.Owner); {
		case is && r.use != "":
			return chosen{}, &UsedError{Addr: addr, Use: r.use}
		case is:
			return chosen{}, &ReservedError{Addr: addr, Reservation: r.name, For: r.owner}
		case pl.pool.External && !a.mayHave(pl.pool, k, req):
			return chosen{}, &PoolError{Pool: pl.pool.Name, Addr: addr, Why: ErrNotGiven}
		}
		home = pl.pool
		c.set(k)
	}
	return c, nil
}

// shortage says what p lacks for req.
func (a *Allocator) shortage(p *pool, req *Request) []Tried {
	look := *req
	look.search = nil
	var out []Tried
	for _, f := range []Family{req.Families.Primary, req.Families.Secondary} {
		if req.Families.Has(f) && req.wants(f) {
			if _, ok := a.pick(p, f, &look); !ok {
				out = append(out, a.tried(p, f, req))
			}
		}
	}
	return out
}
