package bgp

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/routing"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

const (
	// hostileServices is how many Services there are, with externalTrafficPolicy Local and endpoints on one node: each change matters.
	hostileServices = 1000
	// hostileFor is for how long something flaps.
	hostileFor = 20 * time.Second
)

// hostile is an installation of one speaker and a router, at rest, that is about to be hurt.
type hostile struct {
	*site.Site
	b        *testing.B
	frr      *routing.FRR
	kernel   *kernel
	services []*corev1.Service
	rss      map[string]int64
	peak     map[string]int64
	cpu      map[string]float64
}

func newHostile(b *testing.B) *hostile {
	h := &hostile{Site: newSite(b, 1), b: b}
	router := h.AddClient("router")
	h.frr = routing.StartFRR(b, h.Lab, router, routing.Rack)
	h.kernel = watch(b, router)
	peer(h.Site, router, "tor", nil)
	h.Create(&v1beta1.IPAddressPool{ObjectMeta: h.Meta("many"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{many.String()}, AutoAssign: new(bool)}})
	h.Create(&v1beta1.BGPAdvertisement{ObjectMeta: h.Meta("adv"), Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"many"}}})
	h.established()
	h.services = define(h.Site, hostileServices, corev1.ServiceExternalTrafficPolicyLocal)
	each(b, h.services, func(ctx context.Context, o *corev1.Service) error { return h.Bed.Client.Create(ctx, o) })
	h.kernel.has(many, hostileServices, "all routes")
	quiet(b, h.Site)
	h.rss, h.peak, h.cpu = h.memory(), h.memory(), h.used()
	return h
}

func (h *hostile) established() {
	routing.Await(h.b, "the session", func() bool { return h.frr.Neighbor(h.Nodes()[0].Addr(false).String()).BGPState == "Established" })
}

func (h *hostile) memory() map[string]int64 {
	controller, err := testbed.RSS(h.Controller.PID())
	require.NoError(h.b, err)
	return map[string]int64{"controller": controller, "speaker": h.Speakers["n1"].RSS()}
}

func (h *hostile) used() map[string]float64 {
	controller, err := testbed.CPU(h.Controller.PID())
	require.NoError(h.b, err)
	return map[string]float64{"controller": controller, "speaker": h.Speakers["n1"].CPU()}
}

// look takes the memory of a moment into account.
func (h *hostile) look() {
	for name, now := range h.memory() {
		h.peak[name] = max(h.peak[name], now)
	}
}

// end reports how long after it was over the router had all routes, and what it cost.
func (h *hostile) end(over, right time.Time) {
	h.b.ReportMetric(0, "ns/op")
	h.b.ReportMetric(max(0, right.Sub(over).Seconds()), "right-after-s")
	quiet(h.b, h.Site)
	for name, used := range h.used() {
		h.b.ReportMetric(used-h.cpu[name], name+"-cpu-s")
	}
	for name, now := range h.memory() {
		h.b.ReportMetric(float64(h.rss[name])/(1<<20), name+"-MiB-before")
		h.b.ReportMetric(float64(h.peak[name])/(1<<20), name+"-MiB-peak")
		h.b.ReportMetric(float64(now)/(1<<20), name+"-MiB-after")
	}
}

// BenchmarkHostileEndpoints: the endpoints of each of 1,000 Services come and go ten times, as fast as 16 clients can say so; half of the
// Services have none in the end.
func BenchmarkHostileEndpoints(b *testing.B) {
	for b.Loop() {
		h := newHostile(b)
		began := time.Now()
		const rounds = 10
		for round := range rounds {
			each(b, h.services, func(ctx context.Context, svc *corev1.Service) error {
				var i int
				if _, err := fmt.Sscanf(svc.Name, "web-%d", &i); err != nil {
					return err
				}
				ready := round%2 == 1 && (round < rounds-1 || i%2 == 0)
				patch := fmt.Sprintf(`[{"op":"replace","path":"/endpoints/0/conditions","value":{"ready":%v,"serving":%v}}]`, ready, ready)
				o := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name + "-ipv4"}}
				return h.Bed.Client.Patch(ctx, o, client.RawPatch("application/json-patch+json", []byte(patch)))
			})
			h.look()
		}
		over := time.Now()
		b.ReportMetric(rounds*hostileServices/over.Sub(began).Seconds(), "changes/s")
		h.end(over, h.kernel.has(many, hostileServices/2, "half of the routes"))
	}
}

// BenchmarkHostileNode: the only node is excluded from announcing, and is not, every 200 ms.
func BenchmarkHostileNode(b *testing.B) {
	for b.Loop() {
		h := newHostile(b)
		excluded, flaps := false, 0
		for began := time.Now(); time.Since(began) < hostileFor; flaps++ {
			excluded = !excluded
			h.Exclude(h.Nodes()[0], excluded)
			h.look()
			time.Sleep(200 * time.Millisecond)
		}
		h.Exclude(h.Nodes()[0], false)
		over := time.Now()
		b.ReportMetric(float64(flaps), "flaps")
		h.end(over, h.kernel.has(many, hostileServices, "all routes"))
	}
}

// BenchmarkHostilePeer: the router resets the session twice a second, as soon as it is up again.
func BenchmarkHostilePeer(b *testing.B) {
	for b.Loop() {
		h := newHostile(b)
		resets := 0
		for began := time.Now(); time.Since(began) < hostileFor; resets++ {
			h.frr.Vtysh("clear bgp *")
			h.look()
			time.Sleep(500 * time.Millisecond)
		}
		h.established()
		over := time.Now()
		b.ReportMetric(float64(resets), "resets")
		h.end(over, h.kernel.has(many, hostileServices, "all routes"))
	}
}
