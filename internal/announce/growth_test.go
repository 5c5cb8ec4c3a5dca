package announce

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/internal/config"
)

// announcedBoth is a pool of which everything is announced on layer 2, and to one router, for all nodes.
func announcedBoth() *config.Snapshot {
	meta := metav1.ObjectMeta{Name: "main"}
	return config.Build(config.Objects{
		Pools:             []v1beta1.IPAddressPool{{ObjectMeta: meta, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"2001:db8::/64"}}}},
		L2Advertisements:  []v1beta1.L2Advertisement{{ObjectMeta: meta}},
		BGPAdvertisements: []v1beta1.BGPAdvertisement{{ObjectMeta: meta}},
		BGPPeers: []v1beta2.BGPPeer{{ObjectMeta: meta, Spec: v1beta2.BGPPeerSpec{
			MyASN: 64512, PeerASN: 64513, PeerAddress: "2001:db8:1::1",
		}}},
	}, nil)
}

// BenchmarkGrowth is how what one change costs, and everything from nothing, grows with the Services and the nodes of a cluster.
func BenchmarkGrowth(b *testing.B) {
	snapshot := announcedBoth()
	for _, services := range []int{1_000, 3_000, 10_000, 30_000} {
		for _, nodes := range []int{10, 100, 500, 1_000} {
			for name, fresh := range deciders(snapshot) {
				if name == "speaker, BGP" && nodes > 10 {
					continue // it is about one node
				}
				measure(b, fmt.Sprintf("%s, %d Services, %d nodes", name, services, nodes), fresh, services, nodes)
			}
		}
	}
}

// measure measures a table: everything from nothing, one endpoint, and a node that comes and goes.
func measure(b *testing.B, name string, fresh func() decider, services, nodes int) {
	var d decider
	fill := func() {
		d = fresh()
		for i := range nodes {
			d.node(i, true)
		}
		for i := range services {
			d.service(service(i))
		}
	}
	b.Run(name+", all", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			fill()
			b.StartTimer()
			d.decide()
		}
	})
	b.Run(name+", endpoints", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			s := service(i / 2 % services)
			s.Endpoints.Any = i%2 == 1
			d.service(s)
			d.decide()
		}
	})
	b.Run(name+", node", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			d.node(i/2%nodes, i%2 == 1)
			d.decide()
		}
	})
}
