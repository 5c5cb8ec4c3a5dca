package delegation

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// countWrites counts how often objects of a kind are written, until the test ends.
func countWrites(t *testing.T, list client.ObjectList, options ...client.ListOption) (taken func() int) {
	t.Helper()
	require.NoError(t, bed.Client.List(t.Context(), list, options...)) // what is there is no news
	options = append(options, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}})
	w, err := bed.Client.Watch(t.Context(), list, options...)
	require.NoError(t, err)
	t.Cleanup(w.Stop)
	var mu sync.Mutex
	n := 0
	go func() {
		for e := range w.ResultChan() {
			if e.Type == watch.Added || e.Type == watch.Modified || e.Type == watch.Deleted {
				mu.Lock()
				n++
				mu.Unlock()
			}
		}
	}()
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		out := n
		n = 0
		return out
	}
}

// TestManyNodesOneFlaps has 500 nodes of Cilium of which one tells of its session, which then goes up and down each second for 20 seconds.
func TestManyNodesOneFlaps(t *testing.T) {
	const many = 500
	i := install(t)
	settings(t, "cilium-config", map[string]string{"enable-bgp-control-plane": "true"})
	i.bgp("all")
	i.create(peerConfig())
	objects := func(do func(context.Context, client.Object) error) {
		ctx := context.WithoutCancel(t.Context())
		g := errgroup.Group{}
		g.SetLimit(16)
		for n := range many {
			name := fmt.Sprintf("many-%03d", n)
			config := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"bgpInstances": []any{map[string]any{"name": "main"}}}}}
			config.SetGroupVersionKind(ciliumGroup.WithKind("CiliumBGPNodeConfig"))
			config.SetName(name)
			for _, o := range []client.Object{&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, config} {
				g.Go(func() error { return do(ctx, o) })
			}
		}
		require.NoError(t, g.Wait())
	}
	objects(func(ctx context.Context, o client.Object) error { return bed.Client.Create(ctx, o) })
	t.Cleanup(func() {
		objects(func(ctx context.Context, o client.Object) error {
			return client.IgnoreNotFound(bed.Client.Delete(ctx, o))
		})
	})
	say := func(state string) {
		t.Helper()
		node := &unstructured.Unstructured{}
		node.SetGroupVersionKind(ciliumGroup.WithKind("CiliumBGPNodeConfig"))
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Name: "many-000"}, node))
		node.Object["status"] = map[string]any{"bgpInstances": []any{map[string]any{"name": "main", "peers": []any{
			map[string]any{"name": "tor", "peerAddress": "192.0.2.1", "peeringState": state},
		}}}}
		require.NoError(t, bed.Client.Status().Update(t.Context(), node))
	}
	bed.Start(t, i.namespace, "--backend=cilium")
	s := i.service("web", func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol} })
	condition(t, s, "Advertised", `Unknown SessionsUnknown: cilium has been told, and has not said yet how the BGP sessions of nodes "many-000", "many-001", "many-002", "many-003", "many-004" and 495 more are`)
	say("established")
	condition(t, s, "Advertised", "True Advertised")
	i.sessions("many-000 192.0.2.1 Established")

	in := client.InNamespace(i.namespace)
	services, sessions := countWrites(t, &corev1.ServiceList{}, in), countWrites(t, &v1alpha1.BGPSessionList{}, in)
	events, backends := countWrites(t, &corev1.EventList{}, in), countWrites(t, &v1alpha1.BackendList{})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := range 20 {
		say([]string{"active", "established"}[n%2])
		<-tick.C
	}
	// None of the others is up, and most have not said anything: when one goes down, it is not known whether the routes are there.
	written := []int{services(), sessions(), events(), backends()}
	t.Logf("in 20 s: writes of Services, BGPSessions, Events and Backends: %v", written)
	for k, most := range []int{6, 6, 6, 1} {
		assert.LessOrEqual(t, written[k], most)
	}
	assert.Positive(t, slices.Max(written))
	say("active")
	condition(t, s, "Advertised", "Unknown SessionsUnknown: ")
	i.sessions("many-000 192.0.2.1 Active")
	say("established")
	condition(t, s, "Advertised", "True Advertised")
	i.sessions("many-000 192.0.2.1 Established")
}
