package speaker

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/bgp"
	"github.com/fairlead/fairlead/internal/announce/observe"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/process/wake"
	"github.com/fairlead/fairlead/internal/service"
)

// cluster is a cache that tells of what it is told; it has nothing.
type cluster struct {
	cache.Cache
	handlers map[reflect.Type]toolscache.ResourceEventHandler
}

func (c *cluster) GetInformer(_ context.Context, o client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	return &kindOf{cluster: c, kind: reflect.TypeOf(o)}, nil
}

type kindOf struct {
	cache.Informer
	cluster *cluster
	kind    reflect.Type
}

func (k *kindOf) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	k.cluster.handlers[k.kind] = h
	return k, nil
}

func (k *kindOf) HasSynced() bool                          { return true }
func (k *kindOf) HasSyncedChecker() toolscache.DoneChecker { return k }
func (k *kindOf) Name() string                             { return "" }

func (k *kindOf) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// tell has those told who follow the cluster: that there is an object, or that it is gone.
func (c *cluster) tell(o client.Object, gone bool) {
	if h := c.handlers[reflect.TypeOf(o)]; gone {
		h.OnDelete(o)
	} else {
		h.OnAdd(o, false)
	}
}

// serve tells of Service number i, and whether it has an endpoint.
func (c *cluster) serve(i int, endpoint bool) {
	meta := metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("web-%05d", i)}
	svc := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
	svc.Labels, svc.Annotations = map[string]string{service.LabelPool: "main"}, map[string]string{service.AnnotationFromPool: "main"}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: fmt.Sprintf("2001:db8::%x", i+1)}}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: meta.Name}
	if endpoint {
		slice.Endpoints = []discoveryv1.Endpoint{{}}
	}
	c.tell(svc, false)
	c.tell(slice, false)
}

// newStepper returns a BGP task of node n1 of which nothing runs, whose Feed tells of a cluster with that node.
func newStepper(t testing.TB, o BGPOptions) (*BGP, *cluster, *prometheus.Registry) {
	c := &cluster{handlers: map[reflect.Type]toolscache.ResourceEventHandler{}}
	log := slog.New(slog.DiscardHandler)
	o.Node, o.Namespace, o.Asked = "n1", testNamespace, "speaker"
	o.Recorder, o.BFD, o.Waits, o.Log = nobody{}, NewBFD(nil, nil, log), func([]config.Fault) {}, log
	o.Feed, o.Sessions = NewFeed(c, testNamespace), &wake.Bell{}
	r := prometheus.NewPedanticRegistry()
	var err error
	o.Metrics, err = NewMetrics(r, "n1")
	require.NoError(t, err)
	o.Feed.cluster, err = observe.Follow(t.Context(), c, func() {})
	require.NoError(t, err)
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
	o.Feed.snapshot = config.Build(config.Objects{
		Pools: []v1beta1.IPAddressPool{
			{ObjectMeta: meta("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"2001:db8::/64"}}},
		},
		BGPAdvertisements: []v1beta1.BGPAdvertisement{{ObjectMeta: meta("all")}},
		BGPPeers: []v1beta2.BGPPeer{
			{ObjectMeta: meta("tor"), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "2001:db8:1::1"}},
		},
	}, nil)
	c.tell(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, false)
	return NewBGP(o), c, r
}

// taker is a Router that takes everything; the session with its peer comes up anew with each call.
type taker struct {
	Router
	want backends.NodeDesired
	at   time.Time
}

func (r *taker) Apply(_ context.Context, want backends.NodeDesired) error {
	r.want, r.at = want, time.Now()
	return nil
}

func (r *taker) Sessions() []bgp.Session {
	return []bgp.Session{{Peer: "tor", Address: netip.MustParseAddr("2001:db8:1::1"), State: bgp.Established, Since: r.at}}
}

// TestBGPStep: after each step, routes, metrics and status objects are those of the Services that there are, also where one step follows
// the other before what is to be said of the sessions has been written.
func TestBGPStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, router := newDesk(t), &taker{}
		task, c, registry := newStepper(t, BGPOptions{Cache: d.Cache(), Client: d, Router: router})
		stop := at(t, task.status.prepare, task.status.run)
		check := func(want ...int) {
			t.Helper()
			settle()
			var routes, objects, series, wanted []string
			for _, i := range want {
				wanted = append(wanted, fmt.Sprintf("default/web-%05d 2001:db8::%x", i, i+1))
			}
			for _, r := range router.want.Routes {
				i := int(r.Prefix.Addr().As16()[15]) - 1
				routes = append(routes, fmt.Sprintf("default/web-%05d %s", i, r.Prefix.Addr()))
			}
			var list v1beta1.ServiceBGPStatusList
			require.NoError(t, d.List(t.Context(), &list))
			for _, x := range list.Items {
				assert.Equal(t, []string{"tor"}, x.Status.Peers)
				var i int
				_, err := fmt.Sscanf(x.Status.ServiceName, "web-%d", &i)
				require.NoError(t, err)
				objects = append(objects, fmt.Sprintf("%s/%s 2001:db8::%x", x.Status.ServiceNamespace, x.Status.ServiceName, i+1))
			}
			families, err := registry.Gather()
			require.NoError(t, err)
			for _, f := range families {
				for _, x := range f.Metric {
					if f.GetName() == "metallb_speaker_announced" {
						assert.Equal(t, "node", x.Label[1].GetName())
						series = append(series, x.Label[3].GetValue()+" "+x.Label[0].GetValue())
					}
				}
			}
			slices.Sort(objects)
			slices.Sort(series)
			assert.Equal(t, wanted, routes, "routes")
			assert.Equal(t, wanted, objects, "status objects")
			assert.Equal(t, wanted, series, "series")
		}
		step := func() {
			t.Helper()
			time.Sleep(time.Second) // the session is of another second
			require.NoError(t, task.step(t.Context()))
		}
		c.serve(0, true)
		c.serve(1, true)
		step()
		require.NoError(t, task.step(t.Context()))
		task.sessionsChanged()
		check(0, 1)

		c.serve(2, true)
		c.serve(0, false)
		step()
		task.sessionsChanged()
		check(1, 2)

		c.serve(0, true)
		step()
		c.serve(2, false)
		require.NoError(t, task.step(t.Context()))
		check(0, 1)

		before := d.Writes("")
		c.serve(0, true)
		require.NoError(t, task.step(t.Context()))
		settle()
		assert.LessOrEqual(t, d.Writes(""), before+1, "nothing but the session is written")

		c.tell(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, true)
		step()
		assert.Empty(t, router.want)
		check()
		c.tell(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, false)
		step()
		check(0, 1)

		task.status.retract()
		settle()
		var list v1beta1.ServiceBGPStatusList
		require.NoError(t, d.List(t.Context(), &list))
		assert.Empty(t, list.Items)
		stop()
	})
}

// BenchmarkBGPStep is 10,000 Services: the first step, and one after a change. Nothing of what it has others do is there: no session, and
// nobody who writes status objects.
func BenchmarkBGPStep(b *testing.B) {
	const services = 10_000
	fill := func() (*BGP, *cluster) {
		task, c, _ := newStepper(b, BGPOptions{Router: bgp.New(bgp.Config{NodeName: "n1"})})
		for i := range services {
			c.serve(i, true)
		}
		return task, c
	}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			task, _ := fill()
			b.StartTimer()
			require.NoError(b, task.step(b.Context()))
		}
	})
	task, c := fill()
	require.NoError(b, task.step(b.Context()))
	b.Run("endpoints", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			c.serve(i/2%services, i%2 == 1)
			require.NoError(b, task.step(b.Context()))
		}
	})
	b.Run("node-not-ready", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue}
			if i%2 == 0 {
				ready.Status = corev1.ConditionFalse
			}
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
			n.Status.Conditions = append(n.Status.Conditions, ready)
			c.tell(n, false)
			require.NoError(b, task.step(b.Context()))
		}
	})
}
