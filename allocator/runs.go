package allocator

// runs is a set of addresses kept as maximal runs: first address of the run -> last address of it.
//
// Invariant: runs do not overlap, and no run ends right before another begins, where "right before" means next, so that
// addresses which are never handed out (see pool.usable) do not break a run. lowestFrom relies on it.
type runs struct {
	t tree[key]
}

// stepper moves to the neighbouring usable address; ok is false at the end of the address space.
type stepper interface {
	next(key) (key, bool)
	prev(key) (key, bool)
}

// lowestFrom returns the lowest address from k on that is not in the set; ok is false if there is none.
func (r *runs) lowestFrom(k key, s stepper) (key, bool) {
	if n := r.t.floor(k); n != nil && !n.val.less(k) {
		return s.next(n.val)
	}
	return k, true
}

// add puts k into the set; it must not be there yet.
//
//	before  [..]k[....]     [..]k   [..]     [..]   k[..]     [..]  k  [..]
//	after   [.........]     [...]   [..]     [..]   [...]     [..] [k] [..]
func (r *runs) add(k key, s stepper) {
	first, last := k, k
	if p, ok := s.prev(k); ok {
		if n := r.t.floor(p); n != nil && !n.val.less(p) {
			first = n.key
		}
	}
	if q, ok := s.next(k); ok {
		if n := r.t.get(q); n != nil {
			last = n.val
			r.t.delete(q)
		}
	}
	r.t.put(first, last)
}

// remove takes k out of the set; it must be there.
func (r *runs) remove(k key, s stepper) {
	n := r.t.floor(k)
	first, last := n.key, n.val
	if first == k {
		r.t.delete(first)
	} else {
		p, _ := s.prev(k)
		n.val = p
	}
	if last != k {
		q, _ := s.next(k)
		r.t.put(q, last)
	}
}
