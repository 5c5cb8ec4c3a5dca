package live

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Options are what may differ from the defaults.
type Options struct {
	// WatchFor is how long a watch lasts before it is made anew, which is when a permission that was taken away is noticed; 0: a minute.
	WatchFor time.Duration
	// Patience is how long a list may take; 0: for ever.
	Patience time.Duration
	// Spare are kinds that nobody will ask for; there are no objects of them.
	Spare []string
}

// Cluster is what a survey reads of a cluster, kept current. It is a client.Reader; nobody may change what it returns. For what is not watched
// it asks the API server. What is watched it has in one form (Namespaces as PartialObjectMetadata, BGPPeers as Unstructured), and selects by
// namespaces and labels: to be asked for another form, or to select otherwise, is an error.
type Cluster struct {
	kinds   map[schema.GroupVersionKind]*kind // nil: to be spared
	client  client.Client
	changed chan struct{}
}

// New returns a Cluster that watches nothing yet. namespace is that of the installation.
func New(c client.WithWatch, namespace string, o Options) *Cluster {
	out := &Cluster{kinds: map[schema.GroupVersionKind]*kind{}, client: c, changed: make(chan struct{}, 1)}
	o.WatchFor = cmp.Or(o.WatchFor, time.Minute)
	for _, w := range watched(namespace) {
		gvk, err := apiutil.GVKForObject(w.list(), c.Scheme())
		if err != nil {
			panic(err) // the scheme of a survey knows what a survey reads
		}
		out.kinds[gvk] = nil
		if !slices.Contains(o.Spare, w.what) {
			out.kinds[gvk] = newKind(c, w, o, out.tell)
		}
	}
	return out
}

// tell says that something has changed; who listens late hears it once.
func (c *Cluster) tell() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Changed is sent on after changes, one or many.
func (c *Cluster) Changed() <-chan struct{} { return c.changed }

// Run watches until ctx ends.
func (c *Cluster) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, k := range c.watched() {
		all.Go(func() { k.run(ctx) })
	}
	all.Wait()
}

// watched returns the kinds that are watched.
func (c *Cluster) watched() []*kind {
	return slices.DeleteFunc(slices.Collect(maps.Values(c.kinds)), func(k *kind) bool { return k == nil })
}

// Complete reports whether every kind has been read, or is known not to be readable.
func (c *Cluster) Complete() bool {
	for _, k := range c.watched() {
		if !k.settled() {
			return false
		}
	}
	return true
}

// Lost returns since when the API server does not answer, and why it is thought so; the zero time: it answers.
func (c *Cluster) Lost() (since time.Time, why error) {
	for _, k := range c.watched() {
		if at, err := k.lost(); err != nil && (since.IsZero() || at.Before(since)) {
			since, why = at, err
		}
	}
	return since, why
}

// RESTMapper knows the kinds of the API server.
func (c *Cluster) RESTMapper() meta.RESTMapper { return c.client.RESTMapper() }

// List reads a list from what has been heard.
func (c *Cluster) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	gvk, err := apiutil.GVKForObject(list, c.client.Scheme())
	if err != nil {
		return err
	}
	k, watched := c.kinds[gvk]
	if !watched {
		return c.client.List(ctx, list, opts...)
	}
	objects, err := k.objects()
	if err != nil {
		return err
	}
	o := (&client.ListOptions{}).ApplyOptions(opts)
	if o.FieldSelector != nil && !o.FieldSelector.Empty() || o.Continue != "" {
		return fmt.Errorf("list %s: what is watched is selected by namespaces and labels alone", gvk.Kind)
	}
	items := objects
	if o.Namespace != "" || o.LabelSelector != nil {
		items = slices.DeleteFunc(slices.Clone(objects), func(x client.Object) bool {
			return o.Namespace != "" && x.GetNamespace() != o.Namespace || o.LabelSelector != nil && !o.LabelSelector.Matches(labelsOf(x))
		})
	}
	if o.Limit > 0 { // there is no way to go on from there
		items = items[:min(len(items), int(o.Limit))]
	}
	return setItems(list, items)
}

// Get reads an object from what has been heard.
func (c *Cluster) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	gvk, err := apiutil.GVKForObject(into, c.client.Scheme())
	if err != nil {
		return err
	}
	gvk.Kind += "List"
	k, watched := c.kinds[gvk]
	if !watched {
		return c.client.Get(ctx, key, into, opts...)
	}
	objects, err := k.objects()
	if err != nil {
		return err
	}
	for _, x := range objects {
		if x.GetNamespace() == key.Namespace && x.GetName() == key.Name {
			return set(into, x)
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: strings.ToLower(strings.TrimSuffix(gvk.Kind, "List"))}, key.Name)
}

// refused reports whether an error says that a kind may not be read, or that there is none.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
}
