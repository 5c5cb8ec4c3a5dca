package allocator

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"go4.org/netipx"
	"pgregory.net/rapid"
)

// TestTaken compares the set with a plain map, over a few chunks in several corners of the address space, so that chunks become
// full and empty again.
func TestTaken(t *testing.T) {
	for _, base := range []string{"10.0.0.0", "255.255.252.0", "2001:db8::", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fc00"} {
		t.Run(base, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				const size = 1024
				first := keyOf(netip.MustParseAddr(base))
				key := func(i int) key { return key{first.hi, first.lo + uint64(i)} }
				set := taken{avoidBuggy: rapid.Bool().Draw(t, "avoid")}
				plain := map[int]bool{}
				put := func(i int, in bool) {
					if i < 0 || i >= size || plain[i] == in || set.avoidBuggy && buggy(key(i)) {
						return
					}
					if plain[i] = in; in {
						set.add(key(i))
					} else {
						set.remove(key(i))
					}
				}
				for range rapid.IntRange(1, 20).Draw(t, "steps") {
					// Whole stretches, so that chunks fill up.
					from, n := rapid.IntRange(0, size-1).Draw(t, "from"), rapid.IntRange(1, 600).Draw(t, "n")
					in := rapid.Bool().Draw(t, "in")
					for i := from; i < from+n; i++ {
						put(i, in)
					}
					look := rapid.IntRange(0, size-1).Draw(t, "look")
					want := look
					for want < size && (plain[want] || set.avoidBuggy && buggy(key(want))) {
						want++
					}
					got, ok := set.lowestFrom(key(look))
					if want < size {
						require.True(t, ok)
						require.Equal(t, key(want), got)
					} else if ok {
						require.True(t, key(size-1).less(got), "%v", got)
					}
				}
				for i := range size {
					put(i, false)
				}
				require.Empty(t, set.part)
				require.Nil(t, set.full.t.root)
			})
		})
	}
}

func TestPoolFillsUpExactly(t *testing.T) {
	for _, entry := range []string{
		"10.0.0.0/22", "255.255.255.0/24", "2001:db8::ff-2001:db8::301", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fe80-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	} {
		a := &Allocator{}
		_, err := a.SetPools([]Pool{{Name: "p", AutoAssign: true, Ranges: []netipx.IPRange{mustRange(entry)}}})
		require.NoError(t, err)
		n := int(spanOf(mustRange(entry)).size(false))
		last := netip.Addr{}
		for _, o := range names(n) {
			got, err := a.Allocate(request(o, entry))
			require.NoError(t, err)
			require.True(t, last.Less(got.Addrs()[0]), "addresses come in order")
			last = got.Addrs()[0]
		}
		require.Equal(t, mustRange(entry).To(), last)
		_, err = a.Allocate(request(Owner{"default", "one too many"}, entry))
		require.ErrorIs(t, err, ErrPoolExhausted)
	}
}
