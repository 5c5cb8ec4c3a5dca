package plugin

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// TestImpersonation: who is impersonated sees what he may see, and is told what he may not.
func TestImpersonation(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "10.78.0.0/28")
	r := i.plugin("pools", "--as", "stranger")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stdout, "cannot check IPAddressPools: you may not list ipaddresspools.metallb.io in namespace")
	assert.Contains(t, r.stderr, "this is not known: you may not list ")
	assert.NotContains(t, r.stdout, "main")

	readers := i.namespace + "-readers"
	i.create(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: readers}, Rules: []rbacv1.PolicyRule{
		rule("metallb.io", "*"), rule("fairlead.io", "*"), rule("", "services", "namespaces", "nodes"), rule("apps", "deployments"), rule("coordination.k8s.io", "leases"),
		rule("discovery.k8s.io", "endpointslices"),
	}})
	i.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: readers}, Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: readers}},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: readers},
	})
	r = i.plugin("pools", "--as", "stranger", "--as-group", readers)
	assert.Equal(t, 0, r.code, r.stderr)
	assert.Contains(t, r.stdout, "main")
	assert.NotContains(t, r.stdout, "cannot check")

	// One who may not impersonate is told that, and not that he may not read.
	r = run(t, i.account("tenant", nil, nil), "pools", "-n", i.namespace, "--as", "stranger")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, `you may not impersonate user "stranger"`)
}

// TestConnectionFlags: the API server and the user can be named without a kubeconfig, and picked from one.
func TestConnectionFlags(t *testing.T) {
	i := install(t)
	i.pool("main", nil, "10.79.0.0/28")
	kc, err := clientcmd.Load(bed.Kubeconfig)
	require.NoError(t, err)
	cluster := kc.Clusters[kc.Contexts[kc.CurrentContext].Cluster]
	authority, empty := filepath.Join(t.TempDir(), "ca.crt"), filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(authority, cluster.CertificateAuthorityData, 0o600))
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	i.account("reader", []rbacv1.PolicyRule{rule("metallb.io", "*"), rule("fairlead.io", "*"), rule("", "services", "namespaces", "nodes")}, nil)
	token := &authenticationv1.TokenRequest{}
	require.NoError(t, bed.Client.SubResource("token").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: i.meta("reader")}, token))
	named := []string{"pools", "-n", i.namespace, "-s", cluster.Server, "--token", token.Status.Token}
	for _, trust := range [][]string{{"--certificate-authority", authority}, {"--insecure-skip-tls-verify"}} {
		r := run(t, empty, append(named, trust...)...)
		assert.Equal(t, 0, r.code, "%v: %s", trust, r.stderr)
		assert.Contains(t, r.stdout, "main", "%v", trust)
	}
	r := run(t, empty, named...)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "certificate signed by unknown authority")
	r = run(t, empty, "pools")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "there is no kubeconfig")

	// A context whose cluster and user are not there: those of the flags count.
	wrong, user := api.NewConfig(), kc.Contexts[kc.CurrentContext].AuthInfo
	wrong.Clusters["right"], wrong.AuthInfos["right"] = cluster, kc.AuthInfos[user]
	wrong.Clusters["wrong"] = &api.Cluster{Server: "https://127.0.0.1:1"}
	wrong.Contexts["mixed"] = &api.Context{Cluster: "wrong", Namespace: "default"}
	path := filepath.Join(t.TempDir(), "mixed")
	require.NoError(t, clientcmd.WriteToFile(*wrong, path))
	r = run(t, path, "pools", "-n", i.namespace, "--context", "mixed", "--cluster", "right", "--user", "right")
	assert.Equal(t, 0, r.code, r.stderr)
	assert.Contains(t, r.stdout, "main")
	r = run(t, path, "pools", "-n", i.namespace, "--context", "mixed")
	assert.Equal(t, 1, r.code)
	r = runAsIs(t, "__complete", "pools", "--kubeconfig", path, "--cluster", "")
	assert.Contains(t, r.stdout, "right\nwrong\n")
}
