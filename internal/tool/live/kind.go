package live

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/process/cli"
)

// kind is all objects of a kind. It is the store of a reflector, and its source.
type kind struct {
	watch
	client  client.WithWatch
	options Options
	tell    func()

	mu      sync.Mutex // protects all the following
	known   map[types.NamespacedName]client.Object
	sorted  []client.Object // of known; nil: to be sorted
	read    bool            // known is complete
	refusal error           // why the kind may not be read; known is empty then
	failure error           // why the API server has not answered the last time
	since   time.Time       // when the first of these failures was
}

func newKind(c client.WithWatch, w watch, o Options, tell func()) *kind {
	return &kind{watch: w, client: c, options: o, tell: tell, known: map[types.NamespacedName]client.Object{}}
}

// again is how soon is tried again what has failed: an API server that is back is noticed within seconds.
var again = wait.Backoff{Duration: 300 * time.Millisecond, Factor: 1.6, Jitter: 0.3, Steps: 10, Cap: 4 * time.Second}

func (k *kind) run(ctx context.Context) {
	quiet, backoff := logr.Discard(), again
	r := toolscache.NewReflectorWithOptions(k, nil, k, toolscache.ReflectorOptions{Logger: &quiet, Name: k.what, Backoff: &backoff})
	r.RunWithContext(ctx)
}

// IsWatchListSemanticsUnSupported has the reflector list first, then watch.
func (k *kind) IsWatchListSemanticsUnSupported() bool { return true }

// List is for what knows no contexts.
func (k *kind) List(o metav1.ListOptions) (runtime.Object, error) {
	return k.ListWithContext(context.Background(), o)
}

// Watch is for what knows no contexts.
func (k *kind) Watch(o metav1.ListOptions) (apiwatch.Interface, error) {
	return k.WatchWithContext(context.Background(), o)
}

// ListWithContext reads all objects from the API server.
func (k *kind) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	if err := k.probe(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := cli.Within(ctx, k.options.Patience)
	defer cancel()
	list := k.list()
	opts := append(slices.Clone(k.watch.options), &client.ListOptions{Raw: &o, Limit: o.Limit, Continue: o.Continue})
	err := k.client.List(ctx, list, opts...)
	k.heard(ctx, err)
	return list, err
}

// retry is how soon is tried again what was refused.
const retry = 10 * time.Second

// probe waits, after a refusal, before the next try. What may not be watched is not listed either: it would not stay true.
func (k *kind) probe(ctx context.Context) error {
	k.mu.Lock()
	refusal := k.refusal
	k.mu.Unlock()
	if refusal == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(retry, k.options.WatchFor)):
	}
	w, err := k.client.Watch(ctx, k.list(), append(slices.Clone(k.watch.options), &client.ListOptions{Raw: &metav1.ListOptions{TimeoutSeconds: new(int64(1))}})...)
	if err == nil {
		w.Stop()
	}
	k.heard(ctx, err)
	return err
}

// WatchWithContext watches from a version on.
func (k *kind) WatchWithContext(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
	seconds := max(1, int64(k.options.WatchFor.Seconds()))
	o.TimeoutSeconds = &seconds
	w, err := k.client.Watch(ctx, k.list(), append(slices.Clone(k.watch.options), &client.ListOptions{Raw: &o})...)
	k.heard(ctx, err)
	return w, err
}

// heard notes how a request ended.
func (k *kind) heard(ctx context.Context, err error) {
	if errors.Is(ctx.Err(), context.Canceled) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return // that says nothing about the API server
	}
	k.mu.Lock()
	was, wasRefused := text(k.failure), text(k.refusal)
	switch {
	case err == nil:
		k.failure, k.since = nil, time.Time{} // a list that was refused goes on being so until its objects are here
	case refused(err):
		k.failure, k.since, k.refusal = nil, time.Time{}, err
		k.known, k.sorted, k.read = map[types.NamespacedName]client.Object{}, nil, false
	default:
		if k.failure == nil {
			k.since = time.Now()
		}
		k.failure = err
	}
	news := was == "" != (k.failure == nil) || k.refusal != nil && wasRefused != text(k.refusal)
	k.mu.Unlock()
	if news {
		k.tell()
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// settled reports whether it is known what there is.
func (k *kind) settled() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.read || k.refusal != nil
}

func (k *kind) lost() (since time.Time, why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.since, k.failure
}

// objects returns all objects, by namespace and name; nobody may change them. Of a kind that is nil there are none.
func (k *kind) objects() ([]client.Object, error) {
	if k == nil {
		return nil, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refusal != nil {
		return nil, k.refusal
	}
	if k.sorted == nil {
		k.sorted = make([]client.Object, 0, len(k.known))
		for _, o := range k.known {
			k.sorted = append(k.sorted, o)
		}
		slices.SortFunc(k.sorted, func(a, b client.Object) int {
			if c := strings.Compare(a.GetNamespace(), b.GetNamespace()); c != 0 {
				return c
			}
			return strings.Compare(a.GetName(), b.GetName())
		})
	}
	return k.sorted, nil
}

// Add notes a new object.
func (k *kind) Add(o any) error { return k.Update(o) }

// Update notes an object. It is no news if nothing in it has changed that anybody sees; that a Lease is renewed is none.
func (k *kind) Update(o any) error {
	x, ok := o.(client.Object)
	if !ok {
		return nil
	}
	trim(x)
	k.mu.Lock()
	key := client.ObjectKeyFromObject(x)
	old := k.known[key]
	k.known[key], k.sorted = x, nil
	k.mu.Unlock()
	if old == nil || !alike(old, x) {
		k.tell()
	}
	return nil
}

// renewal is how far apart two renewals of a Lease are that was alive all the time.
const renewal = 15 * time.Second

// alike reports whether two versions of an object show the same.
func alike(a, b client.Object) bool {
	b = b.DeepCopyObject().(client.Object)
	b.SetResourceVersion(a.GetResourceVersion())
	b.SetGeneration(a.GetGeneration())
	if y, ok := b.(*coordinationv1.Lease); ok {
		before, after := a.(*coordinationv1.Lease).Spec.RenewTime, y.Spec.RenewTime
		if before != nil && after != nil && after.Sub(before.Time) <= renewal {
			y.Spec.RenewTime = before
		}
	}
	return equality.Semantic.DeepEqual(a, b)
}

// Delete forgets an object.
func (k *kind) Delete(o any) error {
	x, ok := o.(client.Object)
	if !ok {
		return nil
	}
	k.mu.Lock()
	delete(k.known, client.ObjectKeyFromObject(x))
	k.sorted = nil
	k.mu.Unlock()
	k.tell()
	return nil
}

// Replace notes all objects.
func (k *kind) Replace(all []any, _ string) error {
	known := make(map[types.NamespacedName]client.Object, len(all))
	for _, o := range all {
		if x, ok := o.(client.Object); ok {
			trim(x)
			known[client.ObjectKeyFromObject(x)] = x
		}
	}
	k.mu.Lock()
	k.known, k.sorted, k.read, k.refusal = known, nil, true, nil
	k.mu.Unlock()
	k.tell()
	return nil
}

// Resync does nothing: all that is known is in use.
func (k *kind) Resync() error { return nil }

// setItems makes objects the items of a list, without copying what is in them. That the list is of another form is an error.
func setItems(list client.ObjectList, objects []client.Object) error {
	items := make([]runtime.Object, len(objects))
	for i, o := range objects {
		items[i] = o
	}
	return meta.SetList(list, items)
}

// set makes an object what another one is, without copying what is in it. That they are of different forms is an error.
func set(into, from client.Object) error {
	to, as := reflect.ValueOf(into), reflect.ValueOf(from)
	if to.Type() != as.Type() {
		return fmt.Errorf("read %s: it is watched as %T, not as %T", client.ObjectKeyFromObject(from), from, into)
	}
	to.Elem().Set(as.Elem())
	return nil
}
