package bgp

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/bench/samples"
	"github.com/fairlead/fairlead/integration/testbed/routing"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// BenchmarkRestart kills the speaker of one of three nodes, starts it when the routes are gone, and measures from then until they are back in
// the kernel of a router, BIRD: one of each family, and the last of 8 and of 1,000.
func BenchmarkRestart(b *testing.B) {
	for _, n := range []int{8, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newSite(b, 3)
			node, router := s.Nodes()[0], s.AddClient("router")
			config := "protocol kernel { ipv4 { export where source = RTS_BGP; }; }\nprotocol kernel { ipv6 { export where source = RTS_BGP; }; }\n"
			for family, is6 := range map[string]bool{"ipv4": false, "ipv6": true} {
				config += fmt.Sprintf("protocol bgp { local %s as 65002; neighbor %s as 65001; passive on; error wait time 1, 2; %s { import all; export none; }; }\n",
					router.Addr(is6), node.Addr(is6), family)
			}
			routing.StartBIRD(b, s.Lab, router, config)
			k := watch(b, router)
			peer(s, router, "tor", func(spec *v1beta2.BGPPeerSpec) { spec.PeerASN = 65002 })
			s.Create(&v1beta1.BGPAdvertisement{ObjectMeta: s.Meta("adv")})
			vips := site.Addrs(s.Service("web", s.Nodes(), nil))
			crowd(b, s, n, nil)
			k.has(many, n, "all routes")
			for _, vip := range vips {
				k.appears(whole(vip))
			}
			out := samples.Samples{}
			for b.Loop() {
				quiet(b, s)
				s.Speakers[node.Name()].Kill()
				k.await("no route", func() bool { return len(k.routes) == 0 })
				time.Sleep(3 * time.Second) // BIRD's error wait time
				began := time.Now()
				s.Speak(node)
				for family, vip := range map[string]int{"ipv4": 0, "ipv6": 1} {
					out.Add(family, k.appears(whole(vips[vip])).Sub(began))
				}
				out.Add("all", k.has(many, n, "all routes").Sub(began))
			}
			require.NotEmpty(b, out)
			out.Report(b)
		})
	}
}
