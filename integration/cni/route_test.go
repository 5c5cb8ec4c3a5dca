package cni

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var three = []string{"n1", "n2", "n3"}

func TestParse(t *testing.T) {
	got, err := Parse(`
		r1 r2: 198.51.100.1 from n1 n2 with no-export 64512:8
		r2: 198.51.100.0/28 from all with pref 200 64512:8
	`, three)
	require.NoError(t, err)
	assert.Equal(t, `  r1: 198.51.100.1 from n1 with 64512:8 no-export
  r1: 198.51.100.1 from n2 with 64512:8 no-export
  r2: 198.51.100.0/28 from n1 with pref 200 64512:8
  r2: 198.51.100.0/28 from n2 with pref 200 64512:8
  r2: 198.51.100.0/28 from n3 with pref 200 64512:8
  r2: 198.51.100.1 from n1 with 64512:8 no-export
  r2: 198.51.100.1 from n2 with 64512:8 no-export`, got.String())
	_, err = Parse("r1 198.51.100.1 from n1", three)
	assert.Error(t, err)
}

// TestReduce: an address goes the way of the longest prefix that each router has; what leads to nothing that is asked for is seen, too.
func TestReduce(t *testing.T) {
	p := netip.MustParsePrefix
	seen := []sight{
		{router: "r1", node: "n1", prefix: p("198.51.100.0/28")},
		{router: "r1", node: "n2", prefix: p("198.51.100.0/28")},
		{router: "r1", node: "n2", prefix: p("198.51.100.1/32"), communities: []string{"no-export", "64512:8"}},
		{router: "r2", node: "n1", prefix: p("198.51.100.0/28"), pref: 200},
		{router: "r2", node: "n1", prefix: p("203.0.113.0/24"), pref: 100},
	}
	assert.Equal(t, `  r1: 198.51.100.1 from n2 with 64512:8 no-export
  r2: 198.51.100.1 from n1 with pref 200
  r2: 203.0.113.0/24 from n1`, reduce(seen, map[string]bool{"198.51.100.1": true}).String())
	assert.Equal(t, `  r1: 198.51.100.1 from n1
  r1: 198.51.100.1 from n2
  r2: 198.51.100.1 from n1
  r2: 203.0.113.0/24 from n1`, reachable(seen, map[string]bool{"198.51.100.1": true}).bare().String(), "it could go there")
	assert.Equal(t, `  r1: 198.51.100.0/28 from n1
  r1: 198.51.100.0/28 from n2
  r1: 198.51.100.1/32 from n2 with 64512:8 no-export
  r2: 198.51.100.0/28 from n1 with pref 200
  r2: 203.0.113.0/24 from n1`, reduce(seen, map[string]bool{"198.51.100.0/28": true}).String())
}
