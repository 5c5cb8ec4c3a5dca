package plugin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/internal/tool/doctor"
)

// found returns the findings of a check with a severity.
func found(r doctor.Report, check, severity string) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Check == check && f.Severity == severity {
			out = append(out, f.What)
		}
	}
	return out
}

// TestDoctor: an installation without a controller, then with one that works, then with what is wrong with a cluster.
func TestDoctor(t *testing.T) {
	i := withCalico(t)
	r := read[doctor.Report](i, 2, "doctor")
	assert.Len(t, found(r, "controller", doctor.Error), 1)
	require.Len(t, found(r, "pools", doctor.Error), 1)
	assert.Contains(t, found(r, "pools", doctor.Error)[0], "there is no IPAddressPool")
	require.Len(t, found(r, "backends", doctor.Info), 1, "what a controller would find")
	assert.Contains(t, found(r, "backends", doctor.Info)[0], "calico: bgp is on")
	assert.Empty(t, r.Gaps)

	i.pool("main", nil, "10.71.0.0/30", "2001:db8:71::/126")
	i.create(&v1beta1.BGPAdvertisement{ObjectMeta: i.meta("all")})
	i.agents()
	i.start("--backend=calico", "--calico-aggregation=enabled")
	i.service("web")
	i.advertised("web", "Advertised")
	r = read[doctor.Report](i, 0, "doctor")
	assert.Empty(t, found(r, "controller", doctor.Error))
	assert.Zero(t, r.Count(doctor.Error), "%+v", r.Findings)

	i.service("lost", annotated("metallb.io/address-pool", "nowhere"))
	i.pool("overlaps", nil, "10.71.0.2/31")
	speaker := &appsv1.DaemonSet{ObjectMeta: i.meta("speaker")}
	speaker.Spec.Selector, speaker.Spec.Template.Labels = selector(), selector().MatchLabels
	speaker.Spec.Template.Spec.Containers = []corev1.Container{{Name: "speaker", Image: "quay.io/metallb/speaker:v0.15.2"}}
	i.create(speaker)
	t.Cleanup(func() { bed.Kubectl(t, "-n", i.namespace, "delete", "daemonset", "speaker") })
	for component, reason := range map[string]string{"controller": "ImagePullBackOff", "speaker": "InvalidImageName"} {
		pod := &corev1.Pod{ObjectMeta: i.meta(component + "-x")}
		pod.Labels = map[string]string{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": component}
		pod.Spec.Containers = []corev1.Container{{Name: component, Image: "registry.example/" + component}}
		i.create(pod)
		t.Cleanup(func() { bed.Kubectl(t, "-n", i.namespace, "delete", "pod", pod.Name, "--force", "--grace-period=0") })
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: component, Image: "registry.example/" + component,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "no such thing"}}}}
		require.NoError(t, bed.Client.Status().Update(t.Context(), pod))
	}
	r = read[doctor.Report](i, 2, "doctor")
	assert.Equal(t, []string{"MetalLB's speakers are still there: DaemonSet " + i.namespace + "/speaker"}, found(r, "metallb", doctor.Error))
	assert.Equal(t, []string{"1 Service: no address (PoolNotFound): " + i.namespace + "/lost"}, found(r, "services", doctor.Error))
	assert.Equal(t, []string{
		`the image "registry.example/controller" cannot be pulled for pod controller-x: ImagePullBackOff: no such thing`,
		`the image "registry.example/speaker" cannot be pulled for pod speaker-x: InvalidImageName: no such thing`,
	}, found(r, "images", doctor.Error))
	require.Len(t, found(r, "configuration", doctor.Error), 1)
	assert.Contains(t, found(r, "configuration", doctor.Error)[0], `overlaps 10.71.0.0-10.71.0.3 of pool "main"`)
	for _, f := range r.Findings {
		if f.Severity == doctor.Error {
			assert.NotEmpty(t, f.Command, f.What)
			assert.NotEmpty(t, f.Why, f.What)
		}
	}
	text := i.plugin("doctor")
	assert.Equal(t, 2, text.code)
	assert.Contains(t, text.stdout, "  $ kubectl -n "+i.namespace+" patch daemonset speaker")
}

// selector is of workloads whose pods nobody makes here.
func selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
}

// account makes a ServiceAccount with these rules in the cluster and in the installation's namespace, and returns its kubeconfig.
func (i *installation) account(name string, cluster, own []rbacv1.PolicyRule) string {
	t, ctx := i.t, i.t.Context()
	i.create(&corev1.ServiceAccount{ObjectMeta: i.meta(name)})
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: i.namespace, Name: name}}
	unique := i.namespace + "-" + name
	i.create(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: unique}, Rules: cluster})
	i.create(&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: unique}, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: unique}})
	i.create(&rbacv1.Role{ObjectMeta: i.meta(name), Rules: own})
	i.create(&rbacv1.RoleBinding{ObjectMeta: i.meta(name), Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}})
	token := &authenticationv1.TokenRequest{}
	require.NoError(t, bed.Client.SubResource("token").Create(ctx, &corev1.ServiceAccount{ObjectMeta: i.meta(name)}, token))
	kc, err := clientcmd.Load(bed.Kubeconfig)
	require.NoError(t, err)
	for user := range kc.AuthInfos {
		kc.AuthInfos[user].ClientCertificateData, kc.AuthInfos[user].ClientKeyData, kc.AuthInfos[user].Token = nil, nil, token.Status.Token
	}
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, clientcmd.WriteToFile(*kc, path))
	return path
}

func rule(group string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: []string{"get", "list"}}
}

// TestPermissions: who may read little gets what it may read, and is told what it may not; who may read nothing is told so.
func TestPermissions(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "192.0.2.0/24")
	i.start()
	i.service("web")
	i.service("lost", annotated("metallb.io/address-pool", "nowhere"))
	own := []rbacv1.PolicyRule{
		rule("metallb.io", "ipaddresspools", "bgpadvertisements", "l2advertisements", "communities", "bfdprofiles", "bgppeers"),
		rule("fairlead.io", "addressreservations"), rule("coordination.k8s.io", "leases"), rule("discovery.k8s.io", "endpointslices"),
	}
	config := i.account("operator", []rbacv1.PolicyRule{rule("", "services")}, own)

	r := run(t, config, "doctor", "--namespace", i.namespace)
	assert.Equal(t, 2, r.code, "%s%s", r.stdout, r.stderr)
	for _, part := range []string{"cannot check Nodes: you may not list nodes", "cannot check CustomResourceDefinitions: you may not list customresourcedefinitions.apiextensions.k8s.io", "no address (PoolNotFound): " + i.namespace + "/lost", "Not everything could be checked."} {
		assert.Contains(t, r.stdout, part)
	}
	assert.Empty(t, r.stderr)
	r = run(t, config, "explain", "service", i.namespace+"/web", "--namespace", i.namespace)
	assert.Contains(t, r.stdout, "has 192.0.2.0 from here")
	assert.Contains(t, r.stdout, "cannot check Backends: you may not list backends.fairlead.io")

	// One who may read the Services of one namespace only.
	config = i.account("tenant", nil, append(slices.Clone(own), rule("", "services")))
	r = run(t, config, "explain", "service", i.namespace+"/web", "--namespace", i.namespace)
	assert.Equal(t, 2, r.code, r.stderr)
	assert.Contains(t, r.stdout, "cannot check Services: you may not list services")
	assert.Contains(t, r.stdout, "NoEndpoints")

	config = i.account("nobody", nil, nil)
	r = run(t, config, "explain", "service", i.namespace+"/web", "--namespace", i.namespace)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "you may not read Service "+i.namespace+"/web")
	r = run(t, config, "doctor", "--namespace", i.namespace)
	assert.Equal(t, 1, r.code, "what could not be checked is no success")
	assert.Contains(t, r.stdout, "cannot check IPAddressPools: you may not list ipaddresspools.metallb.io in namespace")
	for _, conclusion := range []string{"error [", "helm", "no controller has run"} {
		assert.NotContains(t, r.stdout, conclusion, "what may not be read is not wrong")
	}
	// One who may read the configuration, and nothing of what runs.
	config = i.account("author", []rbacv1.PolicyRule{rule("metallb.io", "*"), rule("fairlead.io", "*"), rule("", "services", "namespaces", "nodes")}, nil)
	r = run(t, config, "doctor", "--system-namespace", i.namespace)
	assert.NotContains(t, r.stdout, "helm")
	assert.NotContains(t, r.stdout, "[controller]")
	assert.Contains(t, r.stdout, "cannot check Leases: you may not get leases.coordination.k8s.io")
	config = i.account("nobody-else", nil, nil)

	manifest := filepath.Join(t.TempDir(), "pool.yaml")
	require.NoError(t, os.WriteFile(manifest, []byte("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: main}\nspec: {addresses: [203.0.113.0/24]}\n"), 0o600))
	for _, tc := range []struct{ command, untrue string }{
		{"plan -f " + manifest, "Nothing would change"}, {"pools", "there are no pools"}, {"peers", "There are no BGPPeers"}, {"backends", "there are none"},
		{"explain address 192.0.2.0", "nobody"},
		{"status", "Everything is ready"},
	} {
		r = run(t, config, append(strings.Fields(tc.command), "--namespace", i.namespace)...)
		assert.Equal(t, 1, r.code, "%s: what is not known is no success", tc.command)
		assert.Contains(t, r.stderr, "this is not known: you may not list ", tc.command)
		assert.Contains(t, r.stderr, "ask for these permissions", tc.command)
		assert.NotContains(t, r.stdout, tc.untrue)
	}
	require.NoError(t, os.WriteFile(config, []byte("not: [a kubeconfig"), 0o600))
	r = run(t, config, "pools")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "connect to the API server")
}
