package controller

import (
	"context"
	"fmt"
	"strings"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

// flavour is one of the ways in which Calico's objects are served.
type flavour struct {
	name  string
	group schema.GroupVersion
	crds  []*apiextensionsv1.CustomResourceDefinition
}

func flavours(t *testing.T) []flavour {
	raw := testbed.CalicoCRDs(t, "bgpconfigurations")
	native := raw[0].DeepCopy()
	native.Name = "bgpconfigurations.projectcalico.org"
	native.Spec.Group = "projectcalico.org"
	native.Spec.Versions[0].Name = "v3"
	native.Annotations = map[string]string{"api-approved.kubernetes.io": "unapproved, stands in for Calico's native CRDs"}
	return []flavour{
		{"crd.projectcalico.org/v1", schema.GroupVersion{Group: "crd.projectcalico.org", Version: "v1"}, raw},
		{"projectcalico.org/v3", schema.GroupVersion{Group: "projectcalico.org", Version: "v3"}, []*apiextensionsv1.CustomResourceDefinition{native}},
	}
}

// calico reads and writes BGPConfiguration/default as a user would.
type calico struct {
	t     *testing.T
	group schema.GroupVersion
}

func (c calico) object() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(c.group.WithKind("BGPConfiguration"))
	u.SetName("default")
	return u
}

// get returns the configuration as Calico's own type, which must take every field; nil if there is none.
func (c calico) get(ctx context.Context) (*v3.BGPConfiguration, error) {
	u := c.object()
	if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(u), u); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	var out v3.BGPConfiguration
	return &out, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &out, true)
}

// list returns the blocks in their order.
func (c calico) list(ctx context.Context) (string, error) {
	conf, err := c.get(ctx)
	if err != nil || conf == nil {
		return "absent", err
	}
	var out []string
	for _, b := range conf.Spec.ServiceLoadBalancerIPs {
		out = append(out, b.CIDR)
	}
	return strings.Join(out, " "), nil
}

func (c calico) becomes(want string) {
	c.t.Helper()
	testbed.Eventually(c.t, "serviceLoadBalancerIPs", func(ctx context.Context) error {
		got, err := c.list(ctx)
		if err == nil && got != want {
			err = fmt.Errorf("are %q, want %q", got, want)
		}
		return err
	})
}

// set replaces the whole list and the AS number, as a user would.
func (c calico) set(blocks ...string) {
	list := make([]any, len(blocks))
	for i, b := range blocks {
		list[i] = map[string]any{"cidr": b}
	}
	spec := map[string]any{"asNumber": int64(64999), "serviceLoadBalancerIPs": list}
	u := c.object()
	err := bed.Client.Get(c.t.Context(), client.ObjectKeyFromObject(u), u)
	u.Object["spec"] = spec
	if err != nil {
		require.NoError(c.t, client.IgnoreNotFound(err))
		require.NoError(c.t, bed.Client.Create(c.t.Context(), u))
		return
	}
	require.NoError(c.t, bed.Client.Update(c.t.Context(), u))
}

func (i *installation) advertise(name string, pools ...string) *v1beta1.BGPAdvertisement {
	a := &v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: name}}
	a.Spec.IPAddressPools = pools
	require.NoError(i.t, bed.Client.Create(i.t.Context(), a))
	return a
}

// ready waits until the Backend object says so.
func ready(t *testing.T, status metav1.ConditionStatus, reason string) *v1alpha1.Backend {
	t.Helper()
	b := &v1alpha1.Backend{}
	testbed.Eventually(t, "backend calico", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKey{Name: "calico"}, b); err != nil {
			return err
		}
		c := meta.FindStatusCondition(b.Status.Conditions, "Ready")
		if c == nil || c.Status != status || c.Reason != reason {
			return fmt.Errorf("conditions %+v", b.Status.Conditions)
		}
		return nil
	})
	return b
}

// TestCalico walks through the life of our entries on each flavour of Calico's API. There is one BGPConfiguration "default" in a
// cluster, so this test runs alone.
func TestCalico(t *testing.T) {
	i := install(t)
	noCalico := i.start("--backend=calico")
	i.pool("range", "10.50.0.10-10.50.0.20")
	i.pool("six", "2001:db8:50::/64")
	i.pool("silent", "10.51.0.0/16")
	i.advertise("adv", "range", "six")
	ready(t, metav1.ConditionFalse, "NotInstalled")
	has(t, i.service("while-there-is-no-calico"), "10.50.0.10") // addresses do not depend on the CNI
	noCalico.Kill()
	require.NoError(t, bed.Client.Delete(t.Context(), &v1alpha1.Backend{ObjectMeta: metav1.ObjectMeta{Name: "calico"}}))

	const ours = "10.50.0.10/31 10.50.0.12/30 10.50.0.16/30 10.50.0.20/32 2001:db8:50::/64"
	for _, f := range flavours(t) {
		t.Run(f.name, func(t *testing.T) {
			require.NoError(t, bed.InstallCRDs(f.crds...))
			t.Cleanup(func() {
				for _, crd := range f.crds {
					require.NoError(t, bed.Client.Delete(context.Background(), crd.DeepCopy()))
					testbed.AwaitCRDGone(t, bed.Client, crd.Name)
				}
			})
			i := &installation{t: t, namespace: i.namespace, class: i.class}
			c := calico{t, f.group}
			off := func(p *testbed.Process) {
				p.Kill()
				none := i.start("--backend=none", "--leader-elect=false")
				testbed.Eventually(t, "the Backend object to go", func(ctx context.Context) error {
					return gone(ctx, &v1alpha1.Backend{ObjectMeta: metav1.ObjectMeta{Name: "calico"}})
				})
				none.Kill()
			}

			// "default" is created when absent, and stays, empty.
			p := i.start("--backend=calico", "--leader-elect=false")
			c.becomes(ours)
			b := ready(t, metav1.ConditionTrue, "Applied")
			assert.Equal(t, f.group.String(), b.Status.APIVersion)
			assert.True(t, b.Status.Owned.CreatedDefault)
			assert.Len(t, b.Status.Owned.Prefixes, 5)
			off(p)
			got, err := c.list(t.Context())
			require.NoError(t, err)
			require.Empty(t, got)

			// Entries of others stay, in their order, also one that is equal to one of ours, also what is not a list at all.
			c.set("192.0.2.0/24", "10.50.0.12/30", "198.51.100.0/24")
			p = i.start("--backend=calico", "--leader-elect=false")
			c.becomes("192.0.2.0/24 10.50.0.12/30 198.51.100.0/24 10.50.0.10/31 10.50.0.16/30 10.50.0.20/32 2001:db8:50::/64")

			// A selected pool is added, a deselected one removed; a pool that no BGPAdvertisement selects is never there.
			extra := i.advertise("extra", "silent")
			c.becomes("192.0.2.0/24 10.50.0.12/30 198.51.100.0/24 10.50.0.10/31 10.50.0.16/30 10.50.0.20/32 10.51.0.0/16 2001:db8:50::/64")
			require.NoError(t, bed.Client.Delete(t.Context(), extra))
			c.becomes("192.0.2.0/24 10.50.0.12/30 198.51.100.0/24 10.50.0.10/31 10.50.0.16/30 10.50.0.20/32 2001:db8:50::/64")

			// Killed at any moment, it knows what is its own.
			p.Kill()
			p = i.start("--backend=calico", "--leader-elect=false")
			ready(t, metav1.ConditionTrue, "Applied")
			before, err := c.get(t.Context())
			require.NoError(t, err)
			off(p)
			after, err := c.get(t.Context())
			require.NoError(t, err)
			var left []string
			for _, b := range after.Spec.ServiceLoadBalancerIPs {
				left = append(left, b.CIDR)
			}
			assert.Equal(t, []string{"192.0.2.0/24", "10.50.0.12/30", "198.51.100.0/24"}, left, "exactly our entries are taken back")
			before.Spec.ServiceLoadBalancerIPs, after.Spec.ServiceLoadBalancerIPs = nil, nil
			assert.Equal(t, before.Spec, after.Spec, "nothing else is touched")
		})
	}
}

// TestCalicoSteadyState: an equal set costs no write.
func TestCalicoSteadyState(t *testing.T) {
	f := flavours(t)[0]
	require.NoError(t, bed.InstallCRDs(f.crds...))
	i := install(t)
	p := i.pool("main", "10.52.0.0/16", "2001:db8:52::/64")
	i.advertise("all")
	c := calico{t, f.group}
	running := i.start("--backend=calico", "--leader-elect=false")
	c.becomes("10.52.0.0/16 2001:db8:52::/64")
	ready(t, metav1.ConditionTrue, "Applied")
	before, err := c.get(t.Context())
	require.NoError(t, err)

	// The same addresses in other words: the object is looked at, and left alone.
	testbed.Edit(t, bed, p, func(p *v1beta1.IPAddressPool) {
		p.Spec.Addresses = []string{"2001:db8:52::/65", "10.52.0.0/17", "10.52.128.0-10.52.255.255", "2001:db8:52:0:8000::/65"}
	})
	marker := i.pool("marker", "10.53.0.0/24")
	c.becomes("10.52.0.0/16 10.53.0.0/24 2001:db8:52::/64")
	require.NoError(t, bed.Client.Delete(t.Context(), marker))
	c.becomes("10.52.0.0/16 2001:db8:52::/64")
	after, err := c.get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before.Generation+2, after.Generation, "writes beyond those for the marker")

	running.Kill()
	again := i.start("--backend=calico", "--leader-elect=false")
	has(t, i.service("web"), "10.52.0.0")
	again.Kill()
	unchanged, err := c.get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, after.ResourceVersion, unchanged.ResourceVersion, "a restart wrote to Calico")

	i.start("--backend=none", "--leader-elect=false")
	c.becomes("")
}
