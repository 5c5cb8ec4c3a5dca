package announce

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// RouteTable is what Routes decides, kept up to date: changes are handed to it one by one, and Decide works out anew only what depends on
// them. It is not safe for concurrent use.
type RouteTable struct {
	in       RoutesInput // without Services
	services map[types.NamespacedName]*routed
	prefixes map[netip.Prefix]*target
	routes   []backends.Route // never changed, only replaced

	// What follows from the configuration and the node is worked out once.
	pools map[*config.Pool]*poolOutlets
	ways  map[wayKey]*way
	mixes map[string]*mix // by the numbers of the ways

	anew    bool // the configuration or the node has changed since the last Decide
	changed map[types.NamespacedName]*Service
	dirty   []*target // of which it is to be looked at what peers hear
}

// routed is a Service, with what it adds to what peers hear, should nothing speak against it.
type routed struct {
	*Service
	adds     []addition // without repetitions
	on       []spot
	peers    []string // that hear any of that
	accepted bool
	refusal  *Verdict // nil: accepted, or not judged yet
}

// addition is one way that leads to a prefix.
type addition struct {
	way    *way
	prefix netip.Prefix
	at     *target
}

func (a addition) equal(b addition) bool { return a.way == b.way && a.prefix == b.prefix }

// spot is a place in a list of Services.
type spot struct {
	target *target
	index  int
}

// target is a prefix to which Services lead.
type target struct {
	prefix   netip.Prefix
	uses     []use     // by number of the way
	services []*routed // in no order
	calm     bool      // no two of the uses speak against each other
	mix      *mix      // in t.routes; nil: none
	dirty    bool
}

// use is how many Services add a way, and how many of those have been accepted.
type use struct {
	way            *way
	adds, accepted int
}

// way is an advertisement, as it applies to addresses of one family.
type way struct {
	number int
	ad     *config.BGPAdvertisement
	peers  []string // that hear it; at least one
	deaf   []string // that are its peers, but for the family
	alone  *mix     // nil: not worked out yet
}

type wayKey struct {
	ad  *config.BGPAdvertisement
	is6 bool
}

// mix is what peers hear of a prefix to which a set of ways leads.
type mix struct {
	calm   bool
	routes []backends.Route // without the prefix; none unless it is calm
}

// poolOutlets is how a pool is advertised.
type poolOutlets struct {
	choosy []*config.BGPAdvertisement // those that do not select all Services
	by     map[string]*[2]*outlet     // which of the choosy ones select the Service
}

// outlet is how the addresses of one family that a Service has from a pool are advertised.
type outlet struct {
	ways    []*way
	refusal *Verdict // nil: there are ways
}

// NewRouteTable returns an empty RouteTable that decides for a node as Routes does with these settings.
func NewRouteTable(self string, ignoreExclude, drainCordoned bool) *RouteTable {
	return &RouteTable{
		in:       RoutesInput{Self: self, IgnoreExclude: ignoreExclude, DrainCordoned: drainCordoned},
		services: map[types.NamespacedName]*routed{}, changed: map[types.NamespacedName]*Service{},
	}
}

// Configure puts a configuration in force. serves reports whether the speakers serve a BGPAdvertisement.
func (t *RouteTable) Configure(s *config.Snapshot, serves func(*config.BGPAdvertisement) bool) {
	t.in.Snapshot, t.in.Serves, t.anew = s, serves, true
}

// SetNode sets what the node is, nil if there is no such Node. The RouteTable keeps it.
func (t *RouteTable) SetNode(n *Node) {
	was := t.in.Node
	same := was == nil && n == nil || was != nil && n != nil && was.NetworkUnavailable == n.NetworkUnavailable && was.Cordoned == n.Cordoned &&
		maps.Equal(was.Labels, n.Labels) && maps.Equal(was.Annotations, n.Annotations)
	t.in.Node, t.anew = n, t.anew || !same
}

// SetService sets what a Service is, with all its endpoints; nil if there is none, or it has no address. The RouteTable keeps it.
func (t *RouteTable) SetService(id types.NamespacedName, s *Service) { t.changed[id] = s }

// Routes are what each peer of the node hears, by prefix and then by attributes. The list is never changed.
func (t *RouteTable) Routes() []backends.Route { return t.routes }

// Service returns a Service as it was set, nil if there is none.
func (t *RouteTable) Service(id types.NamespacedName) *Service {
	if x := t.services[id]; x != nil {
		return x.Service
	}
	return nil
}

// Peers returns the names of those that hear routes of a Service, sorted; none if it is not advertised. Nobody may change them.
func (t *RouteTable) Peers(id types.NamespacedName) []string {
	if x := t.services[id]; x != nil && x.accepted {
		return x.peers
	}
	return nil
}

// Refusal says why this node does not advertise a Service; false if it does, or there is none.
func (t *RouteTable) Refusal(id types.NamespacedName) (Verdict, bool) {
	if x := t.services[id]; x != nil && x.refusal != nil {
		return *x.refusal, true
	}
	return Verdict{}, false
}

// Decide works out what has changed since it was called last. It returns the Services that it looked at, among them all of which the
// answer is another one, or that are gone. Before Configure it decides nothing.
func (t *RouteTable) Decide() []types.NamespacedName {
	if t.in.Snapshot == nil {
		return nil
	}
	if t.anew {
		t.forget()
	}
	out := make([]types.NamespacedName, 0, len(t.changed))
	var fresh []*routed
	for id, s := range t.changed {
		out = append(out, id)
		if x := t.serve(id, s); x != nil {
			fresh = append(fresh, x)
		}
	}
	queue := t.contested()
	for _, x := range fresh {
		if t.calm(x) {
			t.accept(x)
		}
	}
	t.judge(queue)
	for _, x := range queue {
		if _, is := t.changed[x.ID()]; !is {
			out = append(out, x.ID())
		}
	}
	t.tell()
	t.anew = false
	t.changed = map[types.NamespacedName]*Service{} // a cleared map stays as large as it ever was
	return out
}

// forget forgets everything but the Services; all of them are looked at again.
func (t *RouteTable) forget() {
	for id, x := range t.services {
		if _, is := t.changed[id]; !is {
			t.changed[id] = x.Service
		}
	}
	t.services = make(map[types.NamespacedName]*routed, len(t.changed))
	t.prefixes, t.routes = make(map[netip.Prefix]*target, len(t.changed)), nil
	t.pools, t.ways, t.mixes = map[*config.Pool]*poolOutlets{}, map[wayKey]*way{}, map[string]*mix{}
}

// serve takes in a Service that has changed. It returns it if what it adds to what peers hear has changed, and there is anything.
func (t *RouteTable) serve(id types.NamespacedName, s *Service) *routed {
	old := t.services[id]
	var x *routed
	if s != nil {
		x = t.resolve(s)
	}
	if old != nil && x != nil && slices.EqualFunc(old.adds, x.adds, addition.equal) {
		old.Service = s
		if len(x.adds) == 0 {
			old.refusal = x.refusal
		}
		return nil
	}
	if old != nil {
		t.remove(old)
		delete(t.services, id)
	}
	if x == nil {
		return nil
	}
	t.services[id] = x
	if len(x.adds) == 0 {
		return nil
	}
	t.place(x)
	return x
}

// resolve returns what a Service adds, or why nothing.
func (t *RouteTable) resolve(s *Service) *routed {
	x := &routed{Service: s, refusal: t.in.nodeRefuses(s)}
	if x.refusal != nil {
		return x
	}
	var no []Verdict
	var outlets []*outlet
	for _, addr := range s.Addrs {
		o, refusal := t.outlet(s, addr)
		if refusal != nil {
			no = append(no, *refusal)
			continue
		}
		outlets = append(outlets, o)
		for _, w := range o.ways {
			p := route(w.ad, addr)
			if !slices.ContainsFunc(x.adds, func(a addition) bool { return a.way == w && a.prefix == p }) {
				x.adds = append(x.adds, addition{way: w, prefix: p})
			}
		}
	}
	if len(no) == len(s.Addrs) {
		v := together(no)
		x.refusal = &v
		return x
	}
	x.peers = heardBy(outlets)
	return x
}

// heardBy returns the names of the peers that hear of any of the outlets, sorted.
func heardBy(outlets []*outlet) []string {
	if ways := outlets[0].ways; len(outlets) == 1 && len(ways) == 1 && slices.IsSorted(ways[0].peers) {
		return ways[0].peers
	}
	var out []string
	for _, o := range outlets {
		for _, w := range o.ways {
			out = append(out, w.peers...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// outlet returns how an address of a Service is advertised, or why it is not.
func (t *RouteTable) outlet(s *Service, addr netip.Addr) (*outlet, *Verdict) {
	pool := poolOf(t.in.Snapshot, s.Pools, addr)
	if pool == nil {
		return nil, noPool(s, addr)
	}
	all := t.pools[pool]
	if all == nil {
		all = &poolOutlets{by: map[string]*[2]*outlet{}}
		for _, a := range t.in.Snapshot.BGPAdvertisements() {
			if a.Selects(pool) && len(a.ServiceSelectors()) > 0 {
				all.choosy = append(all.choosy, a)
			}
		}
		t.pools[pool] = all
	}
	var room [64]byte
	key := room[:0]
	for i, a := range all.choosy {
		if a.SelectsService(s.Labels) {
			key = append(strconv.AppendInt(key, int64(i), 36), ' ')
		}
	}
	both := all.by[string(key)]
	if both == nil {
		both = &[2]*outlet{}
		all.by[string(key)] = both
	}
	of := &both[0]
	if addr.Is6() {
		of = &both[1]
	}
	if *of == nil {
		*of = t.look(pool, s, addr.Is6())
	}
	return *of, (*of).refusal
}

// look works out how the addresses of a family are advertised that a Service has from a pool.
func (t *RouteTable) look(pool *config.Pool, s *Service, is6 bool) *outlet {
	ads, refusal := t.in.advertisementsOf(pool, s.Labels)
	o := &outlet{refusal: refusal}
	if refusal != nil {
		return o
	}
	var deaf []string
	for _, a := range ads {
		w := t.ways[wayKey{a, is6}]
		if w == nil {
			w = &way{number: len(t.ways), ad: a}
			w.deaf, w.peers = t.in.peers(a, is6)
			t.ways[wayKey{a, is6}] = w
		}
		deaf = append(deaf, w.deaf...)
		if len(w.peers) > 0 {
			o.ways = append(o.ways, w)
		}
	}
	if len(o.ways) == 0 {
		o.refusal = t.in.noPeer(deaf, is6)
	}
	return o
}

// place adds a Service to the prefixes to which it leads.
func (t *RouteTable) place(x *routed) {
	for i := range x.adds {
		a := &x.adds[i]
		d := t.prefixes[a.prefix]
		if d == nil {
			d = &target{prefix: a.prefix, calm: true}
			t.prefixes[a.prefix] = d
		}
		a.at = d
		d.use(a.way).adds++
		if !slices.ContainsFunc(x.on, func(s spot) bool { return s.target == d }) {
			x.on = append(x.on, spot{d, len(d.services)})
			d.services = append(d.services, x)
		}
		t.soil(d)
	}
}

// remove is the reverse of place.
func (t *RouteTable) remove(x *routed) {
	t.revoke(x)
	for i := range x.adds {
		a := &x.adds[i]
		if u := a.at.use(a.way); u.adds > 1 {
			u.adds--
		} else {
			a.at.uses = slices.DeleteFunc(a.at.uses, func(u use) bool { return u.way == a.way })
		}
		t.soil(a.at)
	}
	for _, s := range x.on {
		list := s.target.services
		last := list[len(list)-1]
		list[s.index], list[len(list)-1] = last, nil
		s.target.services = list[:len(list)-1]
		for i := range last.on {
			if last.on[i].target == s.target {
				last.on[i].index = s.index
			}
		}
	}
}

// use returns the use of a way.
func (d *target) use(w *way) *use {
	i, is := slices.BinarySearchFunc(d.uses, w.number, func(u use, number int) int { return cmp.Compare(u.way.number, number) })
	if !is {
		d.uses = slices.Insert(d.uses, i, use{way: w})
	}
	return &d.uses[i]
}

func (t *RouteTable) soil(d *target) {
	if !d.dirty {
		d.dirty = true
		t.dirty = append(t.dirty, d)
	}
}

// accept has peers hear a Service.
func (t *RouteTable) accept(x *routed) {
	x.refusal = nil
	if x.accepted {
		return
	}
	x.accepted = true
	for _, a := range x.adds {
		a.at.use(a.way).accepted++
		t.soil(a.at)
	}
}

// revoke is the reverse of accept.
func (t *RouteTable) revoke(x *routed) {
	if !x.accepted {
		return
	}
	x.accepted = false
	for _, a := range x.adds {
		a.at.use(a.way).accepted--
		t.soil(a.at)
	}
}

// calm reports whether nothing can speak against a Service.
func (t *RouteTable) calm(x *routed) bool {
	return !slices.ContainsFunc(x.on, func(s spot) bool { return !s.target.calm })
}

// contested returns the Services that are to be judged anew: where ways that lead to one prefix speak against each other, the first
// Service wins, and so the others depend on it, and on what else it leads to.
func (t *RouteTable) contested() []*routed {
	var queue []*routed
	queued, seen := map[*routed]bool{}, map[*target]bool{}
	add := func(d *target) {
		if seen[d] {
			return
		}
		seen[d] = true
		for _, x := range d.services {
			if !queued[x] {
				queued[x] = true
				queue = append(queue, x)
			}
		}
	}
	for _, d := range t.dirty {
		was := d.calm
		d.calm = true
		if m := t.mixOf(d, func(u *use) int { return u.adds }); m != nil {
			d.calm = m.calm
		}
		if !was || !d.calm {
			add(d)
		}
	}
	for i := 0; i < len(queue); i++ {
		for _, s := range queue[i].on {
			if !s.target.calm {
				add(s.target)
			}
		}
	}
	return queue
}

// judge accepts or refuses Services. Whatever shares a prefix that is not calm with one of them is among them.
func (t *RouteTable) judge(all []*routed) {
	slices.SortFunc(all, func(a, b *routed) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	heard := heardRoutes{}
	for _, x := range all {
		var adds []contribution
		for _, a := range x.adds {
			if !a.at.calm {
				adds = append(adds, a.contributions()...)
			}
		}
		if refusal := heard.take(adds); refusal != nil {
			t.revoke(x)
			x.refusal = refusal
		} else {
			t.accept(x)
		}
	}
}

func (a *addition) contributions() []contribution {
	var out []contribution
	for _, peer := range a.way.peers {
		out = append(out, contribution{a.prefix, peer, a.way.ad})
	}
	return out
}

// mixOf returns what peers hear of a prefix, going by the ways of which there are any; nil: nothing.
func (t *RouteTable) mixOf(d *target, count func(*use) int) *mix {
	var room [64]byte
	var ways [16]*way
	key, all := room[:0], ways[:0]
	for i := range d.uses {
		if u := &d.uses[i]; count(u) > 0 {
			key = append(strconv.AppendInt(key, int64(u.way.number), 36), ' ')
			all = append(all, u.way)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		if all[0].alone == nil {
			all[0].alone = t.mix(all)
		}
		return all[0].alone
	}
	m := t.mixes[string(key)]
	if m == nil {
		m = t.mix(all)
		t.mixes[string(key)] = m
	}
	return m
}

func (t *RouteTable) mix(ways []*way) *mix {
	var all []contribution
	for _, w := range ways {
		all = append(all, (&addition{way: w}).contributions()...)
	}
	heard := heardRoutes{}
	m := &mix{calm: heard.take(all) == nil}
	m.routes = heard.routes()
	for i := range m.routes {
		m.routes[i].Draining = t.in.draining()
	}
	return m
}

// tell brings the list of routes up to date.
func (t *RouteTable) tell() {
	var changed []*target
	for _, d := range t.dirty {
		d.dirty = false
		if m := t.mixOf(d, func(u *use) int { return u.accepted }); m != d.mix {
			d.mix = m
			changed = append(changed, d)
		}
		if len(d.services) == 0 {
			delete(t.prefixes, d.prefix)
		}
	}
	t.dirty = nil
	if len(changed) == 0 {
		return
	}
	slices.SortFunc(changed, func(a, b *target) int { return comparePrefixes(a.prefix, b.prefix) })
	out, rest := make([]backends.Route, 0, len(t.routes)+len(changed)), t.routes
	for _, d := range changed {
		i, _ := slices.BinarySearchFunc(rest, d.prefix, func(r backends.Route, p netip.Prefix) int { return comparePrefixes(r.Prefix, p) })
		out, rest = append(out, rest[:i]...), rest[i:]
		for len(rest) > 0 && rest[0].Prefix == d.prefix {
			rest = rest[1:]
		}
		if d.mix == nil {
			continue
		}
		for _, r := range d.mix.routes {
			r.Prefix = d.prefix
			out = append(out, r)
		}
	}
	t.routes = append(out, rest...)
}
