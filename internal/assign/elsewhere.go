package assign

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"go4.org/netipx"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/service"
)

// elsewhere is who uses addresses that they were not given here. The engine gives none of these to anybody (allocator.Reservation.Use).
type elsewhere struct {
	shown map[allocator.Owner][]netip.Addr // in the status of a Service that does not hold them
	nodes map[string][]netip.Addr          // of nodes themselves
	of    map[netip.Addr][]string          // the same by address, the names in order
}

func newElsewhere() elsewhere {
	return elsewhere{shown: map[allocator.Owner][]netip.Addr{}, nodes: map[string][]netip.Addr{}, of: map[netip.Addr][]string{}}
}

// reservations returns those of users and what is used elsewhere, as far as it lies in a pool.
func (a *Assigner) reservations() []allocator.Reservation {
	out := reservationsIn(a.snapshot)
	add := func(name, use string, addrs []netip.Addr) {
		r := allocator.Reservation{Name: name, Use: use}
		for _, addr := range addrs {
			if _, in := a.engine.PoolOf(addr); in {
				r.Ranges = append(r.Ranges, netipx.IPRangeFrom(addr, addr))
			}
		}
		if len(r.Ranges) > 0 {
			out = append(out, r)
		}
	}
	for owner, addrs := range a.elsewhere.shown {
		add("service "+owner.String(), fmt.Sprintf("the status of service %s shows it, which was not given it here", owner), addrs)
	}
	for node, addrs := range a.elsewhere.nodes {
		add("node "+node, fmt.Sprintf("it is an address of node %q", node), addrs)
	}
	return out
}

// shows notes which addresses the status of a Service shows that it does not hold; they go to nobody else as long as it does.
func (a *Assigner) shows(owner allocator.Owner, addrs []netip.Addr) {
	was := a.elsewhere.shown[owner]
	if service.SameAddresses(was, addrs) {
		return
	}
	if len(addrs) > 0 {
		a.elsewhere.shown[owner] = addrs
	} else {
		delete(a.elsewhere.shown, owner)
	}
	a.usedElsewhere(was, addrs)
}

// usedElsewhere tells the engine, and those who wait, that other addresses are used elsewhere than were. It reports whether any of
// them is in a pool.
func (a *Assigner) usedElsewhere(was, now []netip.Addr) (concerned bool) {
	var freed []allocator.Grant
	for _, addr := range slices.Concat(was, now) {
		pool, in := a.engine.PoolOf(addr)
		if !in || slices.Contains(was, addr) && slices.Contains(now, addr) {
			continue
		}
		concerned = true
		a.notify.Pool(pool)
		if slices.Contains(was, addr) {
			freed = append(freed, allocator.Grant{Addr: addr, Pool: pool})
		}
	}
	if concerned {
		a.engine.SetReservations(a.reservations())
		a.free(freed)
	}
	return concerned
}

// SetNodes is SetNode for all nodes there are.
func (a *Assigner) SetNodes(nodes map[string][]netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, node := range slices.Sorted(maps.Keys(a.elsewhere.nodes)) {
		if _, is := nodes[node]; !is {
			a.setNode(node, nil)
		}
	}
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		a.setNode(node, nodes[node])
	}
	a.wake()
}

// SetNode says which addresses a node has itself; none: it is gone. None of them is given to a Service; who has one already keeps it, and
// is told. It reports whether that changed anything about an address of a pool.
func (a *Assigner) SetNode(node string, addrs []netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	changed := a.setNode(node, addrs)
	a.wake()
	return changed
}

func (a *Assigner) setNode(node string, addrs []netip.Addr) bool {
	was := a.elsewhere.nodes[node]
	if service.SameAddresses(was, addrs) {
		return false
	}
	for _, addr := range was {
		if left := slices.DeleteFunc(a.elsewhere.of[addr], func(n string) bool { return n == node }); len(left) > 0 {
			a.elsewhere.of[addr] = left
		} else {
			delete(a.elsewhere.of, addr)
		}
	}
	for _, addr := range addrs {
		names := append(a.elsewhere.of[addr], node)
		slices.Sort(names)
		a.elsewhere.of[addr] = names
	}
	if len(addrs) > 0 {
		a.elsewhere.nodes[node] = slices.Clone(addrs)
	} else {
		delete(a.elsewhere.nodes, node)
	}
	for _, addr := range slices.Concat(was, addrs) {
		for _, owner := range a.engine.Holders(addr) {
			if !isParting(owner) {
				a.notify.Service(owner)
			}
		}
	}
	return a.usedElsewhere(was, addrs)
}

// NodesOf returns the nodes that have addr themselves, by name.
func (a *Assigner) NodesOf(addr netip.Addr) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.elsewhere.of[addr])
}

// nodeNote says which of the addresses are those of nodes; empty if none is.
func (a *Assigner) nodeNote(held allocator.Assignment) string {
	note := ""
	for _, addr := range held.Addrs() {
		if nodes := a.elsewhere.of[addr]; len(nodes) > 0 {
			if note != "" {
				note += "; "
			}
			note += fmt.Sprintf("%s is an address of node %q, which cannot be reached at it while it is announced", addr, nodes[0])
		}
	}
	return note
}

// NodeAddresses returns the addresses of nodes that lie in pools, by address.
func (a *Assigner) NodeAddresses() []service.NodeAddress {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []service.NodeAddress
	for node, addrs := range a.elsewhere.nodes {
		for _, addr := range addrs {
			if pool, in := a.engine.PoolOf(addr); in {
				out = append(out, service.NodeAddress{Addr: addr, Node: node, Pool: pool})
			}
		}
	}
	slices.SortFunc(out, func(x, y service.NodeAddress) int { return cmp.Or(x.Addr.Compare(y.Addr), cmp.Compare(x.Node, y.Node)) })
	return out
}

// ShownBy returns the Services whose status shows an address that they were not given here, by namespace and name.
func (a *Assigner) ShownBy(addr netip.Addr) []allocator.Owner {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []allocator.Owner
	for owner, addrs := range a.elsewhere.shown {
		if slices.Contains(addrs, addr) {
			out = append(out, owner)
		}
	}
	slices.SortFunc(out, allocator.Owner.Compare)
	return out
}
