package chart

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
)

// TestLife installs the chart over CRDs that somebody else has made, upgrades it, rolls it back and uninstalls it. The cluster runs no
// pods: what they would do is done by the test.
func TestLife(t *testing.T) {
	r := &release{t: t, name: bed.Namespace(t)}
	own := func(verb string, values ...string) []string {
		return append(r.args(verb, append([]string{"crds.enabled=true", "loadBalancerClass=" + r.class()}, values...)...), "--timeout=3m")
	}
	t.Cleanup(func() { mustHelm(t, "uninstall", r.name, "--namespace", r.name, "--no-hooks", "--ignore-not-found") })

	out, err := helm(t, own("install")...)
	require.Error(t, err)
	assert.Contains(t, out, "CustomResourceDefinition")
	assert.Contains(t, out, "invalid ownership metadata")
	out = mustHelm(t, append(own("install", "backend=none"), "--take-ownership")...)
	assert.Contains(t, out, "kubectl fairlead explain service NAMESPACE/NAME")
	deployment := &appsv1.Deployment{ObjectMeta: r.object(r.name + "-fairlead-controller")}
	daemons := &appsv1.DaemonSet{ObjectMeta: r.object(r.name + "-fairlead-speaker")}
	exists(t, deployment, true)
	exists(t, &policyv1.PodDisruptionBudget{ObjectMeta: deployment.ObjectMeta}, true)
	exists(t, daemons, false)

	mustHelm(t, append(own("upgrade", "backend=speaker", "speaker.enabled=true", "controller.replicas=3", "networkpolicies.enabled=true"), "--description=two")...)
	exists(t, daemons, true)
	exists(t, deployment, true)
	assert.EqualValues(t, 3, *deployment.Spec.Replicas)
	mustHelm(t, "rollback", r.name, "1", "--namespace", r.name)
	exists(t, daemons, false)
	exists(t, deployment, true)
	assert.EqualValues(t, 2, *deployment.Spec.Replicas)

	// A mode is left only with the permission to take back what was written in it.
	calico := &v1alpha1.Backend{ObjectMeta: metav1.ObjectMeta{Name: "calico", Annotations: map[string]string{"fairlead.io/installation": r.name}}}
	require.NoError(t, bed.Client.Create(t.Context(), calico))
	out, err = helm(t, own("upgrade", "backend=cilium")...)
	require.Error(t, err, out)
	assert.Contains(t, out, "upgrade with rbac.extraBackends [calico] first")
	mustHelm(t, own("upgrade", "backend=cilium", "rbac.extraBackends={calico}")...)
	upgrade := []string{"upgrade", r.name, folder, "--namespace", r.name, "--reset-then-reuse-values"}
	out, err = helm(t, append(upgrade, "--set-json", "rbac.extraBackends=[]")...)
	require.Error(t, err, out)
	require.NoError(t, bed.Client.Delete(t.Context(), calico))
	left := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: r.name + "-fairlead:calico"}}
	exists(t, left, true)
	mustHelm(t, append(upgrade, "--set-json", "rbac.extraBackends=[]")...)
	exists(t, left, false)
	mustHelm(t, own("upgrade", "backend=none")...)

	// The hook runs while the ServiceAccount is still there, and the Service keeps its address.
	config := r.account("controller", "", nil)
	r.create(&v1beta1.IPAddressPool{ObjectMeta: r.object("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.91.0.0/28"}}})
	p := r.start(config)
	svc := r.service("web")
	addressed(t, svc)
	_, err = p.Stop()
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		out, err := helm(t, "uninstall", r.name, "--namespace", r.name, "--timeout=2m")
		if err != nil {
			err = errors.New(out)
		}
		done <- err
	}()
	job := &batchv1.Job{ObjectMeta: r.object(r.name + "-fairlead-cleanup")}
	exists(t, job, true)
	exists(t, deployment, true)
	container := job.Spec.Template.Spec.Containers[0]
	require.Equal(t, []string{"/controller"}, container.Command)
	args := arguments(container, map[string]string{"FAIRLEAD_NAMESPACE": r.name})
	require.Equal(t, "cleanup", args[0])
	assert.Contains(t, bed.Cleanup(t, r.name, append([]string{"--kubeconfig", config}, args[1:]...)...), "addresses kept")
	now := metav1.Now()
	job.Status.StartTime, job.Status.CompletionTime, job.Status.Succeeded = &now, &now, 1
	for _, kind := range []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	require.NoError(t, bed.Client.Status().Update(t.Context(), job))
	require.NoError(t, <-done)

	exists(t, deployment, false)
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(svc), svc))
	assert.NotEmpty(t, svc.Status.LoadBalancer.Ingress)
	assert.Empty(t, svc.Status.Conditions)
	ours := client.MatchingLabels{"app.kubernetes.io/instance": r.name}
	for _, list := range []client.ObjectList{
		&corev1.ServiceAccountList{}, &rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{},
		&corev1.ServiceList{}, &appsv1.DeploymentList{}, &appsv1.DaemonSetList{}, &policyv1.PodDisruptionBudgetList{}, &corev1.ConfigMapList{},
	} {
		require.NoError(t, bed.Client.List(t.Context(), list, ours))
		assert.Zero(t, meta.LenList(list), "%T are left", list)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "ipaddresspools.metallb.io"}}
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(crd), crd), "the CRDs stay")
	exists(t, &v1beta1.IPAddressPool{ObjectMeta: r.object("main")}, true)

	// Kept CRDs still bear the release's name: it can be installed again as it is.
	mustHelm(t, own("install", "backend=none")...)
}

// TestAccepted: the API server takes every object of every row of the matrix, with no field that it does not know.
func TestAccepted(t *testing.T) {
	require.NoError(t, bed.InstallCRDs(monitoringCRDs()...))
	for _, ns := range []string{"calico-system", "cilium", "cilium-secrets", "monitoring", "metallb-system"} {
		require.NoError(t, client.IgnoreAlreadyExists(bed.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})))
	}
	for name, values := range matrix {
		t.Run(name, func(t *testing.T) {
			args := []string{"template", "fairlead", folder, "--namespace", "metallb-system", "--set", "crds.enabled=false"}
			for _, v := range values {
				args = append(args, "--set", v)
			}
			path := t.TempDir() + "/all.yaml"
			write(t, path, []byte(mustHelm(t, args...)))
			out := bed.Kubectl(t, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", path)
			assert.Contains(t, out, "serverside-applied (server dry run)")
			assert.NotContains(t, strings.ToLower(out), "warning")
		})
	}
}

// monitoringCRDs stand in for the Prometheus operator's: they take any content.
func monitoringCRDs() []*apiextensionsv1.CustomResourceDefinition {
	keep := true
	var out []*apiextensionsv1.CustomResourceDefinition
	for _, kind := range []string{"ServiceMonitor", "PodMonitor", "PrometheusRule"} {
		plural := strings.ToLower(kind) + "s"
		out = append(out, &apiextensionsv1.CustomResourceDefinition{
			ObjectMeta: metav1.ObjectMeta{Name: plural + ".monitoring.coreos.com"},
			Spec: apiextensionsv1.CustomResourceDefinitionSpec{
				Group: "monitoring.coreos.com", Scope: apiextensionsv1.NamespaceScoped,
				Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: kind, ListKind: kind + "List", Plural: plural, Singular: strings.ToLower(kind)},
				Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
					Name: "v1", Served: true, Storage: true,
					Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep}},
				}},
			},
		})
	}
	return out
}
