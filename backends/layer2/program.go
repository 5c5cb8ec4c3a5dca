package layer2

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
)

// A program of classic BPF only jumps forward, by at most 255 instructions if the jump is conditional. So it is written from its
// end to its beginning: whatever a test jumps to is there already, and if it is too far away, a stepping stone is put in between.

// label is an instruction that can be jumped to, counted from the end of the program.
type label int

type writer struct {
	backward       []bpf.Instruction
	stones         map[label]label // the newest stepping stone to a label
	accept, reject label
}

// reach is how far a conditional jump may go; the stepping stones of its two branches have to fit in, too.
const reach = 250

// newWriter returns a writer whose program ends with accepting and rejecting.
func newWriter() *writer {
	w := &writer{stones: map[label]label{}}
	w.accept = w.emit(bpf.RetConstant{Val: 1 << 18}) // longer than any frame
	w.reject = w.emit(bpf.RetConstant{Val: 0})
	return w
}

func (w *writer) emit(i bpf.Instruction) label {
	w.backward = append(w.backward, i)
	return label(len(w.backward) - 1)
}

// skip returns how many instructions lie between the one that is emitted next and l.
func (w *writer) skip(l label) int { return len(w.backward) - int(l) - 1 }

// near returns a label within reach that does what l does.
func (w *writer) near(l label) label {
	n, ok := w.stones[l]
	if !ok {
		n = l
	}
	if w.skip(n) <= reach {
		return n
	}
	if l == w.accept || l == w.reject {
		n = w.emit(w.backward[l]) // ends as well as a jump to the end
	} else {
		n = w.emit(bpf.Jump{Skip: uint32(w.skip(l))})
	}
	w.stones[l] = n
	return n
}

// test goes on at yes if register A compares with val, else at no.
func (w *writer) test(c bpf.JumpTest, val uint32, yes, no label) label {
	yes = w.near(yes)
	no = w.near(no)
	return w.emit(bpf.JumpIf{Cond: c, Val: val, SkipTrue: uint8(w.skip(yes)), SkipFalse: uint8(w.skip(no))})
}

// load fills register A with size bytes of the packet and goes on at then.
func (w *writer) load(off uint32, size int, then label) label {
	if w.skip(then) != 0 {
		w.emit(bpf.Jump{Skip: uint32(w.skip(then))})
	}
	return w.emit(bpf.LoadAbsolute{Off: off, Size: size})
}

// program returns the instructions in their order.
func (w *writer) program() []bpf.Instruction {
	out := slices.Clone(w.backward)
	slices.Reverse(out)
	return out
}

// span is a range of addresses of one family, as big-endian words: one for IPv4, four for IPv6.
type span struct{ from, to []uint32 }

func words(a netip.Addr) []uint32 {
	b := a.AsSlice()
	out := make([]uint32, len(b)/4)
	for i := range out {
		out[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return out
}

// spansOf covers addrs, of one family and sorted, by at most limit ranges. They hold addrs and nothing else if limit allows; if
// not, the smallest gaps are covered as well.
func spansOf(addrs []netip.Addr, limit int) []span {
	if len(addrs) == 0 || limit < 1 {
		return nil
	}
	// A gap is numbered by the address behind it.
	gaps := make([]int, 0, len(addrs)-1)
	open := make([]bool, len(addrs))
	for i := 1; i < len(addrs); i++ {
		if addrs[i-1].Next() != addrs[i] {
			gaps = append(gaps, i)
			open[i] = true
		}
	}
	if tooMany := len(gaps) + 1 - limit; tooMany > 0 {
		slices.SortStableFunc(gaps, func(a, b int) int {
			return compareDistance(addrs[a-1], addrs[a], addrs[b-1], addrs[b])
		})
		for _, i := range gaps[:tooMany] {
			open[i] = false
		}
	}
	var out []span
	for i, a := range addrs {
		if i == 0 || open[i] {
			out = append(out, span{from: words(a)})
		}
		out[len(out)-1].to = words(a)
	}
	return out
}

// compareDistance compares b-a with d-c.
func compareDistance(a, b, c, d netip.Addr) int {
	hi1, lo1 := distance(a, b)
	hi2, lo2 := distance(c, d)
	return cmp.Or(cmp.Compare(hi1, hi2), cmp.Compare(lo1, lo2))
}

func distance(a, b netip.Addr) (hi, lo uint64) {
	x, y := a.As16(), b.As16()
	lo, borrow := bits.Sub64(binary.BigEndian.Uint64(y[8:]), binary.BigEndian.Uint64(x[8:]), 0)
	hi, _ = bits.Sub64(binary.BigEndian.Uint64(y[:8]), binary.BigEndian.Uint64(x[:8]), borrow)
	return hi, lo
}

// member emits the test whether the address at off is in one of spans, and returns where it begins. Ranges whose ends differ in a
// word before the last are rounded to whole values of that word: it may let through more than spans, never less.
func (w *writer) member(off uint32, spans []span, yes, no label) label {
	return w.level(off, 0, spans, yes, no)
}

// entry is what one word of the address may be: any value of a range, or one value with conditions on the words that follow.
type entry struct {
	from, to uint32
	deeper   []span
}

func entriesOf(level int, spans []span) []entry {
	var out []entry
	for _, s := range spans {
		e := entry{from: s.from[level], to: s.to[level]}
		if e.from == e.to && level < len(s.from)-1 {
			e.deeper = []span{s}
		}
		last := len(out) - 1
		switch {
		case last < 0 || e.from > out[last].to && (e.from != out[last].to+1 || e.deeper != nil || out[last].deeper != nil):
			out = append(out, e)
		case e.deeper != nil && out[last].deeper != nil:
			out[last].deeper = append(out[last].deeper, s)
		default: // one of them is a range that covers or continues the other
			out[last] = entry{from: out[last].from, to: max(e.to, out[last].to)}
		}
	}
	return out
}

func (w *writer) level(off uint32, level int, spans []span, yes, no label) label {
	entries := entriesOf(level, spans)
	if len(entries) == 0 {
		return no
	}
	at := off + uint32(4*level)
	body := w.choose(entries, false, no, func(e entry) label {
		if e.deeper == nil {
			return yes
		}
		return w.level(off, level+1, e.deeper, yes, no)
	})
	return w.load(at, 4, body)
}

// choose emits a balanced tree of tests over entries, which are sorted. above is set if the word is known not to be less than the
// first of them.
func (w *writer) choose(entries []entry, above bool, no label, found func(entry) label) label {
	if len(entries) > 1 {
		mid := len(entries) / 2
		right := w.choose(entries[mid:], true, no, found)
		left := w.choose(entries[:mid], above, no, found)
		return w.test(bpf.JumpGreaterOrEqual, entries[mid].from, right, left)
	}
	e := entries[0]
	then := found(e)
	if e.from == e.to {
		return w.test(bpf.JumpEqual, e.from, then, no)
	}
	l := w.test(bpf.JumpGreaterThan, e.to, no, then)
	if !above {
		l = w.test(bpf.JumpGreaterOrEqual, e.from, l, no)
	}
	return l
}
