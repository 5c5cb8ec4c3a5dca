package plugin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/tool/explain"
	"github.com/fairlead/fairlead/internal/tool/plan"
	"github.com/fairlead/fairlead/internal/tool/status"
	"github.com/fairlead/fairlead/internal/tool/survey"
)

// TestStatus: --wait ends when all is ready, and in time if it is not; what waits is told.
func TestStatus(t *testing.T) {
	i := withCalico(t)
	i.pool("main", nil, "10.74.0.0/31")
	i.create(&v1beta1.BGPAdvertisement{ObjectMeta: i.meta("all")})
	r := read[status.Report](i, 0, "status")
	assert.Equal(t, status.NotReady, r.Controller.State)
	late := i.plugin("status", "--wait", "--timeout", "1s")
	assert.Equal(t, 2, late.code, "%s%s", late.stdout, late.stderr)
	assert.Contains(t, late.stdout, "Not everything is ready.")

	i.agents()
	i.start("--backend=calico")
	web := i.service("web")
	got := i.plugin("status", "--wait", "--timeout", "1m")
	require.Equal(t, 0, got.code, "%s%s", got.stdout, got.stderr)
	assert.Contains(t, got.stdout, "Everything is ready.")
	i.service("lost", annotated("metallb.io/address-pool", "nowhere"))
	r = read[status.Report](i, 2, "status", "--wait", "--timeout", "0s")
	require.Len(t, r.Services.Waiting, 1)
	assert.Equal(t, "PoolNotFound", r.Services.Waiting[0].Reason)
	assert.Equal(t, []status.Backend{{Name: "calico", Serves: []string{"bgp"}, State: status.Ready}}, r.Backends)

	// A Service is named as with kubectl; the installation is found beside it.
	other := bed.Namespace(t)
	elsewhere := i.define("api", func(s *corev1.Service) { s.Namespace = other })
	i.create(elsewhere)
	for _, args := range [][]string{{"api", "-n", other, "--system-namespace", i.namespace}, {other + "/api", "--system-namespace", i.namespace}, {other + "/api", "-n", i.namespace}, {"service/" + "api", "-n", other, "--system-namespace", i.namespace}} {
		got := run(t, i.config, append([]string{"explain", "service", "-o", "json"}, args...)...)
		assert.Contains(t, got.stdout, fmt.Sprintf(`"namespace": %q`, other), "%v: %s", args, got.stderr)
		assert.Contains(t, got.stdout, `"name": "main"`, "%v: the pools of the installation", args)
	}
	assert.NotEmpty(t, read[explain.Service](i, 2, "explain", "service", web.Name).Addresses)

	// The controller runs outside the cluster: there is nothing that its version could be told by.
	v := i.plugin("version")
	assert.Equal(t, 1, v.code)
	assert.Contains(t, v.stdout, "client")
	assert.Contains(t, v.stderr, "there is no Deployment of a controller")
	assert.Equal(t, 0, i.plugin("version", "--client").code)
	d := &appsv1.Deployment{ObjectMeta: i.meta("lb")}
	d.Labels = survey.ControllerLabels
	d.Spec.Selector, d.Spec.Template.Labels = selector(), selector().MatchLabels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "controller", Image: "example.org/fairlead:v1.2.3"}}
	i.create(d)
	t.Cleanup(func() { bed.Kubectl(t, "-n", i.namespace, "delete", "deployment", "lb") })
	v = i.plugin("version")
	assert.Equal(t, 0, v.code, v.stderr)
	assert.Contains(t, v.stdout, "controller  v1.2.3")
}

// TestPlanNamespace: objects without a namespace go where kubectl apply puts them.
func TestPlanNamespace(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "10.75.0.0/28")
	file := i.file("pool.yaml", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: more}\nspec: {addresses: [10.75.1.0/28]}\n")
	got := run(t, i.config, "plan", "-f", file, "--system-namespace", i.namespace)
	assert.Equal(t, 0, got.code, got.stderr)
	assert.Contains(t, got.stdout, `warning: IPAddressPool "more" would be stored in namespace "default" and not be read there`)
	r := read[plan.Report](i, 0, "plan", "-f", file)
	require.Len(t, r.Objects, 1)
	assert.Equal(t, "create "+i.namespace+"/more", r.Objects[0].Action+" "+r.Objects[0].Namespace+"/"+r.Objects[0].Name)
	assert.Empty(t, r.Warnings)
}

// TestPlanNotKnown: what could not be found out in time is no success.
func TestPlanNotKnown(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "10.76.0.0/28")
	file := i.file("pool.yaml", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: main}\nspec: {addresses: [10.76.0.0/28]}\n")
	got := i.plugin("plan", "-f", file, "--request-timeout", "1ns")
	assert.Equal(t, 1, got.code)
	assert.NotContains(t, got.stdout, "Nothing would change")
	assert.Contains(t, got.stderr, "the API server has not answered within 1ns (--request-timeout)")
	begin := time.Now()
	assert.Equal(t, 0, i.plugin("plan", "-f", file, "--request-timeout", "0").code)
	t.Logf("a plan takes %s", time.Since(begin).Round(time.Millisecond))
	assert.True(t, strings.HasSuffix(strings.TrimSpace(i.plugin("plan", "-f", file).stdout), "Nothing would change."))
}
