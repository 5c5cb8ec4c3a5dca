package bgp

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
)

var (
	nodeV4, routerV4 = netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24")
	nodeV6, routerV6 = netip.MustParsePrefix("2001:db8::1/64"), netip.MustParsePrefix("2001:db8::2/64")
)

const frrExternal = `
router bgp 65002
 bgp router-id 192.0.2.2
 no bgp ebgp-requires-policy
 neighbor 192.0.2.1 remote-as 65001
 neighbor 192.0.2.1 timers connect 1
`

func TestFirst(t *testing.T) {
	t.Parallel()
	l := netlab.New(t, nil)
	node, router := l.AddHost("node", nodeV4, nodeV6), l.AddHost("router", routerV4, routerV6)
	r := routing.StartFRR(t, l, router, frrExternal)
	s := startSpeaker(t, l, node, bgp.Config{}, nil)
	s.want = backends.NodeDesired{Peers: []backends.Peer{peer("router", routerV4.Addr(), 65001, 65002)}, Routes: routes("198.51.100.1/32")}
	s.apply()
	s.established("router")
	r.Hears("ipv4", "198.51.100.1/32")
	paths := r.Detail("ipv4", "198.51.100.1/32")
	require.Len(t, paths, 1)
	assert.Equal(t, "65001", paths[0].ASPath.String)
	assert.Equal(t, "192.0.2.1", paths[0].NextHops[0].IP)
}
