package backends

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
	"github.com/fairlead/fairlead/backends/calico"
	"github.com/fairlead/fairlead/integration/testbed"
)

// memory is a Ledger that outlives a backend, but not the test.
type memory struct{ calico.Record }

func (m *memory) Load(context.Context) (calico.Record, error) { return m.Record, nil }

func (m *memory) Save(_ context.Context, r calico.Record) error {
	m.Record = r
	return nil
}

var (
	calicoRaw    = schema.GroupVersion{Group: "crd.projectcalico.org", Version: "v1"}
	calicoNative = v3.SchemeGroupVersion
)

// calicoCRDs returns the CRDs that matter, in one of Calico's groups: as Calico v3.28 has them, or with the fields that newer ones
// have beside (api/pkg/apis/projectcalico/v3 in Calico's repository).
func calicoCRDs(t testing.TB, group schema.GroupVersion, old bool) []*apiextensionsv1.CustomResourceDefinition {
	list := testbed.CalicoCRDs(t, "bgpconfigurations", "bgppeers", "bgpfilters", "ippools", "kubecontrollersconfigurations", "clusterinformations")
	for _, crd := range list {
		crd.Name, crd.Spec.Group, crd.Spec.Versions[0].Name = crd.Spec.Names.Plural+"."+group.Group, group.Group, group.Version
		if group == calicoNative {
			crd.Annotations = map[string]string{"api-approved.kubernetes.io": "unapproved, stands in for Calico's native CRDs"}
		}
		if old {
			continue
		}
		spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		switch crd.Spec.Names.Kind {
		case v3.KindBGPConfiguration:
			spec.Properties["serviceLoadBalancerAggregation"] = apiextensionsv1.JSONSchemaProps{
				Type: "string", Enum: []apiextensionsv1.JSON{{Raw: []byte(`"Enabled"`)}, {Raw: []byte(`"Disabled"`)}}, Default: &apiextensionsv1.JSON{Raw: []byte(`"Enabled"`)},
			}
		case v3.KindBGPPeer:
			spec.Properties["localASNumber"] = spec.Properties["asNumber"]
		case v3.KindKubeControllersConfiguration:
			spec.Properties["controllers"].Properties["loadBalancer"] = apiextensionsv1.JSONSchemaProps{
				Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"assignIPs": {Type: "string"}},
			}
		}
	}
	return list
}

// calicoFixture is a cluster with Calico's CRDs, of one group.
type calicoFixture struct {
	group  schema.GroupVersion
	ledger *memory
	change func(*calico.Config)
	few    bool // only a few states
}

var _ backendtest.Fixture = calicoFixture{}

// installCalico prepares a cluster for tests.
func installCalico(t testing.TB, group schema.GroupVersion, old bool) calicoFixture {
	t.Helper()
	install(t, calicoCRDs(t, group, old))
	f := calicoFixture{group: group, ledger: &memory{}}
	f.served(t)
	f.version(t, map[bool]string{false: "v3.32.0", true: "v3.28.5"}[old])
	return f
}

// served waits until the API server publishes the schemas of the CRDs.
func (f calicoFixture) served(t testing.TB) {
	t.Helper()
	schemaIsServed(t, f.group, v3.KindBGPConfiguration, v3.KindBGPPeer, v3.KindBGPFilter)
}

func (f calicoFixture) New(t testing.TB, r *backendtest.Recorder) backends.ClusterBackend {
	dc, c := connect(t, r)
	cfg := calico.Config{Discovery: dc, Client: c, Ledger: f.ledger, Installation: ourNamespace, FieldManager: "fairlead-test"}
	if f.change != nil {
		f.change(&cfg)
	}
	return calico.New(cfg)
}

// object is one of Calico's, with a spec.
func (f calicoFixture) object(kind, name string, spec map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(f.group.WithKind(kind))
	u.SetName(name)
	return u
}

// make creates an object as its user does.
func (f calicoFixture) make(t testing.TB, u *unstructured.Unstructured) {
	t.Helper()
	r := f.group.WithResource(strings.ToLower(u.GetKind()) + "s")
	_, err := objects.Resource(r).Create(t.Context(), u, metav1.CreateOptions{FieldManager: "kubectl", FieldValidation: metav1.FieldValidationStrict})
	require.NoError(t, err)
}

func (f calicoFixture) version(t testing.TB, v string) {
	f.make(t, f.object(v3.KindClusterInformation, "default", map[string]any{"calicoVersion": v, "datastoreReady": true}))
}

var (
	rolesResource    = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
	bindingsResource = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
)

// nodeNamespace is where calico-node would run.
const nodeNamespace = "kube-system"

func (f calicoFixture) resources() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{f.group.WithResource("bgpconfigurations"), f.group.WithResource("bgppeers"), f.group.WithResource("bgpfilters")}
}

// all returns everything that the backend or AddForeign may have written.
func (f calicoFixture) all(t testing.TB) []unstructured.Unstructured {
	var out []unstructured.Unstructured
	for _, r := range f.resources() {
		out = append(out, slices.DeleteFunc(all(t, r, ""), saysNothing)...)
	}
	for _, r := range []schema.GroupVersionResource{secretsResource, rolesResource, bindingsResource} {
		out = append(out, slices.DeleteFunc(all(t, r, nodeNamespace), func(u unstructured.Unstructured) bool {
			return u.GetLabels()["app.kubernetes.io/managed-by"] != "fairlead"
		})...)
	}
	return out
}

// saysNothing reports whether an object is a BGPConfiguration that is to Calico as none: the one that is there is not deleted.
func saysNothing(u unstructured.Unstructured) bool {
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	delete(spec, "logSeverityScreen")
	if spec["serviceLoadBalancerAggregation"] == "Enabled" {
		delete(spec, "serviceLoadBalancerAggregation")
	}
	return u.GetKind() == v3.KindBGPConfiguration && len(spec) == 0
}

func (f calicoFixture) Dump(t testing.TB) string     { return dump(t, f.all(t)) }
func (f calicoFixture) Versions(t testing.TB) string { return versions(f.all(t)) }

func (f calicoFixture) Reset(t testing.TB) {
	for _, r := range f.resources() {
		wipe(t, r, "", "")
	}
	for _, r := range []schema.GroupVersionResource{secretsResource, rolesResource, bindingsResource} {
		wipe(t, r, nodeNamespace, "app.kubernetes.io/managed-by=fairlead")
	}
	f.ledger.Record = calico.Record{}
}

// AddForeign adds entries to the lists that a user made, one of them equal to one of the backend's, and objects of others.
func (f calicoFixture) AddForeign(t testing.TB) {
	f.make(t, f.object(v3.KindBGPConfiguration, "default", map[string]any{
		"asNumber": int64(64999), "communities": []any{map[string]any{"name": "gold", "value": "64999:1"}},
		"serviceLoadBalancerIPs": []any{
			map[string]any{"cidr": "203.0.113.0/24"}, map[string]any{"cidr": "192.0.2.0/24"}, map[string]any{"cidr": "2001:db8:ff::/64"},
		},
		"prefixAdvertisements": []any{
			map[string]any{"cidr": "203.0.113.0/24", "communities": []any{"gold"}}, map[string]any{"cidr": "192.0.2.0/24", "communities": []any{"64512:100"}},
		},
	}))
	f.make(t, f.object(v3.KindBGPPeer, "theirs", map[string]any{"peerIP": "192.0.2.99", "asNumber": int64(64998), "nodeSelector": "rack == '9'", "filters": []any{"theirs"}}))
	f.make(t, f.object(v3.KindBGPFilter, "theirs", map[string]any{"exportV4": []any{map[string]any{"cidr": "10.0.0.0/8", "matchOperator": "In", "action": "Reject"}}}))
	another := f.object(v3.KindBGPPeer, "fairlead-of-another", map[string]any{"peerIP": "192.0.2.98", "asNumber": int64(64998)})
	another.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "fairlead", "fairlead.io/installation": "another"})
	f.make(t, another)
}

// calicoFull uses everything that Calico can express.
func calicoFull() backends.Desired {
	want := full()
	// Numbers above the largest of an int32 do not pass the CRDs of Calico.
	want.Peers[0].PeerASN = 2147483647
	want.Peers[1].DynamicASN, want.Peers[1].PeerASN = "", 64514
	want.BGPAdvertisements[1].ServiceSelectors = nil
	want.BGPAdvertisements[0].Communities = []backends.Community{{Parts: [3]uint32{64512, 100}}}
	want.Services = []backends.Service{
		{Namespace: "shop", Name: "web", Pool: "main,six", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}},
		{Namespace: "shop", Name: "db", Pool: strings.Repeat("long", 20), Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.200")}},
	}
	return want
}

func (f calicoFixture) States() []backendtest.State {
	state := func(name string, prefixes ...string) backendtest.State {
		want := backends.Desired{Announcements: announcements("main", prefixes...)}
		want.BGPAdvertisements = []backends.BGPAdvertisement{{
			Source: source("BGPAdvertisement", "all"), Pools: poolsNamed("main"), Communities: []backends.Community{{Parts: [3]uint32{64512, 100}}},
		}}
		return backendtest.State{Name: name, Want: want}
	}
	many := state("many", "198.51.100.0/25", "192.0.2.0/24", "2001:db8::/64", "2001:db8:1::1/128", "10.0.0.1/32")
	some := state("some services", "192.0.2.0/24")
	some.Want.BGPAdvertisements[0].ServiceSelectors = []labels.Selector{selector("app=web")}
	some.Want.Services = []backends.Service{
		{Namespace: "shop", Name: "web", Labels: labels.Set{"app": "web"}, Pool: "main", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")}},
		{Namespace: "shop", Name: "db", Pool: "main", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.8")}},
	}
	peers := state("peers", "198.51.100.0/24")
	peers.Want.Nodes, peers.Want.Peers = full().Nodes, calicoFull().Peers[:1]
	if f.few {
		return []backendtest.State{{Name: "empty"}, many, peers}
	}
	return []backendtest.State{{Name: "empty"}, many, some, peers, {Name: "full", Want: calicoFull()}}
}

// TestCalicoConformance runs the suite on Calico's API as a new version serves it, and on the raw objects of an old one.
func TestCalicoConformance(t *testing.T) {
	for _, tc := range []struct {
		name  string
		group schema.GroupVersion
		old   bool
	}{{"v3", calicoNative, false}, {"v1 of v3.28", calicoRaw, true}} {
		t.Run(tc.name, func(t *testing.T) {
			f := installCalico(t, tc.group, tc.old)
			f.few = tc.group == calicoRaw
			for _, s := range f.States() {
				require.NoError(t, f.New(t, &backendtest.Recorder{}).Apply(t.Context(), s.Want), s.Name)
				f.strict(t)
				f.Reset(t)
			}
			backendtest.Run(t, f)
		})
	}
}

// strict has every object of Calico's decode into its official type, which knows every field.
func (f calicoFixture) strict(t testing.TB) {
	t.Helper()
	for _, u := range f.all(t) {
		var into any
		switch u.GetKind() {
		case v3.KindBGPConfiguration:
			into = &v3.BGPConfiguration{}
		case v3.KindBGPPeer:
			into = &v3.BGPPeer{}
		case v3.KindBGPFilter:
			into = &v3.BGPFilter{}
		default:
			continue
		}
		b, err := json.Marshal(u.Object)
		require.NoError(t, err)
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(into), "%s %s", u.GetKind(), u.GetName())
	}
}
