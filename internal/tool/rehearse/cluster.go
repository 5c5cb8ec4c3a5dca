package rehearse

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// Cluster reads from a cluster and keeps writes to itself: who writes to it reads what it wrote, and nobody else does.
type Cluster struct {
	dynamic.Interface
	changed map[id]*unstructured.Unstructured // nil: deleted
	before  map[id]*unstructured.Unstructured // as it was at the last Mark; nil: not there
	kinds   map[id]schema.GroupVersionKind
	serial  int
}

// id identifies an object.
type id struct {
	resource        schema.GroupVersionResource
	namespace, name string
}

// newCluster returns a Cluster on top of a real one.
func newCluster(real dynamic.Interface) *Cluster {
	c := &Cluster{Interface: real, changed: map[id]*unstructured.Unstructured{}}
	c.Mark()
	return c
}

// Mark has Writes tell only what is written from now on.
func (c *Cluster) Mark() {
	c.before, c.kinds = map[id]*unstructured.Unstructured{}, map[id]schema.GroupVersionKind{}
}

// Resource returns the objects of a resource.
func (c *Cluster) Resource(r schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return &objects{NamespaceableResourceInterface: c.Interface.Resource(r), real: c.Interface.Resource(r), cluster: c, resource: r}
}

// objects are those of a resource, in one namespace or in all.
type objects struct {
	dynamic.NamespaceableResourceInterface // what is not written here is not expected to be called
	real                                   dynamic.ResourceInterface
	cluster                                *Cluster
	resource                               schema.GroupVersionResource
	namespace                              string
}

// Namespace returns the objects of one namespace.
func (o *objects) Namespace(ns string) dynamic.ResourceInterface {
	return &objects{o.NamespaceableResourceInterface, o.NamespaceableResourceInterface.Namespace(ns), o.cluster, o.resource, ns}
}

func (o *objects) id(name string) id { return id{o.resource, o.namespace, name} }

// Get returns an object as it was written here, or as it is.
func (o *objects) Get(ctx context.Context, name string, options metav1.GetOptions, sub ...string) (*unstructured.Unstructured, error) {
	if u, ok := o.cluster.changed[o.id(name)]; ok {
		if u == nil {
			return nil, apierrors.NewNotFound(o.resource.GroupResource(), name)
		}
		return u.DeepCopy(), nil
	}
	return o.real.Get(ctx, name, options, sub...)
}

// List returns the objects as they were written here, and the others as they are.
func (o *objects) List(ctx context.Context, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	list, err := o.real.List(ctx, options)
	if err != nil {
		return nil, err
	}
	list.Items = slices.DeleteFunc(list.Items, func(u unstructured.Unstructured) bool {
		_, changed := o.cluster.changed[id{o.resource, u.GetNamespace(), u.GetName()}]
		return changed
	})
	if options.Continue != "" {
		return list, nil
	}
	selector, err := labels.Parse(options.LabelSelector)
	if err != nil {
		return nil, err
	}
	for key, u := range o.cluster.changed {
		if u != nil && key.resource == o.resource && (o.namespace == "" || key.namespace == o.namespace) &&
			selector.Matches(labels.Set(u.GetLabels())) {
			list.Items = append(list.Items, *u.DeepCopy())
		}
	}
	return list, nil
}

// put keeps a write. have is the object before it, nil if there was none; next is nil if it is deleted.
func (o *objects) put(key id, have, next *unstructured.Unstructured) {
	c := o.cluster
	if _, known := c.before[key]; !known {
		c.before[key] = have
	}
	for _, u := range []*unstructured.Unstructured{have, next} {
		if u != nil {
			c.kinds[key] = u.GroupVersionKind()
		}
	}
	c.changed[key] = next
}

// Create keeps a new object.
func (o *objects) Create(ctx context.Context, u *unstructured.Unstructured, _ metav1.CreateOptions,
	_ ...string) (*unstructured.Unstructured, error) {
	_, err := o.Get(ctx, u.GetName(), metav1.GetOptions{})
	switch {
	case err == nil:
		return nil, apierrors.NewAlreadyExists(o.resource.GroupResource(), u.GetName())
	case !apierrors.IsNotFound(err):
		return nil, err
	}
	next := u.DeepCopy()
	next.SetNamespace(o.namespace)
	o.cluster.serial++
	next.SetUID(types.UID(fmt.Sprintf("rehearsed-%d", o.cluster.serial)))
	next.SetResourceVersion("1")
	o.put(o.id(u.GetName()), nil, next)
	return next.DeepCopy(), nil
}

// Update keeps a new version of an object.
func (o *objects) Update(ctx context.Context, u *unstructured.Unstructured, _ metav1.UpdateOptions,
	_ ...string) (*unstructured.Unstructured, error) {
	have, err := o.Get(ctx, u.GetName(), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	o.put(o.id(u.GetName()), have, u.DeepCopy())
	return u.DeepCopy(), nil
}

// Patch keeps what a merge patch makes of an object.
func (o *objects) Patch(ctx context.Context, name string, kind types.PatchType, patch []byte, _ metav1.PatchOptions,
	_ ...string) (*unstructured.Unstructured, error) {
	if kind != types.MergePatchType {
		return nil, fmt.Errorf("patch %s %q: a %s cannot be rehearsed", o.resource.Resource, name, kind)
	}
	have, err := o.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(have.Object)
	if err != nil {
		return nil, err
	}
	if b, err = jsonpatch.MergePatch(b, patch); err != nil {
		return nil, err
	}
	next := &unstructured.Unstructured{}
	if err := next.UnmarshalJSON(b); err != nil {
		return nil, err
	}
	o.put(o.id(name), have, next)
	return next.DeepCopy(), nil
}

// Delete keeps that an object is gone.
func (o *objects) Delete(ctx context.Context, name string, _ metav1.DeleteOptions, _ ...string) error {
	have, err := o.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	o.put(o.id(name), have, nil)
	return nil
}

// errWrite is the answer to everything that would write and is not rehearsed.
func errWrite(verb string) error { return fmt.Errorf("%s: this is not rehearsed", verb) }

// UpdateStatus is refused.
func (o *objects) UpdateStatus(context.Context, *unstructured.Unstructured, metav1.UpdateOptions) (*unstructured.Unstructured, error) {
	return nil, errWrite("update a status")
}

// DeleteCollection is refused.
func (o *objects) DeleteCollection(context.Context, metav1.DeleteOptions, metav1.ListOptions) error {
	return errWrite("delete a collection")
}

// Apply is refused.
func (o *objects) Apply(context.Context, string, *unstructured.Unstructured, metav1.ApplyOptions, ...string) (*unstructured.Unstructured,
	error) {
	return nil, errWrite("apply")
}

// ApplyStatus is refused.
func (o *objects) ApplyStatus(context.Context, string, *unstructured.Unstructured, metav1.ApplyOptions) (*unstructured.Unstructured,
	error) {
	return nil, errWrite("apply a status")
}

// The verbs of a Write.
const (
	Create = "create"
	Update = "update"
	Delete = "delete"
)

// Write is what becomes of one object.
type Write struct {
	// Verb is create, update or delete.
	Verb       string `json:"verb"`
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	// Before and After are spec, labels and annotations. Of a Secret they are absent.
	Before map[string]any `json:"before,omitempty"`
	After  map[string]any `json:"after,omitempty"`
}

// Writes returns what has become of objects since the last Mark, by kind and name. An object that is as it was is not among them.
func (c *Cluster) Writes() []Write {
	out := []Write{}
	for key, before := range c.before {
		after := c.changed[key]
		w := Write{APIVersion: c.kinds[key].GroupVersion().String(), Kind: c.kinds[key].Kind, Namespace: key.namespace, Name: key.name,
			Before: content(before), After: content(after)}
		switch {
		case before == nil && after == nil, before != nil && after != nil && equality.Semantic.DeepEqual(data(before), data(after)):
			continue
		case before == nil:
			w.Verb = Create
		case after == nil:
			w.Verb = Delete
		default:
			w.Verb = Update
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b Write) int {
		return slices.Compare([]string{a.Kind, a.Namespace, a.Name}, []string{b.Kind, b.Namespace, b.Name})
	})
	return out
}

// data is everything about an object that its writer has a say in.
func data(u *unstructured.Unstructured) map[string]any {
	if u == nil {
		return nil
	}
	out := map[string]any{}
	for k, v := range u.Object {
		if k != "metadata" && k != "status" {
			out[k] = v
		}
	}
	out["labels"], out["annotations"] = u.GetLabels(), u.GetAnnotations()
	return out
}

// content is what may be shown of an object.
func content(u *unstructured.Unstructured) map[string]any {
	if u == nil || u.GetKind() == "Secret" {
		return nil
	}
	out := map[string]any{}
	if spec, ok := u.Object["spec"]; ok {
		out["spec"] = spec
	}
	if l := u.GetLabels(); len(l) > 0 {
		out["labels"] = l
	}
	return out
}
