package allocators

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/integration/testbed"
)

// TestOlderVersion: an API server that serves v1beta1 of the contract alone is asked by that.
func TestOlderVersion(t *testing.T) {
	stubPools(t)
	ns := bed.Namespace(t)
	serve := func(newer bool) {
		t.Helper()
		for _, plural := range []string{"ipaddressclaims", "ipaddresses"} {
			crd := &apiextensionsv1.CustomResourceDefinition{}
			crd.Name = plural + "." + clusterapi.Group
			testbed.Edit(t, bed, crd, func(crd *apiextensionsv1.CustomResourceDefinition) {
				for i := range crd.Spec.Versions {
					if v := &crd.Spec.Versions[i]; v.Name == clusterapi.Versions[0] {
						v.Served = newer
					}
				}
			})
		}
		testbed.Eventually(t, "discovery to follow", func(ctx context.Context) error {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(schema.GroupVersionKind{Group: clusterapi.Group, Version: clusterapi.Versions[0], Kind: "IPAddressClaimList"})
			if err := bed.Client.List(ctx, list, client.InNamespace(ns)); (err == nil) != newer {
				return assert.AnError
			}
			return nil
		})
	}
	serve(false)
	defer serve(true)

	p := clusterapi.New(clusterapi.Options{
		Namespace: ns, ClusterUID: "1", Labels: map[string]string{"app": "test"}, Log: slog.New(slog.DiscardHandler),
		Connect: func() (*rest.Config, error) { return bed.Config, nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Watch(ctx, func(string) {}) }()
	_, err := p.List(t.Context())
	require.NoError(t, err)
	claim := allocator.Claim{ID: "a", Owner: allocator.Owner{Namespace: "default", Name: "web"}, Family: allocator.IPv4, Pool: stubPool}
	_, err = p.Ask(t.Context(), claim)
	require.NoError(t, err)

	// Its provider answers by the same version.
	older := schema.GroupVersionKind{Group: clusterapi.Group, Version: clusterapi.Versions[1], Kind: "IPAddress"}
	address := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"address": "10.85.0.1", "prefix": int64(24), "claimRef": map[string]any{"name": "a"},
		"poolRef": map[string]any{"apiGroup": stubKind.Group, "kind": stubKind.Kind, "name": "p"},
	}}}
	address.SetGroupVersionKind(older)
	address.SetNamespace(ns)
	address.SetName("a")
	require.NoError(t, bed.Client.Create(t.Context(), address))
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(older.GroupVersion().WithKind("IPAddressClaim"))
	testbed.Eventually(t, "the answer", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: "a"}, o); err != nil {
			return err
		}
		o.Object["status"] = map[string]any{"addressRef": map[string]any{"name": "a"}}
		return bed.Client.Status().Update(ctx, o)
	})
	testbed.Eventually(t, "the address", func(ctx context.Context) error {
		got, err := p.Ask(ctx, claim)
		if err == nil && got.Addr.String() != "10.85.0.1" {
			return assert.AnError
		}
		return err
	})
	require.NoError(t, p.Release(t.Context(), "a"))
	cancel()
	require.NoError(t, <-done)
	assert.True(t, slices.Contains(clusterapi.Versions, older.Version))
}
