package announce

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/internal/config"
)

// Table is what Place decides, kept up to date: changes are handed to it one by one, and Decide works out anew only the answers that depend
// on them. It is not safe for concurrent use.
type Table struct {
	in       LocalInput // without Services; who Speakers are is in members, too
	order    map[*config.L2Advertisement]int
	services map[types.NamespacedName]*tabled
	held     map[netip.Addr]int // how many Services have an address
	entries  map[netip.Addr]*entry
	views    map[string]*view
	fresh    []*view // that nobody has looked at yet
	members  map[string]*member
	slots    []*member // by member.slot; nil: free
	claims   map[netip.Addr][]*member

	configured bool // since the last Decide
	changed    map[types.NamespacedName]*Service
	dirty      map[netip.Addr]bool
	moved      map[string]bool // members of which anything but a claim has changed
}

// tabled is a Service, with what makes it announced.
type tabled struct {
	*Service
	ads     map[netip.Addr][]*config.L2Advertisement
	refusal *Verdict
}

// entry is an address of Services of which at least one address is announced.
type entry struct {
	contest
	text  []byte     // the address as it is in ranks
	all   []*Service // those by way of which it is not announced included
	local bool       // only nodes with an endpoint may announce it
	view  *view
	best  standing
	*Placement
}

// view is how all nodes look to one set of advertisements.
type view struct {
	ads []*config.L2Advertisement
	at  []look // by slot
}

// look is how a node looks to a set of advertisements.
type look struct {
	selected   bool
	weight     int
	interfaces []string
}

// member is a speaker with its Node.
type member struct {
	name    string
	slot    int
	prefix  []byte // what its rank is made of, but for the address
	speaker Speaker
	node    Node
	barred  bool // it announces nothing at all
}

// standing is how good a candidate a member is for an address.
type standing struct {
	*member
	weight int
	claims bool
	ranked bool
	rank   [sha256.Size]byte
}

// NewTable returns an empty Table that decides as Place does with these settings.
func NewTable(ignoreExclude, sticky bool) *Table {
	return &Table{
		in:       LocalInput{Nodes: map[string]Node{}, Speakers: map[string]Speaker{}, IgnoreExclude: ignoreExclude, Sticky: sticky},
		services: map[types.NamespacedName]*tabled{}, held: map[netip.Addr]int{}, entries: map[netip.Addr]*entry{},
		members: map[string]*member{}, claims: map[netip.Addr][]*member{},
		changed: map[types.NamespacedName]*Service{}, dirty: map[netip.Addr]bool{}, moved: map[string]bool{},
	}
}

// Configure puts a configuration in force. serves reports whether the speakers serve an L2Advertisement.
func (t *Table) Configure(s *config.Snapshot, serves func(*config.L2Advertisement) bool) {
	t.in.Snapshot, t.in.Serves, t.configured = s, serves, true
}

// IgnoreExclude sets whether nodes announce in spite of the label that excludes them.
func (t *Table) IgnoreExclude(yes bool) {
	t.in.IgnoreExclude = yes
	for name := range t.members {
		t.moved[name] = true
	}
}

// SetService sets what a Service is, with all its endpoints; nil if there is none, or it has no address. The Table keeps it.
func (t *Table) SetService(id types.NamespacedName, s *Service) { t.changed[id] = s }

// SetNode sets what a Node is, nil if there is none.
func (t *Table) SetNode(name string, n *Node) {
	if n == nil {
		delete(t.in.Nodes, name)
	} else {
		t.in.Nodes[name] = *n
	}
	t.moved[name] = true
}

// SetSpeaker sets what a speaker tells of itself, nil if it is not alive. The Table keeps it.
func (t *Table) SetSpeaker(node string, s *Speaker) {
	if m := t.members[node]; m != nil {
		for addr := range m.speaker.Claims {
			t.unclaim(m, addr)
		}
	}
	t.moved[node] = true
	if s == nil {
		if m := t.members[node]; m != nil {
			t.slots[m.slot] = nil
			delete(t.members, node)
		}
		delete(t.in.Speakers, node)
		return
	}
	m := t.members[node]
	if m == nil {
		m = &member{name: node, slot: slices.Index(t.slots, nil), prefix: []byte(node + "#")}
		if m.slot < 0 {
			m.slot = len(t.slots)
			t.slots = append(t.slots, nil)
		}
		t.slots[m.slot], t.members[node] = m, m
	}
	if s.Claims == nil {
		s.Claims = map[netip.Addr]bool{}
	}
	m.speaker, t.in.Speakers[node] = *s, *s
	for addr, yes := range s.Claims {
		if yes {
			t.claim(m, addr)
		}
	}
}

// SetClaim sets whether a speaker that is alive says that it announces an address.
func (t *Table) SetClaim(node string, addr netip.Addr, yes bool) {
	m := t.members[node]
	if m == nil || m.speaker.Claims[addr] == yes {
		return
	}
	if yes {
		m.speaker.Claims[addr] = true // that of t.in.Speakers is the same map
		t.claim(m, addr)
		return
	}
	delete(m.speaker.Claims, addr)
	t.unclaim(m, addr)
}

func (t *Table) claim(m *member, addr netip.Addr) {
	t.claims[addr], t.dirty[addr] = append(t.claims[addr], m), true
}

func (t *Table) unclaim(m *member, addr netip.Addr) {
	t.claims[addr] = slices.DeleteFunc(t.claims[addr], func(x *member) bool { return x == m })
	if len(t.claims[addr]) == 0 {
		delete(t.claims, addr)
	}
	t.dirty[addr] = true
}

// Claims reports whether a speaker that is alive says that it announces an address.
func (t *Table) Claims(node string, addr netip.Addr) bool {
	m := t.members[node]
	return m != nil && m.speaker.Claims[addr]
}

// Claimants returns the speakers that say that they announce an address.
func (t *Table) Claimants(addr netip.Addr) []string {
	var out []string
	for _, m := range t.claims[addr] {
		out = append(out, m.name)
	}
	slices.Sort(out)
	return out
}

// Held reports whether any Service has an address.
func (t *Table) Held(addr netip.Addr) bool { return t.held[addr] > 0 }

// Placement returns which node announces an address; nil if no Service has it announced.
func (t *Table) Placement(addr netip.Addr) *Placement {
	if e := t.entries[addr]; e != nil {
		return e.Placement
	}
	return nil
}

// Service returns a Service as it was set, nil if there is none.
func (t *Table) Service(id types.NamespacedName) *Service {
	if s := t.services[id]; s != nil {
		return s.Service
	}
	return nil
}

// Refusal says why a Service is not announced although it might have an address that is; false if it is.
func (t *Table) Refusal(id types.NamespacedName) (Verdict, bool) {
	if s := t.services[id]; s != nil && s.refusal != nil {
		return *s.refusal, true
	}
	return Verdict{}, false
}

// Decide works out what has changed since it was called last. It returns the addresses and the Services that it looked at, among them all
// of which the answer is another one, or that are gone. Before Configure it decides nothing.
func (t *Table) Decide() (addrs []netip.Addr, services []types.NamespacedName) {
	if t.in.Snapshot == nil {
		return nil, nil
	}
	if t.configured {
		t.views, t.fresh, t.order = map[string]*view{}, nil, map[*config.L2Advertisement]int{}
		for i, a := range t.in.Snapshot.L2Advertisements() {
			t.order[a] = i
		}
		for id, s := range t.services {
			if _, is := t.changed[id]; !is {
				t.changed[id] = s.Service
			}
		}
	}
	touched := t.serve()
	t.move()
	var todo []*entry
	for addr := range t.dirty {
		if e := t.entries[addr]; e != nil {
			todo = append(todo, e)
		}
	}
	t.decide(todo)
	addrs = slices.Collect(maps.Keys(t.dirty))
	for _, e := range todo {
		for _, s := range e.all {
			touched[s.ID()] = true
		}
	}
	t.configured = false
	// Cleared maps stay as large as they ever were.
	t.changed, t.dirty, t.moved = map[types.NamespacedName]*Service{}, map[netip.Addr]bool{}, map[string]bool{}
	return addrs, slices.Collect(maps.Keys(touched))
}

// serve takes in the Services that have changed. It returns them, with those that share an address with one.
func (t *Table) serve() map[types.NamespacedName]bool {
	touched := make(map[types.NamespacedName]bool, len(t.changed))
	crowds := map[*entry]bool{}
	for id, s := range t.changed {
		touched[id] = true
		if old := t.services[id]; old != nil {
			for _, addr := range old.Addrs {
				t.dirty[addr] = true
				if t.held[addr]--; t.held[addr] == 0 {
					delete(t.held, addr)
				}
				if e := t.entries[addr]; e != nil {
					e.all = slices.DeleteFunc(e.all, func(x *Service) bool { return x == old.Service })
					crowds[e] = true
				}
			}
			delete(t.services, id)
		}
		if s == nil {
			continue
		}
		x := &tabled{Service: s}
		x.ads, x.refusal = t.in.served(s)
		t.services[id] = x
		for _, addr := range s.Addrs {
			t.held[addr]++
			t.dirty[addr] = true
			if x.refusal != nil {
				continue
			}
			e := t.entries[addr]
			if e == nil {
				e = &entry{contest: contest{in: &t.in, addr: addr}, text: []byte(addr.String())}
				t.entries[addr] = e
			}
			e.all = append(e.all, s)
			crowds[e] = true
		}
	}
	for e := range crowds {
		if len(e.all) == 0 {
			delete(t.entries, e.addr)
			continue
		}
		t.gather(e)
	}
	return touched
}

// gather works out what the Services of an address are to it together.
func (t *Table) gather(e *entry) {
	slices.SortFunc(e.all, func(a, b *Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	e.services, e.ads, e.local = nil, nil, true
	for _, s := range e.all {
		e.add(s, t.services[s.ID()].ads[e.addr])
	}
	for _, s := range e.services {
		e.local = e.local && s.Local
	}
	slices.SortFunc(e.ads, func(a, b *config.L2Advertisement) int { return cmp.Compare(t.order[a], t.order[b]) })
	var key []byte
	for _, a := range e.ads {
		key = strconv.AppendInt(append(key, ' '), int64(t.order[a]), 36)
	}
	e.view = t.views[string(key)]
	if e.view == nil {
		e.view = &view{ads: e.ads}
		t.views[string(key)] = e.view
		t.fresh = append(t.fresh, e.view)
	}
}

// move takes in the speakers and Nodes that have changed. Of the addresses, only those are decided anew that one of them announces, says
// to announce, or may announce better than who does; and those that nobody announces, because that is explained by all of them.
func (t *Table) move() {
	var moved []*member
	for name := range t.moved {
		if m := t.members[name]; m != nil {
			n, known := t.in.Nodes[name]
			_, excluded := n.Labels[excludeLabel]
			m.node = n
			m.barred = !known || m.speaker.Leaving || n.NetworkUnavailable || excluded && !t.in.IgnoreExclude
			moved = append(moved, m)
		}
	}
	for _, v := range t.views {
		if len(v.at) < len(t.slots) {
			v.at = append(v.at, make([]look, len(t.slots)-len(v.at))...)
		}
		for _, m := range moved {
			v.at[m.slot] = v.looks(m)
		}
	}
	for _, v := range t.fresh {
		for _, m := range t.members {
			v.at[m.slot] = v.looks(m)
		}
	}
	t.fresh = nil
	if len(t.moved) == 0 {
		return
	}
	many := len(moved) > 8 && 4*len(moved) > len(t.members)
	for addr, e := range t.entries {
		switch {
		case t.dirty[addr]:
		case many, e.Placement == nil, e.Node == "", t.moved[e.Node]:
			t.dirty[addr] = true
		default:
			for _, m := range moved {
				x := e.standing(m)
				if x.claims || e.may(m) && e.compare(&x, &e.best) < 0 {
					t.dirty[addr] = true
					break
				}
			}
		}
	}
}

// looks returns how a member looks.
func (v *view) looks(m *member) look {
	c := contest{ads: v.ads}
	return look{
		selected: slices.ContainsFunc(v.ads, func(a *config.L2Advertisement) bool { return a.SelectsNode(m.node.Labels) }),
		weight:   c.weight(m.node.Labels), interfaces: c.interfaces(m.node.Labels),
	}
}

// decide places addresses, many of them on all processors.
func (t *Table) decide(todo []*entry) {
	workers := min(runtime.GOMAXPROCS(0), 1+len(todo)/256)
	var wg sync.WaitGroup
	for chunk := range slices.Chunk(todo, max(1, (len(todo)+workers-1)/workers)) {
		work := func() {
			for _, e := range chunk {
				e.place(t)
			}
		}
		if workers == 1 {
			work()
			continue
		}
		wg.Go(work)
	}
	wg.Wait()
}

// place decides on one address. It only reads what others share.
func (e *entry) place(t *Table) {
	found := false
	consider := func(m *member) {
		if m == nil || !e.may(m) {
			return
		}
		x := e.standing(m)
		if !found || e.compare(&x, &e.best) < 0 {
			e.best, found = x, true
		}
	}
	for _, m := range t.claims[e.addr] {
		consider(m) // first, so that the ranks of others need not be worked out
	}
	if e.local {
		for _, s := range e.services {
			for name := range s.Endpoints.Nodes {
				consider(t.members[name])
			}
		}
	} else {
		for _, m := range t.slots {
			consider(m)
		}
	}
	if !found {
		e.best = standing{}
		e.Placement = e.contest.decide() // it knows all the reasons
		return
	}
	p := e.placement()
	p.Node, p.Interfaces = e.best.name, e.view.at[e.best.slot].interfaces
	for _, m := range t.claims[e.addr] {
		if m != e.best.member && e.may(m) && (e.best.node.NotReady || !m.node.NotReady) {
			p.Claimants = append(p.Claimants, m.name)
		}
	}
	slices.Sort(p.Claimants)
	e.Placement = p
}

// may reports whether a member may announce the address.
func (e *entry) may(m *member) bool {
	x := &e.view.at[m.slot]
	if m.barred || !x.selected || e.local && !slices.ContainsFunc(e.services, func(s *Service) bool { return s.Endpoints.Nodes[m.name] }) {
		return false
	}
	for i := range m.speaker.Links {
		if m.speaker.Links[i].Carries(e.addr, x.interfaces, m.speaker.SameSubnet) {
			return true
		}
	}
	return false
}

func (e *entry) standing(m *member) standing {
	return standing{member: m, weight: e.view.at[m.slot].weight, claims: m.speaker.Claims[e.addr]}
}

// compare ranks the better candidate first. A node that is not ready is passed over only while one is left that is.
func (e *entry) compare(a, b *standing) int {
	better := func(is bool) int {
		if is {
			return -1
		}
		return 1
	}
	switch {
	case a.node.NotReady != b.node.NotReady:
		return better(b.node.NotReady)
	case a.weight != b.weight:
		return better(a.weight > b.weight)
	case e.in.Sticky && a.claims != b.claims:
		return better(a.claims)
	}
	return bytes.Compare(a.hash(e.text), b.hash(e.text))
}

// hash is rank, worked out once.
func (x *standing) hash(addr []byte) []byte {
	if !x.ranked {
		var room [128]byte
		x.rank, x.ranked = sha256.Sum256(append(append(room[:0], x.prefix...), addr...)), true
	}
	return x.rank[:]
}
