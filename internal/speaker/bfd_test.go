package speaker

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp/bfd"
)

// TestBFDLoss has several peers at one address: a loss is of those that the BFD session watches.
func TestBFDLoss(t *testing.T) {
	for _, addr := range []string{"192.0.2.1", "2001:db8::1"} {
		t.Run(addr, func(t *testing.T) {
			var down []string
			told := 0
			b := NewBFD(func(peer string) { down = append(down, peer) }, func() { told++ }, slog.New(slog.DiscardHandler))
			at := netip.MustParseAddr(addr)
			for _, x := range []struct {
				name   string
				config bfd.Config
			}{
				{"tor", bfd.Config{Peer: at}}, {"tor-too", bfd.Config{Peer: at}}, {"red", bfd.Config{Peer: at, VRF: "red"}},
				{"blue", bfd.Config{Peer: at, VRF: "blue"}}, {"eth0", bfd.Config{Peer: at, Interface: "eth0"}}, {"far", bfd.Config{Peer: at, MultiHop: true}},
			} {
				b.peers = append(b.peers, watched{nodePeer{Peer: backends.Peer{Source: backends.Source{Name: x.name}}}, x.config})
			}
			lost := bfd.Status{Failed: true, State: bfd.Down}
			b.changed(bfd.Key{Peer: at, VRF: "red"}, lost)
			assert.Equal(t, []string{"red"}, down)
			down = nil
			b.changed(bfd.Key{Peer: at}, lost)
			slices.Sort(down)
			assert.Equal(t, []string{"tor", "tor-too"}, down)
			down = nil
			b.changed(bfd.Key{Peer: at, Interface: "eth0"}, lost)
			assert.Equal(t, []string{"eth0"}, down)
			b.changed(bfd.Key{Peer: at}, bfd.Status{State: bfd.Up})
			assert.Len(t, down, 1, "nothing is lost")
			assert.Equal(t, 4, told)
		})
	}
}
