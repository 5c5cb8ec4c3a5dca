package cilium

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"github.com/fairlead/fairlead/backends"
)

// pageSize bounds the answer to one request for a list.
const pageSize = 500

// client reads and writes objects of the kinds that are served.
type client struct {
	dynamic.Interface
	served       map[string]schema.GroupVersionResource
	fieldManager string
	installation string
	// raw are the objects as they were read, with the fields that the types do not have.
	raw map[key]*unstructured.Unstructured
}

func newClient(cfg Config, d Detection) *client {
	out := &client{
		Interface: cfg.Client, served: map[string]schema.GroupVersionResource{}, fieldManager: cfg.FieldManager, installation: cfg.Installation,
		raw: map[key]*unstructured.Unstructured{},
	}
	for kind, r := range d.served {
		out.served[kind] = r
	}
	out.served[kindSecret] = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	return out
}

// each lists objects page by page.
func each(ctx context.Context, r dynamic.ResourceInterface, selector labels.Selector, do func(*unstructured.Unstructured) error) error {
	options := metav1.ListOptions{Limit: pageSize}
	if selector != nil {
		options.LabelSelector = selector.String()
	}
	for {
		list, err := r.List(ctx, options)
		if err != nil {
			return err
		}
		for i := range list.Items {
			if err := do(&list.Items[i]); err != nil {
				return err
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// list returns all objects of a kind, none if it is not served.
func list[T any](ctx context.Context, c *client, kind, namespace string, selector labels.Selector) ([]*T, error) {
	resource, ok := c.served[kind]
	if !ok {
		return nil, nil
	}
	r := dynamic.ResourceInterface(c.Resource(resource))
	if namespace != "" {
		r = c.Resource(resource).Namespace(namespace)
	}
	var out []*T
	err := each(ctx, r, selector, func(u *unstructured.Unstructured) error {
		o := new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, o); err != nil {
			return fmt.Errorf("%q: %w", u.GetName(), err)
		}
		c.raw[key{kind, u.GetNamespace(), u.GetName()}] = u
		out = append(out, o)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", resource.GroupResource(), err)
	}
	return out, nil
}

// readWorld reads what there is. want are the sessions that are to be set up; Secrets are looked at only if there are any, where peer
// configs of ours are left, or where secrets says that some may be. Without a permission for Secrets there are none of ours, as long as
// no password is wanted.
func (c *client) readWorld(ctx context.Context, secretsNamespace string, want []backends.Peer, secrets bool) (*world, error) {
	peers := want != nil
	var w world
	var errs [6]error
	w.peerConfigs, errs[0] = list[v2.CiliumBGPPeerConfig](ctx, c, kindPeerConfig, "", nil)
	w.clusterConfigs, errs[1] = list[v2.CiliumBGPClusterConfig](ctx, c, kindClusterConfig, "", nil)
	w.adverts, errs[2] = list[v2.CiliumBGPAdvertisement](ctx, c, kindAdvert, "", nil)
	w.policies, errs[3] = list[v2alpha1.CiliumL2AnnouncementPolicy](ctx, c, kindPolicy, "", nil)
	if peers {
		w.nodeConfigs, errs[4] = list[v2.CiliumBGPNodeConfig](ctx, c, v2.BGPNCKindDefinition, "", nil)
	}
	for _, p := range w.peerConfigs {
		peers = peers || owned(p, c.installation)
	}
	if (peers || secrets) && secretsNamespace != "" {
		own := labels.SelectorFromSet(backends.OwnLabels(c.installation))
		w.secrets, errs[5] = list[corev1.Secret](ctx, c, kindSecret, secretsNamespace, own)
		password := slices.ContainsFunc(want, func(p backends.Peer) bool { return p.Password != "" })
		if !password && apierrors.IsForbidden(errs[5]) {
			errs[5] = nil
		}
	}
	return &w, errors.Join(errs[:]...)
}

// write carries out a change. An object that has changed since it was read is read again, and changed all the same if it is still
// ours: Cilium writes to the status of some.
func (c *client) write(ctx context.Context, ch change) error {
	k := ch.key()
	resource, ok := c.served[k.kind]
	if !ok {
		return fmt.Errorf("write %s: cilium.io does not serve this kind", k.quoted())
	}
	r := dynamic.ResourceInterface(c.Resource(resource))
	if k.namespace != "" {
		r = c.Resource(resource).Namespace(k.namespace)
	}
	w := writer{c, r, resource.GroupVersion().WithKind(k.kind)}
	what, do := "delete", w.delete
	switch {
	case ch.have == nil:
		what, do = "create", w.create
	case ch.want != nil:
		what, do = "update", w.update
	}
	first := true
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if !first {
			if err := w.readAgain(ctx, k); err != nil {
				return err
			}
		}
		first = false
		return do(ctx, ch)
	})
	if err != nil && !(ch.want == nil && apierrors.IsNotFound(err)) {
		return fmt.Errorf("%s %s: %w", what, k.quoted(), err)
	}
	return nil
}

// writer writes one object. The API server refuses fields that the installed CRD does not have, rather than dropping them.
type writer struct {
	*client
	r   dynamic.ResourceInterface
	gvk schema.GroupVersionKind
}

func (w writer) create(ctx context.Context, ch change) error {
	u, err := encode(ch.want, w.gvk)
	if err != nil {
		return err
	}
	_, err = w.r.Create(ctx, u, metav1.CreateOptions{FieldManager: w.fieldManager, FieldValidation: metav1.FieldValidationStrict})
	return err
}

func (w writer) update(ctx context.Context, ch change) error {
	u, err := encode(ch.want, w.gvk)
	if err != nil {
		return err
	}
	next := w.raw[ch.key()].DeepCopy()
	overlay(next, u)
	_, err = w.r.Update(ctx, next, metav1.UpdateOptions{FieldManager: w.fieldManager, FieldValidation: metav1.FieldValidationStrict})
	return err
}

func (w writer) delete(ctx context.Context, ch change) error {
	uid, version := w.raw[ch.key()].GetUID(), w.raw[ch.key()].GetResourceVersion()
	return w.r.Delete(ctx, ch.key().name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
}

func (w writer) readAgain(ctx context.Context, k key) error {
	u, err := w.r.Get(ctx, k.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !owned(u, w.installation) {
		return errors.New("its labels do not say any more that it is ours")
	}
	w.raw[k] = u
	return nil
}

// encode returns an object as it goes over the wire: without a status, which is the CNI's to write.
func encode(o object, gvk schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	if s, ok := o.(*corev1.Secret); ok {
		data := map[string]any{}
		for k, v := range s.Data {
			data[k] = base64.StdEncoding.EncodeToString(v)
		}
		u := &unstructured.Unstructured{Object: map[string]any{"data": data, "type": string(s.Type)}}
		identify(u, o, gvk)
		return u, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": content["spec"]}}
	identify(u, o, gvk)
	return u, nil
}

func identify(u *unstructured.Unstructured, o object, gvk schema.GroupVersionKind) {
	u.SetGroupVersionKind(gvk)
	u.SetName(o.GetName())
	u.SetNamespace(o.GetNamespace())
	u.SetLabels(o.GetLabels())
	u.SetAnnotations(o.GetAnnotations())
}

// overlay gives an existing object our labels, annotations and content, and leaves those of others.
func overlay(have, want *unstructured.Unstructured) {
	merge := func(have, want map[string]string) map[string]string {
		out := map[string]string{}
		for k, v := range have {
			if !ownLabel(k) {
				out[k] = v
			}
		}
		for k, v := range want {
			out[k] = v
		}
		return out
	}
	have.SetLabels(merge(have.GetLabels(), want.GetLabels()))
	have.SetAnnotations(merge(have.GetAnnotations(), want.GetAnnotations()))
	for _, field := range []string{"spec", "data"} {
		if v, ok := want.Object[field]; ok {
			have.Object[field] = v
		}
	}
}
