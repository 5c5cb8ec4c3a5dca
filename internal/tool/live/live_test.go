package live_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/live"
	"github.com/fairlead/fairlead/internal/tool/survey"
	"github.com/fairlead/fairlead/internal/tool/survey/surveytest"
)

// init keeps client-go's handlers of errors out: they compare the time of one bubble with that of another, and sleep until then.
func init() { utilruntime.ErrorHandlers = nil }

// follow runs a Cluster until the test ends.
func follow(t *testing.T, c client.WithWatch, o live.Options) *live.Cluster {
	t.Helper()
	out := live.New(c, surveytest.Namespace, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); out.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	await(t, out, "everything to be read", out.Complete)
	synctest.Wait() // the watches are there, too: what the fake client hears between a list and a watch is lost
	return out
}

// await waits for changes until something holds.
func await(t *testing.T, c *live.Cluster, what string, holds func() bool) {
	t.Helper()
	over := time.After(5 * time.Minute)
	for !holds() {
		select {
		case <-c.Changed():
		case <-over:
			require.Fail(t, "waited in vain for "+what)
		}
	}
}

// TestSame: a survey of what has been heard is a survey of what would be read.
func TestSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := surveytest.Client(t, surveytest.Shop)
		want, err := survey.ReadAt(t.Context(), c, surveytest.Namespace, surveytest.At)
		require.NoError(t, err)
		got, err := survey.ReadAt(t.Context(), follow(t, c, live.Options{}), surveytest.Namespace, surveytest.At)
		require.NoError(t, err)
		before, err := want.Model()
		require.NoError(t, err)
		after, err := got.Model()
		require.NoError(t, err)
		assert.Equal(t, explain.OfPools(before), explain.OfPools(after))
		assert.Equal(t, explain.OfPeers(before), explain.OfPeers(after))
		assert.Equal(t, explain.OfBackends(before), explain.OfBackends(after))
		for i := range want.Services {
			ns, name := want.Services[i].Namespace, want.Services[i].Name
			assert.Equal(t, explain.OfService(before, ns, name), explain.OfService(after, ns, name))
		}
		assert.Equal(t, want.Expires(), got.Expires())
	})
}

// TestChanges: what is created, changed and deleted is heard; that a Lease is renewed is no news.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := surveytest.Client(t, surveytest.Shop)
		l := follow(t, c, live.Options{})
		services := func() int {
			var list corev1.ServiceList
			require.NoError(t, l.List(t.Context(), &list, client.InNamespace("shop")))
			return len(list.Items)
		}
		require.Equal(t, 4, services())
		more := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "more"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
		require.NoError(t, c.Create(t.Context(), more))
		await(t, l, "a new Service", func() bool { return services() == 5 })
		require.NoError(t, c.Delete(t.Context(), more))
		await(t, l, "a Service to be gone", func() bool { return services() == 4 })

		var lease coordinationv1.Lease
		key := client.ObjectKey{Namespace: surveytest.Namespace, Name: "speaker-n1"}
		renew := func(by time.Duration) {
			require.NoError(t, c.Get(t.Context(), key, &lease))
			lease.Spec.RenewTime.Time = lease.Spec.RenewTime.Add(by)
			require.NoError(t, c.Update(t.Context(), &lease))
		}
		heard := func() bool {
			var seen coordinationv1.Lease
			require.NoError(t, l.Get(t.Context(), key, &seen))
			return seen.ResourceVersion == lease.ResourceVersion
		}
		synctest.Wait() // an object is there before it is told
		select {
		case <-l.Changed():
		default:
		}
		renew(8 * time.Second)
		synctest.Wait()
		require.True(t, heard())
		assert.Empty(t, l.Changed())
		renew(time.Minute) // it was silent in between
		await(t, l, "a speaker that is back", heard)
	})
}

// TestSpared: a kind that nobody asks for is not watched and has no objects; one that is not known is asked for.
func TestSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked := map[string]int{}
		c := interceptor.NewClient(surveytest.Client(t, surveytest.Shop), interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
				mu.Lock()
				defer mu.Unlock()
				asked[fmt.Sprintf("%T", list)]++
				return c.List(ctx, list, o...)
			},
		})
		l := follow(t, c, live.Options{Spare: []string{survey.EndpointSlices, live.Events}})
		var spared discoveryv1.EndpointSliceList
		require.NoError(t, l.List(t.Context(), &spared))
		assert.Empty(t, spared.Items)
		require.NoError(t, l.List(t.Context(), &corev1.ServiceList{}))
		require.NoError(t, l.List(t.Context(), &corev1.ConfigMapList{}))
		assert.True(t, apierrors.IsNotFound(l.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "none"}, &corev1.ConfigMap{})))
		mu.Lock()
		defer mu.Unlock()
		assert.Zero(t, asked["*v1.EndpointSliceList"])
		assert.Zero(t, asked["*v1.EventList"])
		assert.Equal(t, 1, asked["*v1.ServiceList"], "by the watch alone")
		assert.Equal(t, 1, asked["*v1.ConfigMapList"])
	})
}

// TestForms: what is watched is not had in another form, and not selected by what nobody looks at.
func TestForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := follow(t, surveytest.Client(t, surveytest.Shop), live.Options{})
		require.NoError(t, l.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, &corev1.Service{}))
		assert.ErrorContains(t, l.Get(t.Context(), client.ObjectKey{Name: "shop"}, &corev1.Namespace{}), "PartialObjectMetadata")
		assert.ErrorContains(t, l.Get(t.Context(), client.ObjectKey{Namespace: surveytest.Namespace, Name: "tor"}, &v1beta2.BGPPeer{}), "Unstructured")
		assert.Error(t, l.List(t.Context(), &corev1.NamespaceList{}))
		for _, o := range []client.ListOption{client.MatchingFields{"spec.type": "LoadBalancer"}, client.Continue("x")} {
			assert.Error(t, l.List(t.Context(), &corev1.ServiceList{}, o), "%v", o)
		}
		var one corev1.ServiceList
		require.NoError(t, l.List(t.Context(), &one, client.Limit(1)))
		assert.Len(t, one.Items, 1)
	})
}

// TestRefused: a kind that may not be read, from the start or from now on, is an error of this kind, and of no other.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		allowed := make(chan bool, 1)
		allowed <- true
		may := func() bool { m := <-allowed; allowed <- m; return m }
		no := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", errors.New("no"))
		c := interceptor.NewClient(surveytest.Client(t, surveytest.Shop), interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
				if _, nodes := list.(*corev1.NodeList); nodes && !may() {
					return no
				}
				return c.List(ctx, list, o...)
			},
			Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) (watch.Interface, error) {
				if _, nodes := list.(*corev1.NodeList); nodes {
					if !may() {
						return nil, no
					}
					w := watch.NewFake()
					time.AfterFunc(time.Second, w.Stop) // as the API server ends it
					return w, nil
				}
				return c.Watch(ctx, list, o...)
			},
		})
		l := follow(t, c, live.Options{WatchFor: time.Second})
		nodes := func() (int, error) {
			var list corev1.NodeList
			err := l.List(t.Context(), &list)
			return len(list.Items), err
		}
		n, err := nodes()
		require.NoError(t, err)
		require.Equal(t, 2, n)
		<-allowed
		allowed <- false
		await(t, l, "a permission to be gone", func() bool { _, err := nodes(); return apierrors.IsForbidden(err) })
		since, _ := l.Lost()
		assert.True(t, since.IsZero(), "the API server has answered")
		<-allowed
		allowed <- true
		await(t, l, "the permission to be back", func() bool { n, err := nodes(); return err == nil && n == 2 })
		require.NoError(t, l.List(t.Context(), &corev1.ServiceList{}))
	})
}

// TestLost: while the API server does not answer, what was heard stays.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := make(chan bool, 1)
		up <- true
		is := func() bool { x := <-up; up <- x; return x }
		gone := errors.New("connection refused")
		c := interceptor.NewClient(surveytest.Client(t, surveytest.Shop), interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
				if !is() {
					return gone
				}
				return c.List(ctx, list, o...)
			},
			Watch: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
				if !is() {
					return nil, gone
				}
				w := watch.NewFake()
				time.AfterFunc(time.Second, w.Stop)
				return w, nil
			},
		})
		l := follow(t, c, live.Options{})
		<-up
		up <- false
		await(t, l, "the loss", func() bool { _, err := l.Lost(); return err != nil })
		require.NoError(t, l.List(t.Context(), &corev1.ServiceList{}))
		<-up
		up <- true
		await(t, l, "its return", func() bool { since, err := l.Lost(); return err == nil && since.IsZero() })
	})
}
