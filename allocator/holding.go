package allocator

// holding is what one owner has: the engine's only record of it. Kept small, there is one for every owner.
type holding struct {
	owner Owner
	keys  [2]key // by index(family); meaningful where has is set
	has   [2]bool
	share *share // nil: shares with nobody
}

// share is what a holding needs in addition if it shares. All holders of one address are in one group and use different ports.
type share struct {
	group *group
	ports PortSet
	peers [2]*holding // next holder of the same address, by family
}

func (h *holding) empty() bool { return !h.has[0] && !h.has[1] }

// next returns the next holder of h's address of family index i.
func (h *holding) next(i int) *holding {
	if h.share == nil {
		return nil
	}
	return h.share.peers[i]
}

// group are the addresses that owners with one Sharing hold, so that the lowest one a further owner fits on is found fast.
type group struct {
	sharing Sharing
	members tree[member]
}

// member is an address of a group. common is what makes the search fast: a subtree whose every address uses a wanted port is
// skipped. For a request of one port the search is therefore O(log n); for more it may look at several subtrees.
type member struct {
	ports  PortSet // in use on the address
	common PortSet // in use on every address of the subtree
}

func newGroup(s Sharing) *group {
	g := &group{sharing: s}
	g.members.pull = func(n *node[member]) {
		n.val.common = n.val.ports
		if n.left != nil {
			n.val.common = n.val.common.intersect(n.left.val.common)
		}
		if n.right != nil {
			n.val.common = n.val.common.intersect(n.right.val.common)
		}
	}
	return g
}

// lowest returns the lowest address of s that is admissible and on which none of the ports is in use.
func (g *group) lowest(s span, ports PortSet, admissible func(key) bool) (key, bool) {
	var search func(*node[member]) *node[member]
	search = func(n *node[member]) *node[member] {
		if n == nil || n.val.common.Overlaps(ports) {
			return nil
		}
		if s.first.less(n.key) {
			if found := search(n.left); found != nil {
				return found
			}
		}
		if s.contains(n.key) && admissible(n.key) && !n.val.ports.Overlaps(ports) {
			return n
		}
		if n.key.less(s.last) {
			return search(n.right)
		}
		return nil
	}
	n := search(g.members.root)
	if n == nil {
		return key{}, false
	}
	return n.key, true
}

// attach records that h holds k and updates every index. If others hold k, h must be in their group.
func (a *Allocator) attach(h *holding, k key) {
	i := index(k.family())
	h.keys[i], h.has[i] = k, true
	head := a.addrs[k]
	a.addrs[k] = h
	if head == nil {
		if pl := a.place(k); pl != nil {
			pl.pool.take(k)
		}
	}
	if h.share != nil {
		h.share.peers[i] = head
		a.enter(h.share, k)
	}
}

// detach is the reverse of attach.
func (a *Allocator) detach(h *holding, f Family) {
	i := index(f)
	k := h.keys[i]
	switch head := a.addrs[k]; {
	case head != h:
		for head.next(i) != h {
			head = head.next(i)
		}
		head.share.peers[i] = h.next(i)
	case h.next(i) != nil:
		a.addrs[k] = h.next(i)
	default:
		delete(a.addrs, k)
		if pl := a.place(k); pl != nil {
			pl.pool.free(k, pl.i)
		}
	}
	h.has[i] = false
	if h.share != nil {
		h.share.peers[i] = nil
		a.leave(h.share, k)
	}
}

// enter adds the ports of s to what its group knows of k.
func (a *Allocator) enter(s *share, k key) {
	g := s.group
	a.groups[g.sharing] = g
	ports := s.ports
	if n := g.members.get(k); n != nil {
		ports = ports.union(n.val.ports)
	}
	g.members.put(k, member{ports: ports})
}

// leave takes the ports of s out of what its group knows of k, which s's holder holds no longer.
func (a *Allocator) leave(s *share, k key) {
	g := s.group
	if a.addrs[k] != nil {
		g.members.put(k, member{ports: g.members.get(k).val.ports.minus(s.ports)})
		return
	}
	g.members.delete(k)
	if g.members.root == nil {
		delete(a.groups, g.sharing)
	}
}

// shareOf returns the part of a holding that req's sharing needs: nil if it shares with nobody.
func (a *Allocator) shareOf(req *Request) *share {
	if req.Sharing.Key == "" {
		return nil
	}
	g := a.groups[req.Sharing]
	if g == nil {
		g = newGroup(req.Sharing)
	}
	return &share{group: g, ports: req.Ports}
}

// conflict returns why req may not hold k beside its other holders; self, the owner's own holding, is no obstacle.
func (a *Allocator) conflict(k key, req *Request, self *holding) *ConflictError {
	var worst *ConflictError
	i := index(k.family())
	for h := a.addrs[k]; h != nil; h = h.next(i) {
		if h == self {
			continue
		}
		// The first by name is reported, so that the message does not depend on who came when.
		if c := disagreement(req, h); c != nil && (worst == nil || c.Holder.Compare(worst.Holder) < 0) {
			c.Addr = k.addr()
			worst = c
		}
	}
	return worst
}

func disagreement(req *Request, h *holding) *ConflictError {
	c := &ConflictError{Holder: h.owner, Why: ErrSharingConflict}
	if req.Sharing.Key == "" || h.share == nil {
		c.Why = ErrInUse
		return c
	}
	if req.Sharing.Key != h.share.group.sharing.Key {
		c.Differs = DiffersKey
		return c
	}
	if req.Sharing.Among != h.share.group.sharing.Among {
		c.Differs = DiffersAmong
		return c
	}
	if req.Sharing.Backend != h.share.group.sharing.Backend {
		c.Differs = DiffersBackend
		return c
	}
	if p, taken := req.Ports.common(h.share.ports); taken {
		c.Differs, c.Port = DiffersPort, p
		return c
	}
	return nil
}
