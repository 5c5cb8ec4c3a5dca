package explain

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
	"time"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/internal/assign"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// Map is what a pool looks like, address by address, or block by block where there are too many.
type Map struct {
	Pool string `json:"pool"`
	// Within is the part of the pool that is looked at; absent: all.
	Within string `json:"within,omitempty"`
	// Parts are in the order of their addresses.
	Parts []MapPart `json:"parts"`
}

// MapPart is a run of addresses. It has Cells or Blocks.
type MapPart struct {
	Range  string  `json:"range"`
	Cells  []Cell  `json:"cells,omitempty"`
	Blocks []Block `json:"blocks,omitempty"`
}

// Cell is one address.
type Cell struct {
	IP string `json:"ip"`
	// State is one of those of OneAddress; outside: another pool's, or nobody's.
	State string `json:"state"`
	// Holders are the Services that have it, as namespace/name; Since is when the first of them got its address.
	Holders []string   `json:"holders,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
}

// Block is many addresses. A count that does not fit is 9223372036854775807.
type Block struct {
	Prefix string `json:"prefix"`
	// Capacity is how many of its addresses the pool has; InUse and Reserved are how many of these are.
	Capacity document.Count `json:"capacity"`
	InUse    document.Count `json:"inUse"`
	Reserved document.Count `json:"reserved"`
}

const (
	// cellsAtMost is how many addresses are told of one by one.
	cellsAtMost = 1024
	// blocksAtMost is how many blocks a run of addresses is divided into.
	blocksAtMost = 256
	// row is how many addresses are told of together: what is missing at both ends of a run is outside.
	row = 16
)

// MapOf returns the map of a pool in force, or of what of it is within a prefix; false: there is no such pool, or nothing of it there.
func MapOf(m *survey.Model, pool string, within netip.Prefix) (*Map, bool) {
	p := m.Snapshot.Pool(pool)
	if p == nil {
		return nil, false
	}
	d := &drawing{Model: m, pool: p, held: m.Assigner.Holdings()[pool], since: map[allocator.Owner]*corev1.Service{}}
	for i := range m.Services {
		d.since[ownerOf(&m.Services[i])] = &m.Services[i]
	}
	out := &Map{Pool: pool, Parts: []MapPart{}}
	if within.IsValid() {
		out.Within = within.Masked().String()
	}
	room := document.Count(cellsAtMost)
	for _, r := range rows(p.Ranges, within) {
		if n := sizeOf(r); n <= room {
			room -= n
			out.Parts = append(out.Parts, d.cells(r))
		} else {
			out.Parts = append(out.Parts, d.blocks(r, p.Ranges))
		}
	}
	return out, len(out.Parts) > 0
}

// drawing is what a Map is made of.
type drawing struct {
	*survey.Model
	pool     *config.Pool
	held     []assign.Holding
	since    map[allocator.Owner]*corev1.Service
	reserved []netipx.IPRange // of the pool; nil: not worked out yet
}

// rows returns the runs of addresses in ranges, each widened to whole rows, and those that touch made one.
func rows(ranges []netipx.IPRange, within netip.Prefix) []netipx.IPRange {
	var in []netipx.IPRange
	for _, r := range ranges {
		if !within.IsValid() {
			in = append(in, r)
		} else if w := netipx.RangeOfPrefix(within); w.Overlaps(r) {
			in = append(in, netipx.IPRangeFrom(later(w.From(), r.From()), earlier(w.To(), r.To())))
		}
	}
	slices.SortFunc(in, func(a, b netipx.IPRange) int { return a.From().Compare(b.From()) })
	var out []netipx.IPRange
	for _, r := range in {
		r = netipx.IPRangeFrom(rowOf(r.From()).From(), rowOf(r.To()).To())
		if n := len(out); n > 0 && out[n-1].From().BitLen() == r.From().BitLen() && !out[n-1].To().Next().Less(r.From()) {
			out[n-1] = netipx.IPRangeFrom(out[n-1].From(), later(out[n-1].To(), r.To()))
			continue
		}
		out = append(out, r)
	}
	return out
}

func rowOf(a netip.Addr) netipx.IPRange {
	p, err := a.Prefix(a.BitLen() - bits.TrailingZeros(row))
	if err != nil {
		panic(err) // an address has that many bits
	}
	return netipx.RangeOfPrefix(p)
}

func later(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return b
	}
	return a
}

func earlier(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return a
	}
	return b
}

// sizeOf returns how many addresses a range has, or math.MaxInt64.
func sizeOf(r netipx.IPRange) document.Count {
	a, b := r.From().As16(), r.To().As16()
	low, borrow := bits.Sub64(binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(a[8:]), 0)
	high, _ := bits.Sub64(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(a[:8]), borrow)
	if high != 0 || low >= math.MaxInt64 {
		return math.MaxInt64
	}
	return document.Count(low) + 1
}

func (d *drawing) cells(r netipx.IPRange) MapPart {
	out := MapPart{Range: rangeText(r)}
	unknown := d.Need("Services") != nil
	for a := r.From(); ; a = a.Next() {
		out.Cells = append(out.Cells, d.cell(a, unknown))
		if a == r.To() {
			return out
		}
	}
}

func (d *drawing) cell(a netip.Addr, unknown bool) Cell {
	c := Cell{IP: a.String(), State: AddressOutside}
	pool, usable := d.Assigner.PoolOf(a)
	if pool == nil || pool.Name != d.pool.Name {
		return c
	}
	holders, gone := d.Assigner.Holders(a), true
	for _, o := range holders {
		c.Holders = append(c.Holders, o.String())
		svc := d.since[o]
		gone = gone && svc == nil
		if svc == nil {
			continue
		}
		if x := meta.FindStatusCondition(svc.Status.Conditions, service.ConditionAllocated); x != nil &&
			(c.Since == nil || x.LastTransitionTime.Time.Before(*c.Since)) {
			c.Since = &x.LastTransitionTime.Time
		}
	}
	reserved := slices.ContainsFunc(d.Assigner.Reserved(a), func(r allocator.Reservation) bool { return r.Use == "" })
	c.State = elsewhere(d.Model, a, stateOf(len(holders) > 0, gone, pool, usable, reserved))
	if unknown {
		c.State = AddressUnknown
	}
	return c
}

func (d *drawing) blocks(r netipx.IPRange, ranges []netipx.IPRange) MapPart {
	out := MapPart{Range: rangeText(r)}
	length := r.From().BitLen()
	for length > 0 && !between(blockOf(r.From(), length), blockOf(r.To(), length)) {
		length--
	}
	for b := blockOf(r.From(), length); ; {
		whole := netipx.RangeOfPrefix(b)
		x := Block{Prefix: b.String(), InUse: document.Count(d.heldIn(whole)), Reserved: overlap(whole, d.reservations())}
		x.Capacity = overlap(whole, ranges)
		if x.Capacity > 0 {
			out.Blocks = append(out.Blocks, x)
		}
		if whole.Contains(r.To()) {
			return out
		}
		b = blockOf(whole.To().Next(), length)
	}
}

func blockOf(a netip.Addr, length int) netip.Prefix {
	p, err := a.Prefix(length)
	if err != nil {
		panic(err) // an address has that many bits
	}
	return p
}

// between reports whether there are few enough blocks from one to another, both included.
func between(first, last netip.Prefix) bool {
	for n := 1; n <= blocksAtMost; n++ {
		if first == last {
			return true
		}
		next := netipx.PrefixLastIP(first).Next()
		if !next.IsValid() {
			return true
		}
		first = blockOf(next, first.Bits())
	}
	return false
}

// overlap returns how many addresses of a range are in any of others, which do not overlap each other.
func overlap(r netipx.IPRange, others []netipx.IPRange) document.Count {
	var sum document.Count
	for _, o := range others {
		if o.Overlaps(r) {
			n := sizeOf(netipx.IPRangeFrom(later(o.From(), r.From()), earlier(o.To(), r.To())))
			if sum += n; sum < 0 || n == math.MaxInt64 {
				return math.MaxInt64
			}
		}
	}
	return sum
}

func (d *drawing) heldIn(r netipx.IPRange) int {
	from := sort.Search(len(d.held), func(i int) bool { return !d.held[i].Addr.Less(r.From()) })
	to := sort.Search(len(d.held), func(i int) bool { return r.To().Less(d.held[i].Addr) })
	return max(0, to-from)
}

// reservations returns what of the pool is reserved, but for what somebody has.
func (d *drawing) reservations() []netipx.IPRange {
	if d.reserved != nil {
		return d.reserved
	}
	var all, own netipx.IPSetBuilder
	for _, r := range d.Snapshot.Reservations() {
		for _, x := range r.Ranges {
			all.AddRange(x)
		}
	}
	for _, r := range d.pool.Ranges {
		own.AddRange(r)
	}
	if set, err := own.IPSet(); err == nil {
		all.Intersect(set)
	}
	for _, h := range d.held {
		all.Remove(h.Addr)
	}
	set, err := all.IPSet()
	d.reserved = []netipx.IPRange{}
	if err == nil {
		d.reserved = append(d.reserved, set.Ranges()...)
	}
	return d.reserved
}
