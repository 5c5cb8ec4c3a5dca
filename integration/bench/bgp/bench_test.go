// Package bgp measures the speakers' BGP with real routers on a network of namespaces: how soon a route is in a router's kernel, how long
// it takes for many, how long a lost node's routes stay, and what a speaker costs. The number of rounds is -benchtime.
package bgp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/bench/samples"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// many is the pool of the Services that there are many of.
var many = netip.MustParsePrefix("10.200.0.0/16")

// newSite makes a site where nothing is announced by layer 2.
func newSite(b *testing.B, nodes int) *site.Site {
	s := site.NewAlone(b, nodes) // to delete many Services takes longer than to start an API server
	require.NoError(b, s.Bed.Client.Delete(b.Context(), &v1beta1.L2Advertisement{ObjectMeta: s.Meta("main")}))
	return s
}

func peer(s *site.Site, router *netlab.Host, name string, change func(*v1beta2.BGPPeerSpec)) {
	for family, is6 := range map[string]bool{"v4": false, "v6": true} {
		spec := v1beta2.BGPPeerSpec{MyASN: 65001, PeerASN: 65002, PeerAddress: router.Addr(is6).String()}
		if change != nil {
			change(&spec)
		}
		s.Create(&v1beta2.BGPPeer{ObjectMeta: s.Meta(name + "-" + family), Spec: spec})
	}
}

func whole(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// static is a configuration of BIRD that tells a router the addresses of the pool many with the numbers from first to last-1.
func static(router *netlab.Host, first, last int) string {
	var out strings.Builder
	out.WriteString("protocol bgp tor { local as 65001; neighbor " + router.Addr(false).String() + " as 65002; connect retry time 1; " +
		"ipv4 { import none; export where source = RTS_STATIC; }; }\nprotocol static { ipv4;\n")
	for i := first; i < last; i++ {
		fmt.Fprintf(&out, "route %s/32 blackhole;\n", numbered(i))
	}
	return out.String() + "}\n"
}

func numbered(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 200, byte(i >> 8), byte(i)}) }

// BenchmarkService measures from the request that creates a Service to its routes in the kernel of a router: FRR, which lets changes wait
// for 50 ms (its queue for bgpd's decisions), and BIRD, which does not. Beside it, from the order to another BIRD to read a configuration
// with a route to the kernel of the FRR.
func BenchmarkService(b *testing.B) {
	s := newSite(b, 3)
	router := s.AddClient("router")
	routing.StartFRR(b, s.Lab, router, routing.Rack)
	k := watch(b, router)
	other := s.AddClient("bird")
	config := "protocol kernel { ipv4 { export where source = RTS_BGP; }; }\nprotocol kernel { ipv6 { export where source = RTS_BGP; }; }\n"
	for _, n := range s.Nodes() {
		for family, is6 := range map[string]bool{"ipv4": false, "ipv6": true} {
			config += fmt.Sprintf("protocol bgp { local %s as 65002; neighbor %s as 65001; passive on; %s { import all; export none; }; }\n", other.Addr(is6), n.Addr(is6), family)
		}
	}
	routing.StartBIRD(b, s.Lab, other, config)
	k2 := watch(b, other)
	peer(s, router, "frr", nil)
	peer(s, other, "bird", nil)
	s.Create(&v1beta1.BGPAdvertisement{ObjectMeta: s.Meta("adv")})
	for _, vip := range site.Addrs(s.Service("first", s.Nodes(), nil)) {
		k.appears(whole(vip))
		k2.appears(whole(vip))
	}
	r := s.AddClient("baseline")
	baseline := routing.StartBIRD(b, s.Lab, r, static(router, 0, 1))
	k.appears(whole(numbered(0)))
	out := samples.Samples{}
	for i := 0; b.Loop(); i++ {
		order := time.Now()
		baseline.Configure(static(router, 0, i+2))
		out.Add("baseline", k.appears(whole(numbered(i+1))).Sub(order))
		vips := []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 101, byte(i)}), netip.MustParseAddr(fmt.Sprintf("2001:db8::1:%x", 0x100+i))}
		svc := &corev1.Service{Spec: corev1.ServiceSpec{IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}}}
		svc.Namespace, svc.Name = "default", fmt.Sprint("web-", i)
		svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}
		s.SetEndpoints(svc, netlab.Ready(s.Nodes()...)...)
		time.Sleep(200 * time.Millisecond) // what the last round has left to do is not this one's
		began := time.Now()
		s.AddService(svc.Name, func(svc *corev1.Service) {
			svc.Annotations = map[string]string{"metallb.io/loadBalancerIPs": fmt.Sprintf("%s,%s", vips[0], vips[1])}
		})
		for family, vip := range map[string]netip.Addr{"ipv4": vips[0], "ipv6": vips[1]} {
			out.Add("frr-"+family, k.appears(whole(vip)).Sub(began))
			out.Add("bird-"+family, k2.appears(whole(vip)).Sub(began))
		}
	}
	out.Report(b)
}

// crowd makes n Services, with an address each from the pool many, and a ready pod of every node. change, if not nil, changes them before.
func crowd(b *testing.B, s *site.Site, n int, change func(*corev1.Service)) {
	s.Create(&v1beta1.IPAddressPool{ObjectMeta: s.Meta("many"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{many.String()}, AutoAssign: new(bool)}})
	first := s.Service("seed-0", s.Nodes(), func(svc *corev1.Service) {
		single := corev1.IPFamilyPolicySingleStack
		svc.Spec.IPFamilyPolicy, svc.Spec.IPFamilies = &single, []corev1.IPFamily{corev1.IPv4Protocol}
		svc.Spec.AllocateLoadBalancerNodePorts = new(bool) // there are not enough
		svc.Annotations = map[string]string{"metallb.io/address-pool": "many"}
		if change != nil {
			change(svc)
		}
	})
	var slice discoveryv1.EndpointSlice
	require.NoError(b, s.Bed.Client.Get(b.Context(), client.ObjectKey{Namespace: first.Namespace, Name: "seed-0-ipv4"}, &slice))
	var ip networkingv1.IPAddress
	require.NoError(b, s.Bed.Client.Get(b.Context(), client.ObjectKey{Name: first.Spec.ClusterIP}, &ip))
	addr := site.Addrs(first)[0].As4()
	require.NoError(b, s.Bed.Copies(b.Context(), []client.Object{first, &slice, &ip}, 1, n, func(i int) []string {
		return []string{
			"seed-0", fmt.Sprint("seed-", i), netip.AddrFrom4(addr).String(), netip.AddrFrom4([4]byte{addr[0], addr[1], byte(i >> 8), byte(i)}).String(),
			// The API server's own addresses are at the beginning of its range.
			first.Spec.ClusterIP, netip.AddrFrom4([4]byte{10, 104, byte(i >> 8), byte(i)}).String(),
			fmt.Sprintf(`"healthCheckNodePort":%d`, first.Spec.HealthCheckNodePort), fmt.Sprintf(`"healthCheckNodePort":%d`, 30000+i%2767),
		}
	}))
}

// quiet waits until the controller and the speakers have used next to no processor time for a while.
func quiet(b *testing.B, s *site.Site) {
	b.Helper()
	busy := func() float64 {
		sum, err := testbed.CPU(s.Controller.PID())
		require.NoError(b, err)
		for _, p := range s.Speakers {
			sum += p.CPU()
		}
		return sum
	}
	for began := time.Now(); ; {
		before := busy()
		time.Sleep(3 * time.Second)
		if busy()-before < 0.1*float64(1+len(s.Speakers)) {
			return
		}
		require.Less(b, time.Since(began), 10*time.Minute, "the processes do not come to rest")
	}
}

// BenchmarkPrefixes measures from the request that creates a BGPAdvertisement until the routes of all Services are in the kernel of a
// router, FRR, with which a session is up; and beside it from the order to BIRD to read a configuration with as many static routes. Then
// it adds a second router and measures what the speaker costs at rest.
func BenchmarkPrefixes(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newSite(b, 1)
			node, speaker := s.Nodes()[0], s.Speakers["n1"]
			node.Proxy.Kill() // the rules of so many Services, which it writes again now and then, take a core for a second
			router, second, other := s.AddClient("router"), s.AddClient("second"), s.AddClient("bird")
			r := routing.StartFRR(b, s.Lab, router, routing.Rack)
			k := watch(b, router)
			peer(s, router, "tor", nil)
			// An advertisement of nothing has the session come up.
			s.Create(&v1beta1.BGPAdvertisement{ObjectMeta: s.Meta("none"), Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"main"}}})
			crowd(b, s, n, nil)
			routing.Await(b, "the session", func() bool { return r.Neighbor(node.Addr(false).String()).BGPState == "Established" })

			out, figures := samples.Samples{}, map[string]float64{}
			adv := func() *v1beta1.BGPAdvertisement {
				return &v1beta1.BGPAdvertisement{ObjectMeta: s.Meta("adv"), Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"many"}}}
			}
			for b.Loop() {
				quiet(b, s)
				began := time.Now()
				s.Create(adv())
				out.Add("speaker", k.has(many, n, "all routes").Sub(began))
				began = time.Now()
				require.NoError(b, s.Bed.Client.Delete(b.Context(), adv()))
				out.Add("withdraw", k.has(many, 0, "no route").Sub(began))
			}

			// The same by BIRD.
			bird := routing.StartBIRD(b, s.Lab, other, static(router, 0, 0))
			routing.Await(b, "BIRD's session", func() bool { return r.Neighbor(other.Addr(false).String()).BGPState == "Established" })
			for range b.N {
				began := time.Now()
				bird.Configure(static(router, 0, n))
				out.Add("bird", k.has(many, n, "all routes").Sub(began))
				bird.Configure(static(router, 0, 0))
				k.has(many, 0, "no route")
			}

			routing.StartFRR(b, s.Lab, second, routing.Rack)
			k2 := watch(b, second)
			peer(s, second, "tor2", nil)
			s.Create(adv())
			k2.has(many, n, "all routes")
			quiet(b, s)
			const rest = 30 * time.Second
			before := speaker.CPU()
			time.Sleep(rest)
			figures["rest-cpu-%"] = 100 * (speaker.CPU() - before) / rest.Seconds()
			figures["rss-MiB"] = float64(speaker.RSS()) / (1 << 20)
			out.Report(b)
			for what, x := range figures {
				b.ReportMetric(x, what)
			}
		})
	}
}

// BenchmarkNodeLoss cuts a node off and measures until the kernel of a router has lost the routes of all its 100 Services. The router is
// FRR, or BIRD for BFD.
func BenchmarkNodeLoss(b *testing.B) {
	for _, tc := range []struct {
		name string
		bfd  uint32 // the interval in ms, three times; 0: none, but a hold time of 3 s
	}{{"hold-3s", 0}, {"BFD-300x3", 300}, {"BFD-50x3", 50}} {
		b.Run(tc.name, func(b *testing.B) {
			const n = 100
			s := newSite(b, 1)
			node, router := s.Nodes()[0], s.AddClient("router")
			spec := v1beta2.BGPPeerSpec{MyASN: 65001, PeerASN: 65002, PeerAddress: router.Addr(false).String()}
			if tc.bfd == 0 {
				routing.StartFRR(b, s.Lab, router, routing.Rack)
				spec.HoldTime = &metav1.Duration{Duration: 3 * time.Second}
			} else {
				routing.StartBIRD(b, s.Lab, router, fmt.Sprintf(`
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol bfd { interface "eth0" { interval %d ms; multiplier 3; }; }
protocol bgp node { local %s as 65002; neighbor %s as 65001; passive on; bfd on; error wait time 1, 2; ipv4 { import all; export none; }; }
`, tc.bfd, router.Addr(false), node.Addr(false)))
				times := uint32(3)
				s.Create(&v1beta1.BFDProfile{ObjectMeta: s.Meta("fast"), Spec: v1beta1.BFDProfileSpec{TransmitInterval: &tc.bfd, ReceiveInterval: &tc.bfd, DetectMultiplier: &times}})
				spec.BFDProfile = "fast"
			}
			k := watch(b, router)
			s.Create(&v1beta2.BGPPeer{ObjectMeta: s.Meta("tor"), Spec: spec})
			s.Create(&v1beta1.BGPAdvertisement{ObjectMeta: s.Meta("adv"), Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"many"}}})
			crowd(b, s, n, nil)
			out := samples.Samples{}
			for b.Loop() {
				k.has(many, n, "all routes")
				time.Sleep(3*time.Second + rand.N(time.Second)) // BFD comes up, and keepalives are sent at any time
				began := time.Now()
				node.Cut()
				out.Add("gone", k.has(many, 0, "no route").Sub(began))
				node.Mend()
			}
			out.Report(b)
		})
	}
}
