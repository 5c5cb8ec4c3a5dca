package announce

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

func TestOnNode(t *testing.T) {
	all := config.FromNode{PeerAddress: "tor", PeerASN: "tor-as", MyASN: "as", SourceAddress: "source"}
	own := backends.Peer{MyASN: 65001, PeerASN: 65002, Address: netip.MustParseAddr("192.0.2.1")}
	change := func(f func(*backends.Peer)) backends.Peer {
		p := own
		f(&p)
		return p
	}
	for _, tc := range []struct {
		name        string
		peer        backends.Peer
		from        config.FromNode
		annotations map[string]string
		want        backends.Peer
	}{
		{name: "nothing asked for", peer: own, annotations: map[string]string{"tor": "192.0.2.9"}, want: own},
		{name: "the node has none", peer: own, from: all, want: own},
		{
			name: "all", peer: own, from: all,
			annotations: map[string]string{"tor": "2001:db8::9", "tor-as": "4200000000", "as": " 65009 ", "source": "2001:db8::1"},
			want: backends.Peer{
				MyASN: 65009, PeerASN: 4200000000, Address: netip.MustParseAddr("2001:db8::9"), SourceAddress: netip.MustParseAddr("2001:db8::1"),
			},
		},
		{
			name: "instead of an interface and a dynamic AS",
			peer: change(func(p *backends.Peer) {
				p.PeerASN, p.DynamicASN, p.Address, p.Interface = 0, "external", netip.Addr{}, "eth0"
			}),
			from: all, annotations: map[string]string{"tor": "192.0.2.1", "tor-as": "65002"}, want: own,
		},
		{
			name: "nonsense", peer: own, from: all,
			annotations: map[string]string{"tor": "0.0.0.0", "tor-as": "0", "as": "4294967296", "source": "eth0"},
			want: change(func(p *backends.Peer) {
				p.Unready = `node "n": metadata.annotations[tor] "0.0.0.0" is not the IP address of a router; ` +
					`node "n": metadata.annotations[tor-as] "0" is not an AS number, 1 to 4294967295; ` +
					`node "n": metadata.annotations[as] "4294967296" is not an AS number, 1 to 4294967295; ` +
					`node "n": metadata.annotations[source] "eth0" is not an IP address of the node`
			}),
		},
		{
			name: "nothing to fall back on, and no password", from: all,
			peer: change(func(p *backends.Peer) { p.Address, p.Unready = netip.IPv6Unspecified(), "there is no Secret" }),
			want: change(func(p *backends.Peer) {
				p.Address, p.Unready = netip.IPv6Unspecified(), `node "n" has no annotation "tor", and spec.peerAddress is ::; there is no Secret`
			}),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.peer.FromNode = tc.from.Annotations()
			assert.Equal(t, tc.want, OnNode(tc.peer, tc.from, "n", tc.annotations))
		})
	}
}
