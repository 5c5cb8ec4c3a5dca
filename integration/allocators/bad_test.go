package allocators

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/backends"
	"github.com/fairlead/fairlead/integration/testbed"
)

// stubKind is a kind of pools whose provider is the test.
var stubKind = schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "StubPool"}

const stubPool = "StubPool.example.org/p"

// stubPools has the API server know StubPools, and one called p.
func stubPools(t *testing.T) {
	t.Helper()
	all := true
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "stubpools.example.org"}}
	crd.Spec = apiextensionsv1.CustomResourceDefinitionSpec{
		Group: stubKind.Group, Scope: apiextensionsv1.ClusterScoped,
		Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: stubKind.Kind, Plural: "stubpools"},
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
			Name: stubKind.Version, Served: true, Storage: true,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &all}},
		}},
	}
	require.NoError(t, bed.InstallCRDs(crd))
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(stubKind)
	o.SetName("p")
	require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), o)))
}

// claimOf waits for the claim of a Service.
func (c *cluster) claimOf(s *corev1.Service) *unstructured.Unstructured {
	c.t.Helper()
	var out unstructured.Unstructured
	testbed.Eventually(c.t, "the claim of "+s.Name, func(ctx context.Context) error {
		all, err := claims(ctx, c.namespace)
		if o, ok := all[s.Name+" IPv4"]; ok {
			out = o
			return nil
		}
		return errors.Join(err, errors.New("there is none"))
	})
	return &out
}

// answer has the stub answer a claim.
func (c *cluster) answer(claim *unstructured.Unstructured, address string, prefix int64) {
	c.t.Helper()
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: clusterapi.Group, Version: clusterapi.Versions[0], Kind: "IPAddress"})
	o.SetNamespace(claim.GetNamespace())
	o.SetName(claim.GetName())
	spec := map[string]any{
		"address": address, "prefix": prefix, "claimRef": map[string]any{"name": claim.GetName()},
		"poolRef": map[string]any{"apiGroup": stubKind.Group, "kind": stubKind.Kind, "name": "p"},
	}
	ctx := c.t.Context()
	require.NoError(c.t, client.IgnoreNotFound(bed.Client.Delete(ctx, o)))
	o.Object["spec"] = spec
	require.NoError(c.t, bed.Client.Create(ctx, o))
	c.status(claim, map[string]any{"addressRef": map[string]any{"name": o.GetName()}})
}

func (c *cluster) status(claim *unstructured.Unstructured, status map[string]any) {
	c.t.Helper()
	testbed.Eventually(c.t, "the status of a claim", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKeyFromObject(claim), claim); err != nil {
			return err
		}
		claim.Object["status"] = status
		return bed.Client.Status().Update(ctx, claim)
	})
}

// TestBadAnswers: whatever a provider answers, the Service says what is wrong with it, and nobody who has an address loses it.
func TestBadAnswers(t *testing.T) {
	stubPools(t)
	c := install(t, bed)
	c.pool("p", stubPool, "10.82.0.0/24", "2001:db8:82::/64")
	c.start()
	holder := c.service("holder")
	c.answer(c.claimOf(holder), "10.82.0.9", 24)
	c.has(holder, "10.82.0.9")

	s := c.service("web")
	claim := c.claimOf(s)
	const unfit = `False AllocatorDisagrees: an allocator has given an address that cannot be used: pool "p": its allocator has given `
	for _, tt := range []struct {
		address string
		prefix  int64
		says    string
	}{
		{"2001:db8:82::1", 64, unfit + "2001:db8:82::1, which cannot be used: it is no IPv4 address"},
		{"203.0.113.1", 24, unfit + `203.0.113.1, which cannot be used: it is outside spec.addresses of pool "p"`},
		{"10.82.0.9", 24, unfit + "10.82.0.9, which cannot be used: address 10.82.0.9 is in use by " + c.namespace + "/holder"},
		{"10.82.0.6", 31, `False AllocatorRefused: an allocator refuses: pool "p": its allocator gives no IPv4 address: IPAddress "` + claim.GetName() +
			`": spec.prefix: 10.82.0.6/31 is a link between two routers`},
		{"10.82.0.300", 24, `False AllocatorRefused: an allocator refuses: pool "p": its allocator gives no IPv4 address: IPAddress "` + claim.GetName() +
			`": spec.address: "10.82.0.300" is not an IP address`},
	} {
		c.answer(claim, tt.address, tt.prefix)
		c.says(s, tt.says)
		c.event(s, "AllocationFailed")
		c.has(holder, "10.82.0.9")
	}
	c.faulty("")
	c.answer(claim, "203.0.113.1", 24)
	c.faulty("IPAddressPool " + c.namespace + "/p: spec.addresses: allocator cluster-api has given 203.0.113.1 for service " + c.namespace +
		"/web, which no entry contains; add it here, or take it out of " + stubPool)

	require.NoError(t, bed.Client.Delete(t.Context(), address(claim)))
	ready := map[string]any{"type": "Ready", "status": "False", "reason": "PoolExhausted", "message": "nothing left", "lastTransitionTime": "2026-01-01T00:00:00Z"}
	c.status(claim, map[string]any{"conditions": []any{ready}})
	c.says(s, `False AllocatorRefused: an allocator refuses: pool "p": its allocator gives no IPv4 address: PoolExhausted: nothing left`)
	ready["reason"], ready["message"] = "PoolNotReady", "it is being made"
	c.status(claim, map[string]any{"conditions": []any{ready}})
	c.says(s, `False WaitingForAllocator: waiting for an allocator: pool "p": its allocator has given no IPv4 address yet: PoolNotReady: it is being made`)
	c.answer(claim, "10.82.0.10", 24)
	c.has(s, "10.82.0.10")
	c.faulty("")

	// What was given is taken away, or exchanged: the Service keeps it and says so.
	require.NoError(t, bed.Client.Delete(t.Context(), address(claim)))
	c.says(s, `True AllocatorDisagrees: 10.82.0.10 from pool "p" is kept; its allocator, cluster-api, has not given it yet: IPAddress "`+
		claim.GetName()+`", which the claim names, is gone`)
	c.answer(claim, "10.82.0.77", 24)
	c.says(s, `True AllocatorDisagrees: 10.82.0.10 from pool "p" is kept; its allocator, cluster-api, has given 10.82.0.77 instead`)
	c.event(s, "AllocatorDisagrees")
	c.has(s, "10.82.0.10")
	c.answer(claim, "10.82.0.10", 24)
	c.says(s, `True Allocated: 10.82.0.10 from pool "p"`)
}

func address(claim *unstructured.Unstructured) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: clusterapi.Group, Version: clusterapi.Versions[0], Kind: "IPAddress"})
	o.SetNamespace(claim.GetNamespace())
	o.SetName(claim.GetName())
	return o
}

// event waits until a Service has an event of a reason.
func (c *cluster) event(s *corev1.Service, reason string) {
	c.t.Helper()
	testbed.Eventually(c.t, "an event "+reason, func(ctx context.Context) error {
		var list corev1.EventList
		if err := c.bed.Client.List(ctx, &list, client.InNamespace(s.Namespace)); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.InvolvedObject.UID == s.UID && e.Reason == reason {
				return nil
			}
		}
		return fmt.Errorf("there is none of %d", len(list.Items))
	})
}

// TestForeignClaim: a claim of a name of ours that somebody else has made is told, and left alone.
func TestForeignClaim(t *testing.T) {
	stubPools(t)
	c := install(t, bed)
	s := c.service("web")
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"poolRef": map[string]any{"apiGroup": stubKind.Group, "kind": stubKind.Kind, "name": "p"},
	}}}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: clusterapi.Group, Version: clusterapi.Versions[0], Kind: "IPAddressClaim"})
	o.SetNamespace(c.namespace)
	o.SetName(fmt.Sprintf("%s-4-%s", s.UID, backends.Hash("p "+stubPool)))
	require.NoError(t, bed.Client.Create(t.Context(), o))
	c.pool("p", stubPool, "10.83.0.0/24")
	c.start()
	c.says(s, `False AllocatorRefused: an allocator refuses: pool "p": its allocator gives no IPv4 address: IPAddressClaim `+c.namespace+"/"+o.GetName()+
		" exists, and another installation or somebody else has made it")
	require.NoError(t, bed.Client.Delete(t.Context(), s))
	marker := c.service("marker")
	claim := c.claimOf(marker)
	c.answer(claim, "10.83.0.1", 24)
	c.has(marker, "10.83.0.1")
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o), "it is still there")
}

// TestOneNameTwice: two clusters of one name leave each other's claims alone.
func TestOneNameTwice(t *testing.T) {
	stubPools(t)
	ns := bed.Namespace(t)
	var all []*clusterapi.Provider
	for _, uid := range []string{"one", "two"} {
		p := clusterapi.New(clusterapi.Options{
			Namespace: ns, Cluster: "blue", ClusterUID: uid, Labels: backends.OwnLabels("metallb-system"), Log: slog.New(slog.DiscardHandler),
			Connect: func() (*rest.Config, error) { return bed.Config, nil },
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- p.Watch(ctx, func(string) {}) }()
		t.Cleanup(func() {
			cancel()
			assert.NoError(t, <-done)
		})
		all = append(all, p)
	}
	claim := allocator.Claim{ID: "a", Owner: allocator.Owner{Namespace: "default", Name: "web"}, Family: allocator.IPv4, Pool: stubPool}
	list := func(p *clusterapi.Provider, want int) {
		t.Helper()
		testbed.Eventually(t, "the claims", func(ctx context.Context) error {
			got, err := p.List(ctx)
			if err == nil && len(got) != want {
				err = fmt.Errorf("there are %d", len(got))
			}
			return err
		})
	}
	for _, p := range all {
		list(p, 0)
	}
	_, err := all[0].Ask(t.Context(), claim)
	require.NoError(t, err)
	list(all[0], 1)
	list(all[1], 0)
	got, err := all[1].Ask(t.Context(), claim)
	require.NoError(t, err)
	assert.Equal(t, allocator.RefusedForeign, got.Refusal)
	require.NoError(t, all[1].Release(t.Context(), "a"))
	list(all[0], 1)
	require.NoError(t, all[0].Release(t.Context(), "a"))
	list(all[0], 0)
}

// TestKindsVanish: the CRDs go while Services have addresses; nobody loses one, and when they are back, all is as it was.
func TestKindsVanish(t *testing.T) {
	c := install(t, bed)
	c.pool("p", providerPool(t, c.namespace, "10.84.0.1-10.84.0.9"), "10.84.0.0/24")
	c.start()
	web := c.service("web")
	c.has(web, "10.84.0.1")
	provider.Kill() // it would keep its finalizers on what is to go
	for _, kind := range []string{"IPAddressClaim", "IPAddress"} {
		name := strings.ToLower(kind) + map[string]string{"IPAddressClaim": "s.", "IPAddress": "es."}[kind] + clusterapi.Group
		crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}}
		require.NoError(t, bed.Client.Delete(t.Context(), crd))
		testbed.Eventually(t, name+" to be gone", func(ctx context.Context) error {
			all, err := objects(ctx, "", kind)
			if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
				return nil
			}
			for i := range all {
				patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
				if err := client.IgnoreNotFound(bed.Client.Patch(ctx, &all[i], patch)); err != nil {
					return err
				}
			}
			return errors.Join(err, errors.New("it is still served"))
		})
		testbed.AwaitCRDGone(t, bed.Client, name)
	}
	c.says(web, `True AllocatorDisagrees: 10.84.0.1 from pool "p" is kept; its allocator, cluster-api, has not given it yet`)
	waits := c.service("waits")
	c.says(waits, "False WaitingForAllocator: ")
	var err error
	provider, err = bed.ServeIPAM()
	require.NoError(t, err)
	c.says(web, `True Allocated: 10.84.0.1 from pool "p"`)
	c.has(waits, "10.84.0.2")
	// The provider has forgotten everything: it may have given web's address for the claim of waits, which then stands for web.
	testbed.Eventually(t, "claims", func(ctx context.Context) error {
		all, err := objects(ctx, c.namespace, "IPAddress")
		var got []string
		for _, o := range all {
			addr, _, _ := unstructured.NestedString(o.Object, "spec", "address")
			got = append(got, addr)
		}
		slices.Sort(got)
		if err == nil && !slices.Equal(got, []string{"10.84.0.1", "10.84.0.2"}) {
			err = fmt.Errorf("the provider has given %q", got)
		}
		return err
	})
}
