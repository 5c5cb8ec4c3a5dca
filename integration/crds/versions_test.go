package crds_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
)

const oldPeer = `{myASN: 4200000000, peerASN: 64513, peerAddress: "2001:db8::1", sourceAddress: "2001:db8::2", peerPort: 180,
  holdTime: 90s, keepaliveTime: 30s, routerID: 192.0.2.9, password: x, bfdProfile: b, ebgpMultiHop: true,
  nodeSelectors: [{matchLabels: {a: b}, matchExpressions: [{key: k, operator: In, values: [v, w]}]}]}`

// as reads the object "test" as another version.
func as(t *testing.T, version string) *unstructured.Unstructured {
	t.Helper()
	o := object(t, version, "BGPPeer", "")
	require.NoError(t, kube.Get(t.Context(), client.ObjectKeyFromObject(o), o))
	return o
}

// specOf returns the spec without the fields that only v1beta2 has and fills in.
func specOf(t *testing.T, o *unstructured.Unstructured) map[string]any {
	t.Helper()
	spec, _, err := unstructured.NestedMap(o.Object, "spec")
	require.NoError(t, err)
	delete(spec, "disableMP")
	delete(spec, "dualStackAddressFamily")
	return spec
}

func TestPeerKeepsItsFieldsAcrossVersions(t *testing.T) {
	o := object(t, "v1beta1", "BGPPeer", oldPeer)
	want := specOf(t, object(t, "v1beta2", "BGPPeer", oldPeer))
	require.NoError(t, create(t, o))
	assert.Equal(t, want, specOf(t, o), "as created")
	assert.Equal(t, want, specOf(t, as(t, "v1beta2")), "v1beta1 read as v1beta2")

	back := as(t, "v1beta1")
	back.SetLabels(map[string]string{"written": "back"})
	require.NoError(t, kube.Update(t.Context(), back))
	assert.Equal(t, want, specOf(t, as(t, "v1beta2")), "written back as v1beta1, read as v1beta2")
	assert.Equal(t, want, specOf(t, as(t, "v1beta1")), "written back as v1beta1, read as v1beta1")

	current := as(t, "v1beta2")
	require.NoError(t, unstructured.SetNestedField(current.Object, "red", "spec", "vrf"))
	require.NoError(t, kube.Update(t.Context(), current), "v1beta1 object updated as v1beta2")
}

func TestPeerReadsAsTypes(t *testing.T) {
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	require.NoError(t, v1beta1.AddToScheme(scheme))
	require.NoError(t, v1beta2.AddToScheme(scheme))
	typed, err := client.New(config, client.Options{Scheme: scheme})
	require.NoError(t, err)

	peer := &v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "test", Namespace: namespace}}
	peer.Spec.MyASN = 4294967295
	peer.Spec.DynamicASN = v1beta2.ExternalASN
	peer.Spec.Interface = "eth0"
	require.NoError(t, typed.Create(t.Context(), peer))
	t.Cleanup(func() { require.NoError(t, kube.Delete(context.Background(), object(t, "v1beta2", "BGPPeer", ""))) })
	assert.EqualValues(t, 179, peer.Spec.PeerPort)
	assert.EqualValues(t, 4294967295, peer.Spec.MyASN)

	old := &v1beta1.BGPPeer{}
	require.NoError(t, typed.Get(t.Context(), client.ObjectKeyFromObject(peer), old))
	assert.EqualValues(t, 4294967295, old.Spec.MyASN)
	assert.EqualValues(t, 179, old.Spec.PeerPort)

	backend := &v1alpha1.Backend{ObjectMeta: metav1.ObjectMeta{Name: "calico"}}
	require.NoError(t, typed.Create(t.Context(), backend))
	backend.Status = v1alpha1.BackendStatus{
		Serves:     []string{"bgp"},
		APIVersion: "projectcalico.org/v3",
		Owned: v1alpha1.OwnedObjects{APIVersion: "projectcalico.org/v3", CreatedDefault: true,
			Prefixes: []v1alpha1.OwnedPrefix{{Prefix: "192.0.2.0/24", Pool: "a"}, {Prefix: "2001:db8::/64", Pool: "a"}}},
	}
	want := backend.Status.DeepCopy()
	require.NoError(t, typed.Status().Update(t.Context(), backend))
	require.NoError(t, typed.Get(t.Context(), client.ObjectKeyFromObject(backend), backend))
	assert.Equal(t, *want, backend.Status)
}

func TestGracefulRestartCannotBeChanged(t *testing.T) {
	o := object(t, "v1beta2", "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, enableGracefulRestart: true}`)
	require.NoError(t, create(t, o))
	require.NoError(t, unstructured.SetNestedField(o.Object, false, "spec", "enableGracefulRestart"))
	found := causes(t, kube.Update(t.Context(), o))
	require.Len(t, found, 1)
	assert.Equal(t, "spec.enableGracefulRestart", found[0].Field)
	assert.Contains(t, found[0].Message, "enableGracefulRestart cannot be changed")
}

func TestPeerIsNotConverted(t *testing.T) {
	scheme := runtime.NewScheme()
	require.NoError(t, apiextensionsv1.AddToScheme(scheme))
	typed, err := client.New(config, client.Options{Scheme: scheme})
	require.NoError(t, err)
	crd := &apiextensionsv1.CustomResourceDefinition{}
	require.NoError(t, typed.Get(t.Context(), client.ObjectKey{Name: "bgppeers.metallb.io"}, crd))
	require.NotNil(t, crd.Spec.Conversion)
	assert.Equal(t, apiextensionsv1.NoneConverter, crd.Spec.Conversion.Strategy)
	assert.Equal(t, []string{"v1beta2"}, crd.Status.StoredVersions)
}
