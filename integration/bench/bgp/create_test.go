package bgp

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// clients is how many create and delete Services at a time.
const clients = 16

// BenchmarkCreate walks the path of a user: the controller and three speakers run, each with a session with one router, FRR; 16 clients
// create Services that have a pod on every node. It measures until the last route is in the router's kernel, then until all processes are
// at rest, and prints what that cost each process and how many writes of each kind the API server had; then the same for deleting them.
// Either each node has a kube-proxy, as it is by default, or none has, as where the CNI replaces it.
func BenchmarkCreate(b *testing.B) {
	for _, n := range []int{1000, 4000} {
		for _, name := range []string{"kube-proxy", "no-kube-proxy"} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				for b.Loop() {
					createAndDelete(b, n, name == "kube-proxy")
				}
			})
		}
	}
}

func createAndDelete(b *testing.B, n int, proxies bool) {
	s := newSite(b, 3)
	for _, node := range s.Nodes() {
		node.Proxy.Kill()
		if proxies {
			node.StartProxy("--iptables-min-sync-period=1s") // its default: the lab's writes its rules up to fifty times a second
		}
	}
	router := s.AddClient("router")
	r := routing.StartFRR(b, s.Lab, router, routing.Rack)
	k := watch(b, router)
	peer(s, router, "tor", nil)
	s.Create(&v1beta1.IPAddressPool{ObjectMeta: s.Meta("many"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{many.String()}, AutoAssign: new(bool)}})
	s.Create(&v1beta1.BGPAdvertisement{ObjectMeta: s.Meta("adv"), Spec: v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"many"}}})
	for _, node := range s.Nodes() {
		routing.Await(b, "the session of "+node.Name(), func() bool { return r.Neighbor(node.Addr(false).String()).BGPState == "Established" })
	}
	services := define(s, n, corev1.ServiceExternalTrafficPolicyCluster)
	quiet(b, s)

	m := measure(b, s)
	took := each(b, services, func(ctx context.Context, o *corev1.Service) error { return s.Bed.Client.Create(ctx, o) })
	m.report("create", n, took, k.has(many, n, "all routes"))
	m = measure(b, s)
	took = each(b, services, func(ctx context.Context, o *corev1.Service) error { return s.Bed.Client.Delete(ctx, o) })
	m.report("delete", n, took, k.has(many, 0, "no route"))
}

// define returns n Services of the pool many, which it does not create, with an endpoint on every node, which it does.
func define(s *site.Site, n int, policy corev1.ServiceExternalTrafficPolicy) []*corev1.Service {
	services := make([]*corev1.Service, n)
	single := corev1.IPFamilyPolicySingleStack
	for i := range services {
		services[i] = &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("web-", i), Annotations: map[string]string{"metallb.io/address-pool": "many"}},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, IPFamilyPolicy: &single, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, AllocateLoadBalancerNodePorts: new(bool),
				ExternalTrafficPolicy: policy,
				Ports:                 []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP}},
			},
		}
		s.SetEndpoints(services[i], netlab.Ready(s.Nodes()...)...)
	}
	return services
}

// each has the clients do something with each Service, and returns how long all took.
func each(b *testing.B, services []*corev1.Service, do func(context.Context, *corev1.Service) error) time.Duration {
	began := time.Now()
	g, ctx := errgroup.WithContext(b.Context())
	g.SetLimit(clients)
	for _, o := range services {
		g.Go(func() error { return client.IgnoreNotFound(do(ctx, o)) })
	}
	require.NoError(b, g.Wait())
	return time.Since(began)
}

// measurement is what processes have used, and requests been made, since it began.
type measurement struct {
	b        *testing.B
	s        *site.Site
	began    time.Time
	cpu      map[string]float64 // seconds, by process
	all      map[string]float64 // seconds, by program, of the whole machine
	requests map[testbed.Request]float64
}

func measure(b *testing.B, s *site.Site) *measurement {
	m := &measurement{b: b, s: s, began: time.Now()}
	m.cpu, m.requests = m.now()
	var err error
	m.all, err = testbed.CPUByProgram()
	require.NoError(b, err)
	return m
}

func (m *measurement) now() (cpu map[string]float64, requests map[testbed.Request]float64) {
	requests, err := m.s.Bed.Requests(m.b.Context())
	require.NoError(m.b, err)
	cpu = map[string]float64{}
	cpu["controller"], err = testbed.CPU(m.s.Controller.PID())
	require.NoError(m.b, err)
	for _, p := range m.s.Speakers {
		cpu["speaker"] += p.CPU() / float64(len(m.s.Speakers))
	}
	return cpu, requests
}

// report prints, when all is at rest, what there was of what.
func (m *measurement) report(what string, n int, took time.Duration, done time.Time) {
	m.b.ReportMetric(0, "ns/op")
	quiet(m.b, m.s)
	rest := time.Since(m.began)
	cpu, requests := m.now()
	m.b.ReportMetric(took.Seconds(), what+"-clients-s")
	m.b.ReportMetric(done.Sub(m.began).Seconds(), what+"-routes-s")
	m.b.ReportMetric(rest.Seconds(), what+"-rest-s")
	for process, seconds := range cpu {
		m.b.ReportMetric(seconds-m.cpu[process], what+"-"+process+"-cpu-s")
	}
	m.b.ReportMetric(float64(m.s.Speakers["n1"].RSS())/(1<<20), what+"-speaker-MiB")
	var lines []string
	for _, kind := range slices.SortedFunc(maps.Keys(requests), func(a, b testbed.Request) int {
		return strings.Compare(a.Resource+" "+a.Verb, b.Resource+" "+b.Verb)
	}) {
		if by := requests[kind] - m.requests[kind]; kind.Writes() && by > 0 {
			lines = append(lines, fmt.Sprintf("    %-45s %8.0f  %5.2f each", kind.Resource+" "+kind.Verb, by, by/float64(n)))
		}
	}
	fmt.Fprintf(os.Stderr, "%s of %d Services: writes by kind, and for each Service\n%s\n", what, n, strings.Join(lines, "\n"))
	all, err := testbed.CPUByProgram()
	require.NoError(m.b, err)
	lines = nil
	for _, program := range slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Compare(all[b]-m.all[b], all[a]-m.all[a]) }) {
		if by := all[program] - m.all[program]; by > 0.1 {
			lines = append(lines, fmt.Sprintf("    %-45s %8.1f s", program, by))
		}
	}
	fmt.Fprintf(os.Stderr, "processor time by program, on %d processors in %.1f s\n%s\n", runtime.NumCPU(), rest.Seconds(), strings.Join(lines, "\n"))
}
