package allocator

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"go4.org/netipx"
)

// Pool describes addresses that may be given out.
type Pool struct {
	Name string
	// Ranges are tried in this order. They overlap neither each other nor those of another pool.
	Ranges []netipx.IPRange
	// AvoidBuggy keeps IPv4 addresses that end in .0 or .255 from being given out.
	AvoidBuggy bool
	// AutoAssign allows addresses to be given to owners that ask for neither an address nor a pool.
	AutoAssign bool
	// Restricted pools serve only the owners that they admit (Request.Admitted), and those before unrestricted pools do.
	Restricted bool
	// Priority orders restricted pools: low first, 0 after all others.
	Priority int
	// External pools give out only what their Provider has given for an owner ([Allocator.Answer]), and what can be shared. A pool that
	// waits for an answer is not passed over for a later one; one whose Provider refuses is.
	External bool
}

// order is the one order in which pools are tried.
func order(a, b *pool) int {
	return cmp.Or(cmp.Compare(rank(a.Priority), rank(b.Priority)), cmp.Compare(a.Name, b.Name))
}

func rank(priority int) int {
	if priority == 0 {
		return math.MaxInt
	}
	return priority
}

// pool is a Pool and what is taken of it.
type pool struct {
	Pool
	spans []span // of Ranges, same order
	taken taken  // held or reserved
	open  bitset // spans that may have an address left; a cleared bit is certain, a set one is not
	use   [2]usage

	reserved []span // of the pool's addresses, disjoint, in address order
}

// usage counts addresses of one family.
type usage struct {
	size uint64 // that can be given out; saturates at MaxUint64
	busy uint64 // of those, held and not reserved
	held uint64 // held, including ones that may no longer be given out

	reserved uint64 // of size, reserved, held or not; saturates at MaxUint64
}

func index(f Family) int {
	if f == IPv4 {
		return 0
	}
	return 1
}

func newPool(p Pool) *pool {
	s := &pool{Pool: p, spans: make([]span, len(p.Ranges)), open: newBitset(len(p.Ranges)), taken: taken{avoidBuggy: p.AvoidBuggy}}
	for i, r := range p.Ranges {
		s.spans[i] = spanOf(r)
		s.open.set(i)
		u := &s.use[index(s.spans[i].first.family())]
		u.size = addSaturated(u.size, s.spans[i].size(p.AvoidBuggy))
	}
	return s
}

func addSaturated(a, b uint64) uint64 {
	n, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return n
}

// sameAddresses reports whether both hold the same addresses in the same order, so that what is taken carries over.
func (p *pool) sameAddresses(o Pool) bool {
	return p.Name == o.Name && p.AvoidBuggy == o.AvoidBuggy && slices.Equal(p.Ranges, o.Ranges)
}

func (p *pool) usable(k key) bool { return !p.AvoidBuggy || !buggy(k) }

// lowestFree returns the first free address of span i; ok is false, and the span is marked so, if it has none.
func (p *pool) lowestFree(i int) (key, bool) {
	if !p.open.has(i) {
		return key{}, false
	}
	k, ok := p.taken.lowestFrom(p.spans[i].first)
	if !ok || p.spans[i].last.less(k) {
		p.open.clear(i)
		return key{}, false
	}
	return k, true
}

func (p *pool) take(k key) {
	u := &p.use[index(k.family())]
	u.held++
	if p.usable(k) && !contains(p.reserved, k) {
		u.busy++
		p.taken.add(k)
	}
}

// free gives back k, which lies in span i.
func (p *pool) free(k key, i int) {
	u := &p.use[index(k.family())]
	u.held--
	if p.usable(k) && !contains(p.reserved, k) {
		u.busy--
		p.taken.remove(k)
		p.open.set(i)
	}
}

func (p *pool) tried(f Family) Tried {
	u := p.use[index(f)]
	return Tried{Pool: p.Name, Family: f, InUse: addSaturated(u.busy, u.reserved), Size: u.size}
}

// bitset is a fixed-size set of small numbers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) clear(i int)    { b[i/64] &^= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// from returns the lowest member that is at least i, or -1.
func (b bitset) from(i int) int {
	for w := i / 64; w < len(b); w++ {
		word := b[w]
		if w == i/64 {
			word &^= 1<<(i%64) - 1
		}
		if word != 0 {
			return w*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// place is where an address belongs: a span of a pool.
type place struct {
	span
	pool *pool
	i    int // index of the span in the pool
}

// placesOf returns the spans of all pools in address order, or an *OverlapError.
func placesOf(pools []*pool) ([]place, error) {
	var all []place
	for _, p := range pools {
		for i, s := range p.spans {
			all = append(all, place{s, p, i})
		}
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(a.first.compare(b.first), cmp.Compare(a.pool.Name, b.pool.Name), cmp.Compare(a.i, b.i))
	})
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; !a.last.less(b.first) {
			return nil, &OverlapError{Pool: b.pool.Name, Other: a.pool.Name, Range: b.pool.Ranges[b.i], OtherRange: a.pool.Ranges[a.i]}
		}
	}
	return all, nil
}

func validate(pools []Pool) error {
	seen := make(map[string]bool, len(pools))
	for _, p := range pools {
		switch {
		case p.Name == "":
			return fmt.Errorf("%w: a pool has no name", ErrInvalidPools)
		case seen[p.Name]:
			return fmt.Errorf("%w: two pools are named %q", ErrInvalidPools, p.Name)
		}
		seen[p.Name] = true
		for _, r := range p.Ranges {
			if !r.IsValid() {
				return fmt.Errorf("%w: pool %q has an invalid range", ErrInvalidPools, p.Name)
			}
		}
	}
	return nil
}
