package allocator

import "math/bits"

// taken is the set of addresses of a pool that cannot be given out, in chunks of 256 neighbours. A chunk that is partly taken is
// a bitmap, runs of chunks that are wholly taken are one entry each, and a chunk of which nothing is taken is nothing at all: a
// full /8 is small, an IPv6 /64 costs only what is used of it, and looking for a free address touches a handful of cache lines.
type taken struct {
	avoidBuggy bool
	part       map[key]chunk // by chunk number: the address without its last 8 bits
	full       runs          // of chunk numbers
}

// chunk has one bit for each of 256 addresses: set if the address is taken, or never given out.
type chunk [4]uint64

var wholeChunk = chunk{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

func number(k key) key                        { return key{k.hi >> 8, k.hi<<56 | k.lo>>8} }
func (c chunk) bit(k key) (word, mask uint64) { return k.lo & 255 / 64, 1 << (k.lo % 64) }

// at returns the address with the given last 8 bits of chunk number n.
func at(n key, last int) key { return key{n.hi<<8 | n.lo>>56, n.lo<<8 | uint64(last)} }

// empty returns chunk n as it is when nothing of it is taken.
func (t *taken) empty(n key) chunk {
	var c chunk
	for _, last := range []int{0, 255} {
		if k := at(n, last); t.avoidBuggy && buggy(k) {
			word, mask := c.bit(k)
			c[word] |= mask
		}
	}
	return c
}

func (t *taken) chunk(n key) chunk {
	if c, ok := t.part[n]; ok {
		return c
	}
	return t.empty(n)
}

// add puts k into the set; it must not be there yet.
func (t *taken) add(k key) {
	n := number(k)
	c := t.chunk(n)
	word, mask := c.bit(k)
	if c[word] |= mask; c == wholeChunk {
		delete(t.part, n)
		t.full.add(n)
		return
	}
	if t.part == nil {
		t.part = map[key]chunk{}
	}
	t.part[n] = c
}

// addSpan puts all of s that can be given out into the set; nothing of it may be there yet.
func (t *taken) addSpan(s span) {
	first, last := number(s.first), number(s.last)
	for n := first; ; {
		from, to := 0, 255
		if n == first {
			from = int(s.first.lo & 255)
		}
		if n == last {
			to = int(s.last.lo & 255)
		}
		if from == 0 && to == 255 {
			// Whole chunks in one go: as many as come before the last, which may be a part only.
			end := last
			if s.last.lo&255 != 255 {
				end, _ = last.prev()
			}
			t.full.addRun(n, end)
			n = end
		} else {
			for i := from; i <= to; i++ {
				if k := at(n, i); !t.avoidBuggy || !buggy(k) {
					t.add(k)
				}
			}
		}
		if n == last {
			return
		}
		n, _ = n.next()
	}
}

// remove takes k out of the set; it must be there.
func (t *taken) remove(k key) {
	n := number(k)
	c, partly := t.part[n]
	if !partly {
		t.full.remove(n)
		c = wholeChunk
	}
	word, mask := c.bit(k)
	if c[word] &^= mask; c == t.empty(n) {
		delete(t.part, n)
		return
	}
	t.part[n] = c
}

// lowestFrom returns the lowest address from k on that can be given out; ok is false if there is none.
func (t *taken) lowestFrom(k key) (key, bool) {
	n, from := number(k), int(k.lo&255)
	for {
		next, _ := t.full.lowestFrom(n)
		if next != n {
			n, from = next, 0
		}
		if n.hi>>56 != 0 { // chunk numbers have 120 bits: this is past the last one
			return key{}, false
		}
		if last := t.chunk(n).firstClear(from); last >= 0 {
			return at(n, last), true
		}
		// Only the chunk of k itself can have room below k alone: the next one that is not full has some from its start on.
		n, _ = n.next()
		from = 0
	}
}

// firstClear returns the lowest clear bit from the given one on, or -1.
func (c chunk) firstClear(from int) int {
	for w := from / 64; w < len(c); w++ {
		free := ^c[w]
		if w == from/64 {
			free &^= 1<<(from%64) - 1
		}
		if free != 0 {
			return w*64 + bits.TrailingZeros64(free)
		}
	}
	return -1
}
