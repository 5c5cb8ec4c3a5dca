package allocator

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go4.org/netipx"
	"pgregory.net/rapid"
)

// decisions yields the choices that make up a history; rapid and the fuzzer both provide them.
type decisions interface {
	// below returns a number in [0, n).
	below(n int) int
}

type rapidDecisions struct{ *rapid.T }

func (d rapidDecisions) below(n int) int { return rapid.IntRange(0, n-1).Draw(d.T, "n") }

// bytesDecisions reads one byte a decision; it repeats zero when they are used up.
type bytesDecisions struct{ b []byte }

func (d *bytesDecisions) below(n int) int {
	if len(d.b) == 0 {
		return 0
	}
	c := int(d.b[0])
	d.b = d.b[1:]
	return c % n
}

// entries are the ranges histories build pools of. No two overlap; several straddle .0 and .255, where buggy addresses are.
var entries = []string{
	"10.0.0.0/30", "10.0.0.4-10.0.0.6", "10.0.0.254-10.0.1.2", "10.0.1.255/32", "10.0.2.0-10.0.2.1", "10.0.255.254-10.1.0.1",
	"2001:db8::/126", "2001:db8::ff-2001:db8::101", "fd00:1::fffe-fd00:1::1:1",
}

// probes are the addresses that histories ask for and inspect: every address of every entry, and two of none.
var probes = func() []netip.Addr {
	out := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:ffff::1")}
	for _, e := range entries {
		r := mustRange(e)
		for a := r.From(); !r.To().Less(a); a = a.Next() {
			out = append(out, a)
		}
	}
	return out
}()

var (
	poolNames  = []string{"alpha", "beta", "gamma", "delta"}
	ownerNames = []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	ports      = []Port{{TCP, 80}, {UDP, 80}, {TCP, 443}}
)

func mustRange(s string) netipx.IPRange {
	if p, err := netip.ParsePrefix(s); err == nil {
		return netipx.RangeOfPrefix(p)
	}
	return netipx.MustParseIPRange(s)
}

func drawPools(d decisions) []Pool {
	pools := make([]Pool, 1+d.below(len(poolNames)))
	for i := range pools {
		pools[i] = Pool{
			Name: poolNames[i], AvoidBuggy: d.below(2) == 1, AutoAssign: d.below(4) > 0,
			Restricted: d.below(3) == 0, Priority: d.below(3),
		}
	}
	for _, e := range entries {
		if i := d.below(len(pools) + 1); i < len(pools) {
			pools[i].Ranges = append(pools[i].Ranges, mustRange(e))
		}
	}
	return pools
}

func drawRequest(d decisions) Request {
	req := Request{Owner: Owner{"default", ownerNames[d.below(len(ownerNames))]}}
	req.Families = []Families{{IPv4, 0}, {IPv6, 0}, {IPv4, IPv6}, {IPv6, IPv4}}[d.below(4)]
	if req.Families.Dual() {
		req.Policy = []FamilyPolicy{SingleStack, PreferDualStack, RequireDualStack}[d.below(3)]
	}
	for _, name := range poolNames {
		if d.below(2) == 0 {
			req.Admitted = append(req.Admitted, name)
		}
	}
	if d.below(3) == 0 {
		req.Pool = append(slices.Clone(poolNames), "nowhere")[d.below(len(poolNames)+1)]
	}
	if req.Pool == "" && d.below(4) == 0 {
		all := append(slices.Clone(poolNames), "nowhere")
		for range 1 + d.below(3) {
			req.Pools = append(req.Pools, all[d.below(len(all))])
		}
	}
	if d.below(3) == 0 {
		for _, f := range []Family{IPv4, IPv6} {
			if !req.wants(f) {
				continue
			}
			mine := slices.DeleteFunc(slices.Clone(probes), func(a netip.Addr) bool { return FamilyOf(a) != f })
			a := mine[d.below(len(mine))]
			if f == IPv4 {
				req.IPv4 = a
			} else {
				req.IPv6 = a
			}
		}
	}
	if d.below(2) == 0 {
		req.Sharing = Sharing{Key: []string{"x", "y"}[d.below(2)], Backend: []string{"", "app=web"}[d.below(2)], Among: []string{"", "a b"}[d.below(2)]}
	}
	var set []Port
	for _, p := range ports {
		if d.below(2) == 0 {
			set = append(set, p)
		}
	}
	req.Ports = Ports(set...)
	return req
}

func drawReservations(d decisions) []Reservation {
	out := make([]Reservation, d.below(4))
	for i := range out {
		out[i].Name = ownerNames[i]
		if d.below(3) > 0 {
			out[i].Owner = Owner{"default", ownerNames[d.below(len(ownerNames))]}
		}
		if d.below(4) == 0 {
			out[i].Use = "somebody has it"
		}
		for range 1 + d.below(2) {
			first := probes[d.below(len(probes))]
			last := first
			for range d.below(6) {
				last = last.Next()
			}
			out[i].Ranges = append(out[i].Ranges, netipx.IPRangeFrom(first, last))
		}
	}
	return out
}

// history plays one random history to the engine, to a second engine that sees pools in shuffled order, and to the oracle.
type history struct {
	t      require.TestingT
	engine *Allocator
	twin   *Allocator
	oracle *oracle
}

func newHistory(t require.TestingT) *history {
	return &history{t: t, engine: &Allocator{}, twin: &Allocator{}, oracle: newOracle()}
}

func (h *history) step(d decisions) {
	switch op := d.below(10); {
	case op == 0:
		h.setPools(drawPools(d))
	case op == 1:
		owner := Owner{"default", ownerNames[d.below(len(ownerNames))]}
		want := h.oracle.assignment(owner)
		require.Equal(h.t, want, h.engine.Release(owner))
		h.twin.Release(owner)
		delete(h.oracle.held, owner)
	case op == 2:
		h.restart()
	case op == 3:
		h.setReservations(drawReservations(d))
	default:
		h.allocate(drawRequest(d))
	}
	h.compare()
}

func (h *history) setPools(pools []Pool) {
	before := map[Owner]Assignment{}
	for owner := range h.oracle.held {
		before[owner] = h.oracle.assignment(owner)
	}
	changes, err := h.engine.SetPools(pools)
	require.NoError(h.t, err)
	shuffled := slices.Clone(pools)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	twinChanges, err := h.twin.SetPools(shuffled)
	require.NoError(h.t, err)
	require.Equal(h.t, changes, twinChanges)

	h.oracle.setPools(pools)
	var want []Change
	for owner, was := range before {
		now := h.oracle.assignment(owner)
		for _, g := range [][2]Grant{{was.IPv4, now.IPv4}, {was.IPv6, now.IPv6}} {
			if g[0].Pool != g[1].Pool {
				want = append(want, Change{owner, g[0].Addr, g[0].Pool, g[1].Pool})
			}
		}
	}
	require.ElementsMatch(h.t, want, changes)
}

func (h *history) setReservations(rs []Reservation) {
	h.engine.SetReservations(rs)
	h.twin.SetReservations(rs)
	h.oracle.reservations = rs
}

func (h *history) allocate(req Request) {
	before := h.engine.Held(req.Owner)
	considered, malformed := h.engine.Consider(req)
	h.compare() // nothing has changed
	got, err := h.engine.Allocate(req)
	twinGot, twinErr := h.twin.Allocate(req)
	require.Equal(h.t, got, twinGot)
	require.Equal(h.t, err, twinErr)

	want := h.oracle.allocate(req)
	if want == nil {
		require.NoError(h.t, err)
	} else {
		require.ErrorIs(h.t, err, want, "%+v", req)
	}
	require.Equal(h.t, h.oracle.assignment(req.Owner), got, "%+v: %v", req, err)
	// Asking again for the same changes nothing.
	again, _ := h.engine.Allocate(req)
	require.Equal(h.t, got, again)

	if errors.Is(err, ErrInvalidRequest) {
		require.ErrorIs(h.t, malformed, ErrInvalidRequest)
		return
	}
	require.NoError(h.t, malformed)
	if before.IsZero() && req.Policy == SingleStack {
		foretold(h.t, req, considered, got)
	}
}

// foretold checks that the first pool that was said to serve an owner without an address has done so.
func foretold(t require.TestingT, req Request, considered []Considered, got Assignment) {
	for _, c := range considered {
		if c.Serves() {
			require.Equal(t, c.Free, got.Addrs(), "%+v", req)
			require.Equal(t, c.Pool, got.Pool(), "%+v", req)
			return
		}
	}
	require.True(t, got.IsZero(), "%+v: no pool was said to serve it, and it got %v", req, got)
}

// restart replaces the engine by a new one that is told what every owner holds, in any order.
func (h *history) restart() {
	fresh := &Allocator{}
	_, err := fresh.SetPools(h.oracle.pools)
	require.NoError(h.t, err)
	fresh.SetReservations(h.oracle.reservations)
	for owner := range h.oracle.held {
		a := h.oracle.assignment(owner)
		held := h.oracle.held[owner]
		require.NoError(h.t, fresh.Restore(Request{Owner: owner, Sharing: held.sharing, Ports: held.ports}, a.Addrs()...))
	}
	h.engine = fresh
}

// compare checks that all three agree on everything that can be asked.
func (h *history) compare() {
	require.Equal(h.t, len(h.oracle.held), h.engine.Len())
	for _, name := range ownerNames {
		owner := Owner{"default", name}
		require.Equal(h.t, h.oracle.assignment(owner), h.engine.Held(owner))
	}
	for _, a := range probes {
		holders := h.oracle.holders(a)
		require.Equal(h.t, holders, h.engine.Holders(a))
		for i, x := range holders {
			for _, y := range holders[i+1:] {
				hx, hy := h.oracle.held[x], h.oracle.held[y]
				require.True(h.t, hx.sharing.Key != "" && hx.sharing == hy.sharing && !hx.ports.Overlaps(hy.ports),
					"%s is held by %s and %s, which may not share", a, x, y)
			}
		}
	}
	for i := range h.oracle.pools {
		p := &h.oracle.pools[i]
		got, ok := h.engine.Stats(p.Name)
		require.True(h.t, ok)
		require.Equal(h.t, h.oracle.stats(p), got, "pool %s", p.Name)
	}
}

func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		d := rapidDecisions{t}
		h.setPools(drawPools(d))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			h.step(d)
		}
	})
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte{})
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := newHistory(t)
		d := &bytesDecisions{b}
		h.setPools(drawPools(d))
		for steps := 0; len(d.b) > 0 && steps < 100; steps++ {
			h.step(d)
		}
	})
}
