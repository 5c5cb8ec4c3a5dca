// Package layer2 measures the speakers on a network of namespaces: how soon an address is answered for, how long it is not after a
// node is lost, and what a speaker costs. Each benchmark prints the least, the median, the 99th percentile and the most of its
// rounds; their number is -benchtime.
package layer2

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/integration/bench/samples"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

var bed *testbed.Bed

func TestMain(m *testing.M) { os.Exit(testbed.Main(m, &bed)) }

// fine is how often it is asked where a time is measured; the results are as exact as that.
const fine = 2 * time.Millisecond

func family(a netip.Addr) string {
	if a.Is6() {
		return "ipv6"
	}
	return "ipv4"
}

// BenchmarkCreate measures from the request that creates a Service to the first answer for its addresses.
func BenchmarkCreate(b *testing.B) {
	s := site.New(b, bed, 3)
	first := site.Addrs(s.Service("first", s.Nodes(), nil))
	warm := s.Probe(s.Client, first, fine)
	settle(s, warm, first)
	warm.Stop()
	out := samples.Samples{}
	for i := 0; b.Loop(); i++ {
		vips := []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 101, byte(i)}), netip.MustParseAddr(fmt.Sprintf("2001:db8::1:%x", 0x100+i))}
		p := s.Probe(s.Client, vips, fine)
		svc := &corev1.Service{Spec: corev1.ServiceSpec{IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}}}
		svc.Namespace, svc.Name = "default", fmt.Sprint("web-", i)
		svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}
		s.SetEndpoints(svc, netlab.Ready(s.Nodes()...)...)
		began := time.Now()
		s.AddService(svc.Name, func(svc *corev1.Service) {
			svc.Annotations = map[string]string{"metallb.io/loadBalancerIPs": fmt.Sprintf("%s,%s", vips[0], vips[1])}
		})
		for _, vip := range vips {
			out.Add(family(vip), p.AwaitAnswer(b, vip, began, nil).Sub(began))
		}
		p.Stop()
	}
	out.Report(b)
}

// joined waits until a speaker that was started has found the others.
func joined(b *testing.B, x *netlab.Process) {
	require.Eventually(b, func() bool { return strings.Contains(x.Log(), "joined the speakers") }, testbed.Patience, time.Millisecond)
}

// settle waits for half a second in which one node answers.
func settle(s *site.Site, p *netlab.Prober, vips []netip.Addr) {
	for _, vip := range vips {
		s.Alone(p, vip)
	}
}

// BenchmarkCrash kills the speaker of the node that announces an address, among five, and measures until the first answer from
// another, and until its first gratuitous announcement.
func BenchmarkCrash(b *testing.B) {
	s := site.New(b, bed, 5)
	vips := site.Addrs(s.Service("web", s.Nodes(), nil))
	p := s.Probe(s.Client, vips, fine)
	out := samples.Samples{}
	for b.Loop() {
		for _, vip := range vips {
			settle(s, p, vips)
			was := s.Owner(p, vip)
			began := time.Now()
			s.Speakers[was.Name()].Kill()
			var first time.Time
			p.Await(b, "another node's answer", func() bool {
				for _, probe := range p.Probes(vip, began, time.Time{}) {
					for _, r := range probe.Replies {
						if r.Host != was.Host {
							first = r.At
							return true
						}
					}
				}
				return false
			})
			out.Add(family(vip)+"-answer", first.Sub(began))
			p.Await(b, "a gratuitous announcement", func() bool { return len(p.Gratuitous(vip, began)) > 0 })
			out.Add(family(vip)+"-gratuitous", p.Gratuitous(vip, began)[0].At.Sub(began))
			joined(b, s.Speak(was))
		}
	}
	out.Report(b)
}

// BenchmarkStop stops the speaker of the node that announces an address, as an upgrade does, and counts probes, sent every 10 ms,
// that nobody answers.
func BenchmarkStop(b *testing.B) {
	s := site.New(b, bed, 5)
	vips := site.Addrs(s.Service("web", s.Nodes(), nil))
	p := s.Probe(s.Client, vips, site.Every)
	lost, asked := 0, 0
	out := samples.Samples{}
	for b.Loop() {
		for _, vip := range vips {
			settle(s, p, vips)
			was := s.Owner(p, vip)
			began := time.Now()
			took, err := s.Speakers[was.Name()].Stop()
			require.NoError(b, err)
			out.Add("stop", took)
			s.Moved(p, vip, was)
			lost += len(p.Lost(vip, began, time.Time{}))
			asked += len(p.Probes(vip, began, time.Time{}))
			joined(b, s.Speak(was))
		}
	}
	out.Report(b)
	b.ReportMetric(float64(lost), "lost-probes")
	b.ReportMetric(float64(asked), "probes")
}

// BenchmarkThousand has one node announce 500 addresses of each family, and measures what that costs it, at rest and under 10,000
// requests a second, and how long it takes from the death of its speaker until another has announced all of them.
func BenchmarkThousand(b *testing.B) {
	s := site.New(b, bed, 2)
	one, two := s.Nodes()[0], s.Nodes()[1]
	s.Exclude(two, true)
	var vips []netip.Addr
	for i := range 500 {
		vips = append(vips, site.Addrs(s.Service(fmt.Sprint("web-", i), s.Nodes(), nil))...)
	}
	slow := s.Probe(s.Client, vips, time.Second)
	for _, vip := range vips {
		require.Same(b, one, s.Owner(slow, vip))
	}
	slow.Stop()

	const rest = 20 * time.Second
	figures := map[string]float64{} // b.Loop would forget what was reported before
	x := s.Speakers[one.Name()]
	load := func(what string, during func()) {
		before := x.CPU()
		began := time.Now()
		during()
		figures[what+"-cpu-%"] = 100 * (x.CPU() - before) / time.Since(began).Seconds()
	}
	load("rest", func() { time.Sleep(rest) })
	figures["rss-MiB"] = float64(x.RSS()) / (1 << 20)
	flood := s.Probe(s.Client, vips[:200], 20*time.Millisecond) // 10,000 a second
	load("10000-requests", func() { time.Sleep(rest) })
	lost, asked := 0, 0
	for _, vip := range vips[:200] {
		lost += len(flood.Lost(vip, time.Time{}, time.Time{}))
		asked += len(flood.Probes(vip, time.Time{}, time.Time{}))
	}
	flood.Stop()
	figures["lost-probes"] = float64(lost)
	figures["probes"] = float64(asked)

	s.Exclude(two, false)
	out := samples.Samples{}
	for b.Loop() {
		p := s.Probe(s.Client, vips, time.Second)
		was := s.Owner(p, vips[0])
		for _, vip := range vips {
			require.Same(b, was, s.Owner(p, vip))
		}
		began := time.Now()
		s.Speakers[was.Name()].Kill()
		var last time.Time
		for _, vip := range vips {
			p.Await(b, "the announcement of "+vip.String(), func() bool { return len(p.Gratuitous(vip, began)) > 0 })
			if at := p.Gratuitous(vip, began)[0].At; at.After(last) {
				last = at
			}
		}
		out.Add("takeover-of-all", last.Sub(began))
		p.Stop()
		joined(b, s.Speak(was))
	}
	out.Report(b)
	for what, x := range figures {
		b.ReportMetric(x, what)
	}
}
