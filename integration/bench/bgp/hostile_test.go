package bgp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
	"github.com/fairlead/fairlead/integration/testbed/site"
	"github.com/fairlead/fairlead/internal/process/follow"
)

const (
	// hostileServices is how many Services there are, with externalTrafficPolicy Local: each change of an endpoint matters.
	hostileServices = 2000
	// hostileFor is for how long something flaps, once every hostilePeriod.
	hostileFor, hostilePeriod = 20 * time.Second, 200 * time.Millisecond
	// settled is how long after everything is at rest memory is looked at.
	settled = 30 * time.Second
)

// hostile is an installation with a router, at rest, that is about to be hurt. No kube-proxy runs: it would take the processors.
type hostile struct {
	*site.Site
	b      *testing.B
	frr    *routing.FRR
	kernel *kernel
	pids   map[string]int // by name
	cpu    map[string]float64
	before map[string]int64 // memory
	all    map[string]float64
	stop   func()

	mu   sync.Mutex // protects all the following
	peak map[string]int64
	told map[string]time.Time // when an object of a kind was written last
	n    map[string]int       // how often
}

func newHostile(b *testing.B, nodes int) *hostile {
	h := &hostile{Site: newSite(b, nodes), b: b, told: map[string]time.Time{}, n: map[string]int{}}
	router := h.AddClient("router")
	h.frr = routing.StartFRR(b, h.Lab, router, routing.Rack)
	h.kernel = watch(b, router)
	peer(h.Site, router, "tor", nil)
	h.Create(&v1beta1.BGPAdvertisement{ObjectMeta: h.Meta("adv"), Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"many"}}})
	crowd(b, h.Site, hostileServices, func(svc *corev1.Service) { svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal })
	h.pids = map[string]int{"controller": h.Controller.PID()}
	for _, n := range h.Nodes() {
		n.Proxy.Kill()
		h.pids["speaker-"+n.Name()] = h.Speakers[n.Name()].PID()
	}
	h.kernel.has(many, hostileServices, "all routes")
	quiet(b, h.Site)
	h.right(everywhere(h)) // to write all the statuses takes longer than to advertise
	h.listen(&v1beta1.ServiceBGPStatus{}, &corev1.Service{}, &discoveryv1.EndpointSlice{})
	quiet(b, h.Site)
	h.mu.Lock() // what there was before
	clear(h.told)
	clear(h.n)
	h.mu.Unlock()
	h.cpu, h.before, h.peak = h.used(), h.memory(), h.memory()
	var err error
	h.all, err = testbed.CPUByProgram()
	require.NoError(b, err)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // the peak is that of all moments
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			now := h.memory()
			h.mu.Lock()
			for name, bytes := range now {
				h.peak[name] = max(h.peak[name], bytes)
			}
			h.mu.Unlock()
		}
	}()
	h.stop = sync.OnceFunc(func() {
		close(done)
		<-ended
	})
	b.Cleanup(h.stop)
	return h
}

// listen notes when objects of some kinds are written, as an informer that does nothing else hears of it: nobody hears sooner.
func (h *hostile) listen(kinds ...client.Object) {
	c, err := cache.New(h.Bed.Config, cache.Options{Scheme: h.Bed.Client.Scheme()})
	require.NoError(h.b, err)
	ctx, cancel := context.WithCancel(h.b.Context())
	ended := make(chan struct{})
	h.b.Cleanup(func() {
		cancel()
		<-ended
	})
	go func() {
		defer close(ended)
		assert.NoError(h.b, c.Start(ctx))
	}()
	for _, kind := range kinds {
		name := reflect.TypeOf(kind).Elem().Name()
		require.NoError(h.b, follow.Handle(ctx, c, func(_, _ client.Object) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.told[name] = time.Now()
			h.n[name]++
		}, kind))
	}
}

func (h *hostile) memory() map[string]int64 {
	out := map[string]int64{}
	for name, pid := range h.pids {
		bytes, err := testbed.RSS(pid)
		assert.NoError(h.b, err)
		out[name] = bytes
	}
	return out
}

func (h *hostile) used() map[string]float64 {
	out := map[string]float64{}
	for name, pid := range h.pids {
		seconds, err := testbed.CPU(pid)
		require.NoError(h.b, err)
		out[name] = seconds
	}
	return out
}

// everywhere wants each Service advertised by all nodes.
func everywhere(h *hostile) func(i int) []*netlab.Node {
	return func(int) []*netlab.Node { return h.Nodes() }
}

// right fails unless the router has exactly the routes that it is to have, by the number of the Service, and what is said of the Services agrees.
func (h *hostile) right(want func(i int) []*netlab.Node) {
	h.b.Helper()
	deadline := time.Now().Add(5 * time.Minute) // 10,000 statuses take an API server a while
	for {
		err := h.wrong(h.b.Context(), want)
		if err == nil {
			return
		}
		require.True(h.b, time.Now().Before(deadline), "%v", err)
		time.Sleep(time.Second)
	}
}

func (h *hostile) wrong(ctx context.Context, want func(i int) []*netlab.Node) error {
	routes, says := map[string]string{}, map[string]string{}
	advertised := map[string]bool{}
	for i := range hostileServices {
		var hops, nodes []string
		for _, n := range want(i) {
			hops, nodes = append(hops, n.Addr(false).String()), append(nodes, n.Name())
		}
		slices.Sort(hops)
		if len(hops) > 0 {
			routes[netip.PrefixFrom(numbered(i), 32).String()], says[fmt.Sprint("seed-", i)] = strings.Join(hops, " "), strings.Join(nodes, " ")
		}
		advertised[fmt.Sprint("seed-", i)] = len(hops) > 0
	}
	got := map[string]string{}
	for prefix, paths := range h.frr.Table("ipv4") {
		var hops []string
		for _, p := range paths {
			for _, hop := range p.NextHops {
				hops = append(hops, hop.IP)
			}
		}
		slices.Sort(hops)
		got[prefix] = strings.Join(hops, " ")
	}
	if err := same("the router", got, routes); err != nil {
		return err
	}
	var statuses v1beta1.ServiceBGPStatusList
	if err := h.Bed.Client.List(ctx, &statuses, client.InNamespace(h.Namespace)); err != nil {
		return err
	}
	by := map[string][]string{}
	for _, s := range statuses.Items {
		by[s.Status.ServiceName] = append(by[s.Status.ServiceName], s.Status.Node)
	}
	got = map[string]string{}
	for name, nodes := range by {
		slices.Sort(nodes)
		got[name] = strings.Join(nodes, " ")
	}
	if err := same("ServiceBGPStatuses", got, says); err != nil {
		return err
	}
	var services corev1.ServiceList
	if err := h.Bed.Client.List(ctx, &services, client.InNamespace(metav1.NamespaceDefault)); err != nil {
		return err
	}
	for _, svc := range services.Items {
		if want, ours := advertised[svc.Name]; ours && want != meta.IsStatusConditionTrue(svc.Status.Conditions, "fairlead.io/Advertised") {
			return fmt.Errorf("the condition of %s does not say that it is advertised: %v", svc.Name, want)
		}
	}
	return nil
}

func same(who string, got, want map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			return fmt.Errorf("%s: %s by %q, want %q", who, key, got[key], want[key])
		}
	}
	if len(got) != len(want) {
		return errors.New(who + " says too much")
	}
	return nil
}

// end waits for rest, sees that all is right, and reports how long after it was over the last route and the last object had changed, as a bare
// watch hears of it, and what it cost.
func (h *hostile) end(over time.Time, want func(i int) []*netlab.Node) {
	h.b.ReportMetric(0, "ns/op")
	quiet(h.b, h.Site)
	h.right(want)
	after := func(at time.Time) float64 { return max(0, at.Sub(over).Seconds()) }
	h.b.ReportMetric(after(h.kernel.await("anything", func() bool { return true })), "routes-after-s")
	used := h.used()
	all, err := testbed.CPUByProgram()
	require.NoError(h.b, err)
	time.Sleep(settled)
	h.stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	for kind, at := range h.told {
		h.b.ReportMetric(after(at), kind+"-after-s")
		h.b.ReportMetric(float64(h.n[kind]), kind+"-writes")
	}
	var out strings.Builder
	load, err := os.ReadFile("/proc/loadavg")
	require.NoError(h.b, err)
	fmt.Fprintf(&out, "load %s%s: CPU, memory before, at the peak, and %s after all was at rest\n", load, h.b.Name(), settled)
	now := h.memory()
	for _, name := range slices.Sorted(maps.Keys(h.pids)) {
		mib := func(n int64) float64 { return float64(n) / (1 << 20) }
		fmt.Fprintf(&out, "    %-14s %6.2f s  %4.0f  %4.0f  %4.0f MiB\n", name, used[name]-h.cpu[name], mib(h.before[name]), mib(h.peak[name]), mib(now[name]))
	}
	for _, program := range slices.Sorted(maps.Keys(all)) {
		if by := all[program] - h.all[program]; by > 0.5 {
			fmt.Fprintf(&out, "    all %-14s %6.1f s\n", program, by)
		}
	}
	fmt.Fprint(os.Stderr, out.String())
}

// flap does something every hostilePeriod, and returns how often it did.
func flap(do func(i int)) int {
	i := 0
	tick := time.NewTicker(hostilePeriod)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < hostileFor; i++ {
		do(i)
		<-tick.C
	}
	return i
}

// BenchmarkHostileEndpoints: 10,000 times the pods of a Service cease to be ready or become so, as fast as etcd takes it; half of the Services
// have none that is ready in the end.
func BenchmarkHostileEndpoints(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		b.Run(fmt.Sprintf("speakers-%d", nodes), func(b *testing.B) {
			for b.Loop() {
				h := newHostile(b, nodes)
				changes := h.changes()
				began := time.Now()
				require.NoError(b, h.Bed.Overwrite(b.Context(), changes))
				over := time.Now()
				b.ReportMetric(float64(len(changes))/over.Sub(began).Seconds(), "changes/s")
				h.end(over, func(i int) []*netlab.Node {
					if i%2 == 0 {
						return h.Nodes()
					}
					return nil
				})
			}
		})
	}
}

// changes returns 10,000 changes of EndpointSlices: five or so of each, after which those with odd numbers have no pod that is ready.
func (h *hostile) changes() []client.Object {
	var list discoveryv1.EndpointSliceList
	require.NoError(h.b, h.Bed.Client.List(h.b.Context(), &list, client.InNamespace(metav1.NamespaceDefault)))
	var out []client.Object
	for round := range 6 {
		for k := range list.Items {
			var i int
			if _, err := fmt.Sscanf(list.Items[k].Name, "seed-%d-ipv4", &i); err != nil || round >= [...]int{4, 5, 6, 5}[i%4] {
				continue // the API server's own, or it has had enough
			}
			s, ready := list.Items[k].DeepCopy(), round%2 == 1
			for e := range s.Endpoints {
				s.Endpoints[e].Conditions = discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready}
			}
			s.Generation += int64(round) + 1
			out = append(out, s)
		}
	}
	require.Len(h.b, out, 5*hostileServices)
	return out
}

// BenchmarkHostileNode: one of three nodes is excluded from announcing, and is not; or it is not ready, its network is unavailable and it has
// another address, and then not.
func BenchmarkHostileNode(b *testing.B) {
	for _, of := range []struct {
		name string
		do   func(h *hostile, n *netlab.Node, bad bool)
	}{
		{"label", func(h *hostile, n *netlab.Node, bad bool) { h.Exclude(n, bad) }},
		{"status", func(_ *hostile, n *netlab.Node, bad bool) {
			n.UpdateStatus(func(s *corev1.NodeStatus) { spoil(s, bad) })
		}},
	} {
		b.Run(of.name, func(b *testing.B) {
			for b.Loop() {
				h := newHostile(b, 3)
				b.ReportMetric(float64(flap(func(i int) { of.do(h, h.Nodes()[0], i%2 == 0) })), "flaps")
				of.do(h, h.Nodes()[0], false)
				h.end(time.Now(), everywhere(h))
			}
		})
	}
}

// spoil says of a node everything that is bad, or takes it back.
func spoil(s *corev1.NodeStatus, bad bool) {
	s.Addresses = slices.DeleteFunc(s.Addresses, func(a corev1.NodeAddress) bool { return a.Type == corev1.NodeExternalIP })
	is := map[bool]corev1.ConditionStatus{false: corev1.ConditionFalse, true: corev1.ConditionTrue}
	if bad {
		s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "198.51.100.1"})
	}
	for i := range s.Conditions {
		switch c := &s.Conditions[i]; c.Type {
		case corev1.NodeReady:
			c.Status = is[!bad]
		case corev1.NodeNetworkUnavailable:
			c.Status = is[bad]
		}
	}
}

// BenchmarkHostilePeer: the router resets its sessions; or its daemon is killed and starts again.
func BenchmarkHostilePeer(b *testing.B) {
	for _, of := range []struct {
		name string
		do   func(r *routing.FRR)
	}{
		{"reset", func(r *routing.FRR) { r.Vtysh("clear bgp *") }},
		{"killed", func(r *routing.FRR) {
			r.BGPD.Kill()
			r.Start()
		}},
	} {
		b.Run(of.name, func(b *testing.B) {
			for b.Loop() {
				h := newHostile(b, 3)
				b.ReportMetric(float64(flap(func(int) { of.do(h.frr) })), "flaps")
				h.end(time.Now(), everywhere(h))
			}
		})
	}
}
