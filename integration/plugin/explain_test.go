package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/tool/explain"
)

// TestExplain: the story of a Service that has an address, and of one for each main reason not to have one. Nothing is written.
func TestExplain(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "192.0.2.0/31", "2001:db8::/127")
	i.pool("tenants", func(p *v1beta1.IPAddressPool) {
		p.Spec.AllocateTo = &v1beta1.ServiceAllocation{Priority: 1, Namespaces: []string{"other"}}
	}, "198.51.100.0/24")
	i.start()
	web := i.service("web", func(s *corev1.Service) {
		both := corev1.IPFamilyPolicyPreferDualStack
		s.Spec.IPFamilyPolicy = &both
	})
	i.service("second")
	for _, tc := range []struct {
		name    string
		change  []func(*corev1.Service)
		reason  string // of what is to be fixed
		pool    string // the first pool that is considered
		verdict string
		why     string
	}{
		{"full", nil, "PoolExhausted", "main", explain.PoolRefuses, "2 of 2 IPv4 addresses in use"},
		{"nowhere", []func(*corev1.Service){annotated("metallb.io/address-pool", "nowhere")}, "PoolNotFound", "nowhere", explain.PoolRefuses, "no such pool"},
		{"barred", []func(*corev1.Service){annotated("metallb.universe.tf/address-pool", "tenants")}, "PoolNotAdmitting", "tenants", explain.PoolRefuses, "spec.serviceAllocation.namespaces"},
		{"taken", []func(*corev1.Service){annotated("metallb.io/loadBalancerIPs", "192.0.2.0")}, "AddressInUse", "main", explain.PoolRefuses, "is in use by " + i.namespace + "/web"},
		{"outside", []func(*corev1.Service){annotated("metallb.io/loadBalancerIPs", "203.0.113.9")}, "AddressNotInPool", "tenants", explain.PoolPassed, "another pool is asked for"},
		{"malformed", []func(*corev1.Service){annotated("metallb.io/loadBalancerIPs", "192.0.2.300")}, "InvalidRequest", "tenants", explain.PoolRefuses, "192.0.2.300"},
	} {
		i.service(tc.name, tc.change...)
		r := read[explain.Service](i, 2, "explain", "service", i.namespace+"/"+tc.name)
		require.NotNil(t, r.Fix, tc.name)
		assert.Equal(t, tc.reason, r.Fix.Reason, tc.name)
		assert.Equal(t, tc.reason, r.Conditions[0].Reason, tc.name)
		i := slices.IndexFunc(r.Pools, func(p explain.Pool) bool { return p.Name == tc.pool })
		require.GreaterOrEqual(t, i, 0, tc.name)
		assert.Equal(t, tc.verdict, r.Pools[i].Verdict, tc.name)
		assert.Contains(t, r.Pools[i].Why, tc.why, tc.name)
	}
	before := versions(t)
	r := read[explain.Service](i, 2, "explain", "service", i.namespace+"/web")
	assert.Equal(t, []explain.Address{{IP: "192.0.2.0", Pool: "main"}, {IP: "2001:db8::", Pool: "main"}}, r.Addresses)
	assert.Equal(t, explain.PoolHolds, r.Pools[0].Verdict)
	assert.Equal(t, "NoEndpoints", r.Fix.Reason, "it has none here")
	assert.Equal(t, []string{"IPv4", "IPv6"}, r.Request.Families)

	a := read[explain.OneAddress](i, 0, "explain", "address", "2001:db8::")
	assert.Equal(t, []string{i.namespace + "/web"}, a.Holders)
	a = read[explain.OneAddress](i, 0, "explain", "address", "192.0.2.0")
	assert.Equal(t, []string{i.namespace + "/taken"}, a.AskedBy)
	p := read[explain.Pools](i, 0, "pools", "main")
	assert.Equal(t, []explain.FamilyUse{{Family: "IPv4", Capacity: 2, InUse: 2}, {Family: "IPv6", Capacity: 2, InUse: 1, Free: 1}}, p.Pools[0].Families)
	assert.Equal(t, before, versions(t), "something was written")

	for _, tc := range []struct {
		args []string
		err  string
	}{
		{[]string{"explain", "service", i.namespace + "/none"}, fmt.Sprintf("there is no Service %q in namespace %q", "none", i.namespace)},
		{[]string{"explain", "service", "none"}, fmt.Sprintf("there is no Service %q in namespace %q", "none", i.namespace)},
		{[]string{"explain", "service", "a/b/c"}, "does not name a Service"},
		{[]string{"explain", "address", "300.1.1.1"}, "is not an IP address"},
		{[]string{"pools", "nowhere"}, "there are main, tenants"},
		{[]string{"pools", "-o", "xml"}, "use one of table, wide, json, yaml"},
		{[]string{"pools", "--context", "nowhere"}, `context "nowhere" does not exist`},
	} {
		got := i.plugin(tc.args...)
		assert.Equal(t, 1, got.code, "%v", tc.args)
		assert.Empty(t, got.stdout, "%v", tc.args)
		assert.Contains(t, got.stderr, tc.err, "%v", tc.args)
	}
	require.NotEmpty(t, web.Status.LoadBalancer.Ingress)
}

// TestCalico: with the CNI advertising, its backend, what was written for a Service, and its peers are told.
func TestCalico(t *testing.T) {
	i := withCalico(t)
	i.pool("main", nil, "10.70.0.0/28", "2001:db8:70::/124")
	i.create(&v1beta1.BGPAdvertisement{ObjectMeta: i.meta("all")})
	i.create(&v1beta1.L2Advertisement{ObjectMeta: i.meta("lan")})
	i.agents()
	i.start("--backend=calico")
	i.service("web")
	i.advertised("web", "Advertised")

	r := read[explain.Service](i, 2, "explain", "service", i.namespace+"/web")
	require.Len(t, r.Advertisements, 2)
	assert.Equal(t, "calico", r.Advertisements[0].Backend)
	assert.True(t, r.Advertisements[0].Selects && r.Advertisements[1].Selects)
	assert.Empty(t, r.Advertisements[1].Backend, "Calico has no layer 2")
	require.Len(t, r.Backends, 1)
	assert.Equal(t, []string{`prefix 10.70.0.0/28 of pool "main"`}, r.Backends[0].Wrote, "what concerns this Service")
	b := read[explain.Backends](i, 0, "backends")
	assert.Equal(t, "calico", b.BGP)
	assert.Equal(t, []string{`prefix 10.70.0.0/28 of pool "main"`, `prefix 2001:db8:70::/124 of pool "main"`}, b.Backends[0].Wrote)
	text := i.plugin("explain", "service", i.namespace+"/web").stdout
	for _, part := range []string{"1. main  has 10.70.0.0 from here", "BGPAdvertisement all  selects it, served by calico", "L2Advertisement lan   selects it, served by nobody", `wrote: prefix 10.70.0.0/28 of pool "main"`, "First thing to fix"} {
		assert.Contains(t, text, part)
	}
	assert.NotContains(t, text, "\x1b", "it is not a terminal")
}

// withCalico makes an installation in a cluster where BIRD runs. Such tests do not run in parallel.
func withCalico(t *testing.T) *installation {
	i := install(t)
	settings := &corev1.ConfigMap{ObjectMeta: i.meta("calico-config"), Data: map[string]string{"calico_backend": "bird"}}
	settings.Namespace = "kube-system"
	i.create(settings)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		require.NoError(t, bed.Client.Delete(ctx, settings))
		require.NoError(t, bed.Client.DeleteAllOf(ctx, &v1alpha1.Backend{}))
		bed.Kubectl(t, "delete", "bgpconfigurations.crd.projectcalico.org", "--all")
	})
	return i
}

// advertised waits until the condition Advertised of a Service has a reason.
func (i *installation) advertised(name, reason string) {
	i.t.Helper()
	testbed.Eventually(i.t, name+" to be advertised", func(ctx context.Context) error {
		var s corev1.Service
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: i.namespace, Name: name}, &s); err != nil {
			return err
		}
		c := meta.FindStatusCondition(s.Status.Conditions, "fairlead.io/Advertised")
		if c == nil {
			return errors.New("there is no condition")
		}
		if c.Reason != reason {
			return fmt.Errorf("it is %s: %s", c.Reason, c.Message)
		}
		return nil
	})
}

// TestCompletion: shells are offered what is there.
func TestCompletion(t *testing.T) {
	i := install(t)
	i.pool("alpha", nil, "192.0.2.0/24")
	i.pool("beta", nil, "2001:db8::/64")
	i.start()
	i.service("web")
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"explain", "service", i.namespace + "/"}, []string{i.namespace + "/web"}},
		{[]string{"explain", "service", i.namespace + "/x"}, nil},
		{[]string{"explain", "address", "192.0.2."}, []string{"192.0.2.0"}},
		{[]string{"pools", "--namespace", i.namespace, ""}, []string{"alpha", "beta"}},
		{[]string{"pools", "--namespace", i.namespace, "b"}, []string{"beta"}},
		{[]string{"pools", "-o", ""}, []string{"table", "wide", "json", "yaml"}},
		{[]string{"plan", "--exit-code", ""}, []string{"disruptive", "changes", "never"}},
		{[]string{"pools", "--namespace", i.namespace}, []string{i.namespace}},
	} {
		// What is being completed comes last.
		args := append([]string{"__complete"}, tc.args[0], "--kubeconfig", i.config)
		r := runAsIs(t, append(args, tc.args[1:]...)...)
		require.Zero(t, r.code, r.stderr)
		var got []string
		for line := range strings.Lines(r.stdout) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, ":") {
				got = append(got, line)
			}
		}
		assert.Equal(t, tc.want, got, "%v: %s", tc.args, r.stderr)
	}
}
