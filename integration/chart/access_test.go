package chart

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/crds"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

// user makes a ServiceAccount, gives it a ClusterRole of the release (none if empty), and returns a kubeconfig and a token.
func (r *release) user(name, role string) (config, token string) {
	r.t.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: r.object(r.name + "-fairlead-" + name)}
	r.create(sa)
	if role != "" {
		b := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: sa.Name}}
		b.RoleRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: r.name + "-fairlead:" + role}
		b.Subjects = []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: sa.Namespace, Name: sa.Name}}
		r.create(b)
		r.t.Cleanup(func() { assert.NoError(r.t, bed.Client.Delete(context.WithoutCancel(r.t.Context()), b)) })
	}
	config = r.account(name, "", nil)
	loaded, err := clientcmd.LoadFromFile(config)
	require.NoError(r.t, err)
	for _, info := range loaded.AuthInfos {
		token = info.Token
	}
	return config, token
}

// TestSecureMetrics: with secureMetrics, who may read metrics does, by HTTPS, and nobody else. Prometheus' account may.
func TestSecureMetrics(t *testing.T) {
	r := &release{t: t, name: bed.Namespace(t)}
	_, stranger := r.user("stranger", "")
	_, prometheus := r.user("prometheus", "")
	r.helm("install", "loadBalancerClass="+r.class(), "backend=none", "speaker.enabled=true", "prometheus.secureMetrics=true", "prometheus.rbacPrometheus=true",
		"prometheus.serviceAccount="+r.name+"-fairlead-prometheus", "prometheus.namespace="+r.name)
	t.Cleanup(func() { mustHelm(t, "uninstall", r.name, "--namespace", r.name, "--no-hooks") })
	addr := freePort(t)
	controller := r.start(r.account("controller", "", nil), "--metrics-bind-address="+addr)
	_, reader := r.user("reader", "metrics-reader")
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // it signs itself
	get := func(token string) (int, string, error) {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/metrics", nil)
		require.NoError(t, err)
		if token != "" {
			q.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := c.Do(q)
		if err != nil {
			return 0, "", err
		}
		defer answer.Body.Close()
		var body strings.Builder
		require.NoError(t, answer.Write(&body))
		return answer.StatusCode, body.String(), nil
	}
	testbed.Eventually(t, "the metrics", func(context.Context) error {
		_, _, err := get("")
		return err
	})
	for _, x := range []struct {
		who, token string
		want       int
	}{{"nobody", "", 401}, {"somebody unknown", "abc", 401}, {"a stranger", stranger, 403}, {"a reader", reader, 200}, {"Prometheus", prometheus, 200}} {
		status, body, err := get(x.token)
		require.NoError(t, err, x.who)
		assert.Equal(t, x.want, status, x.who)
		assert.Equal(t, x.want == 200, strings.Contains(body, "\ngo_goroutines "), x.who)
	}
	plain, err := http.Get("http://" + addr + "/metrics")
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadRequest, plain.StatusCode)
	require.NoError(t, plain.Body.Close())
	assert.NotContains(t, controller.Log(), "forbidden")
	assert.True(t, mayI(t, r, "authentication.k8s.io", "tokenreviews", "", "create"), "the speaker asks, too")
	assert.True(t, mayI(t, r, "authorization.k8s.io", "subjectaccessreviews", "", "create"))
}

// TestHelmTest: what "helm test" runs fails without a controller, and succeeds with one whose configuration is valid, as the
// controller's ServiceAccount.
func TestHelmTest(t *testing.T) {
	r := install(t, "backend=none", "helmTest.timeout=2s")
	hook := parse(t, []byte(mustHelm(t, "get", "hooks", r.name, "--namespace", r.name))).find(t, "Pod", r.name+"-fairlead-test")
	assert.Equal(t, "test", hook.GetAnnotations()["helm.sh/hook"])
	container := pod{of: hook}.container()
	require.Equal(t, []any{"/controller"}, container["command"])
	config := r.account("controller", "", nil)
	binary, err := bed.Build("controller")
	require.NoError(t, err)
	check := func() (string, error) {
		args := []string{}
		for _, a := range container["args"].([]any) {
			args = append(args, strings.ReplaceAll(a.(string), "$(FAIRLEAD_NAMESPACE)", r.name))
		}
		out, err := exec.CommandContext(t.Context(), binary, append(args, "--kubeconfig="+config)...).CombinedOutput()
		return string(out), err
	}
	out, err := check()
	require.Error(t, err)
	assert.Contains(t, out, "not at work within 2s: no controller holds the Lease")
	r.start(config)
	testbed.Eventually(t, "the configuration to be read", func(ctx context.Context) error {
		return bed.Client.Get(ctx, client.ObjectKey{Namespace: r.name, Name: "controller"}, &v1beta1.ConfigurationState{})
	})
	out, err = check()
	require.NoError(t, err, out)
	assert.Contains(t, out, "is at work, and the configuration is valid")
	for _, name := range []string{"one", "overlaps"} {
		r.create(&v1beta1.IPAddressPool{ObjectMeta: r.object(name), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.93.0.0/28"}}})
	}
	testbed.Eventually(t, "the fault to be told", func(context.Context) error {
		if out, err := check(); err == nil || !strings.Contains(out, "the configuration is faulty") {
			return fmt.Errorf("says %q", out)
		}
		return nil
	})
}

// TestKubectlRole: with the role kubectl, "kubectl fairlead" may read everything that it wants to, and write nothing.
func TestKubectlRole(t *testing.T) {
	cnis(t)
	r := install(t, "backend=calico")
	controller := r.start(r.account("controller", "", nil))
	r.create(&v1beta1.IPAddressPool{ObjectMeta: r.object("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"10.94.0.0/28"}}})
	r.create(&v1beta1.BGPAdvertisement{ObjectMeta: r.object("main")})
	addressed(t, r.service("web"))
	plugin, err := bed.Build("kubectl-fairlead")
	require.NoError(t, err)
	config, _ := r.user("viewer", "kubectl")
	path := t.TempDir() + "/pool.yaml"
	write(t, path, []byte("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: more, namespace: "+r.name+"}\nspec: {addresses: [10.94.1.0/28]}\n"))
	for _, args := range [][]string{
		{"doctor"}, {"pools"}, {"pools", "main"}, {"peers"}, {"backends"}, {"explain", "service", r.name + "/web"}, {"explain", "address", "10.94.0.0"}, {"plan", "-f", path},
	} {
		cmd := exec.CommandContext(t.Context(), plugin, append(args, "--kubeconfig="+config, "--namespace="+r.name, "-o", "json")...)
		cmd.Env = append(os.Environ(), "NO_COLOR=1")
		out, _ := cmd.CombinedOutput() // other tests' objects may be found fault with
		assert.NotContains(t, string(out), "cannot check", args)
		assert.NotContains(t, string(out), "forbidden", args)
		var report struct{ Gaps []any }
		if assert.NoError(t, json.Unmarshal(out, &report), "%v: %s", args, out) {
			for _, gap := range report.Gaps {
				assert.Contains(t, gap, "no dry run on the API server", args) // which would need the permission to write
			}
		}
	}
	assert.Empty(t, dashboardGaps(t, plugin, config, r.name))
	var role rbacv1.ClusterRole
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Name: r.name + "-fairlead:kubectl"}, &role))
	for _, rule := range role.Rules {
		for _, verb := range rule.Verbs {
			assert.Contains(t, []string{"get", "list", "watch"}, verb)
		}
		assert.NotContains(t, rule.Resources, "secrets")
	}
	_, err = controller.Stop()
	require.NoError(t, err)
	bed.Cleanup(t, r.name, "--lb-class="+r.class()) // the CNI is all tests'
}

// dashboardGaps returns what the dashboard may not see.
func dashboardGaps(t *testing.T, plugin, kubeconfig, namespace string) []any {
	t.Helper()
	link := testbed.StartDashboard(t, plugin, "--kubeconfig="+kubeconfig, "--namespace="+namespace).Link
	var page struct{ Gaps []any }
	require.NoError(t, json.Unmarshal(testbed.ReadDashboard(t, link), &page))
	return page.Gaps
}

// TestUsers: who may view, edit or administer a namespace may do the same with our objects in it. The controller that adds the roles
// to Kubernetes' own does not run here: its labels are looked at, and the roles are given to a user.
func TestUsers(t *testing.T) {
	r := install(t, "backend=none")
	const aggregate = "rbac.authorization.k8s.io/aggregate-to-"
	for role, to := range map[string][]string{"view": {"view", "edit", "admin", "cluster-reader"}, "edit": {"edit", "admin"}} {
		var o rbacv1.ClusterRole
		require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKey{Name: r.name + "-fairlead:" + role}, &o))
		var has []string
		for label, value := range o.Labels {
			if x, ok := strings.CutPrefix(label, aggregate); ok && value == "true" {
				has = append(has, x)
			}
		}
		assert.ElementsMatch(t, to, has, role)
		r.user(role, role)
	}
	may := func(user, group, resource, verb string) bool {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + r.name + ":" + r.name + "-fairlead-" + user,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: r.name, Group: group, Resource: resource, Verb: verb},
		}}
		require.NoError(t, bed.Client.Create(t.Context(), review))
		return review.Status.Allowed
	}
	all := map[string]string{} // the group of each resource
	definitions, err := crds.All()
	require.NoError(t, err)
	for _, d := range definitions {
		all[d.Spec.Names.Plural] = d.Spec.Group
	}
	written := map[string]bool{"ipaddresspools": true, "bgpadvertisements": true, "l2advertisements": true, "bgppeers": true, "bfdprofiles": true, "communities": true, "addressreservations": true}
	for resource, group := range all {
		assert.Equal(t, resource != "bgppeers", may("view", group, resource, "list"), "%s may hold passwords", resource)
		for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection"} {
			assert.False(t, may("view", group, resource, verb), "%s %s", verb, resource)
			assert.Equal(t, written[resource], may("edit", group, resource, verb), "%s %s", verb, resource)
		}
	}
	assert.True(t, may("edit", "metallb.io", "bgppeers", "list"))

	for _, o := range rendered(t, "rbac.aggregateClusterRoles=false", "rbac.kubectlRole=false") {
		assert.NotEqual(t, "access", o.GetLabels()["app.kubernetes.io/component"], o.GetName())
	}
}
