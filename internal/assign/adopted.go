package assign

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// adopted are objects that were read from the API server before their events were listened to. One that went in between is in no cache,
// and no event will tell of its end: each is looked at once, whatever the events say.
type adopted struct {
	reader client.Reader // of the API server itself
	names  sync.Map      // types.NamespacedName, of those that no cache has shown yet
}

func (a *adopted) add(name types.NamespacedName) { a.names.Store(name, true) }

// source has every adopted object looked at.
func (a *adopted) source() source.Source {
	return source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		for name := range a.names.Range {
			q.Add(reconcile.Request{NamespacedName: name.(types.NamespacedName)})
		}
		return nil
	})
}

// seen notes that a cache has an object: from now on, events tell of it.
func (a *adopted) seen(name types.NamespacedName) { a.names.Delete(name) }

// gone reports whether an object that the cache does not have is gone. One that was adopted may be on its way to the cache: the API server
// is asked. o is overwritten.
func (a *adopted) gone(ctx context.Context, name types.NamespacedName, o client.Object) (bool, error) {
	if _, ok := a.names.Load(name); !ok {
		return true, nil
	}
	switch err := a.reader.Get(ctx, name, o); {
	case apierrors.IsNotFound(err):
		a.names.Delete(name)
		return true, nil
	case err != nil:
		return false, err
	}
	return false, nil // its event is on its way
}
