package plugin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/tool/plan"
)

// TestPlan: what is told before objects are applied is what happens when they are. Nothing is written by telling it.
func TestPlan(t *testing.T) {
	i := withCalico(t)
	i.pool("main", nil, "10.72.0.0/28", "2001:db8:72::/124")
	i.create(&v1beta1.BGPAdvertisement{ObjectMeta: i.meta("all")})
	i.agents()
	i.start("--backend=calico", "--calico-aggregation=enabled")
	i.service("web")
	i.service("lost", annotated("metallb.io/address-pool", "later"))
	i.advertised("web", "Advertised")
	file := i.file("change.yaml", fmt.Sprintf(`apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: main, namespace: %[1]s}
spec: {addresses: [10.72.1.0/28, "2001:db8:72::/124"]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: later, namespace: %[1]s}
spec: {addresses: [10.72.2.0/30], autoAssign: false}
---
apiVersion: v1
kind: Service
metadata: {name: new, namespace: %[1]s}
spec: {type: LoadBalancer, loadBalancerClass: %[2]s, ports: [{port: 80}]}
`, i.namespace, i.class))

	before := versions(t)
	r := read[plan.Report](i, 2, "plan", "-f", file)
	assert.Equal(t, before, versions(t), "something was written")
	var told []string
	for _, s := range r.Services {
		told = append(told, fmt.Sprintf("%s %s %v %v", s.Name, s.Addresses, s.Before, s.After))
	}
	assert.Equal(t, []string{"lost gains [] [10.72.2.0]", "new gains [] [10.72.1.0]", "web renumbered [10.72.0.0] [10.72.1.1]"}, told)
	require.Len(t, r.Backends, 1)
	require.Len(t, r.Backends[0].Writes, 1)
	w := r.Backends[0].Writes[0]
	assert.Equal(t, "update BGPConfiguration default", w.Verb+" "+w.Kind+" "+w.Name)
	assert.Zero(t, r.Backends[0].Outstanding)
	assert.Empty(t, r.Gaps)
	text := i.plugin("plan", "-f", file).stdout
	for _, part := range []string{i.namespace + "/web renumbered: 10.72.0.0 -> 10.72.1.1", "-  - cidr: 10.72.0.0/28", "+  - cidr: 10.72.1.0/28", "Disruptive"} {
		assert.Contains(t, text, part)
	}

	// What is told happens.
	bed.Kubectl(t, "apply", "-f", file)
	for _, s := range r.Services {
		testbed.Eventually(t, "address of "+s.Name, i.has(s.Name, s.After...))
	}
	foretold := blocks(w.After)
	assert.ElementsMatch(t, []string{"10.72.1.0/28", "10.72.2.0/30", "2001:db8:72::/124"}, foretold)
	testbed.Eventually(t, "Calico to be told", func(context.Context) error {
		got := strings.Fields(bed.Kubectl(t, "get", "bgpconfigurations.crd.projectcalico.org", "default", "-o", "jsonpath={.spec.serviceLoadBalancerIPs[*].cidr}"))
		if !slices.Equal(got, foretold) {
			return fmt.Errorf("it has %q, want %q", got, foretold)
		}
		return nil
	})
	i.advertised("new", "Advertised")
	again := i.plugin("plan", "-f", file, "--exit-code", "changes")
	assert.Equal(t, 0, again.code, "%s%s", again.stdout, again.stderr)
	assert.Contains(t, again.stdout, "Nothing would change.")

	// Pruning and the exit codes.
	only := i.file("only.yaml", fmt.Sprintf("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: main, namespace: %s}\nspec: {addresses: [10.72.1.0/28, \"2001:db8:72::/124\"]}\n", i.namespace))
	pruned := read[plan.Report](i, 2, "plan", "-f", only, "--prune")
	told = nil
	for _, o := range pruned.Objects {
		told = append(told, o.Action+" "+o.Kind+" "+o.Name)
	}
	assert.Equal(t, []string{"unchanged IPAddressPool main", "delete IPAddressPool later", "delete BGPAdvertisement all"}, told)
	for _, s := range pruned.Services {
		assert.True(t, s.Withdrawn || s.Addresses == plan.Loses || s.Addresses == plan.Renumbered, "%+v", s)
	}
	assert.Len(t, pruned.Services, 3)
	assert.Equal(t, 0, i.plugin("plan", "-f", only, "--prune", "--exit-code", "never").code)
	more := i.file("more.yaml", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: more}\nspec: {addresses: [10.72.9.0/30]}\n")
	assert.Equal(t, 0, i.plugin("plan", "-f", more).code, "nothing is taken from anybody")
	assert.Equal(t, 2, i.plugin("plan", "-f", more, "--exit-code", "changes").code, "Calico is told of it")
	assert.Equal(t, 0, i.plugin("plan", "-f", more, "--server-side").code)
}

// TestPlanCilium: before a controller is installed, the plan is what it would do with the CNI that it would find.
func TestPlanCilium(t *testing.T) {
	i := install(t)
	settings := &corev1.ConfigMap{ObjectMeta: i.meta("cilium-config"), Data: map[string]string{"enable-bgp-control-plane": "true", "enable-l2-announcements": "true", "enable-lb-ipam": "false"}}
	settings.Namespace = "kube-system"
	i.create(settings)
	t.Cleanup(func() { require.NoError(t, bed.Client.Delete(context.WithoutCancel(t.Context()), settings)) })
	file := i.file("all.yaml", `apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: main}
spec: {addresses: [10.73.0.0/28, "2001:db8:73::/124"]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: `+i.namespace+`}
spec: {type: LoadBalancer, ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}
`)
	before := versions(t)
	r := read[plan.Report](i, 0, "plan", "-f", file)
	assert.Equal(t, before, versions(t), "something was written")
	require.Len(t, r.Backends, 1, "%+v", r)
	assert.Empty(t, r.Backends[0].Problem)
	var told []string
	for _, w := range r.Backends[0].Writes {
		told = append(told, w.Verb+" "+w.Kind)
	}
	assert.Equal(t, []string{"create CiliumBGPAdvertisement", "create CiliumL2AnnouncementPolicy"}, told)
	require.Len(t, r.Services, 1)
	assert.Equal(t, []string{"10.73.0.0", "2001:db8:73::"}, r.Services[0].After)
	assert.Equal(t, []string{"BGPAdvertisement all by cilium", "L2Advertisement lan by cilium"}, r.Services[0].AdvertisedAfter)
}

// TestPlanFaults: what the API server, the controller's rules and the files themselves have to say against objects.
func TestPlanFaults(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "192.0.2.0/24")
	i.start()
	i.service("web")
	file := i.file("faults.yaml", `apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: typo}
spec: {addreses: [198.51.100.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: malformed}
spec: {addresses: [198.51.100.0/33]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: overlaps}
spec: {addresses: [192.0.2.128/25]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: elsewhere, namespace: default}
spec: {addresses: [203.0.113.0/24]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: x, namespace: default}
`)
	r := read[plan.Report](i, 2, "plan", "-f", file)
	var told []string
	for _, o := range r.Objects {
		told = append(told, o.Action+" "+o.Name)
	}
	assert.Equal(t, []string{"invalid typo", "invalid malformed", "create overlaps", "ignored elsewhere", "ignored x"}, told)
	assert.Contains(t, r.Objects[0].Why, `unknown field "spec.addreses"`)
	assert.Contains(t, r.Objects[1].Why, "198.51.100.0/33")
	require.Len(t, r.Faults, 1)
	assert.Equal(t, "spec.addresses[0]", r.Faults[0].Field)
	assert.Contains(t, r.Faults[0].Problem, `of pool "main"`)
	assert.Empty(t, r.Services)

	// Without permission for dry runs, the plan is made all the same, and says what it lacks.
	config := i.account("reader", []rbacv1.PolicyRule{rule("", "services", "namespaces", "nodes"), rule("metallb.io", "*"), rule("fairlead.io", "*"), rule("discovery.k8s.io", "*"), rule("apps", "deployments")}, []rbacv1.PolicyRule{rule("coordination.k8s.io", "leases")})
	moved := i.file("moved.yaml", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: main}\nspec: {addresses: [198.51.100.0/24]}\n")
	got := run(t, config, "plan", "-f", moved, "--namespace", i.namespace)
	assert.Equal(t, 2, got.code, "%s%s", got.stdout, got.stderr)
	assert.Contains(t, got.stdout, "web renumbered: 192.0.2.0 -> 198.51.100.0")
	assert.Contains(t, got.stdout, "no dry run on the API server; faults that only it finds are not told")

	for _, tc := range []struct{ name, text, err string }{
		{"tab", "apiVersion: v1\nkind: Service\nmetadata:\n\tname: x\n", "tab.yaml#1: error converting YAML"},
		{"twice", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\n---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\n", "is there twice"},
		{"empty", "# nothing\n", "there are no objects"},
	} {
		got := i.plugin("plan", "-f", i.file(tc.name+".yaml", tc.text))
		assert.Equal(t, 1, got.code, tc.name)
		assert.Contains(t, got.stderr, tc.err)
	}
	assert.Contains(t, i.plugin("plan").stderr, "--filename is needed")
}

func (i *installation) file(name, text string) string {
	path := filepath.Join(i.t.TempDir(), name)
	require.NoError(i.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// blocks returns the prefixes in a BGPConfiguration.
func blocks(o map[string]any) []string {
	spec, _ := o["spec"].(map[string]any)
	list, _ := spec["serviceLoadBalancerIPs"].([]any)
	var out []string
	for _, b := range list {
		out = append(out, fmt.Sprint(b.(map[string]any)["cidr"]))
	}
	return out
}
