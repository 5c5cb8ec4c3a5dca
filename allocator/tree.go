package allocator

// tree is an ordered map from key to V, a treap whose priorities come from a fixed-seed generator: balanced in expectation,
// and the same shape for the same history. pull, when set, recomputes what a node's value says about its subtree.
type tree[V any] struct {
	root *node[V]
	rng  uint32
	pull func(*node[V])
}

type node[V any] struct {
	left, right *node[V]
	key         key
	val         V
	prio        uint32
}

func (t *tree[V]) fix(n *node[V]) *node[V] {
	if t.pull != nil {
		t.pull(n)
	}
	return n
}

// random is xorshift32; it never yields 0 from a non-zero state.
func (t *tree[V]) random() uint32 {
	if t.rng == 0 {
		t.rng = 0x9e3779b9
	}
	t.rng ^= t.rng << 13
	t.rng ^= t.rng >> 17
	t.rng ^= t.rng << 5
	return t.rng
}

// put stores v under k, replacing what was there.
func (t *tree[V]) put(k key, v V) {
	if n := t.get(k); n != nil && t.pull == nil {
		n.val = v
		return
	} else if n != nil {
		t.delete(k)
	}
	t.root = t.insert(t.root, &node[V]{key: k, val: v, prio: t.random()})
}

func (t *tree[V]) insert(n, fresh *node[V]) *node[V] {
	if n == nil {
		return t.fix(fresh)
	}
	if fresh.prio > n.prio {
		fresh.left, fresh.right = t.split(n, fresh.key)
		return t.fix(fresh)
	}
	if fresh.key.less(n.key) {
		n.left = t.insert(n.left, fresh)
	} else {
		n.right = t.insert(n.right, fresh)
	}
	return t.fix(n)
}

// split parts n into the keys below k and those from k on.
func (t *tree[V]) split(n *node[V], k key) (below, rest *node[V]) {
	if n == nil {
		return nil, nil
	}
	if n.key.less(k) {
		n.right, rest = t.split(n.right, k)
		return t.fix(n), rest
	}
	below, n.left = t.split(n.left, k)
	return below, t.fix(n)
}

// delete removes k, if it is there.
func (t *tree[V]) delete(k key) { t.root = t.remove(t.root, k) }

func (t *tree[V]) remove(n *node[V], k key) *node[V] {
	if n == nil {
		return nil
	}
	switch {
	case n.key == k:
		return t.join(n.left, n.right)
	case k.less(n.key):
		n.left = t.remove(n.left, k)
	default:
		n.right = t.remove(n.right, k)
	}
	return t.fix(n)
}

func (t *tree[V]) join(l, r *node[V]) *node[V] {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	case l.prio > r.prio:
		l.right = t.join(l.right, r)
		return t.fix(l)
	default:
		r.left = t.join(l, r.left)
		return t.fix(r)
	}
}

// get returns the node of k, or nil.
func (t *tree[V]) get(k key) *node[V] {
	n := t.root
	for n != nil && n.key != k {
		if k.less(n.key) {
			n = n.left
		} else {
			n = n.right
		}
	}
	return n
}

// floor returns the node with the greatest key that is at most k, or nil.
func (t *tree[V]) floor(k key) *node[V] {
	var best *node[V]
	for n := t.root; n != nil; {
		if k.less(n.key) {
			n = n.left
		} else {
			best, n = n, n.right
		}
	}
	return best
}
