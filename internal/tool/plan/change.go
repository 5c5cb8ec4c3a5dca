package plan

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/config"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// fieldManager is the name that dry runs carry: that of kubectl apply.
const fieldManager = "kubectl-client-side-apply"

// Change turns a Survey into what it would be.
type Change struct {
	Client client.Client
	// Namespace is where objects without a namespace go, as with kubectl apply.
	Namespace string
	// ServerSide has objects applied as kubectl apply --server-side does, else as kubectl apply does.
	ServerSide bool
	// Prune takes objects of the configuration that are not among the manifests as deleted.
	Prune bool

	then    *survey.Survey
	objects []Object
	gaps    []string
	astray  []string // warnings of objects that nobody would read
	unknown error    // an object that may not be read as it is
	seen    map[string]bool
}

// configKinds are the kinds of the configuration.
var configKinds = []string{"IPAddressPool", "BGPAdvertisement", "L2Advertisement", "Community", "BFDProfile", "BGPPeer",
	"AddressReservation"}

func isConfig(u *unstructured.Unstructured) bool {
	group := u.GroupVersionKind().Group
	return (group == v1beta1.GroupVersion.Group || group == v1alpha1.GroupVersion.Group) && slices.Contains(configKinds, u.GetKind())
}

func isCore(u *unstructured.Unstructured, kind string) bool {
	return u.GetAPIVersion() == "v1" && u.GetKind() == kind
}

// Make returns what the cluster would be with the manifests applied, and what would be done with each object.
func (c *Change) Make(ctx context.Context, now *survey.Survey, manifests []Manifest) (*survey.Survey, []Object, []string, error) {
	then := *now
	then.Services, then.Namespaces, then.Config = slices.Clone(now.Services), maps.Clone(now.Namespaces), cloned(now.Config)
	c.then, c.seen = &then, map[string]bool{}
	for _, m := range manifests {
		if err := c.object(ctx, m); err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", m.Source, err)
		}
	}
	if c.Prune {
		c.prune()
	}
	return c.then, c.objects, c.gaps, nil
}

func (c *Change) object(ctx context.Context, m Manifest) error {
	u := m.Unstructured.DeepCopy()
	o := Object{Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName(), Source: m.Source}
	configuration := isConfig(u)
	implied := u.GetNamespace() == "" && (configuration || isCore(u, "Service"))
	if implied {
		u.SetNamespace(c.Namespace)
	}
	o.Namespace = u.GetNamespace()
	id := o.Kind + " " + o.Namespace + "/" + o.Name
	switch {
	case !configuration && !isCore(u, "Service") && !isCore(u, "Namespace"):
		o.Action, o.Why = ActionIgnored, "objects of this kind have no part in who gets which address"
	case configuration && u.GetNamespace() != c.then.Namespace:
		o.Action, o.Why = ActionIgnored, fmt.Sprintf("the controller reads only namespace %q", c.then.Namespace)
		c.warn(&o, implied)
	case c.seen[id]:
		return fmt.Errorf("%s is there twice", id)
	}
	c.seen[id] = true
	if o.Action != ActionIgnored {
		next, action, why, err := c.apply(ctx, u)
		if err != nil {
			return err
		}
		o.Action, o.Why = action, why
		if action == ActionCreate || action == ActionChange {
			if err := c.store(next); err != nil {
				return err
			}
		}
	}
	c.objects = append(c.objects, o)
	return nil
}

// warn warns of an object of the configuration that would be stored where nobody reads it.
func (c *Change) warn(o *Object, implied bool) {
	text := fmt.Sprintf("%s %q would be stored in namespace %q and not be read there: the installation is in namespace %q", o.Kind, o.Name,
		o.Namespace, c.then.Namespace)
	if implied {
		text += fmt.Sprintf("; give it metadata.namespace: %s, or use -n %s, here and with kubectl apply", c.then.Namespace, c.then.Namespace)
	}
	c.astray = append(c.astray, text)
}

// apply returns what an object would be once it is applied, as the API server says, or, without permission for a dry run, as can be
// worked out here.
func (c *Change) apply(ctx context.Context, u *unstructured.Unstructured) (next *unstructured.Unstructured, action, why string, err error) {
	have := &unstructured.Unstructured{}
	have.SetGroupVersionKind(u.GroupVersionKind())
	err = c.Client.Get(ctx, client.ObjectKeyFromObject(u), have)
	switch {
	case apierrors.IsNotFound(err):
		have = nil
	case meta.IsNoMatchError(err):
		return nil, ActionInvalid, fmt.Sprintf("the API server does not have %s of %s; install the CustomResourceDefinitions first", u.GetKind(),
			u.GetAPIVersion()), nil
	case apierrors.IsForbidden(err):
		g := survey.GapOf(u.GetKind()+"s", err)
		c.gap(g.String())
		c.unknown = cmp.Or(c.unknown, fmt.Errorf("%w: %s", survey.ErrNotReadable, g.Why))
		have = nil
	case err != nil:
		return nil, "", "", err
	}
	next, err = c.dryRun(ctx, u, have)
	switch {
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err): // the latter: its namespace is not there yet
		if apierrors.IsForbidden(err) {
			c.gap(fmt.Sprintf("%s: no dry run on the API server; faults that only it finds are not told", survey.GapOf(u.GetKind()+"s", err).Why))
		}
		if next, err = locally(u, have); err != nil {
			return nil, "", "", err
		}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), isRefusal(err):
		return nil, ActionInvalid, err.Error(), nil
	case err != nil:
		return nil, "", "", err
	}
	switch {
	case have == nil:
		return next, ActionCreate, "", nil
	case same(have, next):
		return next, ActionUnchanged, "", nil
	}
	return next, ActionChange, "", nil
}

// isRefusal reports whether an error is the answer of an admission webhook.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && strings.Contains(status.Status().Message, "admission webhook")
}

func (c *Change) gap(text string) {
	if !slices.Contains(c.gaps, text) {
		c.gaps = append(c.gaps, text)
	}
}

// same reports whether two versions differ in nothing that matters here.
func same(a, b *unstructured.Unstructured) bool {
	return equality.Semantic.DeepEqual(a.Object["spec"], b.Object["spec"]) && equality.Semantic.DeepEqual(a.GetLabels(), b.GetLabels()) &&
		equality.Semantic.DeepEqual(told(a), told(b))
}

// told are the annotations of an object without kubectl's own.
func told(u *unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	for k, v := range u.GetAnnotations() {
		if k != corev1.LastAppliedConfigAnnotation {
			out[k] = v
		}
	}
	return out
}

// dryRun asks the API server what would become of an object; fields that it does not know are an error, as with kubectl.
func (c *Change) dryRun(ctx context.Context, u, have *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	next := u.DeepCopy()
	strict := client.FieldValidation(metav1.FieldValidationStrict)
	if c.ServerSide {
		b, err := json.Marshal(u.Object)
		if err != nil {
			return nil, err
		}
		return next, c.Client.Patch(ctx, next, client.RawPatch(types.ApplyPatchType, b), client.DryRunAll, strict, client.FieldOwner("kubectl"),
			client.ForceOwnership)
	}
	if have == nil {
		return next, c.Client.Create(ctx, next, client.DryRunAll, strict, client.FieldOwner(fieldManager))
	}
	kind, patch, err := threeWay(u, have)
	if err != nil {
		return nil, err
	}
	return next, c.Client.Patch(ctx, next, client.RawPatch(kind, patch), client.DryRunAll, strict, client.FieldOwner(fieldManager))
}

// threeWay returns the patch that kubectl apply sends: what the manifest says, and the removal of what the last one that was applied said
// and this one does not.
func threeWay(u, have *unstructured.Unstructured) (types.PatchType, []byte, error) {
	current, err := json.Marshal(have.Object)
	if err != nil {
		return "", nil, err
	}
	applied, err := json.Marshal(u.Object)
	if err != nil {
		return "", nil, err
	}
	// kubectl keeps the manifest in an annotation; without it, a manifest that has no annotations any more would drop those of others.
	marked := u.DeepCopy()
	annotations := marked.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[corev1.LastAppliedConfigAnnotation] = string(applied)
	marked.SetAnnotations(annotations)
	modified, err := json.Marshal(marked.Object)
	if err != nil {
		return "", nil, err
	}
	original := []byte(have.GetAnnotations()[corev1.LastAppliedConfigAnnotation])
	if !isCore(u, "Service") && !isCore(u, "Namespace") {
		patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(original, modified, current)
		return types.MergePatchType, patch, err
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(typeOf(u))
	if err != nil {
		return "", nil, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(original, modified, current, schema, true)
	return types.StrategicMergePatchType, patch, err
}

func typeOf(u *unstructured.Unstructured) runtime.Object {
	if isCore(u, "Service") {
		return &corev1.Service{}
	}
	return &corev1.Namespace{}
}

// locally works out what would become of an object without the API server.
func locally(u, have *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	next := u.DeepCopy()
	if have != nil {
		kind, patch, err := threeWay(u, have)
		if err != nil {
			return nil, err
		}
		current, err := json.Marshal(have.Object)
		if err != nil {
			return nil, err
		}
		var b []byte
		if kind == types.StrategicMergePatchType {
			b, err = strategicpatch.StrategicMergePatch(current, patch, typeOf(u))
		} else {
			b, err = jsonpatch.MergePatch(current, patch)
		}
		if err != nil {
			return nil, err
		}
		return next, next.UnmarshalJSON(b)
	}
	if isCore(u, "Service") {
		assumeClusterIPs(next)
	}
	return next, nil
}

// assumeClusterIPs gives a new Service cluster IPs of the families that it asks for, which decide about the families of its addresses.
func assumeClusterIPs(u *unstructured.Unstructured) {
	if ips, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "clusterIPs"); len(ips) > 0 {
		return
	}
	families, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "ipFamilies")
	if policy, _, _ := unstructured.NestedString(u.Object, "spec", "ipFamilyPolicy"); len(families) < 2 && policy != "" &&
		policy != string(corev1.IPFamilyPolicySingleStack) {
		families = []string{string(corev1.IPv4Protocol), string(corev1.IPv6Protocol)}
	}
	if len(families) == 0 {
		families = []string{string(corev1.IPv4Protocol)}
	}
	var ips []any
	for _, f := range families {
		ip := "192.0.2.1"
		if f == string(corev1.IPv6Protocol) {
			ip = "2001:db8::1"
		}
		ips = append(ips, ip)
	}
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	if spec == nil {
		spec = map[string]any{}
	}
	spec["clusterIPs"], spec["clusterIP"] = ips, ips[0]
	u.Object["spec"] = spec
}

// store puts an object into what the cluster would be.
func (c *Change) store(u *unstructured.Unstructured) error {
	if t := u.GetCreationTimestamp(); t.IsZero() || u.GetResourceVersion() == "" {
		u.SetCreationTimestamp(metav1.NewTime(c.then.At.Truncate(time.Second))) // it is new
	}
	o := &c.then.Config
	switch u.GetKind() {
	case "Namespace":
		c.then.Namespaces[u.GetName()] = u.GetLabels()
		return nil
	case "Service":
		return put(&c.then.Services, u)
	case "IPAddressPool":
		return put(&o.Pools, u)
	case "BGPAdvertisement":
		return put(&o.BGPAdvertisements, u)
	case "L2Advertisement":
		return put(&o.L2Advertisements, u)
	case "Community":
		return put(&o.Communities, u)
	case "BFDProfile":
		return put(&o.BFDProfiles, u)
	case "AddressReservation":
		return put(&o.Reservations, u)
	}
	o.Unreadable = slices.DeleteFunc(o.Unreadable, func(f config.Fault) bool { return f.Object.Name == u.GetName() })
	return put(&o.BGPPeers, u)
}

// put replaces or adds an object in a list.
func put[T any, P interface {
	*T
	metav1.Object
}](list *[]T, u *unstructured.Unstructured) error {
	var v T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &v); err != nil {
		return fmt.Errorf("read %s %s: %w", u.GetKind(), u.GetName(), err)
	}
	for i := range *list {
		if p := P(&(*list)[i]); p.GetName() == u.GetName() && p.GetNamespace() == u.GetNamespace() {
			(*list)[i] = v
			return nil
		}
	}
	*list = append(*list, v)
	return nil
}

// prune takes out the objects of the configuration that are not among the manifests. Holds are the controller's own.
func (c *Change) prune() {
	o := &c.then.Config
	gone := func(kind, name string) bool {
		if c.seen[kind+" "+c.then.Namespace+"/"+name] {
			return false
		}
		c.objects = append(c.objects, Object{Kind: kind, Namespace: c.then.Namespace, Name: name, Action: ActionDelete})
		return true
	}
	o.Pools = without(o.Pools, "IPAddressPool", gone)
	o.BGPAdvertisements = without(o.BGPAdvertisements, "BGPAdvertisement", gone)
	o.L2Advertisements = without(o.L2Advertisements, "L2Advertisement", gone)
	o.Communities = without(o.Communities, "Community", gone)
	o.BFDProfiles = without(o.BFDProfiles, "BFDProfile", gone)
	o.BGPPeers = without(o.BGPPeers, "BGPPeer", gone)
	o.Reservations = slices.DeleteFunc(o.Reservations, func(r v1alpha1.AddressReservation) bool {
		return !config.Hold(&r) && gone("AddressReservation", r.Name)
	})
	o.Unreadable = slices.DeleteFunc(o.Unreadable, func(f config.Fault) bool { return gone(f.Object.Kind, f.Object.Name) })
}

func without[T any, P interface {
	*T
	metav1.Object
}](list []T, kind string, gone func(kind, name string) bool) []T {
	return slices.DeleteFunc(list, func(x T) bool { return gone(kind, P(&x).GetName()) })
}

// cloned returns lists of their own, with the same objects.
func cloned(o config.Objects) config.Objects {
	return config.Objects{
		Pools: slices.Clone(o.Pools), BGPAdvertisements: slices.Clone(o.BGPAdvertisements), L2Advertisements: slices.Clone(o.L2Advertisements),
		Communities: slices.Clone(o.Communities), BFDProfiles: slices.Clone(o.BFDProfiles), BGPPeers: slices.Clone(o.BGPPeers),
		Reservations: slices.Clone(o.Reservations), Unreadable: slices.Clone(o.Unreadable),
	}
}
