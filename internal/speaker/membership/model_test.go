package membership

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// world is some speakers and what is on its way between them. Letters get lost, doubled and late; nodes are cut off and restarted, with
// a clock that goes back; some die for good.
type world struct {
	r     *rand.Rand
	now   time.Time
	nodes map[string]*actor
	cut   map[[2]string]bool // both orders
	mail  []letter
	steps []string
}

// actor is a node: what its speaker has heard, and what it truly says.
type actor struct {
	*state
	epoch   uint64
	dead    bool
	claims  map[netip.Addr]bool
	leaving bool
}

type letter struct {
	to    string
	bytes []byte
}

func newWorld(r *rand.Rand, n int) *world {
	w := &world{r: r, now: time.Unix(1_700_000_000, 0), nodes: map[string]*actor{}, cut: map[[2]string]bool{}}
	for i := range n {
		w.nodes[string(rune('a'+i))] = &actor{}
	}
	for _, name := range w.names() {
		w.boot(name, 1000)
	}
	return w
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.nodes)) }

func (w *world) note(format string, args ...any) {
	w.steps = append(w.steps, fmt.Sprintf(format, args...))
}

// boot starts the speaker of a node anew; others notice.
func (w *world) boot(name string, epoch uint64) {
	x := w.nodes[name]
	*x = actor{state: newState(name, epoch, func() time.Time { return w.now }), epoch: epoch, claims: map[netip.Addr]bool{}}
	for _, other := range w.names() {
		if w.linked(name, other) {
			w.see(other, name, false)
			w.meet(name, other)
		}
	}
}

func (w *world) linked(a, b string) bool {
	x, y := w.nodes[a], w.nodes[b]
	return a != b && x.state != nil && y.state != nil && !x.dead && !y.dead && !w.cut[[2]string{a, b}]
}

func (w *world) see(who, whom string, alive bool) {
	w.nodes[who].mark(whom, alive, netip.AddrPort{})
}

// meet has two nodes find each other; memberlist lets the one answer before it knows that the other is there.
func (w *world) meet(a, b string) {
	fromB := w.nodes[b].everything()
	w.see(b, a, true)
	w.see(a, b, true)
	w.post(b, w.nodes[a].everything(), false)
	w.post(a, fromB, false)
}

func (w *world) post(to string, parts []part, fails bool) {
	if len(parts) == 0 || fails && w.r.IntN(5) == 0 {
		return
	}
	w.mail = append(w.mail, letter{to, encode(parts...)})
	if fails && w.r.IntN(5) == 0 {
		w.mail = append(w.mail, letter{to, encode(parts...)})
	}
}

// tell sends parts to all that are within reach.
func (w *world) tell(from string, parts []part) {
	for _, to := range w.names() {
		if w.linked(from, to) {
			w.post(to, parts, true)
		}
	}
}

// deliver hands over one of the letters, and sends what comes of it.
func (w *world) deliver(t *testing.T, i int) {
	l := w.mail[i]
	w.mail = slices.Delete(w.mail, i, i+1)
	x := w.nodes[l.to]
	if x.dead {
		return
	}
	parts, err := decode(l.bytes)
	require.NoError(t, err)
	w.tell(l.to, x.merge(parts))
	for owner, p := range x.settle() {
		if w.linked(l.to, owner) {
			w.post(owner, []part{p}, true)
		}
	}
}

func (w *world) drain(t *testing.T) {
	for n := 0; len(w.mail) > 0; n++ {
		require.Less(t, n, 100_000, "they never come to rest")
		w.deliver(t, w.r.IntN(len(w.mail)))
	}
}

func (w *world) step(t *testing.T) {
	names := w.names()
	a, b := names[w.r.IntN(len(names))], names[w.r.IntN(len(names))]
	x := w.nodes[a]
	if x.dead {
		return
	}
	switch w.r.IntN(12) {
	case 0, 1:
		claims := map[netip.Addr]bool{}
		for _, addr := range addrs {
			if w.r.IntN(2) == 0 {
				claims[addr] = true
			}
		}
		x.claims = claims
		w.note("%s claims %v", a, slices.SortedFunc(maps.Keys(claims), netip.Addr.Compare))
		w.tell(a, x.claim(claims))
	case 2:
		x.leaving = !x.leaving
		w.note("%s leaving %v", a, x.leaving)
		if p := x.say(func(y *about) { y.Leaving = x.leaving }); p != nil {
			w.tell(a, []part{*p})
		}
	case 3:
		epoch := x.epoch + uint64(w.r.IntN(201)) - 100
		w.note("%s restarts with epoch %d", a, epoch)
		w.boot(a, epoch)
	case 4:
		if w.linked(a, b) {
			w.note("%s and %s are cut", a, b)
			w.cut[[2]string{a, b}], w.cut[[2]string{b, a}] = true, true
			w.see(a, b, false)
			w.see(b, a, false)
		}
	case 5:
		if w.cut[[2]string{a, b}] {
			w.heal(a, b)
		}
	case 6:
		if w.linked(a, b) {
			w.post(b, x.everything(), true)
			w.post(a, w.nodes[b].everything(), true)
		}
	case 7:
		w.now = w.now.Add(time.Duration(w.r.Int64N(int64(forgetAfter))))
	case 8:
		if w.r.IntN(10) == 0 && a != names[0] {
			w.note("%s dies", a)
			x.dead = true
			for _, other := range names {
				if other != a {
					w.see(other, a, false)
				}
			}
		}
	default:
		if len(w.mail) > 0 {
			w.deliver(t, w.r.IntN(len(w.mail)))
		}
	}
}

func (w *world) heal(a, b string) {
	w.note("%s and %s find each other", a, b)
	delete(w.cut, [2]string{a, b})
	delete(w.cut, [2]string{b, a})
	if w.linked(a, b) {
		w.meet(a, b)
	}
}

// settled heals everything, and lets them talk.
func (w *world) settled(t *testing.T) {
	for _, a := range w.names() {
		for _, b := range w.names() {
			if w.cut[[2]string{a, b}] {
				w.heal(a, b)
			}
		}
	}
	for range 4 {
		w.now = w.now.Add(quarrelTime)
		for _, a := range w.names() {
			for _, b := range w.names() {
				if w.linked(a, b) {
					w.post(b, w.nodes[a].everything(), false)
				}
			}
		}
		w.drain(t)
	}
}

// seed returns where the random part of a run begins.
func seed(t *testing.T) uint64 {
	n := rand.Uint64()
	if s := os.Getenv("FAIRLEAD_TEST_SEED"); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err, "FAIRLEAD_TEST_SEED")
	}
	t.Logf("FAIRLEAD_TEST_SEED=%d repeats this run", n)
	return n
}

// TestModel lets 2 to 5 nodes live through anything. When all hear each other again, everybody believes of everybody alive exactly what
// it says, and nobody remembers the dead for longer than forgetAfter.
func TestModel(t *testing.T) {
	r := rand.New(rand.NewPCG(seed(t), 12))
	for run := range 300 {
		w := newWorld(r, 2+r.IntN(4))
		for range 20 + r.IntN(150) {
			w.step(t)
		}
		w.settled(t)
		story := func() string { return fmt.Sprintf("run %d:\n%s", run, strings.Join(w.steps, "\n")) }
		for _, who := range w.names() {
			if w.nodes[who].dead {
				continue
			}
			believed := w.nodes[who].members()
			for _, whom := range w.names() {
				x := w.nodes[whom]
				if x.dead {
					require.NotContains(t, believed, whom, story())
					continue
				}
				require.Equal(t, Member{Leaving: x.leaving, Claims: x.claims}, believed[whom], "what %s believes of %s; %s", who, whom, story())
			}
		}
		w.now = w.now.Add(forgetAfter + time.Second)
		w.settled(t)
		for _, who := range w.names() {
			w.nodes[who].everything()
			for whom := range w.nodes[who].records {
				require.False(t, !w.nodes[who].dead && w.nodes[whom].dead, "%s remembers %s; %s", who, whom, story())
			}
		}
	}
}

// TestClockSetBack restarts a speaker whose clock is behind; the others answer it before they know that it is back, as memberlist does.
func TestClockSetBack(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	b, old := newState("b", 50, clock), newState("x", 100, clock)
	b.mark("x", true, netip.AddrPort{})
	old.claim(of(addrs...))
	old.say(func(a *about) { a.Leaving = true })
	b.merge(old.everything())
	b.mark("x", false, netip.AddrPort{})
	fresh := newState("x", 60, clock)
	said := fresh.claim(of(addrs[1], addrs[3]))
	b.mark("x", true, netip.AddrPort{})
	assert.Empty(t, b.merge(said), "it is behind")
	owed := b.settle()
	require.Contains(t, owed, "x", "it is told so")
	again := fresh.merge([]part{owed["x"]})
	require.NotEmpty(t, again, "and objects")
	b.merge(again)
	assert.Equal(t, Member{Claims: of(addrs[1], addrs[3])}, b.members()["x"])
	fresh.merge(b.everything())
	assert.Empty(t, fresh.merge(b.everything()), "all agree")
	b.merge([]part{{Node: "x", Epoch: 1<<64 - 1}})
	assert.Equal(t, of(addrs[1], addrs[3]), b.members()["x"].Claims, "nobody could object to that")
}

// TestObjections has others say of a speaker what it has not said, and what it said before.
func TestObjections(t *testing.T) {
	for _, tc := range []struct {
		name    string
		part    part
		objects bool
	}{
		{name: "an older process", part: part{Epoch: 4, Claims: []claim{{addrs[3].AsSlice(), 9, true}}}},
		{name: "a newer process", part: part{Epoch: 6}, objects: true},
		{name: "what it said last", part: part{Epoch: 5, About: &about{Seq: 3, Leaving: true}, Claims: []claim{{addrs[0].AsSlice(), 1, true}, {addrs[2].AsSlice(), 2, false}}, All: 3}},
		{name: "what it said before", part: part{Epoch: 5, About: &about{}, Claims: []claim{{addrs[0].AsSlice(), 1, true}, {addrs[2].AsSlice(), 1, true}}, All: 1}},
		{name: "all, but for what it holds", part: part{Epoch: 5, Claims: []claim{{addrs[2].AsSlice(), 2, false}}, All: 3}, objects: true},
		{name: "all, with what it has given up by then", part: part{Epoch: 5, Claims: []claim{{addrs[0].AsSlice(), 1, true}, {addrs[2].AsSlice(), 1, true}}, All: 3}, objects: true},
		{name: "a claim that it has not made", part: part{Epoch: 5, Claims: []claim{{addrs[3].AsSlice(), 2, true}}}, objects: true},
		{name: "a claim of the future", part: part{Epoch: 5, Claims: []claim{{addrs[0].AsSlice(), 7, false}}}, objects: true},
		{name: "the opposite of its claim", part: part{Epoch: 5, Claims: []claim{{addrs[0].AsSlice(), 1, false}}}, objects: true},
		{name: "not leaving", part: part{Epoch: 5, About: &about{Seq: 3}}, objects: true},
		{name: "something newer of itself", part: part{Epoch: 5, About: &about{Seq: 4, Leaving: true}}, objects: true},
		{name: "all of the future", part: part{Epoch: 5, All: 4}, objects: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newState("a", 5, time.Now)
			s.claim(of(addrs[0], addrs[2]))
			s.claim(of(addrs[0]))
			s.say(func(a *about) { a.Leaving = true })
			tc.part.Node = "a"
			news := s.merge([]part{tc.part})
			assert.Equal(t, tc.objects, len(news) > 0)
			hearer := newState("b", 1, time.Now)
			hearer.mark("a", true, netip.AddrPort{})
			hearer.merge([]part{tc.part})
			hearer.merge(news)
			if tc.objects {
				assert.Equal(t, Member{Leaving: true, Claims: of(addrs[0])}, hearer.members()["a"])
			}
		})
	}
}

// TestTwoOfOneName has two processes of one name object to each other: not for ever at the pace of the network.
func TestTwoOfOneName(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	one, two := newState("a", 1, clock), newState("a", 2, clock)
	one.claim(of(addrs[0]))
	two.claim(of(addrs[2]))
	sent := 0
	for parts := two.everything(); len(parts) > 0; sent++ {
		require.Less(t, sent, 100)
		parts = one.merge(parts)
		one, two = two, one
	}
	assert.LessOrEqual(t, sent, 2*maxRefutations+1)
}

// TestFullTable has so many speakers come and go that there is no room: the new ones count.
func TestFullTable(t *testing.T) {
	now := time.Now()
	s := newState("a", 1, func() time.Time { return now })
	for i := range maxRecords + 10 {
		now = now.Add(time.Millisecond)
		name := fmt.Sprint("n", i)
		s.merge([]part{{Node: name, Epoch: 1, Claims: []claim{{addrs[0].AsSlice(), 1, true}}}})
	}
	assert.LessOrEqual(t, len(s.records), maxRecords)
	assert.Contains(t, s.records, fmt.Sprint("n", maxRecords+9))
	assert.NotContains(t, s.records, "n0")
}

// TestSameEpoch: a speaker that starts again with the very epoch that it had counts anew; what others would take for old is said again.
func TestSameEpoch(t *testing.T) {
	w := newWorld(rand.New(rand.NewPCG(1, 2)), 2)
	a := w.nodes["a"]
	for _, addr := range addrs { // it gives up all that it claims, and has counted further than it will
		w.tellSafely("a", a.claim(map[netip.Addr]bool{addr: true}))
		w.tellSafely("a", a.claim(nil))
	}
	w.settled(t)
	w.now = w.now.Add(forgetAfter + time.Second)
	w.settled(t)
	w.boot("a", a.epoch)
	a = w.nodes["a"]
	a.claims = map[netip.Addr]bool{addrs[0]: true}
	w.tellSafely("a", a.claim(a.claims))
	for range 3 * len(addrs) {
		a.say(func(x *about) { x.Leaving = !x.Leaving })
	}
	a.leaving = a.records["a"].about.Leaving
	w.settled(t)
	require.Equal(t, Member{Leaving: a.leaving, Claims: a.claims}, w.nodes["b"].members()["a"])
}

func (w *world) tellSafely(from string, parts []part) {
	for _, to := range w.names() {
		if w.linked(from, to) {
			w.post(to, parts, false)
		}
	}
}
