package clusterapi

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// watch are the objects that are followed.
type watch struct {
	*connection
	claims, addresses cache.SharedIndexInformer
	changed           func(id string)

	ctx   context.Context // of the Watch
	group sync.WaitGroup
	mu    sync.Mutex // protects pools
	pools map[schema.GroupKind]cache.SharedIndexInformer
}

// The indexes of IPAddresses.
const (
	byClaim   = "claim"
	byAddress = "address"
)

// newWatch returns a watch that is yet to run. lost is called if the kinds vanish.
func newWatch(ctx context.Context, p *Provider, conn *connection, changed func(id string), lost func(error)) (*watch, error) {
	claims, addresses, err := conn.resources(ctx)
	if err != nil {
		return nil, err
	}
	w := &watch{connection: conn, ctx: ctx, changed: changed, pools: map[schema.GroupKind]cache.SharedIndexInformer{}}
	ours := func(o *metav1.ListOptions) {
		o.LabelSelector = metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: p.marks()})
	}
	w.claims = dynamicinformer.NewFilteredDynamicInformer(conn.client, claims, p.Namespace, 0, cache.Indexers{}, ours).Informer()
	w.addresses = dynamicinformer.NewFilteredDynamicInformer(conn.client, addresses, p.Namespace, 0, cache.Indexers{
		byClaim: func(o any) ([]string, error) { return []string{claimOf(o)}, nil },
		byAddress: func(o any) ([]string, error) {
			text, _, _ := unstructured.NestedString(o.(*unstructured.Unstructured).Object, "spec", "address")
			if addr, err := netip.ParseAddr(text); err == nil {
				text = addr.Unmap().String()
			}
			return []string{text}, nil
		},
	}, nil).Informer()
	tell := func(name func(any) string) cache.ResourceEventHandlerFuncs {
		one := func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if n := name(o); n != "" {
				changed(p.idOf(n))
			}
		}
		return cache.ResourceEventHandlerFuncs{AddFunc: one, DeleteFunc: one, UpdateFunc: func(was, is any) {
			if name(was) != name(is) {
				one(was)
			}
			one(is)
		}}
	}
	_, err = w.claims.AddEventHandler(tell(func(o any) string { return o.(*unstructured.Unstructured).GetName() }))
	_, err2 := w.addresses.AddEventHandler(tell(func(o any) string {
		if p.cached(claimOf(o)) == nil {
			return "" // somebody else's, or its claim is on its way
		}
		return claimOf(o)
	}))
	for _, x := range []cache.SharedIndexInformer{w.claims, w.addresses} {
		err2 = errors.Join(err2, x.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			if apierrors.IsNotFound(err) {
				lost(conn.absent(ctx))
				return
			}
			p.Log.Warn("the API server of the claims cannot be watched; it is tried again", "namespace", p.Namespace, "err", err)
		}))
	}
	return w, errors.Join(err, err2)
}

func claimOf(o any) string {
	name, _, _ := unstructured.NestedString(o.(*unstructured.Unstructured).Object, "spec", "claimRef", "name")
	return name
}

func (w *watch) run() {
	for _, x := range []cache.SharedIndexInformer{w.claims, w.addresses} {
		w.group.Go(func() { x.RunWithContext(w.ctx) })
	}
}

func (w *watch) wait() { w.group.Wait() }

// follow follows the pools of a kind from now on, so that what is said of a shortage comes to an end when it does.
func (w *watch) follow(p *Provider, m *meta.RESTMapping) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pools[m.GroupVersionKind.GroupKind()] != nil || w.ctx.Err() != nil {
		return
	}
	namespace := metav1.NamespaceAll
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		namespace = p.Namespace
	}
	x := dynamicinformer.NewFilteredDynamicInformer(w.client, m.Resource, namespace, 0, cache.Indexers{}, nil).Informer()
	w.pools[m.GroupVersionKind.GroupKind()] = x
	empty := func(o any) bool {
		s := counts(o.(*unstructured.Unstructured))
		return s.Counted && s.Free == 0
	}
	_, _ = x.AddEventHandler(cache.ResourceEventHandlerFuncs{ // it has not been started: there is no error
		AddFunc: func(o any) {
			if empty(o) {
				w.tellWaiting(p)
			}
		},
		UpdateFunc: func(was, is any) {
			if empty(was) != empty(is) {
				w.tellWaiting(p)
			}
		},
	})
	w.group.Go(func() { x.RunWithContext(w.ctx) })
}

// tellWaiting tells of each claim that has no address.
func (w *watch) tellWaiting(p *Provider) {
	for _, x := range w.claims.GetStore().List() {
		o := x.(*unstructured.Unstructured)
		if addressRef(o) == "" {
			w.changed(p.idOf(o.GetName()))
		}
	}
}

// shortage says that a pool has nothing left, where that is known; empty otherwise.
func (w *watch) shortage(pool PoolRef, namespace string) string {
	w.mu.Lock()
	x := w.pools[pool.GroupKind]
	w.mu.Unlock()
	if x == nil {
		return ""
	}
	for _, key := range []string{pool.Name, namespace + "/" + pool.Name} {
		if o, ok, _ := x.GetStore().GetByKey(key); ok {
			if s := counts(o.(*unstructured.Unstructured)); s.Counted && s.Free == 0 {
				return fmt.Sprintf("%s has 0 of %d addresses free", pool, s.Total)
			}
		}
	}
	return ""
}
