// Package allocators measures how fast Services have addresses that a provider of Cluster API's IPAM contract gives, beside what the provider
// itself needs for as many bare claims in the same run.
package allocators

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

var many = flag.Int("allocators.services", 1000, "how many Services wait")

const (
	group  = "ipam.cluster.x-k8s.io"
	atOnce = 16
)

var bed *testbed.Bed

func TestMain(m *testing.M) {
	os.Exit(testbed.MainWith(m, &bed, func(b *testbed.Bed) error {
		_, err := b.ServeIPAM()
		return err
	}))
}

// BenchmarkPending: that many Services wait for a pool whose addresses the in-cluster provider gives; the pool comes, and all have one.
func BenchmarkPending(b *testing.B) {
	for b.Loop() {
		cpu := measured(b, "bare")
		bare := bareClaims(b)
		cpu()
		b.ReportMetric(float64(*many)/bare.Seconds(), "bare-claims/s")
		cpu = measured(b, "services")
		services := pending(b)
		cpu()
		b.ReportMetric(float64(*many)/services.Seconds(), "services/s")
		b.ReportMetric(bare.Seconds()/services.Seconds(), "of-bare")
	}
}

// measured reports the seconds of CPU that each program needs until the function it returns is called.
func measured(b *testing.B, what string) (end func()) {
	before, err := testbed.CPUByProgram()
	require.NoError(b, err)
	return func() {
		after, err := testbed.CPUByProgram()
		require.NoError(b, err)
		for _, program := range []string{"kube-apiserver", "etcd", "ipam-provider", "controller"} {
			b.ReportMetric(after[program]-before[program], what+"-cpu-s-"+program)
		}
	}
}

// BenchmarkBuiltinBeside: how long a Service of a built-in pool waits for its address, alone, while that many others are made of the built-in
// pool, and while that many are made of the provider's.
func BenchmarkBuiltinBeside(b *testing.B) {
	for b.Loop() {
		ns, class := begin(b)
		builtin := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "builtin"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.40.0.0/16"}}}
		require.NoError(b, bed.Client.Create(b.Context(), builtin))
		external(b, ns, "10.41.0.0/16")
		quiet := latencies(b, ns, class, "quiet")
		b.ReportMetric(milliseconds(quiet), "ms-quiet-median")
		for _, pool := range []string{"builtin", "external"} {
			ctx, cancel := context.WithCancel(b.Context())
			var g errgroup.Group
			g.Go(func() error { return create(ctx, ns, class, "beside-"+pool, pool) })
			busy := latencies(b, ns, class, "busy-"+pool)
			cancel()
			_ = g.Wait() // it was cut short
			b.ReportMetric(milliseconds(busy), "ms-beside-"+pool+"-median")
		}
	}
}

func milliseconds(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Microseconds()) / 1000
}

// latencies makes Services of the built-in pool one after the other, and returns how long each waited.
func latencies(b *testing.B, ns, class, name string) []time.Duration {
	const n = 50
	var out []time.Duration
	w, err := bed.Client.Watch(b.Context(), &corev1.ServiceList{}, client.InNamespace(ns))
	require.NoError(b, err)
	defer w.Stop()
	for i := range n {
		s := newService(ns, class, fmt.Sprintf("%s-%d", name, i), "builtin")
		start := time.Now()
		require.NoError(b, bed.Client.Create(b.Context(), s))
		for e := range w.ResultChan() {
			if x, ok := e.Object.(*corev1.Service); ok && x.Name == s.Name && len(x.Status.LoadBalancer.Ingress) > 0 {
				break
			}
		}
		out = append(out, time.Since(start))
	}
	return out
}

// bareClaims returns how long the provider takes to answer that many claims that nobody made for a Service.
func bareClaims(b *testing.B) time.Duration {
	ns := bed.Namespace(b)
	poolName := "bare-" + ns
	providerPool(b, poolName, "10.42.0.1-10.42.255.254")
	kind := schema.GroupVersionKind{Group: group, Version: "v1beta2", Kind: "IPAddressClaim"}
	start := time.Now()
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range *many {
		g.Go(func() error {
			o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
				"poolRef": map[string]any{"apiGroup": group, "kind": "GlobalInClusterIPPool", "name": poolName},
			}}}
			o.SetGroupVersionKind(kind)
			o.SetNamespace(ns)
			o.SetName(fmt.Sprintf("bare-%d", i))
			return bed.Client.Create(b.Context(), o)
		})
	}
	require.NoError(b, g.Wait())
	list := func() *unstructured.UnstructuredList {
		l := &unstructured.UnstructuredList{}
		l.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		return l
	}
	await(b, "the claims", func(ctx context.Context) (int, error) {
		l := list()
		err := bed.Client.List(ctx, l, client.InNamespace(ns))
		n := 0
		for i := range l.Items {
			if ref, _, _ := unstructured.NestedString(l.Items[i].Object, "status", "addressRef", "name"); ref != "" {
				n++
			}
		}
		return n, err
	})
	took := time.Since(start)
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	require.NoError(b, bed.Client.DeleteAllOf(b.Context(), u, client.InNamespace(ns)))
	testbed.Eventually(b, "the claims to go", func(ctx context.Context) error {
		l := list()
		if err := bed.Client.List(ctx, l, client.InNamespace(ns)); err != nil || len(l.Items) == 0 {
			return err
		}
		return fmt.Errorf("%d are left", len(l.Items))
	})
	return took
}

// pending returns how long it takes until that many Services that have waited for a pool have an address.
func pending(b *testing.B) time.Duration {
	ns, class := begin(b)
	require.NoError(b, create(b.Context(), ns, class, "web", ""))
	start := time.Now()
	external(b, ns, "10.43.0.0/16")
	await(b, "the Services", func(ctx context.Context) (int, error) {
		var l corev1.ServiceList
		err := bed.Client.List(ctx, &l, client.InNamespace(ns))
		n := 0
		for i := range l.Items {
			if len(l.Items[i].Status.LoadBalancer.Ingress) > 0 {
				n++
			}
		}
		return n, err
	})
	return time.Since(start)
}

func begin(b *testing.B) (namespace, class string) {
	ns := bed.Namespace(b)
	class = "example.org/" + ns
	bed.Start(b, ns, "--lb-class", class, "--allocators=cluster-api", "--leader-elect=false", "--log-level=warn")
	return ns, class
}

// external makes a pool of the provider, and an IPAddressPool that takes its addresses from there.
func external(b *testing.B, ns, addresses string) {
	providerPool(b, ns, addresses)
	p := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "external", Annotations: map[string]string{
		"fairlead.io/allocator": "cluster-api", "fairlead.io/allocator-pool": "GlobalInClusterIPPool." + group + "/" + ns,
	}}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{addresses}}}
	require.NoError(b, bed.Client.Create(b.Context(), p))
}

func providerPool(b *testing.B, name, addresses string) {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"addresses": []any{addresses}, "prefix": int64(16)}}}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: "v1alpha2", Kind: "GlobalInClusterIPPool"})
	o.SetName(name)
	require.NoError(b, bed.Client.Create(b.Context(), o))
}

func newService(ns, class, name, pool string) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	if pool != "" {
		s.Annotations = map[string]string{"metallb.io/address-pool": pool}
	}
	s.Spec.Type, s.Spec.LoadBalancerClass, s.Spec.Ports = corev1.ServiceTypeLoadBalancer, &class, []corev1.ServicePort{{Port: 80}}
	return s
}

// create makes that many Services at once.
func create(ctx context.Context, ns, class, name, pool string) error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range *many {
		g.Go(func() error {
			return bed.Client.Create(ctx, newService(ns, class, fmt.Sprintf("%s-%d", name, i), pool))
		})
	}
	return g.Wait()
}

// await waits until that many are counted.
func await(b *testing.B, what string, count func(context.Context) (int, error)) {
	for {
		n, err := count(b.Context())
		require.NoError(b, err, what)
		if n >= *many {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
