package testbed

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Routers are what a CNI's sessions lead to, and whether each is established.
type Routers map[netip.Addr]bool

// CalicoAgent answers the CalicoNodeStatus objects of a node until the test ends, as calico-node does: with sessions of BGPPeers.
func (b *Bed) CalicoAgent(t testing.TB, node string, sessions func() Routers) {
	t.Helper()
	b.addNode(t, node)
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "crd.projectcalico.org", Version: "v1", Kind: "CalicoNodeStatusList"})
	var w watch.Interface
	Eventually(t, "CalicoNodeStatus objects to be served", func(context.Context) error { // a CRD was just made
		var err error
		w, err = b.Client.Watch(context.WithoutCancel(t.Context()), list)
		return err
	})
	done := make(chan struct{})
	t.Cleanup(func() {
		w.Stop()
		<-done
	})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			o, ok := e.Object.(*unstructured.Unstructured)
			if !ok || e.Type != watch.Added {
				continue
			}
			if of, _, _ := unstructured.NestedString(o.Object, "spec", "node"); of != node {
				continue
			}
			v4, v6 := []any{}, []any{}
			for router, up := range sessions() {
				state := "Active"
				if up {
					state = "Established"
				}
				peer := map[string]any{"peerIP": router.String(), "type": "GlobalPeer", "state": state, "since": "09:19:28"}
				if router.Is6() {
					v6 = append(v6, peer)
				} else {
					v4 = append(v4, peer)
				}
			}
			o.Object["status"] = map[string]any{
				"lastUpdated": time.Now().UTC().Format(time.RFC3339),
				"bgp": map[string]any{
					"peersV4": v4, "peersV6": v6, "numberEstablishedV4": int64(0), "numberNotEstablishedV4": int64(0), "numberEstablishedV6": int64(0), "numberNotEstablishedV6": int64(0),
				},
			}
			err := b.Client.Update(context.WithoutCancel(t.Context()), o)
			if !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				assert.NoError(t, err)
			}
		}
	}()
}

// CiliumAgent says in a CiliumBGPNodeConfig that a node has sessions, until the test ends, as Cilium's agent does.
func (b *Bed) CiliumAgent(t testing.TB, node string, sessions Routers) {
	t.Helper()
	b.addNode(t, node)
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"bgpInstances": []any{map[string]any{"name": "main"}}}}}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "cilium.io", Version: "v2", Kind: "CiliumBGPNodeConfig"})
	o.SetName(node)
	Eventually(t, "CiliumBGPNodeConfig objects to be served", func(ctx context.Context) error { return b.Client.Create(ctx, o) })
	t.Cleanup(func() {
		err := b.Client.Delete(context.WithoutCancel(t.Context()), o)
		assert.True(t, err == nil || apierrors.IsNotFound(err) || meta.IsNoMatchError(err), "%v", err)
	})
	peers := []any{}
	for router, up := range sessions {
		state := "active"
		if up {
			state = "established"
		}
		peers = append(peers, map[string]any{
			"name": "router-" + router.StringExpanded(), "peerAddress": router.String(), "peeringState": state,
			"routeCount": []any{map[string]any{"afi": "ipv4", "safi": "unicast", "advertised": int64(1)}, map[string]any{"afi": "ipv6", "safi": "unicast", "advertised": int64(1)}},
		})
	}
	o.Object["status"] = map[string]any{"bgpInstances": []any{map[string]any{"name": "main", "peers": peers}}}
	require.NoError(t, b.Client.Status().Update(t.Context(), o))
}

// addNode creates a Node for the time of a test, unless it is there.
func (b *Bed) addNode(t testing.TB, name string) {
	t.Helper()
	o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	err := b.Client.Create(t.Context(), o)
	if apierrors.IsAlreadyExists(err) {
		return
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, client.IgnoreNotFound(b.Client.Delete(context.WithoutCancel(t.Context()), o)))
	})
}
