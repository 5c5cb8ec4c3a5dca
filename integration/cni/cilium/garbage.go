package cilium

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/cni"
)

// collectGarbage does, until the test ends, what the garbage collector of Kubernetes does for the objects on which Cilium relies on it:
// it removes the CiliumBGPNodeConfigs of a CiliumBGPClusterConfig that is gone.
func collectGarbage(t testing.TB, l *cni.Lab) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	w, err := l.Bed.Client.Watch(ctx, listOf("CiliumBGPClusterConfigList"))
	require.NoError(t, err)
	go func() {
		defer close(done)
		defer func() { w.Stop() }()
		for ctx.Err() == nil {
			for e := range w.ResultChan() {
				if o, ok := e.Object.(*unstructured.Unstructured); ok && e.Type == watch.Deleted {
					collect(ctx, l, o.GetUID())
				}
			}
			for ctx.Err() == nil { // the API server ends a watch now and then
				if next, err := l.Bed.Client.Watch(ctx, listOf("CiliumBGPClusterConfigList")); err == nil {
					w = next
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// collect deletes what has an owner with that UID.
func collect(ctx context.Context, l *cni.Lab, owner types.UID) {
	list := listOf("CiliumBGPNodeConfigList")
	if l.Bed.Client.List(ctx, list) != nil {
		return
	}
	for i := range list.Items {
		o := &list.Items[i]
		for _, r := range o.GetOwnerReferences() {
			if r.UID == owner {
				uid := o.GetUID()
				_ = l.Bed.Client.Delete(ctx, o, client.Preconditions{UID: &uid}) // it may be gone
			}
		}
	}
}

func listOf(kind string) *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(group.WithKind(kind))
	return list
}
