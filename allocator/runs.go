package allocator

// runs is a set of keys kept as maximal runs: first key of the run -> last key of it.
//
// Invariant: runs do not overlap, and no run ends right before another begins. lowestFrom relies on it.
type runs struct{ t tree[key] }

// lowestFrom returns the lowest key from k on that is not in the set; ok is false if there is none.
func (r *runs) lowestFrom(k key) (key, bool) {
	if n := r.t.floor(k); n != nil && !n.val.less(k) {
		return n.val.next()
	}
	return k, true
}

// add puts k into the set; it must not be there yet.
//
//	before  [..]k[....]     [..]k   [..]     [..]   k[..]     [..]  k  [..]
//	after   [.........]     [...]   [..]     [..]   [...]     [..] [k] [..]
func (r *runs) add(k key) { r.addRun(k, k) }

// addRun puts first to last into the set; none of them may be there yet.
func (r *runs) addRun(first, last key) {
	after, ok := last.next()
	if p, ok := first.prev(); ok {
		if n := r.t.floor(p); n != nil && !n.val.less(p) {
			first = n.key
		}
	}
	if q := after; ok {
		if n := r.t.get(q); n != nil {
			last = n.val
			r.t.delete(q)
		}
	}
	r.t.put(first, last)
}

// remove takes k out of the set; it must be there.
func (r *runs) remove(k key) {
	n := r.t.floor(k)
	first, last := n.key, n.val
	if first == k {
		r.t.delete(first)
	} else {
		n.val, _ = k.prev()
	}
	if last != k {
		q, _ := k.next()
		r.t.put(q, last)
	}
}
