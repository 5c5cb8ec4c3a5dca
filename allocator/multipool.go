package allocator

import "slices"

// chooseEach picks an address of each family from the pools that req names, each family from the first that has one.
func (a *Allocator) chooseEach(req *Request) (chosen, error) {
	var c chosen
	var lacking error
	for _, f := range []Family{req.Families.Primary, req.Families.Secondary} {
		if f == 0 || !req.wants(f) {
			continue
		}
		k, err := a.pickFrom(req.Pools, f, req)
		if err != nil {
			if lacking == nil {
				lacking = err
			}
			continue
		}
		c.set(k)
	}
	if lacking != nil && (req.Policy != PreferDualStack || !c.has[0] && !c.has[1]) {
		return chosen{}, lacking
	}
	return c, nil
}

// pickFrom picks an address of family f from the first of pools that has one for req.
func (a *Allocator) pickFrom(pools []string, f Family, req *Request) (key, error) {
	var tried []Tried
	var refused error
	for _, name := range pools {
		p := a.byName[name]
		switch {
		case p == nil:
			refused = &PoolError{Pool: name, Why: ErrUnknownPool}
			continue
		case !p.admits(req):
			refused = &PoolError{Pool: name, Why: ErrNotAdmitted}
			continue
		}
		if k, ok := a.pick(p, f, req); ok {
			return k, nil
		}
		tried = append(tried, a.tried(p, f, req))
		if a.awaits(p, f, req) {
			break
		}
	}
	if refused != nil && !slices.ContainsFunc(tried, func(t Tried) bool { return t.Size > 0 }) {
		return key{}, refused // a pool that has the family at all is the better explanation
	}
	return key{}, &ExhaustedError{Tried: tried}
}

// adaptEach brings h to the pools that req names, each family by itself: an address of one of them stays, another is replaced
// if there is one to replace it with, and a missing one is added.
func (a *Allocator) adaptEach(req *Request, h *holding) (Assignment, error) {
	var first error
	for i, f := range []Family{IPv4, IPv6} {
		if !req.wants(f) || h.has[i] && slices.Contains(req.Pools, poolName(a.place(h.keys[i]))) {
			continue
		}
		k, err := a.pickFrom(req.Pools, f, req)
		switch {
		case err == nil:
			if h.has[i] {
				a.detach(h, f)
			}
			a.attach(h, k)
		case h.has[i] && a.place(h.keys[i]) == nil:
			err = &StrayError{Addr: h.keys[i].addr(), Next: err}
			fallthrough
		case h.has[i] || req.Policy == RequireDualStack:
			if first == nil {
				first = err
			}
		}
	}
	if first != nil {
		return a.assignment(h), first
	}
	return a.assignment(h), a.admission(req, h)
}
