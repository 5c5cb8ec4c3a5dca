package calico

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/fairlead/fairlead/backends"
)

// kinds are the kinds of objects beside the BGPConfiguration, in the order in which they are made: what is referred to comes first.
var kinds = []struct{ kind, resource string }{
	{"Secret", "secrets"}, {"Role", "roles"}, {"RoleBinding", "rolebindings"},
	{v3.KindBGPFilter, "bgpfilters"}, {v3.KindBGPPeer, "bgppeers"},
}

// content are the fields that are written, by kind: what else there is of spec is the user's or a default.
var content = map[string][][]string{
	"Secret":         {{"data"}},
	"Role":           {{"rules"}},
	"RoleBinding":    {{"subjects"}, {"roleRef"}},
	v3.KindBGPFilter: {{"spec", "exportV4"}, {"spec", "exportV6"}},
	v3.KindBGPPeer: {
		{"spec", "peerIP"}, {"spec", "asNumber"}, {"spec", "localASNumber"}, {"spec", "nodeSelector"}, {"spec", "filters"}, {"spec", "password"},
	},
}

// objects reads and writes them.
type objects struct {
	client       dynamic.Interface
	group        schema.GroupVersion // empty: Calico's own are not served
	installation string
	manager      string
}

// kindOf returns the kind as it goes over the wire, and where its objects are; nil if they are not served.
func (o *objects) kindOf(kind, namespace string) (schema.GroupVersionKind, dynamic.ResourceInterface) {
	i := slices.IndexFunc(kinds, func(k struct{ kind, resource string }) bool { return k.kind == kind })
	if i < 0 {
		return schema.GroupVersionKind{}, nil
	}
	gv := o.group
	switch kind {
	case "Secret":
		gv = corev1.SchemeGroupVersion
	case "Role", "RoleBinding":
		gv = rbacv1.SchemeGroupVersion
	default:
		if gv.Empty() {
			return schema.GroupVersionKind{}, nil
		}
		return gv.WithKind(kind), o.client.Resource(gv.WithResource(kinds[i].resource))
	}
	return gv.WithKind(kind), o.client.Resource(gv.WithResource(kinds[i].resource)).Namespace(namespace)
}

// wrapped is where Calico's API server keeps the metadata of an object that is stored as crd.projectcalico.org/v1
// (libcalico-go/lib/backend/k8s/resources/resources.go).
const wrapped = "projectcalico.org/metadata"

// owned reports whether an object belongs to this installation: it has our labels, plain or wrapped. That the record names it does
// not say so: an intent is recorded before it is known whether somebody else has an object of that name.
func (o *objects) owned(u *unstructured.Unstructured) bool {
	var inner metav1.ObjectMeta
	if w := u.GetAnnotations()[wrapped]; w != "" && json.Unmarshal([]byte(w), &inner) == nil && backends.Owned(inner.Labels, o.installation) {
		return true
	}
	return backends.Owned(u.GetLabels(), o.installation)
}

// world is the BGPPeers and BGPFilters that there are.
type world struct {
	peers   map[string]*v3.BGPPeer   // ours, by name
	filters map[string]*v3.BGPFilter // ours, by name
	foreign []v3.BGPPeer             // those of others
	objects map[string]*unstructured.Unstructured
}

// look reads it.
func (o *objects) look(ctx context.Context, d *Detection) (world, error) {
	w := world{peers: map[string]*v3.BGPPeer{}, filters: map[string]*v3.BGPFilter{}, objects: map[string]*unstructured.Unstructured{}}
	for _, k := range kinds {
		if !d.served[k.resource] {
			continue
		}
		_, r := o.kindOf(k.kind, "")
		list, err := r.List(ctx, metav1.ListOptions{})
		if err != nil {
			return world{}, fmt.Errorf("list %ss (%s): %w", k.kind, o.group, err)
		}
		for i := range list.Items {
			o.add(&w, k.kind, &list.Items[i])
		}
	}
	return w, nil
}

// add puts an object into the world.
func (o *objects) add(w *world, kind string, u *unstructured.Unstructured) {
	if w.objects == nil {
		return
	}
	w.objects[keyOf(kind, "", u.GetName())] = u
	owned := o.owned(u)
	switch kind {
	case v3.KindBGPPeer:
		var p v3.BGPPeer
		switch err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &p); {
		case err != nil:
		case owned:
			w.peers[p.Name] = &p
		default:
			w.foreign = append(w.foreign, p)
		}
	case v3.KindBGPFilter:
		var f v3.BGPFilter
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &f); err == nil && owned {
			w.filters[f.Name] = &f
		}
	}
}

// forget takes an object out of the world that was deleted.
func (w *world) forget(kind, name string) {
	delete(w.objects, keyOf(kind, "", name))
	switch kind {
	case v3.KindBGPPeer:
		delete(w.peers, name)
	case v3.KindBGPFilter:
		delete(w.filters, name)
	}
}

// ours returns the names of what is ours, as keyOf makes them: the record may have been lost. namespace is where passwords are.
func (w *world) ours(namespace string) []string {
	var out []string
	for name, p := range w.peers {
		out = append(out, keyOf(v3.KindBGPPeer, "", name))
		if p.Spec.Password != nil && p.Spec.Password.SecretKeyRef != nil {
			for _, kind := range []string{"Secret", "Role", "RoleBinding"} {
				out = append(out, keyOf(kind, namespace, p.Spec.Password.SecretKeyRef.Name))
			}
		}
	}
	for name := range w.filters {
		out = append(out, keyOf(v3.KindBGPFilter, "", name))
	}
	return out
}

// result is what became of writing an object.
type result struct {
	key     string
	wrote   bool // it was not so yet
	foreign bool // it is somebody else's and was left alone
	err     error
}

func foreignFinding(key string) backends.Finding {
	kind, namespace, name := splitKey(key)
	return backends.Finding{
		Type: backends.Contended, Object: backends.Source{Kind: kind, Namespace: namespace, Name: name},
		Message: "somebody else's object has the name that is needed: it is left alone, and its session is not as asked for; rename or delete it",
	}
}

// put makes those objects of s that are of some kinds what they are to be, and goes on after a failure; but it makes no BGPPeer whose
// Secret or BGPFilter could not be written: broken has those, by key.
func (o *objects) put(ctx context.Context, s *sessions, w *world, broken map[string]error, some ...string) []result {
	var out []result
	for _, k := range kinds {
		if !slices.Contains(some, k.kind) {
			continue
		}
		for _, x := range s.objects {
			if kindName(x) != k.kind {
				continue
			}
			r := result{key: keyOf(k.kind, x.GetNamespace(), x.GetName())}
			if p, ok := x.(*v3.BGPPeer); ok {
				r.err = missing(p, s.namespace, broken)
			}
			if r.err == nil {
				r.wrote, r.foreign, r.err = o.putOne(ctx, k.kind, x, w)
			}
			switch {
			case r.err != nil:
				r.err = fmt.Errorf("write %s: %w", r.key, r.err)
				broken[r.key] = r.err
			case r.foreign:
				broken[r.key] = errors.New("it is somebody else's")
			}
			out = append(out, r)
		}
	}
	return out
}

// missing returns why a BGPPeer cannot be made, if something that it refers to is broken.
func missing(p *v3.BGPPeer, namespace string, broken map[string]error) error {
	var needs []string
	for _, f := range p.Spec.Filters {
		needs = append(needs, keyOf(v3.KindBGPFilter, "", f))
	}
	if p.Spec.Password != nil {
		needs = append(needs, keyOf("Secret", namespace, p.Spec.Password.SecretKeyRef.Name))
	}
	for _, k := range needs {
		if err := broken[k]; err != nil {
			return fmt.Errorf("without %s: %w", k, err)
		}
	}
	return nil
}

func (o *objects) putOne(ctx context.Context, kind string, x object, w *world) (wrote, foreign bool, err error) {
	gvk, r := o.kindOf(kind, x.GetNamespace())
	want, err := encode(x, gvk)
	if err != nil {
		return false, false, err
	}
	have := w.objects[keyOf(kind, "", x.GetName())]
	if x.GetNamespace() != "" {
		if have, err = r.Get(ctx, want.GetName(), metav1.GetOptions{}); apierrors.IsNotFound(err) {
			have = nil
		} else if err != nil {
			return false, false, err
		}
	}
	if have == nil {
		stored, err := r.Create(ctx, want, metav1.CreateOptions{FieldManager: o.manager, FieldValidation: metav1.FieldValidationStrict})
		if err == nil {
			o.add(w, kind, stored)
		}
		return true, false, err
	}
	if !o.owned(have) {
		return false, true, nil
	}
	next, err := brought(kind, have, want)
	if err != nil || reflect.DeepEqual(have.Object, next.Object) {
		return false, false, err
	}
	stored, err := r.Update(ctx, next, metav1.UpdateOptions{FieldManager: o.manager, FieldValidation: metav1.FieldValidationStrict})
	if err == nil {
		o.add(w, kind, stored)
	}
	return true, false, err
}

// brought returns an object of ours as it has to be, with what is not ours to say as it is.
func brought(kind string, have, want *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	next := have.DeepCopy()
	for _, path := range content[kind] {
		v, ok, err := unstructured.NestedFieldCopy(want.Object, path...)
		if err != nil {
			return nil, err
		}
		if !ok {
			unstructured.RemoveNestedField(next.Object, path...)
		} else if err := unstructured.SetNestedField(next.Object, v, path...); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// differs reports whether objects of s of a kind without namespaces are not there as they are to be, or others of the recorded ones
// are there still.
func (o *objects) differs(s *sessions, w *world, recorded []string, kind string) bool {
	wanted := map[string]bool{}
	for _, x := range s.objects {
		if kindName(x) != kind {
			continue
		}
		key := keyOf(kind, "", x.GetName())
		wanted[key] = true
		gvk, _ := o.kindOf(kind, "")
		want, err := encode(x, gvk)
		have := w.objects[key]
		if err != nil || have == nil {
			return true
		}
		if next, err := brought(kind, have, want); o.owned(have) && (err != nil || !reflect.DeepEqual(have.Object, next.Object)) {
			return true
		}
	}
	return slices.ContainsFunc(recorded, func(key string) bool {
		k, _, _ := splitKey(key)
		return k == kind && !wanted[key] && !s.keep[key] && w.objects[key] != nil && o.owned(w.objects[key])
	})
}

// sweep deletes the recorded objects that s neither wants nor keeps, in reverse order, and returns those that are left. What has our
// name but not our labels is somebody else's. What Calico does not serve any more is gone. Kinds limit it to some.
func (o *objects) sweep(ctx context.Context, recorded []string, s *sessions, w *world, some ...string) (left []string, err error) {
	wanted := map[string]bool{}
	for _, k := range s.keys() {
		wanted[k] = true
	}
	var failed []error
	for _, k := range slices.Backward(kinds) {
		for _, key := range recorded {
			kind, namespace, name := splitKey(key)
			if kind != k.kind || wanted[key] || s.keep[key] || len(some) > 0 && !slices.Contains(some, kind) {
				continue
			}
			if err := o.remove(ctx, kind, namespace, name); err != nil {
				failed, left = append(failed, fmt.Errorf("delete %s: %w", key, err)), append(left, key)
				continue
			}
			w.forget(kind, name)
		}
	}
	return left, errors.Join(failed...)
}

func (o *objects) remove(ctx context.Context, kind, namespace, name string) error {
	_, r := o.kindOf(kind, namespace)
	if r == nil {
		return nil
	}
	u, err := r.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !o.owned(u) {
		return nil
	}
	uid := u.GetUID()
	err = r.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// keys names the objects.
func (s *sessions) keys() []string {
	var out []string
	for _, x := range s.objects {
		out = append(out, keyOf(kindName(x), x.GetNamespace(), x.GetName()))
	}
	return out
}

func kindName(x any) string {
	return reflect.TypeOf(x).Elem().Name()
}

// encode returns an object as it goes over the wire, with the same types of numbers as the API server's answer.
func encode(x object, gvk schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	x = x.DeepCopyObject().(object)
	x.GetObjectKind().SetGroupVersionKind(gvk)
	b, err := json.Marshal(x)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(b); err != nil {
		return nil, err
	}
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	return u, nil
}

// object is what a session is made of.
type object = interface {
	metav1.Object
	runtime.Object
}
