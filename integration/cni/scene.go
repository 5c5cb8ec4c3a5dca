package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
)

// Scene is a Row that is under way on a Lab.
type Scene struct {
	*testing.T
	Lab      *Lab
	labelled map[string]bool // nodes whose labels were changed
	joined   map[string]bool // nodes that came
	made     []client.Object // that do not go with all of their kind
	undo     []func()        // what routers were told
	patience time.Duration
}

// NewScene begins a Scene beside the Rows of Run, which ends with the test. Whoever asks for it has started the controller.
func NewScene(t *testing.T, l *Lab) *Scene {
	s := newScene(t, l)
	t.Cleanup(s.end)
	return s
}

func newScene(t *testing.T, l *Lab) *Scene {
	return &Scene{T: t, Lab: l, labelled: map[string]bool{}, joined: map[string]bool{}, patience: patience}
}

// ourKinds are the kinds that a Row may make in the installation's namespace, with those first that are to go first.
func ourKinds() []client.Object {
	return []client.Object{
		&corev1.Service{}, &discoveryv1.EndpointSlice{}, &v1beta1.BGPAdvertisement{}, &v1beta1.L2Advertisement{}, &v1beta1.IPAddressPool{},
		&v1beta1.Community{}, &v1beta2.BGPPeer{}, &v1beta1.BFDProfile{}, &v1alpha1.AddressReservation{},
	}
}

// versions are those of the kinds that Rows write without one.
var versions = map[string]schema.GroupVersion{
	"IPAddressPool": v1beta1.GroupVersion, "BGPAdvertisement": v1beta1.GroupVersion, "L2Advertisement": v1beta1.GroupVersion, "Community": v1beta1.GroupVersion,
	"BFDProfile": v1beta1.GroupVersion, "BGPPeer": v1beta2.GroupVersion, "Service": corev1.SchemeGroupVersion, "Secret": corev1.SchemeGroupVersion,
	"ConfigMap": corev1.SchemeGroupVersion, "Namespace": corev1.SchemeGroupVersion,
	"CiliumBGPPeerConfig": ciliumGroup, "CiliumBGPClusterConfig": ciliumGroup, "CiliumBGPAdvertisement": ciliumGroup, "CiliumLoadBalancerIPPool": ciliumGroup,
}

// ciliumGroup is where Cilium's objects are, which belong to no namespace.
var ciliumGroup = schema.GroupVersion{Group: "cilium.io", Version: "v2"}

// fieldManager is that of the user.
const fieldManager = "user"

// Apply does what "kubectl apply --server-side" does with YAML documents. A document may leave out apiVersion and namespace.
func (s *Scene) Apply(text string) {
	s.Helper()
	for doc := range strings.SplitSeq(text, "\n---") {
		// Rows are indented with tabs, of which YAML knows nothing.
		raw := map[string]any{}
		require.NoError(s, yaml.Unmarshal([]byte(strings.ReplaceAll(doc, "\t", "  ")), &raw), doc)
		if len(raw) == 0 {
			continue
		}
		u := &unstructured.Unstructured{Object: raw}
		kind := u.GetKind()
		if u.GetAPIVersion() == "" {
			u.SetAPIVersion(versions[kind].String())
		}
		s.place(u)
		if kind == "Service" {
			s.service(u)
			continue
		}
		s.apply(u)
	}
}

func (s *Scene) place(u *unstructured.Unstructured) {
	u.SetName(strings.TrimSpace(u.GetName()))
	if gv, known := versions[u.GetKind()]; known && gv != ciliumGroup && u.GetKind() != "Namespace" && u.GetNamespace() == "" {
		u.SetNamespace(s.Lab.Namespace)
	}
}

func (s *Scene) apply(u *unstructured.Unstructured) {
	s.Helper()
	if u.GetNamespace() != s.Lab.Namespace || u.GetKind() == "Secret" {
		s.made = append(s.made, u)
	}
	require.NoError(s, s.Lab.Client.Apply(s.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(fieldManager), client.ForceOwnership))
}

// service applies a Service with what a Row leaves out.
func (s *Scene) service(u *unstructured.Unstructured) {
	s.Helper()
	var svc corev1.Service
	require.NoError(s, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &svc))
	if svc.Spec.Type == "" {
		svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	}
	if len(svc.Spec.Ports) == 0 {
		svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}}
	}
	if len(svc.Spec.IPFamilies) == 0 {
		svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	policy := corev1.IPFamilyPolicySingleStack
	if len(svc.Spec.IPFamilies) == 2 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	svc.Spec.IPFamilyPolicy = &policy
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&svc)
	require.NoError(s, err)
	delete(raw, "status")
	unstructured.RemoveNestedField(raw, "metadata", "creationTimestamp")
	// They may have been set before.
	slice := client.ObjectKey{Namespace: svc.Namespace, Name: svc.Name + "-ipv4"}
	if err := s.Lab.Client.Get(s.Context(), slice, &discoveryv1.EndpointSlice{}); err != nil {
		require.NoError(s, client.IgnoreNotFound(err))
		s.endpoints(&svc, nodeNames)
	}
	s.apply(&unstructured.Unstructured{Object: raw})
}

// SetEndpoints says on which nodes a Service of the installation's namespace, which may not exist yet, has ready endpoints.
func (s *Scene) SetEndpoints(service string, nodes ...string) {
	s.Helper()
	svc := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.Lab.Namespace, Name: service}}
	s.endpoints(&svc, nodes)
}

func (s *Scene) endpoints(svc *corev1.Service, nodes []string) {
	s.Helper()
	for family, addr := range map[discoveryv1.AddressType]string{discoveryv1.AddressTypeIPv4: "10.244.%d.10", discoveryv1.AddressTypeIPv6: "fd00:244:%d::10"} {
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: svc.Namespace, Name: svc.Name + "-" + strings.ToLower(string(family)),
				Labels: map[string]string{discoveryv1.LabelServiceName: svc.Name, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io"},
			},
			AddressType: family,
			Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
		}
		for _, n := range nodes {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{fmt.Sprintf(addr, int(n[1]-'0'))}, NodeName: &n,
				Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true)},
			})
		}
		old := &discoveryv1.EndpointSlice{}
		err := s.Lab.Client.Get(s.Context(), client.ObjectKeyFromObject(slice), old)
		if err != nil {
			require.NoError(s, client.IgnoreNotFound(err))
			require.NoError(s, s.Lab.Client.Create(s.Context(), slice))
			continue
		}
		old.Endpoints = slice.Endpoints
		require.NoError(s, s.Lab.Client.Update(s.Context(), old))
	}
}

// Remove deletes an object of the installation's namespace, or one without a namespace, named as Kind/name.
func (s *Scene) Remove(name string) {
	s.Helper()
	kind, name, _ := strings.Cut(name, "/")
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(versions[kind].WithKind(kind))
	u.SetName(name)
	s.place(u)
	require.NoError(s, s.Lab.Client.Delete(s.Context(), u))
}

// Label changes a label of a node: "n1 zone=a" sets it, "n1 zone-" removes it.
func (s *Scene) Label(change string) {
	s.Helper()
	node, label, ok := strings.Cut(change, " ")
	require.True(s, ok, change)
	var value any
	key, set, sets := strings.Cut(label, "=")
	if sets {
		value = set
	} else {
		key = strings.TrimSuffix(key, "-")
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{key: value}}})
	require.NoError(s, err)
	o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	require.NoError(s, s.Lab.Client.Patch(s.Context(), o, client.RawPatch(types.MergePatchType, patch)))
	s.labelled[node] = true
}

// Join has the spare node come.
func (s *Scene) Join() {
	s.Helper()
	s.joined[Spare] = true
	s.Lab.Join(s, Spare)
}

// Leave has the spare node go.
func (s *Scene) Leave() {
	s.Helper()
	delete(s.joined, Spare)
	s.Lab.Leave(s, Spare)
}

// Restart kills the controller and starts another one; args are those beside the usual ones and those of the Row.
func (s *Scene) Restart(args ...string) {
	s.Helper()
	s.Lab.stop()
	s.Lab.controller = nil
	s.Lab.start(s.T, append(slices.Clone(s.Lab.args), args...)...)
}

// end takes away what a Row has made.
func (s *Scene) end() {
	ctx := context.WithoutCancel(s.Context())
	for _, undo := range slices.Backward(s.undo) {
		undo()
	}
	for node := range s.joined {
		s.Lab.Leave(s, node)
	}
	for node := range s.labelled {
		err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			var o corev1.Node
			if err := s.Lab.Client.Get(ctx, client.ObjectKey{Name: node}, &o); err != nil {
				return client.IgnoreNotFound(err)
			}
			o.Labels = map[string]string{corev1.LabelHostname: node}
			return s.Lab.Client.Update(ctx, &o)
		})
		require.NoError(s, err)
	}
	for _, o := range s.made {
		require.NoError(s, client.IgnoreNotFound(s.Lab.Client.Delete(ctx, o)))
	}
	for _, kind := range ourKinds() {
		if _, peers := kind.(*v1beta2.BGPPeer); peers {
			continue
		}
		require.NoError(s, s.Lab.delete(ctx, kind, s.Lab.Namespace, client.MatchingFieldsSelector{Selector: fields.OneTermNotEqualSelector("metadata.name", "quiet")}), "%T", kind)
	}
}

// Advertised waits until the condition of a Service that says so begins with want, as "status reason: message".
func (s *Scene) Advertised(service, want string) string {
	s.Helper()
	var got string
	testbed.Eventually(s, "the condition Advertised of "+service+" to be "+want, func(ctx context.Context) error {
		var o corev1.Service
		if err := s.Lab.Client.Get(ctx, client.ObjectKey{Namespace: s.Lab.Namespace, Name: service}, &o); err != nil {
			return err
		}
		got = ""
		if c := meta.FindStatusCondition(o.Status.Conditions, "fairlead.io/Advertised"); c != nil {
			got = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
		if !strings.HasPrefix(got, want) {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	return got
}

// Neighbours has a router refuse the sessions of all nodes, or not any more.
func (s *Scene) Neighbours(router string, refuse bool) {
	s.Helper()
	s.neighbours(router, refuse, "shutdown")
}

// Neighbour has a router say something of all nodes until the Row ends, as "password hush".
func (s *Scene) Neighbour(router, what string) {
	s.Helper()
	s.neighbours(router, true, what)
	s.undo = append(s.undo, func() { s.neighbours(router, false, what) })
}

// neighbours has a router say something of all nodes, or not any more.
func (s *Scene) neighbours(router string, set bool, what string) {
	s.Helper()
	no := "no "
	if set {
		no = ""
	}
	commands := []string{"configure terminal", fmt.Sprintf("router bgp %d", routerASN(router))}
	for _, h := range s.Lab.hosts {
		for _, is6 := range []bool{false, true} {
			commands = append(commands, fmt.Sprintf("%sneighbor %s %s", no, h.Addr(is6), what))
		}
	}
	s.Lab.frr[router].Vtysh(commands...)
}

// said returns all that users are told, in objects and events.
func (s *Scene) said(ctx context.Context) (string, error) {
	var b strings.Builder
	lists := []client.ObjectList{
		&corev1.ServiceList{}, &v1beta1.IPAddressPoolList{}, &v1beta1.BGPAdvertisementList{}, &v1beta1.L2AdvertisementList{}, &v1beta2.BGPPeerList{}, &v1alpha1.BackendList{},
		&v1beta1.ConfigurationStateList{}, &corev1.EventList{},
	}
	for _, l := range lists {
		if err := s.Lab.Client.List(ctx, l); err != nil {
			return "", err
		}
		raw, err := json.Marshal(l)
		if err != nil {
			return "", err
		}
		var list struct {
			Items []struct {
				Metadata        metav1.ObjectMeta
				InvolvedObject  struct{ Namespace string }
				Status          map[string]any
				Reason, Message string
			}
		}
		if err := json.Unmarshal(raw, &list); err != nil {
			return "", err
		}
		for _, x := range list.Items {
			if x.Metadata.Namespace != s.Lab.Namespace && x.Metadata.Namespace != "" {
				continue
			}
			status, err := json.Marshal(maps.Collect(maps.All(x.Status)))
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "%T %s: %s %s %s\n", l, x.Metadata.Name, x.Reason, x.Message, strings.ReplaceAll(string(status), `\"`, `"`))
		}
	}
	return b.String(), nil
}
