package cilium

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/backends"
)

func TestUnheard(t *testing.T) {
	one := []backends.BGPAdvertisement{bgp("a")}
	managed := func(peers ...backends.Peer) backends.Desired {
		return backends.Desired{BGPAdvertisements: one, Peers: peers, Nodes: nodes("n1", "n2")}
	}
	theirs := theirConfig(map[string]string{labelAdvertise: yes})
	only4 := theirConfig(map[string]string{labelAdvertise: yes})
	only4.Spec.Families = only4.Spec.Families[:1]
	const no4, no6 = `no session can tell the IPv4 routes of BGPAdvertisement "a": `, `no session can tell the IPv6 routes of BGPAdvertisement "a": `
	const select6 = `no CiliumBGPPeerConfig selects it in an element of spec.families with afi ipv6; a CiliumBGPPeerConfig has to select fairlead.io/advertise=true in spec.families[].advertisements`
	for _, tc := range []struct {
		name   string
		want   backends.Desired
		world  []object
		v4, v6 string
	}{
		{name: "a peer for each family", want: managed(router("four", "192.0.2.1"), router("six", "2001:db8::1"))},
		{name: "IPv4 only", want: managed(router("four", "192.0.2.1")), v6: no6 + `BGPPeer "four" carries IPv4 only`},
		{name: "both families in one", want: managed(router("six", "2001:db8::1", func(p *backends.Peer) { p.DualStack = true }))},
		{name: "no node", want: managed(router("four", "192.0.2.1", on1("rack=9")), router("six", "2001:db8::1")),
			v4: no4 + `the nodeSelectors of BGPPeer "four" match no node, BGPPeer "six" carries IPv6 only`},
		{name: "not set up", want: managed(router("four", "192.0.2.1", func(p *backends.Peer) { p.Unready = "there is no Secret" }), router("six", "2001:db8::1")),
			v4: no4 + `BGPPeer "four" is not set up; its events say why, BGPPeer "six" carries IPv6 only`},
		{name: "somebody else's tells it", want: managed(router("four", "192.0.2.1")), world: []object{theirs}},
		{name: "not managed", want: backends.Desired{BGPAdvertisements: one}, world: []object{theirs}},
		{name: "not managed, IPv4 only", want: backends.Desired{BGPAdvertisements: one}, world: []object{only4}, v6: no6 + select6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := run(tc.want, given(tc.world...)).unheard()
			of := func(is6 bool) string { return got[backends.Audience{Advertisement: one[0].Source, IPv6: is6}] }
			assert.Equal(t, tc.v4, of(false))
			assert.Equal(t, tc.v6, of(true))
		})
	}
}

// TestUnselected: what no peer config selects is heard by nobody, and told.
func TestUnselected(t *testing.T) {
	want := backends.Desired{BGPAdvertisements: []backends.BGPAdvertisement{bgp("a"), bgp("b", func(a *backends.BGPAdvertisement) { a.Peers = []string{"tor"} })}}
	open := theirConfig(map[string]string{labelAdvertise: yes})
	got := run(want, given(open)).outcome(on, nil).Findings
	require.Len(t, got, 1)
	assert.Equal(t, backends.BackendInactive, got[0].Type)
	assert.Equal(t, "b", got[0].Object.Name)
	assert.Equal(t, `no CiliumBGPPeerConfig selects its CiliumBGPAdvertisement "fairlead-bgpadv-b": nobody hears the routes; `+
		"a CiliumBGPPeerConfig has to select peer.fairlead.io/tor=true in spec.families[].advertisements", got[0].Message)
	want.Peers, want.Nodes = []backends.Peer{router("tor", "192.0.2.1")}, nodes("n1")
	assert.Empty(t, run(want).outcome(on, nil).Findings)
}
