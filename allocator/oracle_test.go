package allocator

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"

	"go4.org/netipx"
)

// oracle is the engine written the slow, obvious way: it looks at every address of every pool and at every holder. It serves
// only small pools. Random histories are played to both and compared after every step.
type oracle struct {
	pools []Pool
	held  map[Owner]*oracleHolding

	reservations []Reservation
}

// inUse reports whether addr is in use elsewhere.
func (o *oracle) inUse(addr netip.Addr) bool {
	return slices.ContainsFunc(o.reservations, func(r Reservation) bool {
		return r.Use != "" && slices.ContainsFunc(r.Ranges, func(x netipx.IPRange) bool { return x.Contains(addr) })
	})
}

// reserved reports whether addr is reserved, for the owner of req, and for somebody else by name. What is in use is for nobody.
func (o *oracle) reserved(addr netip.Addr, owner Owner) (at, own, others bool) {
	if o.inUse(addr) {
		return true, false, false
	}
	for _, r := range o.reservations {
		for _, x := range r.Ranges {
			if x.Contains(addr) {
				at = true
				own = own || r.Owner == owner
				others = others || r.Owner != owner && r.Owner != Owner{}
			}
		}
	}
	return at, own, others && !own
}

type oracleHolding struct {
	sharing Sharing
	ports   PortSet
	addrs   map[Family]netip.Addr
}

func newOracle() *oracle { return &oracle{held: map[Owner]*oracleHolding{}} }

func (o *oracle) setPools(pools []Pool) {
	o.pools = slices.Clone(pools)
	slices.SortFunc(o.pools, func(a, b Pool) int {
		weight := func(p Pool) int { return cmp.Or(p.Priority, math.MaxInt) }
		return cmp.Or(cmp.Compare(weight(a), weight(b)), cmp.Compare(a.Name, b.Name))
	})
}

func (o *oracle) pool(name string) *Pool {
	for i := range o.pools {
		if o.pools[i].Name == name {
			return &o.pools[i]
		}
	}
	return nil
}

func (o *oracle) poolOf(addr netip.Addr) *Pool {
	for i, p := range o.pools {
		for _, r := range p.Ranges {
			if r.Contains(addr) {
				return &o.pools[i]
			}
		}
	}
	return nil
}

func (o *oracle) holders(addr netip.Addr) []Owner {
	var out []Owner
	for owner, h := range o.held {
		if h.addrs[FamilyOf(addr)] == addr {
			out = append(out, owner)
		}
	}
	slices.SortFunc(out, Owner.Compare)
	return out
}

func usable(p *Pool, a netip.Addr) bool {
	if !p.AvoidBuggy || !a.Is4() {
		return true
	}
	last := a.As4()[3]
	return last != 0 && last != 255
}

func addresses(p *Pool, f Family) []netip.Addr {
	var out []netip.Addr
	for _, r := range p.Ranges {
		if FamilyOf(r.From()) != f {
			continue
		}
		for a := r.From(); a.IsValid() && !r.To().Less(a); a = a.Next() {
			if usable(p, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// refusal returns why req may not hold addr beside the others.
func (o *oracle) refusal(addr netip.Addr, req Request) error {
	for _, owner := range o.holders(addr) {
		h := o.held[owner]
		switch {
		case owner == req.Owner:
		case req.Sharing.Key == "" || h.sharing.Key == "":
			return ErrInUse
		case req.Sharing != h.sharing:
			return ErrSharingConflict
		case req.Ports.Overlaps(h.ports):
			return ErrSharingConflict
		}
	}
	return nil
}

func (o *oracle) first(p *Pool, f Family, req Request) netip.Addr {
	// Own reserved addresses by address, all others in the order of the entries.
	own := addresses(p, f)
	slices.SortFunc(own, netip.Addr.Compare)
	for _, a := range own {
		if _, mine, _ := o.reserved(a, req.Owner); mine && o.refusal(a, req) == nil {
			return a
		}
	}
	for _, a := range addresses(p, f) {
		if at, _, _ := o.reserved(a, req.Owner); !at && o.refusal(a, req) == nil {
			return a
		}
	}
	return netip.Addr{}
}

func (o *oracle) firstOf(pools []*Pool, req Request, families ...Family) map[Family]netip.Addr {
	for _, p := range pools {
		got := map[Family]netip.Addr{}
		for _, f := range families {
			if a := o.first(p, f, req); a.IsValid() {
				got[f] = a
			}
		}
		if len(got) == len(families) {
			return got
		}
	}
	return nil
}

func (o *oracle) among(pools []*Pool, req Request) map[Family]netip.Addr {
	primary, secondary := req.Families.Primary, req.Families.Secondary
	switch {
	case req.Policy == SingleStack || secondary == 0:
		return o.firstOf(pools, req, primary)
	case req.Policy == RequireDualStack:
		return o.firstOf(pools, req, primary, secondary)
	}
	for _, families := range [][]Family{{primary, secondary}, {primary}, {secondary}} {
		if got := o.firstOf(pools, req, families...); got != nil {
			return got
		}
	}
	return nil
}

func admits(p *Pool, req Request) bool { return !p.Restricted || slices.Contains(req.Admitted, p.Name) }

func (o *oracle) choose(req Request) (map[Family]netip.Addr, error) {
	if req.explicit() {
		return o.chooseExplicit(req)
	}
	if req.Pool != "" {
		p := o.pool(req.Pool)
		if p == nil {
			return nil, ErrUnknownPool
		}
		if !admits(p, req) {
			return nil, ErrNotAdmitted
		}
		if got := o.among([]*Pool{p}, req); got != nil {
			return got, nil
		}
		return nil, ErrPoolExhausted
	}
	if len(req.Pools) > 0 {
		return o.chooseEach(req)
	}
	var reserved []*Pool
	for i := range o.pools {
		p := &o.pools[i]
		has := func(a netip.Addr) bool {
			_, own, _ := o.reserved(a, req.Owner)
			return own && req.wants(FamilyOf(a)) && o.refusal(a, req) == nil
		}
		if admits(p, req) && (slices.ContainsFunc(addresses(p, IPv4), has) || slices.ContainsFunc(addresses(p, IPv6), has)) {
			reserved = append(reserved, p)
		}
	}
	if got := o.among(reserved, req); got != nil {
		return got, nil
	}
	var mine, everybodys []*Pool
	for i := range o.pools {
		p := &o.pools[i]
		switch {
		case !p.AutoAssign || !admits(p, req):
		case p.Restricted:
			mine = append(mine, p)
		default:
			everybodys = append(everybodys, p)
		}
	}
	if got := o.among(mine, req); got != nil {
		return got, nil
	}
	if got := o.among(everybodys, req); got != nil {
		return got, nil
	}
	if len(reserved)+len(mine)+len(everybodys) == 0 {
		return nil, ErrNoMatchingPool
	}
	return nil, ErrPoolExhausted
}

func (o *oracle) chooseExplicit(req Request) (map[Family]netip.Addr, error) {
	got := map[Family]netip.Addr{}
	home := req.Pool
	for _, f := range []Family{IPv4, IPv6} {
		a := req.asked(f)
		if !a.IsValid() {
			continue
		}
		p := o.poolOf(a)
		switch {
		case p == nil:
			return nil, ErrNotInPool
		case len(req.Pools) > 0 && !slices.Contains(req.Pools, p.Name):
			return nil, ErrPoolMismatch
		case len(req.Pools) == 0 && home != "" && p.Name != home:
			return nil, ErrPoolMismatch
		case !admits(p, req):
			return nil, ErrNotAdmitted
		case !usable(p, a):
			return nil, ErrBuggyAddress
		}
		if err := o.refusal(a, req); err != nil {
			return nil, err
		}
		if o.inUse(a) {
			return nil, ErrInUse
		}
		if _, _, others := o.reserved(a, req.Owner); others {
			return nil, ErrReserved
		}
		home, got[f] = p.Name, a
	}
	return got, nil
}

// from returns an address of family f of the first of req.Pools that has one, or why there is none.
func (o *oracle) from(f Family, req Request) (netip.Addr, error) {
	var refused error
	sized := false
	for _, name := range req.Pools {
		p := o.pool(name)
		if p == nil {
			refused = ErrUnknownPool
			continue
		}
		if !admits(p, req) {
			refused = ErrNotAdmitted
			continue
		}
		if a := o.first(p, f, req); a.IsValid() {
			return a, nil
		}
		sized = sized || len(addresses(p, f)) > 0
	}
	if refused != nil && !sized {
		return netip.Addr{}, refused
	}
	return netip.Addr{}, ErrPoolExhausted
}

func (o *oracle) chooseEach(req Request) (map[Family]netip.Addr, error) {
	got := map[Family]netip.Addr{}
	var lacking error
	for _, f := range []Family{req.Families.Primary, req.Families.Secondary} {
		if f == 0 || !req.wants(f) {
			continue
		}
		a, err := o.from(f, req)
		if err == nil {
			got[f] = a
		} else if lacking == nil {
			lacking = err
		}
	}
	if lacking != nil && (req.Policy != PreferDualStack || len(got) == 0) {
		return nil, lacking
	}
	return got, nil
}

func (o *oracle) adaptEach(req Request, h *oracleHolding) error {
	var failed error
	for _, f := range []Family{IPv4, IPv6} {
		had, held := h.addrs[f]
		if !req.wants(f) || held && o.poolOf(had) != nil && slices.Contains(req.Pools, o.poolOf(had).Name) {
			continue
		}
		a, err := o.from(f, req)
		if err == nil {
			h.addrs[f] = a
			continue
		}
		if held && o.poolOf(had) == nil {
			err = ErrNotInPool
		}
		if failed == nil && (held || req.Policy == RequireDualStack) {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	return o.admission(req, h)
}

// allocate returns the sentinel that the engine's error must unwrap to. Its rules are sentences of the documentation, of Allocate and
// of docs/architecture.md ("Decisions"); each is quoted where it is applied.
func (o *oracle) allocate(req Request) error {
	h := o.held[req.Owner]
	if h == nil {
		return o.exchange(req, nil, req)
	}
	// Of who had both and must go, dual says that a pool with both comes before any other.
	dual := len(h.addrs) == 2 && req.Policy == PreferDualStack
	maps.DeleteFunc(h.addrs, func(f Family, _ netip.Addr) bool { return !req.wants(f) })
	if len(h.addrs) == 0 {
		delete(o.held, req.Owner)
		return o.allocate(req)
	}
	// "It loses them only if its own new sharing key or ports forbid it to stay beside another holder and nothing else can be had."
	for _, a := range h.addrs {
		if o.refusal(a, req) != nil {
			delete(o.held, req.Owner)
			return o.anew(req, nil, dual)
		}
	}
	h.sharing, h.ports = req.Sharing, req.Ports
	switch {
	case len(req.Pools) > 0 && !req.explicit():
		return o.adaptEach(req, h)
	case req.Pool != "" && o.pool(req.Pool) == nil:
		return ErrUnknownPool
	case o.asksForOther(req, h):
		// "a holder keeps its addresses if what it asks for cannot be had"
		return o.anew(req, h, dual)
	}
	lost := 0 // of its addresses, those that have left every pool
	for _, a := range h.addrs {
		if o.poolOf(a) == nil {
			lost++
		}
	}
	switch {
	case lost > 0 && req.explicit():
		return ErrNotInPool // "What a request names is never replaced by another address."
	case lost == len(h.addrs):
		if o.anew(req, h, dual) != nil {
			return ErrNotInPool
		}
		return nil
	case lost > 0 || req.Policy == RequireDualStack && len(h.addrs) == 1:
		return o.complete(req, h, lost > 0)
	case req.Policy == PreferDualStack && len(h.addrs) == 1:
		// "An owner that prefers dual stack and holds one address is given the missing one as soon as the same pool has it"
		f, p := o.missing(h)
		if !admits(p, req) {
			return ErrNotAdmitted
		}
		if a := o.first(p, f, req); a.IsValid() {
			h.addrs[f] = a
		}
	}
	return o.admission(req, h)
}

// exchange gives the owner of req what want, a request of the same owner, chooses, or leaves it with h.
func (o *oracle) exchange(req Request, h *oracleHolding, want Request) error {
	delete(o.held, req.Owner)
	got, err := o.choose(want)
	if err == nil {
		o.held[req.Owner] = &oracleHolding{req.Sharing, req.Ports, got}
	} else if h != nil {
		o.held[req.Owner] = h
	}
	return err
}

// anew is exchange for an owner that must or wants to go from all it has. "It does without one only if no pool that serves it has both."
func (o *oracle) anew(req Request, h *oracleHolding, dual bool) error {
	if dual && o.exchange(req, h, required(req)) == nil {
		return nil
	}
	return o.exchange(req, h, req)
}

func required(req Request) Request {
	req.Policy = RequireDualStack
	return req
}

// asksForOther reports whether req names an address that h has not, or another pool than one that an address of h lies in.
func (o *oracle) asksForOther(req Request, h *oracleHolding) bool {
	for _, f := range []Family{IPv4, IPv6} {
		a, held := h.addrs[f]
		if want := req.asked(f); want.IsValid() && (!held || want != a) {
			return true
		}
		if p := o.poolOf(a); held && req.Pool != "" && p != nil && p.Name != req.Pool {
			return true
		}
	}
	return false
}

// missing returns the family of which h has no address that lies in a pool, and the pool of the other.
func (o *oracle) missing(h *oracleHolding) (Family, *Pool) {
	for f, a := range h.addrs {
		if p := o.poolOf(a); p != nil {
			return f.other(), p
		}
	}
	return 0, nil
}

// complete: "One that requires it, or that had both until one of them left every pool, is given both by another pool if its own has not
// the missing family: it does without one only if no pool that serves it has both."
func (o *oracle) complete(req Request, h *oracleHolding, lost bool) error {
	f, home := o.missing(h)
	if admits(home, req) {
		if a := o.first(home, f, req); a.IsValid() {
			h.addrs[f] = a
			return nil
		}
	}
	switch {
	case o.exchange(req, h, required(req)) == nil:
		return nil
	case lost:
		return ErrNotInPool
	case !admits(home, req):
		return ErrNotAdmitted
	}
	return ErrPoolExhausted
}

// admission: "a holder keeps its addresses ... if its pool has stopped admitting it (ErrNotAdmitted)"
func (o *oracle) admission(req Request, h *oracleHolding) error {
	for _, a := range h.addrs {
		if p := o.poolOf(a); p != nil && !admits(p, req) {
			return ErrNotAdmitted
		}
	}
	return nil
}

func (o *oracle) assignment(owner Owner) Assignment {
	grant := func(a netip.Addr) Grant {
		if !a.IsValid() {
			return Grant{}
		}
		g := Grant{Addr: a}
		if p := o.poolOf(a); p != nil {
			g.Pool = p.Name
		}
		return g
	}
	h := o.held[owner]
	if h == nil {
		return Assignment{}
	}
	return Assignment{IPv4: grant(h.addrs[IPv4]), IPv6: grant(h.addrs[IPv6])}
}

func (o *oracle) stats(p *Pool) Stats {
	count := func(f Family) (assigned, available, reserved int64) {
		seen := map[netip.Addr]bool{}
		for _, h := range o.held {
			if a, ok := h.addrs[f]; ok && o.poolOf(a) == p {
				seen[a] = true
			}
		}
		for _, a := range addresses(p, f) {
			at, _, _ := o.reserved(a, Owner{"nobody", "at all"})
			if at {
				reserved++
			} else if !seen[a] {
				available++
			}
		}
		return int64(len(seen)), available, reserved
	}
	var s Stats
	s.AssignedIPv4, s.AvailableIPv4, s.ReservedIPv4 = count(IPv4)
	s.AssignedIPv6, s.AvailableIPv6, s.ReservedIPv6 = count(IPv6)
	s.TotalIPv4, s.TotalIPv6 = int64(len(addresses(p, IPv4))), int64(len(addresses(p, IPv6)))
	return s
}
