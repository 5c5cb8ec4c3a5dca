package allocator

import (
	"math"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSpanSize(t *testing.T) {
	for _, tc := range []struct {
		in    string
		avoid bool
		want  uint64
	}{
		{"10.0.0.0/8", false, 1 << 24},
		{"10.0.0.0/8", true, 1<<24 - 2<<16},
		{"10.0.0.0/24", true, 254},
		{"10.0.0.255-10.0.1.0", true, 0},
		{"10.0.0.1-10.0.0.254", true, 254},
		{"0.0.0.0/0", true, 1<<32 - 2<<24},
		{"2001:db8::/120", true, 256},
		{"2001:db8::/64", false, math.MaxUint64},
		{"2001:db8::/65", false, 1 << 63},
		{"::/0", false, math.MaxUint64},
	} {
		assert.Equal(t, tc.want, spanOf(mustRange(tc.in)).size(tc.avoid), "%s avoid=%v", tc.in, tc.avoid)
	}
}

func TestKey(t *testing.T) {
	for _, s := range []string{"0.0.0.0", "10.0.0.255", "255.255.255.255", "::", "::1", "2001:db8::ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		a := netip.MustParseAddr(s)
		k := keyOf(a)
		assert.Equal(t, a, k.addr())
		assert.Equal(t, FamilyOf(a), k.family())
		if n := a.Next(); n.IsValid() {
			next, ok := k.next()
			assert.True(t, ok)
			assert.Equal(t, keyOf(n), next)
			prev, ok := next.prev()
			assert.True(t, ok)
			assert.Equal(t, k, prev)
		}
	}
	_, ok := keyOf(netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")).next()
	assert.False(t, ok)
	_, ok = keyOf(netip.MustParseAddr("::")).prev()
	assert.False(t, ok)
}
