package plugin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/process/cli"
	"github.com/fairlead/fairlead/internal/tool/document"
	"github.com/fairlead/fairlead/internal/tool/document/documenttest"
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
	own := runAsIs(t, "version", "--client", "--kubeconfig", i.file("broken", "not: [a kubeconfig"), "-o", "json")
	require.Equal(t, 0, own.code, "the cluster is not asked: %s", own.stderr)
	kind, text := documenttest.Validate(t, "../..", []byte(own.stdout))
	assert.Equal(t, document.Versions, kind)
	assert.Contains(t, string(text), `"client":{"commit":`)
	assert.NotContains(t, string(text), "kubernetes")
	d := &appsv1.Deployment{ObjectMeta: i.meta("lb")}
	d.Labels = survey.ControllerLabels
	d.Spec.Selector, d.Spec.Template.Labels = selector(), selector().MatchLabels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "controller", Image: "example.org/fairlead:v1.2.3"}}
	i.create(d)
	t.Cleanup(func() { bed.Kubectl(t, "-n", i.namespace, "delete", "deployment", "lb") })
	v = i.plugin("version")
	assert.Equal(t, 0, v.code, v.stderr)
	assert.Contains(t, v.stdout, "controller  v1.2.3")
	type process struct{ Namespace, Workload, Version, Image string }
	all := read[struct {
		Client     cli.Build
		Kubernetes string
		Controller process
	}](i, 0, "version")
	assert.Regexp(t, `^v1\.\d+\.`, all.Kubernetes)
	assert.Equal(t, process{i.namespace, "lb", "v1.2.3", "example.org/fairlead:v1.2.3"}, all.Controller)
	assert.NotEmpty(t, all.Client.Go)
	asYAML := i.plugin("version", "-o", "yaml")
	assert.Contains(t, asYAML.stdout, "kind: Versions\n")
	assert.Contains(t, asYAML.stdout, "kubernetes: v1.")
}

// watch runs status --watch, and returns the documents that it prints, which end when it does, and how to end it.
func (i *installation) watch(kubeconfig string, args ...string) (printed <-chan status.Report, end func() result) {
	t := i.t
	t.Helper()
	cmd := exec.CommandContext(t.Context(), plugin, append([]string{"status", "--watch", "-o", "json", "-n", i.namespace, "--kubeconfig", kubeconfig}, args...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	all := make(chan status.Report, 100)
	go func() {
		defer close(all)
		for d := json.NewDecoder(out); ; {
			var text json.RawMessage
			if d.Decode(&text) != nil {
				return
			}
			var r status.Report
			_, rest := documenttest.Validate(t, "../..", text)
			assert.NoError(t, json.Unmarshal(rest, &r))
			all <- r
		}
	}()
	return all, func() result {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		for range all {
		}
		_ = cmd.Wait() // how it has ended is its exit code
		return result{code: cmd.ProcessState.ExitCode(), stderr: errs.String()}
	}
}

// until waits for a status.
func until(t *testing.T, printed <-chan status.Report, what string, holds func(status.Report) bool) {
	t.Helper()
	over := time.After(30 * time.Second)
	for {
		select {
		case r, ok := <-printed:
			require.True(t, ok, "it has ended before %s", what)
			if holds(r) {
				return
			}
		case <-over:
			require.Fail(t, "waited in vain for "+what)
		}
	}
}

// TestStatusWatch: what changes is printed, and nothing else, until it is ended, or everything is ready.
func TestStatusWatch(t *testing.T) {
	i := withCalico(t)
	printed, end := i.watch(i.config)
	until(t, printed, "a status", func(r status.Report) bool { return len(r.Pools) == 0 })
	i.pool("main", nil, "10.77.0.0/31")
	until(t, printed, "a pool", func(r status.Report) bool { return len(r.Pools) == 1 && !r.Ready })
	i.create(&v1beta1.BGPAdvertisement{ObjectMeta: i.meta("all")})
	i.agents()
	i.start("--backend=calico")
	web := i.service("web", annotated("metallb.io/address-pool", "nowhere"))
	both, endBoth := i.watch(i.config, "--wait", "--timeout", "2m")
	until(t, both, "a status", func(r status.Report) bool { return !r.Ready })
	testbed.Edit(t, bed, web, func(s *corev1.Service) { delete(s.Annotations, "metallb.io/address-pool") })
	until(t, both, "everything to be ready", func(r status.Report) bool { return r.Ready && r.Services.Total == 1 })
	for range both { // it ends by itself
	}
	assert.Equal(t, 0, endBoth().code)
	until(t, printed, "everything to be ready", func(r status.Report) bool { return r.Ready && r.Pools[0].InUse == 1 })
	i.service("lost", annotated("metallb.io/address-pool", "nowhere"))
	until(t, printed, "a Service that waits", func(r status.Report) bool { return len(r.Services.Waiting) == 1 })
	got := end()
	assert.Equal(t, 0, got.code, "it was ended: %s", got.stderr)

	// Not in time.
	both, endBoth = i.watch(i.config, "--wait", "--timeout", "0s")
	until(t, both, "a status", func(r status.Report) bool { return !r.Ready })
	for range both {
	}
	assert.Equal(t, 2, endBoth().code)
	both, endBoth = i.watch(i.config, "--wait")
	until(t, both, "a status", func(r status.Report) bool { return !r.Ready })
	got = endBoth()
	assert.Equal(t, 1, got.code)
	assert.Contains(t, got.stderr, "ended before everything was ready")

	// Who may list, but not watch, is told so.
	printed, end = i.watch(i.account("lister", []rbacv1.PolicyRule{rule("metallb.io", "*"), rule("fairlead.io", "*"), rule("", "services", "namespaces", "nodes")}, nil))
	until(t, printed, "a status", func(r status.Report) bool {
		return slices.Contains(r.Gaps, "cannot check Services: you may not watch services")
	})
	end()

	// People see when it was, and one status below the other.
	cmd := exec.CommandContext(t.Context(), plugin, "status", "--watch", "-n", i.namespace, "--kubeconfig", i.config)
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	out, text := bufio.NewReader(pipe), ""
	for strings.Count(text, "Not everything is ready.") < 2 {
		line, err := out.ReadString('\n')
		require.NoError(t, err, "%s", text)
		if text += line; strings.HasPrefix(line, "Not everything is ready.") && strings.Count(text, "Namespace ") == 1 {
			i.service("second", annotated("metallb.io/address-pool", "nowhere"))
		}
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
	assert.Regexp(t, `(?s)^\d\d:\d\d:\d\d\nNamespace `+i.namespace+`\n.*1 waiting.*\n\n\d\d:\d\d:\d\d\nNamespace `+i.namespace+`\n.*2 waiting`, text)
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
