package explain_test

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

func pool(addresses string) []byte {
	return fmt.Appendf(nil, "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: metallb-system}\nspec: {addresses: [%s], avoidBuggyIPs: true}\n", addresses)
}

// TestMapCells: of a small pool each address is told of, in the words of explain address.
func TestMapCells(t *testing.T) {
	m := surveytest.Model(t, surveytest.Shop)
	d, ok := explain.MapOf(m, "main", netip.Prefix{})
	require.True(t, ok)
	require.Len(t, d.Parts, 2)
	for _, part := range d.Parts {
		require.Len(t, part.Cells, 16, "a whole row")
		for _, c := range part.Cells {
			want := explain.OfAddress(m, netip.MustParseAddr(c.IP))
			assert.Equal(t, want.State, c.State, c.IP)
			assert.ElementsMatch(t, want.Holders, c.Holders, c.IP)
		}
	}
	first := d.Parts[0].Cells[0]
	assert.Equal(t, []string{"shop/web"}, first.Holders)
	require.NotNil(t, first.Since)
	assert.Equal(t, "2026-01-01T01:00:01Z", first.Since.UTC().Format("2006-01-02T15:04:05Z"))
	_, ok = explain.MapOf(m, "nowhere", netip.Prefix{})
	assert.False(t, ok)
}

// TestMapBlocks: of a pool of any size no more is told than can be looked at, and its parts add up.
func TestMapBlocks(t *testing.T) {
	for _, tc := range []struct {
		addresses, within string
		blocks            int
		first             string
		capacity          document.Count // of all parts
		cells             int
	}{
		{addresses: "10.0.0.0/22", cells: 1024, capacity: 1024},
		{addresses: "10.0.0.0/8", blocks: 256, first: "10.0.0.0/16", capacity: 1 << 24},
		{addresses: "10.0.0.0/8", within: "10.7.0.0/16", blocks: 256, first: "10.7.0.0/24", capacity: 1 << 16},
		{addresses: "10.0.0.0/8", within: "10.7.9.0/24", cells: 256, capacity: 256},
		{addresses: "10.0.0.10-10.0.31.9", blocks: 249, first: "10.0.0.0/27", capacity: 7936},
		{addresses: `"2001:db8::/64"`, blocks: 256, first: "2001:db8::/72", capacity: math.MaxInt64},
		{addresses: `"2001:db8::/64"`, within: "2001:db8::/120", cells: 256, capacity: 256},
		{addresses: `10.0.0.0/29, 10.0.0.8/29, "2001:db8::/126"`, cells: 32, capacity: 20},
		{addresses: "0.0.0.0/1", blocks: 256, first: "0.0.0.0/9", capacity: 1 << 31},
	} {
		t.Run(tc.addresses+" "+tc.within, func(t *testing.T) {
			m := surveytest.Model(t, pool(tc.addresses))
			var within netip.Prefix
			if tc.within != "" {
				within = netip.MustParsePrefix(tc.within)
			}
			d, ok := explain.MapOf(m, "p", within)
			require.True(t, ok)
			var blocks, cells int
			var capacity document.Count
			for _, part := range d.Parts {
				blocks, cells = blocks+len(part.Blocks), cells+len(part.Cells)
				for _, b := range part.Blocks {
					if capacity += b.Capacity; capacity < 0 || b.Capacity == math.MaxInt64 {
						capacity = math.MaxInt64
					}
				}
				for _, c := range part.Cells {
					if c.State != explain.AddressOutside {
						capacity++
					}
				}
			}
			assert.Equal(t, tc.blocks, blocks)
			assert.Equal(t, tc.cells, cells)
			assert.Equal(t, tc.capacity, capacity)
			if tc.blocks > 0 {
				assert.Equal(t, tc.first, d.Parts[0].Blocks[0].Prefix)
			}
		})
	}
	_, ok := explain.MapOf(surveytest.Model(t, pool("10.0.0.0/24")), "p", netip.MustParsePrefix("10.1.0.0/24"))
	assert.False(t, ok, "nothing of the pool is there")
}

// TestQueue: who has waited longest comes first.
func TestQueue(t *testing.T) {
	q := explain.Queue(surveytest.Model(t, surveytest.Shop), "main")
	require.Len(t, q, 1)
	assert.Equal(t, "AddressInUse", q[0].Reason)
	assert.Equal(t, "wide", q[0].Name)
}
