package backends

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"testing"

	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2alpha1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
	"github.com/fairlead/fairlead/backends/cilium"
)

// TestCiliumObjects: every object that is written decodes strictly into the official type of its version. The API server has
// checked it against the CRD's rules, and refused fields that the CRD does not have.
func TestCiliumObjects(t *testing.T) {
	for name, types := range map[string]map[string]func() any{
		"v2": {
			v2.BGPAKindDefinition: func() any { return &v2.CiliumBGPAdvertisement{} }, v2.BGPPCKindDefinition: func() any { return &v2.CiliumBGPPeerConfig{} },
			v2.BGPCCKindDefinition:                func() any { return &v2.CiliumBGPClusterConfig{} },
			v2alpha1.L2AnnouncementKindDefinition: func() any { return &v2alpha1.CiliumL2AnnouncementPolicy{} }, "Secret": func() any { return &corev1.Secret{} },
		},
		"v2alpha1": {
			v2.BGPAKindDefinition: func() any { return &v2alpha1.CiliumBGPAdvertisement{} }, v2.BGPPCKindDefinition: func() any { return &v2alpha1.CiliumBGPPeerConfig{} },
			v2.BGPCCKindDefinition:                func() any { return &v2alpha1.CiliumBGPClusterConfig{} },
			v2alpha1.L2AnnouncementKindDefinition: func() any { return &v2alpha1.CiliumL2AnnouncementPolicy{} }, "Secret": func() any { return &corev1.Secret{} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := installCilium(t, name == "v2alpha1")
			t.Cleanup(func() { f.Reset(t) })
			want := full()
			want.L2Advertisements = []backends.L2Advertisement{{
				Source: source("L2Advertisement", "lan"), Pools: poolsNamed("main"), Interfaces: []string{"eth0"},
				NodeSelectors: []labels.Selector{selector("rack=1")}, ServiceSelectors: []labels.Selector{selector("app=web,!hidden")},
			}}
			require.NoError(t, f.New(t, &backendtest.Recorder{}).Apply(t.Context(), want))
			kinds := map[string]int{}
			for _, u := range f.all(t) {
				kinds[u.GetKind()]++
				b, err := json.Marshal(u.Object)
				require.NoError(t, err)
				typed := types[u.GetKind()]()
				require.NoError(t, yaml.UnmarshalStrict(b, typed), "%s", b)
				before, err := json.Marshal(u.Object["spec"])
				require.NoError(t, err)
				again, err := json.Marshal(typed)
				require.NoError(t, err)
				var back struct {
					Spec json.RawMessage `json:"spec"`
				}
				require.NoError(t, json.Unmarshal(again, &back))
				if u.GetKind() != "Secret" {
					assert.JSONEq(t, string(before), string(back.Spec), "%s says something that its type does not know", u.GetName())
				}
			}
			assert.Equal(t, map[string]int{
				v2.BGPAKindDefinition: 2, v2.BGPPCKindDefinition: 4, v2.BGPCCKindDefinition: 3, v2alpha1.L2AnnouncementKindDefinition: 1, "Secret": 1,
			}, kinds)
		})
	}
}

// report keeps the newest outcome.
func (f ciliumFixture) report(t testing.TB, change ...func(*cilium.Config)) (*cilium.Backend, *backends.Outcome, *backendtest.Recorder) {
	out, r := &backends.Outcome{}, &backendtest.Recorder{}
	c := f.config(t, r)
	c.Report = func(o backends.Outcome) { *out = o }
	for _, ch := range change {
		ch(&c)
	}
	return cilium.New(c), out, r
}

// roundTripper is a function that sends requests on.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func found(o *backends.Outcome) []string {
	var out []string
	for _, f := range o.Findings {
		out = append(out, string(f.Type)+" "+f.Object.String()+" "+f.Field)
	}
	return out
}

// TestCiliumFaults: one thing is wrong, and nothing else suffers.
func TestCiliumFaults(t *testing.T) {
	f := installCilium(t, false)
	adverts := f.bgp.WithResource(v2.BGPAPluralName)
	get := func(t *testing.T, name string) *unstructured.Unstructured {
		u, err := objects.Resource(adverts).Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		return u
	}
	t.Run("two installations", func(t *testing.T) {
		defer f.Reset(t)
		ours, outcome, _ := f.report(t)
		other, otherOutcome, _ := f.report(t, func(c *cilium.Config) { c.Installation = "other" })
		want := f.States()[1].Want
		require.NoError(t, ours.Apply(t.Context(), want))
		before := f.Versions(t)
		require.NoError(t, other.Apply(t.Context(), want))
		assert.Equal(t, before, f.Versions(t))
		assert.Equal(t, []string{"Contended CiliumBGPAdvertisement/fairlead-bgpadv-all metadata.labels"}, found(otherOutcome))
		assert.False(t, otherOutcome.Pools["main"].Advertised)
		assert.Equal(t, []string{"BackendInactive BGPAdvertisement/fairlead-system/all "}, found(outcome), "no peer config selects it")
		require.NoError(t, other.Apply(t.Context(), backends.Desired{}))
		assert.Equal(t, before, f.Versions(t), "it is not the other's to remove")
	})
	t.Run("edited by somebody else", func(t *testing.T) {
		defer f.Reset(t)
		b, _, r := f.report(t)
		want := f.States()[1].Want
		require.NoError(t, b.Apply(t.Context(), want))
		u := get(t, "fairlead-bgpadv-all")
		u.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "fairlead", "fairlead.io/installation": ourNamespace, "team": "net"})
		require.NoError(t, unstructured.SetNestedSlice(u.Object, []any{}, "spec", "advertisements"))
		_, err := objects.Resource(adverts).Update(t.Context(), u, metav1.UpdateOptions{})
		require.NoError(t, err)
		r.Take()
		require.NoError(t, b.Apply(t.Context(), want))
		assert.Len(t, r.Take(), 1)
		u = get(t, "fairlead-bgpadv-all")
		assert.Equal(t, "net", u.GetLabels()["team"], "labels of others stay")
		assert.Equal(t, "true", u.GetLabels()["fairlead.io/advertise"])
		list, _, _ := unstructured.NestedSlice(u.Object, "spec", "advertisements")
		assert.Len(t, list, 1)
	})
	t.Run("the namespace of passwords is missing", func(t *testing.T) {
		defer f.Reset(t)
		configure(t, map[string]string{"enable-bgp-control-plane": "true", "bgp-secrets-namespace": "nowhere"})
		defer configure(t, map[string]string{"enable-bgp-control-plane": "true", "enable-l2-announcements": "true", "bgp-secrets-namespace": secretsNS})
		b, outcome, _ := f.report(t)
		want := full()
		err := b.Apply(t.Context(), want)
		require.ErrorContains(t, err, `create Secret "nowhere/fairlead-bgppeer-tor-a": namespaces "nowhere" not found`)
		for _, owned := range outcome.Owned {
			assert.NotContains(t, owned, "Secret")
		}
		_, err = objects.Resource(f.bgp.WithResource(v2.BGPPCPluralName)).Get(t.Context(), "fairlead-bgppeer-tor-a.n1", metav1.GetOptions{})
		assert.True(t, client.IgnoreNotFound(err) == nil && err != nil, "a session without its password")
		_, err = objects.Resource(f.bgp.WithResource(v2.BGPPCPluralName)).Get(t.Context(), "fairlead-bgppeer-tor-b.n1", metav1.GetOptions{})
		assert.NoError(t, err, "the other peer does not suffer")
		get(t, "fairlead-bgpadv-all")
	})
	t.Run("switched off, and LB-IPAM awake", func(t *testing.T) {
		defer f.Reset(t)
		configure(t, map[string]string{})
		defer configure(t, map[string]string{"enable-bgp-control-plane": "true", "enable-l2-announcements": "true", "bgp-secrets-namespace": secretsNS})
		pool := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"disabled": true, "blocks": []any{map[string]any{"cidr": "10.0.0.0/24"}}}}}
		pool.SetGroupVersionKind(v2.SchemeGroupVersion.WithKind(v2.PoolKindDefinition))
		pool.SetName("blue")
		require.NoError(t, kube.Create(t.Context(), pool))
		defer func() { require.NoError(t, kube.Delete(context.Background(), pool)) }()
		b, outcome, r := f.report(t)
		require.NoError(t, b.Apply(t.Context(), f.States()[1].Want))
		assert.NotEmpty(t, r.Take(), "it is ready for the day when it is switched on")
		assert.Equal(t, []string{
			"BackendInactive ConfigMap/kube-system/cilium-config data.enable-bgp-control-plane", "IPAMConflict ConfigMap/kube-system/cilium-config data.enable-lb-ipam",
		}, found(outcome))
		assert.Equal(t, backends.PoolOutcome{Message: "Cilium: its BGP control plane is off"}, outcome.Pools["main"])
		assert.Equal(t, "cilium.io/v2", outcome.APIVersion)
	})
	t.Run("changed while it is written", func(t *testing.T) {
		defer f.Reset(t)
		b, _, r := f.report(t)
		one, two := f.States()[1].Want, f.States()[1].Want
		two.BGPAdvertisements = []backends.BGPAdvertisement{one.BGPAdvertisements[0]}
		two.BGPAdvertisements[0].LocalPref = 200
		require.NoError(t, b.Apply(t.Context(), one))
		touch := func(labels map[string]string) { // by somebody else, before the next write arrives
			next := r.Next
			r.Next = roundTripper(func(req *http.Request) (*http.Response, error) {
				if req.Method != http.MethodGet {
					r.Next = next
					u := get(t, "fairlead-bgpadv-all")
					all := u.GetLabels()
					maps.Copy(all, labels)
					u.SetLabels(all)
					_, err := objects.Resource(adverts).Update(t.Context(), u, metav1.UpdateOptions{})
					require.NoError(t, err)
				}
				return next.RoundTrip(req)
			})
		}
		touch(map[string]string{"team": "net"})
		require.NoError(t, b.Apply(t.Context(), two))
		u := get(t, "fairlead-bgpadv-all")
		assert.Equal(t, "net", u.GetLabels()["team"])
		list, _, _ := unstructured.NestedSlice(u.Object, "spec", "advertisements")
		assert.Contains(t, fmt.Sprint(list), "localPreference:200")

		touch(map[string]string{"fairlead.io/installation": "another"})
		assert.ErrorContains(t, b.Apply(t.Context(), backends.Desired{}), `delete CiliumBGPAdvertisement "fairlead-bgpadv-all": its labels do not say any more that it is ours`)
		get(t, "fairlead-bgpadv-all")
		require.NoError(t, b.Apply(t.Context(), backends.Desired{}))
		get(t, "fairlead-bgpadv-all")
	})
	t.Run("a value that the CRD refuses", func(t *testing.T) {
		defer f.Reset(t)
		b, _, _ := f.report(t)
		want := f.States()[1].Want
		want.BGPAdvertisements[0].Communities = []backends.Community{{Parts: [3]uint32{70000, 1}}} // no such standard community
		err := b.Apply(t.Context(), want)
		var announce *backends.AnnounceError
		require.ErrorAs(t, err, &announce)
		assert.Equal(t, "192.0.2.0/24", announce.Prefix.String())
		assert.ErrorContains(t, err, `create CiliumBGPAdvertisement "fairlead-bgpadv-all"`)
		assert.ErrorContains(t, err, "communities.standard")
	})
}

// TestCiliumOldSchema: a CRD without the fields for aggregation gets none, and what is written stays as it is.
func TestCiliumOldSchema(t *testing.T) {
	list := ciliumCRDs(t, false)
	for _, crd := range list {
		if crd.Spec.Names.Plural != v2.BGPAPluralName {
			continue
		}
		for _, v := range crd.Spec.Versions {
			advert := v.Schema.OpenAPIV3Schema.Properties["spec"].Properties["advertisements"].Items.Schema
			delete(advert.Properties["service"].Properties, "aggregationLengthIPv4")
			delete(advert.Properties["service"].Properties, "aggregationLengthIPv6")
		}
	}
	install(t, list)
	f := ciliumFixture{v2.SchemeGroupVersion}
	defer f.Reset(t)
	schemaIsServed(t, v2.SchemeGroupVersion, v2.BGPAKindDefinition)
	b, outcome, r := f.report(t)
	want := full()
	want.Peers = nil
	want.BGPAdvertisements[1].NodeSelectors = nil
	require.NoError(t, b.Apply(t.Context(), want))
	assert.Equal(t, []string{
		"UnsupportedField BGPAdvertisement/fairlead-system/limited spec.aggregationLength", "UnsupportedField BGPAdvertisement/fairlead-system/limited spec.aggregationLengthV6",
		"BackendInactive BGPAdvertisement/fairlead-system/all ", "BackendInactive BGPAdvertisement/fairlead-system/limited ",
	}, found(outcome))
	r.Take()
	require.NoError(t, b.Apply(t.Context(), want))
	assert.Empty(t, r.Take())
}

// TestCiliumGone: without its API there is nothing to take back, and nothing can be advertised.
func TestCiliumGone(t *testing.T) {
	list := ciliumCRDs(t, false)
	require.NoError(t, cluster.InstallCRDs(list...))
	f := ciliumFixture{v2.SchemeGroupVersion}
	b, outcome, r := f.report(t)
	want := f.States()[1].Want
	require.NoError(t, b.Apply(t.Context(), want))
	remove(t, list)
	*outcome = backends.Outcome{}
	r.Take()

	err := b.Apply(t.Context(), want)
	assert.ErrorIs(t, err, cilium.ErrUnavailable)
	var announce *backends.AnnounceError
	assert.ErrorAs(t, err, &announce)
	assert.NoError(t, b.Apply(t.Context(), backends.Desired{}))
	assert.Empty(t, r.Take())
	assert.Empty(t, outcome.Facts, "there is nothing to report of a Cilium that is not there")

	dc, c := connect(t, &backendtest.Recorder{})
	d, err := cilium.Detect(t.Context(), dc, c, "")
	require.NoError(t, err)
	assert.False(t, d.Available() || d.BGP || d.L2)
	assert.Equal(t, backends.Fact{Name: "bgp API", Value: "not served", Source: "discovery"}, d.Facts[0])
	assert.False(t, errors.Is(err, cilium.ErrUnavailable))
}
