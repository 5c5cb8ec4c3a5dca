package controller

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

func labelSelector(key, value string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

// admitAnything takes the rules out of the IPAddressPool CRD, as in an installation that still has MetalLB's, for one test.
func admitAnything(t *testing.T) {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	crd.Name = "ipaddresspools.metallb.io"
	rules := func(c *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.JSONSchemaProps {
		spec := c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		addresses := spec.Properties["addresses"]
		return &addresses
	}
	set := func(p *apiextensionsv1.JSONSchemaProps) func(*apiextensionsv1.CustomResourceDefinition) {
		return func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["addresses"] = *p
		}
	}
	var original *apiextensionsv1.JSONSchemaProps
	testbed.Edit(t, bed, crd, func(c *apiextensionsv1.CustomResourceDefinition) {
		original = rules(c).DeepCopy()
		open := rules(c).DeepCopy()
		open.XValidations, open.Items.Schema.XValidations = nil, nil
		set(open)(c)
	})
	t.Cleanup(func() {
		require.NoError(t, bed.Client.Get(context.Background(), client.ObjectKeyFromObject(crd), crd))
		set(original)(crd)
		require.NoError(t, bed.Client.Update(context.Background(), crd))
	})
	testbed.Eventually(t, "the open schema to be served", func(ctx context.Context) error {
		probe := &v1beta1.IPAddressPool{}
		probe.Namespace, probe.GenerateName, probe.Spec.Addresses = "default", "probe-", []string{"10.0.0.300"}
		return bed.Client.Create(ctx, probe, client.DryRunAll)
	})
}

// TestFaultyPools: each fault is named on the object, in the ConfigurationState and once in the log; everything else keeps
// working, and nothing that was assigned changes.
func TestFaultyPools(t *testing.T) {
	admitAnything(t)
	i := install(t)
	i.pool("good", "10.30.0.0/24", "2001:db8:30::/120")
	edited := i.pool("edited", "10.31.0.0/24")
	p := i.start()
	web := i.service("web", annotated("metallb.io/address-pool", "edited"))
	has(t, web, "10.31.0.0")

	const aside = "; it is set aside; Services keep the addresses they have"
	faults := map[string]struct {
		addresses []string
		message   string
	}{
		"octet":    {[]string{"10.0.0.300"}, `spec.addresses[0]: "10.0.0.300" is neither a CIDR like 192.0.2.0/24 or 2001:db8::/64 nor a range like 192.0.2.10-192.0.2.20`},
		"reversed": {[]string{"10.0.0.9-10.0.0.1"}, "spec.addresses[0]: range 10.0.0.9-10.0.0.1 ends before it begins: write 10.0.0.1-10.0.0.9"},
		"mixed":    {[]string{"10.0.0.1-2001:db8::1"}, "spec.addresses[0]: range 10.0.0.1-2001:db8::1 mixes IPv4 and IPv6: use one entry for each family"},
		"overlap":  {[]string{"2001:db8:30::80/121"}, `spec.addresses[0]: 2001:db8:30::80-2001:db8:30::ff overlaps 2001:db8:30::-2001:db8:30::ff of pool "good"; an address may be in one pool only`},
		"empty":    {[]string{}, "spec.addresses: the list is empty; at least one entry like 192.0.2.0/24 or 192.0.2.10-192.0.2.20 is needed"},
	}
	for name, f := range faults {
		bad := i.pool(name, f.addresses...)
		hasEvents(t, bad, "Warning ConfigurationError: "+f.message+aside)
	}
	testbed.Edit(t, bed, edited, func(p *v1beta1.IPAddressPool) { p.Spec.Addresses = []string{"10.31.0.0/240"} })
	hasEvents(t, edited, `Warning ConfigurationError: spec.addresses[0]: "10.31.0.0/240" is neither a CIDR like 192.0.2.0/24 or 2001:db8::/64 nor a range like 192.0.2.10-192.0.2.20; its last valid version stays in force`)

	state := &v1beta1.ConfigurationState{}
	testbed.Eventually(t, "the ConfigurationState to name every fault", func(ctx context.Context) error {
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: i.namespace, Name: "controller"}, state); err != nil {
			return err
		}
		for name, f := range faults {
			if want := fmt.Sprintf("IPAddressPool %s/%s: %s", i.namespace, name, f.message); !strings.Contains(state.Status.ErrorSummary, want) {
				return fmt.Errorf("%q is missing in %q", want, state.Status.ErrorSummary)
			}
		}
		return nil
	})
	assert.Equal(t, v1beta1.ConfigurationInvalid, state.Status.Result)

	// New Services get addresses, also from the last valid version; the old one keeps its own, also over a restart.
	has(t, i.service("another", annotated("metallb.io/address-pool", "good")), "10.30.0.0")
	has(t, i.service("more", annotated("metallb.io/address-pool", "edited")), "10.31.0.1")
	for name, f := range faults {
		field, problem, _ := strings.Cut(f.message, ": ")
		line := fmt.Sprintf("object=\"IPAddressPool %s/%s\" field=%s", i.namespace, name, field)
		assert.Equal(t, 1, strings.Count(p.Log(), line), "in the log once: %s (%s)", line, problem)
	}
	p.Kill()
	i.start("--leader-elect=false")
	refused(t, web, `True AddressKept: 10.31.0.0 from pool "edited" is kept: pool is set aside: IPAddressPool `)
	assert.Equal(t, "10.31.0.0", testbed.IPs(web))

	// A Service that asks for the faulty pool is told why.
	refused(t, i.service("late", annotated("metallb.io/address-pool", "edited")),
		fmt.Sprintf(`False PoolNotFound: pool "edited": no such pool (IPAddressPool %s/edited: spec.addresses[0]: "10.31.0.0/240" is neither`, i.namespace))

	testbed.Edit(t, bed, edited, func(p *v1beta1.IPAddressPool) { p.Spec.Addresses = []string{"10.31.0.0/24"} })
	refused(t, web, `True Allocated: 10.31.0.0 from pool "edited"`)
}

// TestFaultyRequests: each refusal names field and value and says what would be right, on the Service and once in the log.
func TestFaultyRequests(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.pool("main", "10.32.0.0/24", "2001:db8:32::/120")
	p := i.start()
	good := i.service("good")
	has(t, good, "10.32.0.0")
	version := good.ResourceVersion
	for _, tc := range []struct {
		name string
		asks func(*corev1.Service)
		want string
	}{
		{"octet", annotated("metallb.io/loadBalancerIPs", "192.0.2.999"), `InvalidRequest: invalid request: metadata.annotations[metallb.io/loadBalancerIPs]: "192.0.2.999" is not an IP address; write one address like 192.0.2.10, or one of each family like 192.0.2.10,2001:db8::10`},
		{"field", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.0.2.999" }, `InvalidRequest: invalid request: spec.loadBalancerIP: "192.0.2.999" is not an IP address`},
		{"outside", annotated("metallb.io/loadBalancerIPs", "192.0.2.9"), `AddressNotInPool: address 192.0.2.9: no pool has it`},
		{"two", annotated("metallb.universe.tf/loadBalancerIPs", "10.32.0.1,10.32.0.2"), `InvalidRequest: invalid request: metadata.annotations[metallb.universe.tf/loadBalancerIPs]: "10.32.0.1,10.32.0.2" names two IPv4 addresses`},
		{"pool", annotated("metallb.io/address-pool", "nowhere"), `PoolNotFound: pool "nowhere": no such pool`},
		{"family", annotated("metallb.io/loadBalancerIPs", "2001:db8:32::1"), `InvalidRequest: invalid request: metadata.annotations[metallb.io/loadBalancerIPs]: the Service's cluster IPs are`},
	} {
		s := i.service(tc.name, tc.asks)
		refused(t, s, "False "+tc.want)
		_, message, _ := strings.Cut(tc.want, ": ")
		hasEvents(t, s, "Warning AllocationFailed: "+message)
		assert.Equal(t, 1, strings.Count(p.Log(), "service="+s.Namespace+"/"+s.Name+" "), "in the log once")
	}
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(good), good))
	assert.Equal(t, version, good.ResourceVersion, "the good Service was written to")
}
