package calico

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// objects reads and writes them.
type objects struct {
	client       dynamic.Interface
	group        schema.GroupVersion
	namespace    string // of Secrets, Roles and RoleBindings
	installation string
	manager      string
	recorded     []string // those the record names
}

func (o *objects) kindOf(kind string) (schema.GroupVersionKind, dynamic.ResourceInterface) {
	i := slices.IndexFunc(kinds, func(k struct{ kind, resource string }) bool { return k.kind == kind })
	switch kind {
	case "Secret":
		return corev1.SchemeGroupVersion.WithKind(kind), o.client.Resource(corev1.SchemeGroupVersion.WithResource(kinds[i].resource)).Namespace(o.namespace)
	case "Role", "RoleBinding":
		return rbacv1.SchemeGroupVersion.WithKind(kind), o.client.Resource(rbacv1.SchemeGroupVersion.WithResource(kinds[i].resource)).Namespace(o.namespace)
	}
	return o.group.WithKind(kind), o.client.Resource(o.group.WithResource(kinds[i].resource))
}

// wrapped is where Calico's API server keeps the metadata of an object that is stored as crd.projectcalico.org/v1
// (libcalico-go/lib/backend/k8s/resources/resources.go).
const wrapped = "projectcalico.org/metadata"

// owned reports whether an object belongs to this installation: the record names it, or it has our labels, plain or wrapped.
func (o *objects) owned(u *unstructured.Unstructured) bool {
	ours := func(l map[string]string) bool {
		return l[labelManagedBy] == managedBy && l[labelInstallation] == o.installation
	}
	var inner metav1.ObjectMeta
	if w := u.GetAnnotations()[wrapped]; w != "" && json.Unmarshal([]byte(w), &inner) == nil && ours(inner.Labels) {
		return true
	}
	return ours(u.GetLabels()) || slices.Contains(o.recorded, keyOf(u.GetKind(), u.GetNamespace(), u.GetName()))
}

// foreignPeers returns the BGPPeers of others.
func (o *objects) foreignPeers(ctx context.Context) ([]v3.BGPPeer, error) {
	_, r := o.kindOf(v3.KindBGPPeer)
	list, err := r.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list BGPPeers (%s): %w", o.group, err)
	}
	var out []v3.BGPPeer
	for i := range list.Items {
		var p v3.BGPPeer
		if o.owned(&list.Items[i]) || runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &p) != nil {
			continue
		}
		out = append(out, p)
	}
	return out, nil
}

// put makes the objects of s what they are to be, and goes on after a failure. It returns a finding for each that is somebody else's.
func (o *objects) put(ctx context.Context, s *sessions) (findings []backends.Finding, err error) {
	var failed []error
	for _, k := range kinds {
		gvk, r := o.kindOf(k.kind)
		for _, x := range s.objects {
			if kindName(x) != k.kind {
				continue
			}
			want, err := encode(x, gvk)
			if err != nil {
				return nil, err
			}
			foreign, err := o.putOne(ctx, r, want)
			if err != nil {
				failed = append(failed, fmt.Errorf("write %s: %w", keyOf(k.kind, want.GetNamespace(), want.GetName()), err))
			}
			if foreign {
				findings = append(findings, backends.Finding{
					Type: backends.Contended, Object: backends.Source{Kind: k.kind, Namespace: want.GetNamespace(), Name: want.GetName()},
					Message: "somebody else's object has the name that is needed: it is left alone, and its session is not as asked for; rename or delete it",
				})
			}
		}
	}
	return findings, errors.Join(failed...)
}

func (o *objects) putOne(ctx context.Context, r dynamic.ResourceInterface, want *unstructured.Unstructured) (foreign bool, err error) {
	have, err := r.Get(ctx, want.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = r.Create(ctx, want, metav1.CreateOptions{FieldManager: o.manager, FieldValidation: metav1.FieldValidationStrict})
		return false, err
	}
	if err != nil {
		return false, err
	}
	if !o.owned(have) {
		return true, nil
	}
	if equal(have, want) {
		return false, nil
	}
	next := have.DeepCopy()
	for _, field := range content {
		if v, ok := want.Object[field]; ok {
			next.Object[field] = v
		}
	}
	_, err = r.Update(ctx, next, metav1.UpdateOptions{FieldManager: o.manager, FieldValidation: metav1.FieldValidationStrict})
	return false, err
}

// content are the fields of an object that are not metadata, of any of kinds.
var content = []string{"spec", "data", "rules", "subjects", "roleRef"}

// equal reports whether have says what want does, with the defaults of Calico's API server.
func equal(have, want *unstructured.Unstructured) bool {
	for _, field := range content {
		h, w := have.Object[field], want.Object[field]
		if spec, ok := h.(map[string]any); ok && field == "spec" {
			spec = maps.Clone(spec)
			if spec["sourceAddress"] == string(v3.SourceAddressUseNodeIP) {
				delete(spec, "sourceAddress")
			}
			h = spec
		}
		if !reflect.DeepEqual(h, w) {
			return false
		}
	}
	return true
}

// sweep deletes the recorded objects that s neither wants nor keeps, in reverse order, and returns those that are left.
func (o *objects) sweep(ctx context.Context, s *sessions) (left []string, err error) {
	wanted := map[string]bool{}
	for _, x := range s.objects {
		wanted[keyOf(kindName(x), x.GetNamespace(), x.GetName())] = true
	}
	var failed []error
	for _, k := range slices.Backward(kinds) {
		_, r := o.kindOf(k.kind)
		for _, key := range o.recorded {
			kind, name := splitKey(key)
			if kind != k.kind || wanted[key] || s.keep[key] {
				continue
			}
			if err := r.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				failed, left = append(failed, fmt.Errorf("delete %s: %w", key, err)), append(left, key)
			}
		}
	}
	return left, errors.Join(failed...)
}

func splitKey(key string) (kind, name string) {
	for i := range key {
		if key[i] == '/' && kind == "" {
			kind = key[:i]
		}
		if key[i] == '/' {
			name = key[i+1:]
		}
	}
	return kind, name
}

func kindName(x any) string {
	return reflect.TypeOf(x).Elem().Name()
}

// encode returns an object as it goes over the wire.
func encode(x any, gvk schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	b, err := json.Marshal(x)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(b, &u.Object); err != nil {
		return nil, err
	}
	u.SetGroupVersionKind(gvk)
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	// Through the same numbers as the API server's answer: int64 in place of float64.
	raw, err := u.MarshalJSON()
	if err != nil {
		return nil, err
	}
	out := &unstructured.Unstructured{}
	return out, out.UnmarshalJSON(raw)
}

// object is what a session is made of.
type object = interface {
	metav1.Object
	runtime.Object
}
