package backends

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/backends/backendtest"
	"github.com/fairlead/fairlead/backends/calico"
)

// memory is a Ledger that outlives a backend, but not the test.
type memory struct{ calico.Record }

func (m *memory) Load(context.Context) (calico.Record, error) { return m.Record, nil }

func (m *memory) Save(_ context.Context, r calico.Record) error {
	m.Record = r
	return nil
}

// calicoFixture is a cluster with Calico's CRDs, of one group.
type calicoFixture struct {
	group  schema.GroupVersion
	ledger *memory
}

var _ backendtest.Fixture = calicoFixture{}

func (f calicoFixture) resource() schema.GroupVersionResource {
	return f.group.WithResource("bgpconfigurations")
}

func (f calicoFixture) New(t testing.TB, r *backendtest.Recorder) backends.Backend {
	dc, c := connect(t, r)
	return calico.New(calico.Config{Discovery: dc, Client: c, Ledger: f.ledger, FieldManager: "fairlead-test"})
}

func (f calicoFixture) Dump(t testing.TB) string     { return dump(t, all(t, f.resource(), "")) }
func (f calicoFixture) Versions(t testing.TB) string { return versions(all(t, f.resource(), "")) }

func (f calicoFixture) Reset(t testing.TB) {
	wipe(t, f.resource(), "", "")
	f.ledger.Record = calico.Record{}
}

func (f calicoFixture) AddForeign(t testing.TB) {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"asNumber": int64(64999), "serviceLoadBalancerIPs": []any{
			map[string]any{"cidr": "203.0.113.0/24"}, map[string]any{"cidr": "192.0.2.0/24"}, map[string]any{"cidr": "2001:db8:ff::/64"},
		},
	}}}
	u.SetGroupVersionKind(f.group.WithKind("BGPConfiguration"))
	u.SetName("default")
	_, err := objects.Resource(f.resource()).Create(t.Context(), u, metav1.CreateOptions{FieldManager: "kubectl"})
	require.NoError(t, err)
}

func (f calicoFixture) States() []backendtest.State {
	state := func(name string, prefixes ...string) backendtest.State {
		return backendtest.State{Name: name, Want: backends.Desired{Announcements: announcements("main", prefixes...)}}
	}
	return []backendtest.State{
		state("empty"),
		state("one", "192.0.2.0/24"),
		state("both families", "2001:db8::/64", "192.0.2.0/24"),
		state("another", "198.51.100.0/24"),
		state("many", "198.51.100.0/25", "192.0.2.0/24", "2001:db8::/64", "2001:db8:1::1/128", "10.0.0.1/32"),
	}
}

// TestCalicoConformance runs the suite on both groups of Calico's API.
func TestCalicoConformance(t *testing.T) {
	raw := crds(t, "calico-crds", "bgpconfigurations")[0]
	native := raw.DeepCopy()
	native.Name = "bgpconfigurations.projectcalico.org"
	native.Spec.Group, native.Spec.Versions[0].Name = "projectcalico.org", "v3"
	for _, crd := range []*apiextensionsv1.CustomResourceDefinition{raw, native} {
		t.Run(crd.Spec.Group, func(t *testing.T) {
			install(t, []*apiextensionsv1.CustomResourceDefinition{crd})
			backendtest.Run(t, calicoFixture{schema.GroupVersion{Group: crd.Spec.Group, Version: crd.Spec.Versions[0].Name}, &memory{}})
		})
	}
}
