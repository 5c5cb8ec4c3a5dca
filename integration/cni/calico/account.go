package calico

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/fairlead/fairlead/integration/cni"
)

// account is the ServiceAccount of calico-node.
const account = "calico-node"

// nodeRights are what Calico's manifests let calico-node read of what confd reads. They have no Secrets: those of passwords it may read
// because of a Role for each.
var nodeRights = []rbacv1.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"nodes", "namespaces", "pods", "services", "endpoints", "serviceaccounts"}, Verbs: []string{"get", "list", "watch"}},
	{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"get", "list", "watch"}},
	{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: []string{"get", "list", "watch"}},
	{APIGroups: []string{Group.Group}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
}

// asAccount returns the path of a kubeconfig with which one is calico-node, and no more.
func asAccount(t testing.TB, l *cni.Lab) string {
	t.Helper()
	meta := metav1.ObjectMeta{Name: account}
	require.NoError(t, l.Client.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: nodeRights}))
	require.NoError(t, l.Client.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: account},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: Namespace, Name: account}},
	}))
	config, err := clientcmd.LoadFromFile(l.Kubeconfig())
	require.NoError(t, err)
	for _, user := range config.AuthInfos {
		user.Impersonate = "system:serviceaccount:" + Namespace + ":" + account
	}
	path := filepath.Join(l.Dir(), account+".kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*config, path))
	return path
}
