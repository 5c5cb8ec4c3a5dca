package delegation

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

// noticed is how long it may take until what others change is acted on. Without news it would be a minute.
const noticed = 10 * time.Second

// TestClusterIPs has somebody advertise cluster IPs while aggregation is disabled for our single addresses: they would become routes of their own
// because of us, so it is enabled again, at once.
func TestClusterIPs(t *testing.T) {
	i := install(t)
	crds := testbed.CalicoCRDs(t, "bgpconfigurations")
	// As Calico v3.31 has it.
	crds[0].Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["serviceLoadBalancerAggregation"] = apiextensionsv1.JSONSchemaProps{
		Type: "string", Enum: []apiextensionsv1.JSON{{Raw: []byte(`"Enabled"`)}, {Raw: []byte(`"Disabled"`)}}, Default: &apiextensionsv1.JSON{Raw: []byte(`"Enabled"`)},
	}
	require.NoError(t, bed.InstallCRDs(crds...))
	i.bgp("all", func(a *v1beta1.BGPAdvertisement) {
		a.Spec.AggregationLength, a.Spec.AggregationLengthV6 = new(int32), new(int32)
		*a.Spec.AggregationLength, *a.Spec.AggregationLengthV6 = 32, 128
	})
	bed.Start(t, i.namespace, "--backend=calico")
	is(t, "Calico's list", ours, blocks)
	is(t, "Calico's aggregation", "Disabled", aggregation)

	began := time.Now()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(calicoGroup.WithKind("BGPConfiguration"))
	u.SetName("default")
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"serviceClusterIPs":[{"cidr":"10.96.0.0/12"}]}}`))
	require.NoError(t, bed.Client.Patch(t.Context(), u, patch, client.FieldOwner("somebody")))
	testbed.Eventually(t, "Calico's aggregation to be as it was", func(ctx context.Context) error {
		if a, err := aggregation(ctx); err != nil || a == "Disabled" {
			return fmt.Errorf("%q: %w", a, err)
		}
		return nil
	})
	t.Logf("noticed after %v", time.Since(began).Round(time.Millisecond))
	assert.Less(t, time.Since(began), noticed)
}

// aggregation returns how Calico aggregates addresses of Services.
func aggregation(ctx context.Context) (string, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(calicoGroup.WithKind("BGPConfiguration"))
	if err := bed.Client.Get(ctx, client.ObjectKey{Name: "default"}, u); err != nil {
		return "", err
	}
	a, _, err := unstructured.NestedString(u.Object, "spec", "serviceLoadBalancerAggregation")
	return a, err
}

// TestLoadBalancerPool has somebody add what makes Cilium's own allocator replace addresses, and take it away.
func TestLoadBalancerPool(t *testing.T) {
	i := install(t)
	settings(t, "cilium-config", map[string]string{"enable-bgp-control-plane": "true"})
	i.bgp("all")
	bed.Start(t, i.namespace, "--backend=cilium")
	is(t, "Cilium's advertisements", "fairlead-bgpadv-all", adverts)
	s := i.service("web")
	condition(t, s, "Allocated", "True Allocated")

	pool := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"blocks": []any{map[string]any{"cidr": "203.0.113.0/24"}}}}}
	pool.SetGroupVersionKind(ciliumGroup.WithKind("CiliumLoadBalancerIPPool"))
	pool.SetName("unrelated")
	began := time.Now()
	i.create(pool)
	backend(t, "cilium", "IPAMConflict", "True Found")
	t.Logf("noticed after %v", time.Since(began).Round(time.Millisecond))
	assert.Less(t, time.Since(began), noticed)
	second := i.service("second")
	condition(t, second, "Allocated", "False IPAMConflict")
	began = time.Now()
	require.NoError(t, bed.Client.Delete(t.Context(), pool))
	condition(t, second, "Allocated", "True Allocated")
	t.Logf("noticed after %v", time.Since(began).Round(time.Millisecond))
	assert.Less(t, time.Since(began), noticed)
}
