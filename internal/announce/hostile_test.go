package announce

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/internal/config"
)

// BenchmarkHostile is 1,000 Services and 500 nodes with what nobody should ask for: 1,000 advertisements of one pool, or a pool of 1,024 entries;
// everything from nothing, one endpoint, and a node that comes and goes.
func BenchmarkHostile(b *testing.B) {
	const services, nodes = 1_000, 500
	var entries []string
	for i := range 1024 {
		entries = append(entries, fmt.Sprintf("2001:db8::%x/128", i+1))
	}
	for _, of := range []struct {
		name    string
		entries []string
		ads     int
	}{
		{"1,000 advertisements", []string{"2001:db8::/64"}, 1000}, {"1,024 entries", entries, 1},
	} {
		o := config.Objects{Pools: []v1beta1.IPAddressPool{{
			ObjectMeta: metav1.ObjectMeta{Name: "main"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: of.entries},
		}}}
		for i := range of.ads {
			meta := metav1.ObjectMeta{Name: fmt.Sprintf("adv-%04d", i)}
			o.L2Advertisements = append(o.L2Advertisements, v1beta1.L2Advertisement{ObjectMeta: meta})
			o.BGPAdvertisements = append(o.BGPAdvertisements, v1beta1.BGPAdvertisement{ObjectMeta: meta})
		}
		o.BGPPeers = []v1beta2.BGPPeer{{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Spec: v1beta2.BGPPeerSpec{
			MyASN: 64512, PeerASN: 64513, PeerAddress: "2001:db8:1::1",
		}}}
		snapshot := config.Build(o, nil)
		b.Run(of.name+", configuration", func(b *testing.B) {
			for b.Loop() {
				config.Build(o, nil)
			}
		})
		for name, fresh := range deciders(snapshot) {
			measure(b, of.name+", "+name, fresh, services, nodes)
		}
	}
}

// decider is a table, as its benchmark sees it.
type decider struct {
	decide  func()
	service func(*Service)
	node    func(i int, alive bool)
}

// deciders returns who makes a table of each kind.
func deciders(snapshot *config.Snapshot) map[string]func() decider {
	anyBGP := func(*config.BGPAdvertisement) bool { return true }
	node := func(i int) (string, *Node) {
		name := fmt.Sprint("n", i)
		return name, &Node{Labels: labels.Set{"kubernetes.io/hostname": name}}
	}
	speaker := func(alive bool) *Speaker {
		if !alive {
			return nil
		}
		return &Speaker{Links: []backends.Link{{Name: "eth0", IPv4: true, IPv6: true}}}
	}
	return map[string]func() decider{
		"speaker, layer 2": func() decider {
			t := NewTable(false, true)
			t.Configure(snapshot, servesL2)
			return decider{func() { t.Decide() }, func(s *Service) { t.SetService(s.ID(), s) }, func(i int, alive bool) {
				name, n := node(i)
				t.SetNode(name, n)
				t.SetSpeaker(name, speaker(alive))
			}}
		},
		"speaker, BGP": func() decider {
			t := NewRouteTable("n0", false, false)
			t.Configure(snapshot, anyBGP)
			return decider{func() { t.Decide() }, func(s *Service) { t.SetService(s.ID(), s) }, func(_ int, alive bool) {
				_, n := node(0)
				n.NetworkUnavailable = !alive
				t.SetNode(n)
			}}
		},
		"controller": func() decider {
			t := NewVerdictTable()
			t.Configure(snapshot, servesL2, anyBGP)
			return decider{func() { t.Decide() }, func(s *Service) { t.SetService(s.ID(), s) }, func(i int, alive bool) {
				name, n := node(i)
				t.SetNode(name, n)
				t.SetSpeaker(name, speaker(alive), false)
			}}
		},
	}
}
