package membership

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/backends"
)

var addrs = []netip.Addr{
	netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"),
}

func of(list ...netip.Addr) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for _, a := range list {
		out[a] = true
	}
	return out
}

// TestMergeAnyOrder has one speaker say things, and others hear them late, twice and in another order.
func TestMergeAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var said []part
		now := time.Now()
		clock := func() time.Time { return now }
		var speaker *state
		for epoch := range rapid.Uint64Range(1, 2).Draw(t, "restarts") {
			speaker = newState("a", epoch+1, clock)
			for range rapid.IntRange(1, 8).Draw(t, "steps") {
				if rapid.Bool().Draw(t, "claim") {
					said = append(said, speaker.claim(of(rapid.SliceOfDistinct(rapid.SampledFrom(addrs), rapid.ID).Draw(t, "addrs")...))...)
				} else if p := speaker.say(func(a *about) { a.Leaving = !a.Leaving }); p != nil {
					said = append(said, *p)
				}
			}
		}
		said = append(said, speaker.everything()...)
		twice := append(append([]part{}, said...), said...)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 0))
		r.Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
		hearer := newState("b", 1, clock)
		hearer.mark("a", true, netip.AddrPort{})
		for _, p := range twice {
			parts, err := decode(encode(p))
			require.NoError(t, err)
			hearer.merge(parts)
		}
		assert.Equal(t, speaker.members()["a"], hearer.members()["a"])
		assert.Empty(t, hearer.merge(speaker.everything()), "there is nothing new")
	})
}

func TestState(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	a, b := newState("a", 5, clock), newState("b", 5, clock)
	links := []backends.Link{{Name: "eth0", IPv4: true, IPv6: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}}}
	require.NotNil(t, a.say(func(x *about) { x.Links = encodeLinks(links) }))
	require.Nil(t, a.say(func(x *about) { x.Links = encodeLinks(links) }), "nothing changed, nothing to say")
	require.Len(t, a.claim(of(addrs...)), 1)
	require.Empty(t, a.claim(of(addrs...)), "nothing changed, nothing to say")
	require.NotEmpty(t, b.merge(a.everything()))
	assert.NotContains(t, b.members(), "a", "nobody has seen it alive")
	b.mark("a", true, netip.AddrPort{})
	assert.Equal(t, links, b.members()["a"].Links)
	assert.Equal(t, of(addrs...), b.members()["a"].Claims)

	b.merge([]part{{Node: "b", Epoch: 99, Claims: []claim{{Addr: addrs[0].AsSlice(), Seq: 99, Held: true}}}})
	assert.Empty(t, b.members()["b"].Claims, "nobody else says what b announces")
	b.merge([]part{{Node: "a", Epoch: 4, Claims: []claim{{Addr: []byte{1, 2, 3, 4}, Seq: 99, Held: true}}}, {Node: "a", Epoch: 5, Claims: []claim{{Addr: []byte{1}, Seq: 99, Held: true}}}})
	assert.Equal(t, of(addrs...), b.members()["a"].Claims, "neither an old process nor nonsense counts")

	b.mark("a", false, netip.AddrPort{})
	assert.NotContains(t, b.members(), "a")
	now = now.Add(forgetAfter + time.Second)
	b.mark("c", true, netip.AddrPort{})
	assert.NotContains(t, b.records, "a", "forgotten")
}

// TestManyClaims checks that every part fits into a packet.
func TestManyClaims(t *testing.T) {
	s := newState("a-node-with-quite-a-long-name.of-some-domain.example.org", uint64(time.Now().UnixNano()), time.Now)
	many := map[netip.Addr]bool{}
	for a := netip.MustParseAddr("2001:db8::"); len(many) < 1000; a = a.Next() {
		many[a] = true
	}
	s.seq = 1 << 40
	for _, p := range s.claim(many) {
		assert.LessOrEqual(t, len(encode(p)), 1300)
	}
	assert.Len(t, s.members()["a-node-with-quite-a-long-name.of-some-domain.example.org"].Claims, 1000)
}

func FuzzDecode(f *testing.F) {
	s := newState("a", 1, time.Now)
	s.claim(of(addrs...))
	s.say(func(a *about) {
		a.Links = encodeLinks([]backends.Link{{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}})
	})
	f.Add(encode(s.everything()...))
	f.Add([]byte{0x9f})
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, err := decode(b)
		if err != nil {
			return
		}
		x := newState("b", 1, time.Now)
		x.merge(parts)
		assert.Empty(t, x.merge(parts), "what was said twice is not new")
	})
}

// TestComesBack: who comes back is asked what it says now, once, by some of all; who is new, or never was away, is not.
func TestComesBack(t *testing.T) {
	s := newState("a", 1, time.Now)
	addr := netip.MustParseAddrPort("192.0.2.7:7946")
	s.mark("b", true, addr)
	assert.Equal(t, 2, s.alive())
	s.merge([]part{{Node: "b", Epoch: 1, Claims: []claim{{addrs[0].AsSlice(), 1, true}}}})
	s.mark("b", true, addr)
	assert.Equal(t, 2, s.alive())
	assert.Empty(t, s.returned())
	s.mark("b", false, addr)
	assert.Equal(t, 1, s.alive())
	assert.Empty(t, s.returned())
	s.mark("b", true, addr)
	assert.Equal(t, []string{addr.String()}, s.returned(), "two members: both ask")
	assert.Empty(t, s.returned(), "it has been asked")

	for i := range 1000 {
		s.mark(fmt.Sprint("n", i), true, addr)
	}
	asked := 0
	for range 1000 {
		s.mark("b", false, addr)
		s.mark("b", true, addr)
		asked += len(s.returned())
	}
	assert.Less(t, asked, 100, "of 1,000 members, some ask")
}
