package allocators

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/allocator/allocatortest"
	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

// TestConformance: Cluster API's in-cluster provider keeps what allocator.Provider promises.
func TestConformance(t *testing.T) {
	for family, prefix := range map[allocator.Family]netip.Prefix{
		allocator.IPv4: netip.MustParsePrefix("10.66.0.0/30"), allocator.IPv6: netip.MustParsePrefix("2001:db8:66::/126"),
	} {
		t.Run(family.String(), func(t *testing.T) {
			allocatortest.Run(t, func(t *testing.T) allocatortest.Fixture {
				ns := bed.Namespace(t)
				fresh := func() allocator.Provider {
					return clusterapi.New(clusterapi.Options{
						Namespace: ns, Cluster: "test", ClusterUID: "1", Labels: map[string]string{"app": "test"}, Log: slog.New(slog.DiscardHandler),
						Connect: func() (*rest.Config, error) { return bed.Config, nil },
					})
				}
				return allocatortest.Fixture{
					Provider: fresh(), Pool: providerPool(t, ns, prefix.String()), Family: family, Range: prefix, Size: 4, Adopts: true,
					Restart: func(t *testing.T) allocator.Provider {
						p := fresh()
						ctx, cancel := context.WithCancel(context.Background())
						done := make(chan error, 1)
						go func() { done <- p.Watch(ctx, func(string) {}) }()
						t.Cleanup(func() {
							cancel()
							assert.NoError(t, <-done)
						})
						return p
					},
				}
			})
		})
	}
}

// TestAddresses: Services have what the provider gives, of each family and of both; the claims go with them.
func TestAddresses(t *testing.T) {
	c := install(t, bed)
	four := providerPool(t, c.namespace+"-4", "10.67.0.10-10.67.0.20")
	six := providerPool(t, c.namespace+"-6", "2001:db8:67::10-2001:db8:67::20")
	c.pool("four", four, "10.67.0.0/24")
	c.pool("six", six, "2001:db8:67::/64")
	p := c.start("--leader-elect=false")

	a := c.service("a")
	assert.Equal(t, `True Allocated: 10.67.0.10 from pool "four"`, c.has(a, "10.67.0.10"))
	b := c.service("b", families(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol))
	c.has(b, "2001:db8:67::10")
	both := c.service("both", families(corev1.IPFamilyPolicyRequireDualStack, corev1.IPv4Protocol, corev1.IPv6Protocol),
		annotated("fairlead.io/address-pools", "four,six"))
	c.has(both, "10.67.0.11 2001:db8:67::11")
	claimed(t, c.namespace, "a IPv4", "b IPv6", "both IPv4", "both IPv6")

	all, err := claims(t.Context(), c.namespace)
	require.NoError(t, err)
	claim := all["a IPv4"]
	assert.Contains(t, claim.GetName(), string(a.UID))
	assert.Equal(t, c.namespace, claim.GetLabels()[clusterapi.LabelServiceNamespace])
	assert.Equal(t, c.namespace, claim.GetLabels()["fairlead.io/installation"])

	// An address that the provider has not given is refused; one that it has is not.
	asks := c.service("asks", annotated("metallb.io/loadBalancerIPs", "10.67.0.15"))
	c.says(asks, `False AllocatorRefused: address 10.67.0.15: pool "four": the pool's allocator has not given this address`)
	testbed.Edit(t, c.bed, a, func(s *corev1.Service) { s.Annotations["metallb.io/loadBalancerIPs"] = "10.67.0.10" })
	claimed(t, c.namespace, "a IPv4", "b IPv6", "both IPv4", "both IPv6")

	// Restarts and edits change nothing.
	p.Kill()
	testbed.Edit(t, c.bed, both, func(s *corev1.Service) { s.Spec.Ports[0].Port = 8080 })
	c.start("--leader-elect=false")
	later := c.service("later")
	c.has(later, "10.67.0.12")
	c.has(both, "10.67.0.11 2001:db8:67::11")
	c.has(a, "10.67.0.10")
	claimed(t, c.namespace, "a IPv4", "b IPv6", "both IPv4", "both IPv6", "later IPv4")

	for _, s := range []*corev1.Service{a, b, both} {
		require.NoError(t, bed.Client.Delete(t.Context(), s))
	}
	claimed(t, c.namespace, "later IPv4")
	again := c.service("again")
	c.has(again, "10.67.0.10")
}

// TestSharedAddress: Services that share an address use one claim, whoever of them comes first or goes.
func TestSharedAddress(t *testing.T) {
	c := install(t, bed)
	c.pool("p", providerPool(t, c.namespace, "10.68.0.1-10.68.0.9"), "10.68.0.0/24")
	c.start()
	shares := annotated("metallb.io/allow-shared-ip", "k")
	one := c.service("one", shares)
	two := c.service("two", shares, func(s *corev1.Service) { s.Spec.Ports[0].Port = 443 })
	c.has(one, "10.68.0.1")
	c.has(two, "10.68.0.1")
	testbed.Eventually(t, "one claim", func(ctx context.Context) error {
		all, err := objects(ctx, c.namespace, "IPAddressClaim")
		if err == nil && len(all) != 1 {
			return assert.AnError
		}
		return err
	})
	require.NoError(t, bed.Client.Delete(t.Context(), one))
	other := c.service("other")
	c.has(other, "10.68.0.2")
	c.has(two, "10.68.0.1")
	require.NoError(t, bed.Client.Delete(t.Context(), two))
	claimed(t, c.namespace, "other IPv4")
}

// TestSwitch: a pool goes over to the provider and back; everybody keeps its address, and the provider comes to know them.
func TestSwitch(t *testing.T) {
	c := install(t, bed)
	from := providerPool(t, c.namespace, "10.69.0.1-10.69.0.9")
	p := c.pool("p", "", "10.69.0.1-10.69.0.9")
	c.start()
	a, b := c.service("a"), c.service("b")
	c.has(a, "10.69.0.1")
	c.has(b, "10.69.0.2")
	testbed.Edit(t, bed, p, func(p *v1beta1.IPAddressPool) { p.Annotations = external(from) })
	claimed(t, c.namespace, "a IPv4", "b IPv4")
	c.says(a, `True Allocated: 10.69.0.1 from pool "p"`)
	c.says(b, `True Allocated: 10.69.0.2 from pool "p"`)
	next := c.service("next")
	c.has(next, "10.69.0.3")
	require.NoError(t, bed.Client.Delete(t.Context(), a))
	claimed(t, c.namespace, "b IPv4", "next IPv4")

	testbed.Edit(t, bed, p, func(p *v1beta1.IPAddressPool) { p.Annotations = nil })
	c.has(c.service("builtin"), "10.69.0.1")
	c.has(b, "10.69.0.2")
	c.has(next, "10.69.0.3")
	require.NoError(t, bed.Client.Delete(t.Context(), b))
	claimed(t, c.namespace, "next IPv4")
}

// TestHeldWithoutAService: a hold keeps the claim.
func TestHeldWithoutAService(t *testing.T) {
	c := install(t, bed)
	c.pool("p", providerPool(t, c.namespace, "10.70.0.1-10.70.0.9"), "10.70.0.0/24")
	p := c.start("--leader-elect=false")
	hold := annotated("fairlead.io/hold-address", "1h")
	web := c.service("web", hold)
	c.has(web, "10.70.0.1")
	require.NoError(t, bed.Client.Delete(t.Context(), web))
	c.has(c.service("other"), "10.70.0.2")
	claimed(t, c.namespace, "web IPv4", "other IPv4")
	p.Kill()
	c.start("--leader-elect=false")
	c.has(c.service("third"), "10.70.0.3")
	claimed(t, c.namespace, "web IPv4", "other IPv4", "third IPv4")
	c.has(c.service("web", hold), "10.70.0.1")
	claimed(t, c.namespace, "web IPv4", "other IPv4", "third IPv4")
}

// TestNotEnabled: a pool that names an allocator which the controller does not serve is a fault, and nothing else is affected.
func TestNotEnabled(t *testing.T) {
	c := install(t, bed)
	c.pool("external", "GlobalInClusterIPPool.ipam.cluster.x-k8s.io/none", "10.71.0.0/24")
	c.pool("other", "", "10.72.0.0/24")
	bed.Start(t, c.namespace, "--lb-class", c.class)
	s := c.service("asks", annotated("metallb.io/address-pool", "external"))
	c.says(s, `False AllocatorRefused: an allocator refuses: pool "external": its allocator gives no IPv4 address: `+
		"the controller runs without --allocators=cluster-api (the chart's allocators.clusterAPI)")
	c.has(c.service("web"), "10.72.0.0")
	c.faulty("IPAddressPool " + c.namespace + `/external: metadata.annotations[fairlead.io/allocator]: "cluster-api" cannot be asked: ` +
		"the controller runs without --allocators=cluster-api (the chart's allocators.clusterAPI); until then the pool gives no new address; " +
		"Services keep the addresses they have")
}

// TestNoSuchPool: a pool of the provider that does not exist, or whose kind does not, is a fault until it does.
func TestNoSuchPool(t *testing.T) {
	c := install(t, bed)
	const unknown = "NoSuchPool.example.org/p"
	kind := c.pool("kind", unknown, "10.73.0.0/24")
	c.start()
	s := c.service("asks", annotated("metallb.io/address-pool", "kind"))
	c.says(s, `False AllocatorRefused: an allocator refuses: pool "kind": its allocator gives no IPv4 address: `+unknown+
		`: the API server has no kind "NoSuchPool" in group "example.org"`)
	c.faulty("IPAddressPool " + c.namespace + "/kind: metadata.annotations[fairlead.io/allocator-pool]: " + unknown +
		`: the API server has no kind "NoSuchPool" in group "example.org"; install its provider, or name another kind; `)
	from := "GlobalInClusterIPPool." + clusterapi.Group + "/" + c.namespace
	testbed.Edit(t, bed, kind, func(p *v1beta1.IPAddressPool) { p.Annotations = external(from) })
	c.says(s, `False AllocatorRefused: an allocator refuses: pool "kind": its allocator gives no IPv4 address: `+from+" does not exist")
	c.faulty("IPAddressPool " + c.namespace + "/kind: metadata.annotations[fairlead.io/allocator-pool]: " + from + " does not exist; ")
	providerPool(t, c.namespace, "10.73.0.7-10.73.0.9")
	c.has(s, "10.73.0.7")
	c.faulty("")
}

// faulty waits until the ConfigurationState begins so; empty: it is valid.
func (c *cluster) faulty(want string) {
	c.t.Helper()
	testbed.Eventually(c.t, "the ConfigurationState", func(ctx context.Context) error {
		var state v1beta1.ConfigurationState
		if err := c.bed.Client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: "controller"}, &state); err != nil {
			return err
		}
		if got := state.Status.ErrorSummary; !strings.HasPrefix(got, want) || want == "" && got != "" {
			return fmt.Errorf("says %q, want %q", got, want)
		}
		return nil
	})
}
