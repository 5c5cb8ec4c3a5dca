// Package status measures how soon a speaker has told of many Services, on an API server and nothing else.
package status

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/events"
	"github.com/fairlead/fairlead/internal/process/follow"
	"github.com/fairlead/fairlead/internal/process/wake"
	"github.com/fairlead/fairlead/internal/process/yield"
	"github.com/fairlead/fairlead/internal/service"
	"github.com/fairlead/fairlead/internal/speaker"
)

var many = flag.Int("status.services", 10_000, "of how many Services there is to tell")

const (
	// atOnce is how many of them are made at a time.
	atOnce = 16
	node   = "n1"
	pool   = "main"
)

var bed *testbed.Bed

func TestMain(m *testing.M) { os.Exit(testbed.Main(m, &bed)) }

// router takes whatever it is to announce.
type router struct{ speaker.Router }

func (router) Apply(context.Context, backends.NodeDesired) error { return nil }
func (router) Sessions() []bgp.Session                           { return nil }
func (router) Shutdown(context.Context, backends.Leave)          {}

// BenchmarkServiceBGPStatus measures from the BGPAdvertisement, which asks for all Services at once, to the last of their
// ServiceBGPStatus objects: what the part of a speaker does that speaks BGP, with the API server on the same machine.
func BenchmarkServiceBGPStatus(b *testing.B) {
	namespace := bed.Namespace(b)
	require.NoError(b, bed.Client.Create(b.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}))
	services(b, namespace)
	for b.Loop() {
		b.StopTimer()
		s := start(b, namespace)
		b.StartTimer()
		used := cpu(b)
		began := time.Now()
		s.advertise(b)
		s.await(b, *many)
		took := time.Since(began)
		told := used()
		b.StopTimer()
		s.stop()
		all := client.InNamespace(namespace)
		require.NoError(b, bed.Client.DeleteAllOf(b.Context(), &v1beta1.ServiceBGPStatus{}, all))
		used = cpu(b)
		alone := bare(b, namespace)
		written := used()
		require.NoError(b, bed.Client.DeleteAllOf(b.Context(), &v1beta1.ServiceBGPStatus{}, all))
		b.Logf("%d ServiceBGPStatus objects after %s, with %d processors; the same writes by a loop of %d clients: %s", *many,
			took.Round(10*time.Millisecond), runtime.GOMAXPROCS(0), writers, alone.Round(10*time.Millisecond))
		b.Logf("processor time: %s; of the loop: %s", told, written)
		b.StartTimer()
	}
}

// cpu returns what says how much processor time the speaker, or the loop, the API server and etcd have used since.
func cpu(b *testing.B) func() string {
	b.Helper()
	look := func() [2]float64 {
		own, err := testbed.CPU(os.Getpid())
		require.NoError(b, err)
		by, err := testbed.CPUByProgram()
		require.NoError(b, err)
		return [2]float64{own, by["kube-apiserver"] + by["etcd"]}
	}
	before := look()
	return func() string {
		now := look()
		return fmt.Sprintf("%.1f s, API server and etcd %.1f s", now[0]-before[0], now[1]-before[1])
	}
}

// writers is how many objects a speaker writes at a time (internal/process/keep).
const writers = 16

// bare makes as many objects with nothing around it, and returns how long that took: what the API server alone takes.
func bare(b *testing.B, namespace string) time.Duration {
	b.Helper()
	began := time.Now()
	var g errgroup.Group
	g.SetLimit(writers)
	for i := range *many {
		g.Go(func() error {
			o := &v1beta1.ServiceBGPStatus{ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, GenerateName: "bgp-",
				Labels: map[string]string{
					"metallb.io/node": "other", "metallb.io/service-namespace": namespace, "metallb.io/service-name": fmt.Sprintf("web-%d", i),
				},
			}}
			if err := bed.Client.Create(b.Context(), o); err != nil {
				return err
			}
			was := o.DeepCopy()
			o.Status = v1beta1.ServiceBGPStatusStatus{
				Node: "other", ServiceName: fmt.Sprintf("web-%d", i), ServiceNamespace: namespace, Peers: []string{pool},
			}
			return bed.Client.Status().Patch(b.Context(), o, client.MergeFrom(was))
		})
	}
	require.NoError(b, g.Wait())
	return time.Since(began)
}

// services makes the Services as they are when they have their addresses, with an endpoint each.
func services(b *testing.B, namespace string) {
	b.Helper()
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range *many {
		g.Go(func() error {
			s := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: namespace, Name: fmt.Sprintf("web-%d", i), Labels: map[string]string{service.LabelPool: pool},
					Annotations: map[string]string{service.AnnotationFromPool: pool},
				},
				Spec: corev1.ServiceSpec{
					Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}, AllocateLoadBalancerNodePorts: new(false),
				},
			}
			if err := bed.Client.Create(b.Context(), s); err != nil {
				return err
			}
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: netip.AddrFrom4([4]byte{10, 200, byte(i >> 8), byte(i)}).String()}}
			if err := bed.Client.Status().Update(b.Context(), s); err != nil {
				return err
			}
			return bed.Client.Create(b.Context(), &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: namespace, Name: s.Name, Labels: map[string]string{discoveryv1.LabelServiceName: s.Name},
				},
				AddressType: discoveryv1.AddressTypeIPv4,
				Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, NodeName: new(node)}},
			})
		})
	}
	require.NoError(b, g.Wait())
	b.Cleanup(func() { // one request for all of them would take longer than the API server grants it
		var g errgroup.Group
		g.SetLimit(atOnce)
		for i := range *many {
			g.Go(func() error {
				o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("web-%d", i)}}
				return bed.Client.Delete(context.WithoutCancel(b.Context()), o)
			})
		}
		assert.NoError(b, g.Wait())
	})
}

// instance is a running speaker, without layer 2 and without other speakers.
type instance struct {
	namespace string
	feed      *speaker.Feed
	said      atomic.Int64 // how many ServiceBGPStatuses say what they are to say
	stop      func()
}

// start starts a speaker that has nothing to advertise yet, and returns when it knows everything.
func start(b *testing.B, namespace string) *instance {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	own := cache.ByObject{Namespaces: map[string]cache.Config{namespace: {
		LabelSelector: labels.SelectorFromSet(labels.Set{"metallb.io/node": node}),
	}}}
	c, err := cache.New(bed.Config, cache.Options{
		Scheme: testbed.Scheme(), DefaultTransform: observe.TrimFor(node),
		ByObject: map[client.Object]cache.ByObject{&v1beta1.ServiceBGPStatus{}: own, &v1alpha1.BGPSession{}: own},
	})
	require.NoError(b, err)
	pace := yield.New()
	recorder, err := events.New(bed.Config, testbed.Scheme(), "speaker", pace, log)
	require.NoError(b, err)
	metrics, err := speaker.NewMetrics(prometheus.NewRegistry(), node)
	require.NoError(b, err)
	feed := speaker.NewFeed(c, namespace)
	task := speaker.NewBGP(speaker.BGPOptions{
		Node: node, Namespace: namespace, Asked: "speaker", Feed: feed, Cache: c, Client: bed.Client, Router: router{},
		BFD: speaker.NewBFD(nil, nil, log), Sessions: &wake.Bell{}, Recorder: recorder, Metrics: metrics,
		Waits: func([]config.Fault) {}, Pace: pace, Log: log,
	})
	ctx, stop := context.WithCancel(context.WithoutCancel(b.Context()))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.Start(ctx) })
	g.Go(func() error { return recorder.Start(ctx) })
	require.NoError(b, feed.Run(ctx))
	s := &instance{namespace: namespace, feed: feed}
	require.NoError(b, follow.Handle(ctx, c, s.count, &v1beta1.ServiceBGPStatus{}))
	require.NoError(b, feed.SetSnapshot(ctx, config.Build(s.objects(), nil)))
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return task.Run(ctx, inner) })
	s.stop = func() {
		stopInner()
		stop()
		assert.NoError(b, g.Wait())
	}
	s.await(b, 0)
	return s
}

// objects are a pool and a peer, and what is added.
func (s *instance) objects(advertisements ...v1beta1.BGPAdvertisement) config.Objects {
	meta := metav1.ObjectMeta{Namespace: s.namespace, Name: pool}
	peer := v1beta2.BGPPeer{ObjectMeta: meta, Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "192.0.2.1"}}
	return config.Objects{
		Pools:    []v1beta1.IPAddressPool{{ObjectMeta: meta, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.200.0.0/16"}}}},
		BGPPeers: []v1beta2.BGPPeer{peer}, BGPAdvertisements: advertisements,
	}
}

// advertise asks for all Services to be advertised.
func (s *instance) advertise(b *testing.B) {
	b.Helper()
	adv := v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: pool}}
	require.NoError(b, s.feed.SetSnapshot(b.Context(), config.Build(s.objects(adv), nil)))
}

// await waits until so many objects say what they are to say; it follows the speaker's cache, so that the API server has no more to do.
func (s *instance) await(b *testing.B, want int) {
	b.Helper()
	for deadline := time.Now().Add(3 * time.Minute); s.said.Load() != int64(want); time.Sleep(10 * time.Millisecond) {
		require.True(b, time.Now().Before(deadline), "%d of %d", s.said.Load(), want)
	}
}

// count counts the objects that say what they are to say.
func (s *instance) count(was, is client.Object) {
	for o, n := range map[client.Object]int64{was: -1, is: 1} {
		if x, ok := o.(*v1beta1.ServiceBGPStatus); ok && x.Status.Node == node {
			s.said.Add(n)
		}
	}
}
