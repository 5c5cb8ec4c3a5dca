// Package keeptest has an API server in memory, with a cache, for tests of what is kept.
package keeptest

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// Desk is an API server whose cache shows at once what is written, unless it is frozen. It counts what is written.
type Desk struct {
	client.WithWatch
	// Fail returns what a write fails with, of a verb: create, delete or patch; nil: none does. It is set before anything is written.
	Fail func(verb string, o client.Object) error

	t *testing.T

	mu       sync.Mutex // protects all the following
	serial   int
	writes   map[string]int // by verb
	frozen   bool
	handlers map[reflect.Type][]toolscache.ResourceEventHandler
}

// New returns a Desk for objects of some kinds, which have statuses.
func New(t *testing.T, scheme *runtime.Scheme, kinds ...client.Object) *Desk {
	d := &Desk{t: t, writes: map[string]int{}, handlers: map[reflect.Type][]toolscache.ResourceEventHandler{}}
	d.WithWatch = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(kinds...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := d.write("create", o); err != nil {
				return err
			}
			d.mu.Lock()
			d.serial++
			o.SetUID(types.UID(fmt.Sprint("uid-", d.serial)))
			if o.GetName() == "" {
				o.SetName(fmt.Sprint(o.GetGenerateName(), d.serial))
			}
			d.mu.Unlock()
			err := c.Create(ctx, o, opts...)
			if err == nil {
				d.tell(nil, o)
			}
			return err
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, _ ...client.DeleteOption) error {
			if err := d.write("delete", o); err != nil {
				return err
			}
			was := o.DeepCopyObject().(client.Object)
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), was); err != nil {
				return err
			}
			err := c.Delete(ctx, o) // it knows no preconditions
			if err == nil {
				d.tell(was, nil)
			}
			return err
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch,
			opts ...client.SubResourcePatchOption) error {
			if err := d.write("patch", o); err != nil {
				return err
			}
			was := o.DeepCopyObject().(client.Object)
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), was); err != nil {
				return err
			}
			err := c.SubResource(sub).Patch(ctx, o, p, opts...)
			if err == nil {
				d.tell(was, o)
			}
			return err
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			was := o.DeepCopyObject().(client.Object)
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), was); err != nil {
				return err
			}
			err := c.Update(ctx, o, opts...)
			if err == nil {
				d.tell(was, o)
			}
			return err
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			was := o.DeepCopyObject().(client.Object)
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), was); err != nil {
				return err
			}
			err := c.SubResource(sub).Update(ctx, o, opts...)
			if err == nil {
				d.tell(was, o)
			}
			return err
		},
	}).Build()
	return d
}

func (d *Desk) write(verb string, o client.Object) error {
	d.mu.Lock()
	d.writes[verb]++
	d.mu.Unlock()
	if d.Fail != nil {
		return d.Fail(verb, o)
	}
	return nil
}

// Writes returns how many writes of a verb there have been; of all if it is empty.
func (d *Desk) Writes(verb string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if verb != "" {
		return d.writes[verb]
	}
	n := 0
	for _, x := range d.writes {
		n += x
	}
	return n
}

// Freeze has the cache show nothing any more.
func (d *Desk) Freeze() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = true
}

// tell has the cache's handlers called.
func (d *Desk) tell(was, is client.Object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen {
		return
	}
	o := is
	if o == nil {
		o = was
	}
	for _, h := range d.handlers[reflect.TypeOf(o)] {
		switch {
		case was == nil:
			h.OnAdd(is.DeepCopyObject(), false)
		case is == nil:
			h.OnDelete(was)
		default:
			h.OnUpdate(was, is.DeepCopyObject())
		}
	}
}

// Cache returns the cache.
func (d *Desk) Cache() cache.Cache { return &deskCache{desk: d} }

type deskCache struct {
	cache.Cache // nil: more is not there
	desk        *Desk
}

func (c *deskCache) Get(ctx context.Context, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return c.desk.Get(ctx, k, o, opts...)
}

func (c *deskCache) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	return c.desk.List(ctx, l, opts...)
}

func (c *deskCache) GetInformer(_ context.Context, o client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	return &informer{desk: c.desk, kind: o}, nil
}

type informer struct {
	cache.Informer // nil: more is not there
	desk           *Desk
	kind           client.Object
}

// AddEventHandler calls the handler with all that there is.
func (i *informer) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	i.desk.mu.Lock()
	kind := reflect.TypeOf(i.kind)
	i.desk.handlers[kind] = append(i.desk.handlers[kind], h)
	i.desk.mu.Unlock()
	gvks, _, err := i.desk.Scheme().ObjectKinds(i.kind)
	require.NoError(i.desk.t, err)
	list, err := i.desk.Scheme().New(gvks[0].GroupVersion().WithKind(gvks[0].Kind + "List"))
	require.NoError(i.desk.t, err)
	require.NoError(i.desk.t, i.desk.List(context.Background(), list.(client.ObjectList)))
	require.NoError(i.desk.t, meta.EachListItem(list, func(o runtime.Object) error {
		h.OnAdd(o.DeepCopyObject(), true)
		return nil
	}))
	return synced{}, nil
}

type synced struct{}

func (synced) HasSynced() bool                          { return true }
func (synced) HasSyncedChecker() toolscache.DoneChecker { return synced{} }
func (synced) Name() string                             { return "" }

func (synced) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}
