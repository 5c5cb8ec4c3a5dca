// Package follow hands on what a cache of the API server sees: everything there is, and every change.
package follow

import (
	"context"
	"fmt"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Handle has take called with every object of some kinds that a cache has, and has from now on: as it was, nil if it is new, and as it is,
// nil if it is gone. Calls for one kind do not overlap. It returns when take has been called with everything that there is; it waits for
// the cache and for nothing else, without asking again and again.
func Handle(ctx context.Context, c cache.Cache, take func(was, is client.Object), kinds ...client.Object) error {
	synced, err := watch(ctx, c, take, kinds)
	if err != nil {
		return err
	}
	if !toolscache.WaitFor(ctx, "", synced...) {
		return fmt.Errorf("read what there is of %d kinds, %T first: %w", len(kinds), kinds[0], context.Cause(ctx))
	}
	return nil
}

// Watch is Handle that waits for nothing: of a cache that has not been started yet.
func Watch(c cache.Cache, take func(was, is client.Object), kinds ...client.Object) error {
	_, err := watch(context.Background(), c, take, kinds) // it does not wait, so there is nothing to end
	return err
}

func watch(
	ctx context.Context, c cache.Cache, take func(was, is client.Object), kinds []client.Object,
) (synced []toolscache.DoneChecker, err error) {
	handler := toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { take(nil, object(o)) },
		UpdateFunc: func(was, is any) { take(object(was), object(is)) },
		DeleteFunc: func(o any) {
			if was := object(o); was != nil {
				take(was, nil)
			}
		},
	}
	for _, kind := range kinds {
		informer, err := c.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
		r, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
		synced = append(synced, r.HasSyncedChecker())
	}
	return synced, nil
}

// Await waits until a cache has everything of some kinds that there is.
func Await(ctx context.Context, c cache.Cache, kinds ...client.Object) error {
	return Handle(ctx, c, func(_, _ client.Object) {}, kinds...)
}

// object returns what an informer passes on; of one whose removal was missed, its last known state.
func object(o any) client.Object {
	if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	x, _ := o.(client.Object)
	return x
}
