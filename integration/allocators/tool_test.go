package allocators

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
)

// TestTool: kubectl fairlead tells of claims, of the provider's pool, of what cannot be foretold, and of claims that nobody needs; and it frees
// the claims of a cluster that is gone, if it is asked twice.
func TestTool(t *testing.T) {
	binary, err := bed.Build("kubectl-fairlead")
	require.NoError(t, err)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(config, bed.Kubeconfig, 0o600))
	c := install(t, bed)
	run := func(fails bool, args ...string) string {
		t.Helper()
		cmd := exec.Command(binary, append(args, "--kubeconfig", config)...)
		cmd.Env = append(os.Environ(), "COLUMNS=250")
		out, err := cmd.CombinedOutput()
		code := cmd.ProcessState.ExitCode() // 2 says that something was found
		require.Equal(t, fails, err != nil && code != 2, "%s: %d: %s", args, code, out)
		return string(out)
	}

	from := providerPool(t, c.namespace, "10.81.0.1-10.81.0.2")
	p := c.pool("p", from, "10.81.0.0/24")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	metrics := free.Addr().String()
	require.NoError(t, free.Close())
	process := c.start("--cluster-name=blue", "--leader-elect=false", "--metrics-bind-address="+metrics)
	web := c.service("web")
	c.has(web, "10.81.0.1")
	c.has(c.service("last"), "10.81.0.2")
	waits := c.service("waits")
	c.says(waits, `False WaitingForAllocator: waiting for an allocator: pool "p": its allocator has given no IPv4 address yet: `+
		from+" has 0 of 2 addresses free")

	answer, err := http.Get("http://" + metrics + "/metrics")
	require.NoError(t, err)
	exported, err := io.ReadAll(answer.Body)
	require.NoError(t, errors.Join(err, answer.Body.Close()))
	assert.Contains(t, string(exported), `fairlead_allocator_pending{allocator="cluster-api"} 1`)
	assert.Regexp(t, `fairlead_allocator_requests_total\{allocator="cluster-api",request="ask",result="address"\} [1-9]`, string(exported))
	assert.Contains(t, string(exported), `fairlead_allocator_duration_seconds_count{allocator="cluster-api",request="ask"}`)

	system := []string{"--system-namespace", c.namespace}
	out := run(false, append([]string{"explain", "service", "web", "-n", c.namespace}, system...)...)
	assert.Contains(t, out, "gave 10.81.0.1")
	assert.Contains(t, out, "kubectl -n "+c.namespace+" get ipaddressclaim blue-"+string(web.UID)+"-4-")
	out = run(false, append([]string{"explain", "service", "waits", "-n", c.namespace}, system...)...)
	assert.Contains(t, out, "no IPv4 address yet")
	assert.Contains(t, out, "WaitingForAllocator")
	out = run(false, append([]string{"explain", "address", "10.81.0.1"}, system...)...)
	assert.Contains(t, out, "allocator cluster-api gives out the addresses of the pool, from "+from)
	assert.Contains(t, out, "gave 10.81.0.1")
	out = run(false, append([]string{"pools"}, system...)...)
	assert.Contains(t, out, "cluster-api gives from "+from+", 0 of 2 free there")

	out = run(false, append([]string{"status", "--watch", "--wait", "--timeout", "0s"}, system...)...) // what is not watched is asked for
	assert.Contains(t, out, "waiting for an allocator")
	bundle := filepath.Join(t.TempDir(), "bundle.tar.gz")
	run(false, append([]string{"support-bundle", "-o", bundle}, system...)...)
	taken, err := exec.Command("tar", "-xzOf", bundle, "--wildcards", "*/objects/ipaddressclaims.ipam.cluster.x-k8s.io.yaml").CombinedOutput()
	require.NoError(t, err, "%s", taken)
	assert.Contains(t, string(taken), "name: blue-"+string(web.UID)+"-4-")

	file := filepath.Join(t.TempDir(), "new.yaml")
	require.NoError(t, os.WriteFile(file, []byte("apiVersion: v1\nkind: Service\nmetadata:\n  name: new\n  namespace: "+c.namespace+
		"\nspec:\n  type: LoadBalancer\n  loadBalancerClass: "+c.class+"\n  ports: [{port: 80}]\n"), 0o600))
	plan := exec.Command(binary, append([]string{"plan", "-f", file, "--kubeconfig", config}, system...)...)
	told, _ := plan.CombinedOutput() // whether anything would change is not what this is about
	assert.Contains(t, string(told), "what an allocator gives cannot be foretold; Services that would ask one and wait for it: ")
	assert.Contains(t, string(told), c.namespace+"/new")

	// A pool that the provider does not have, and a claim that nobody needs (which doctor passes over while it is new).
	_, err = process.Stop()
	require.NoError(t, err)
	all, err := claims(t.Context(), c.namespace)
	require.NoError(t, err)
	claim := all["web IPv4"]
	orphan := claim.DeepCopy()
	orphan.SetName("orphan")
	orphan.SetResourceVersion("")
	orphan.SetUID("")
	orphan.SetFinalizers(nil)
	labels := orphan.GetLabels()
	labels[clusterapi.LabelServiceName] = "gone"
	orphan.SetLabels(labels)
	require.NoError(t, bed.Client.Create(t.Context(), orphan))
	testbed.Edit(t, bed, p, func(p *v1beta1.IPAddressPool) { p.Annotations = external(from + "-unknown") })
	cmd := exec.Command(binary, append([]string{"doctor", "--kubeconfig", config}, system...)...)
	report, _ := cmd.CombinedOutput()
	assert.Contains(t, string(report), from+"-unknown does not exist")

	// The cluster is gone for good.
	release := []string{"allocator", "release", "--cluster", "blue", "-n", c.namespace}
	out = run(false, release...)
	assert.Contains(t, out, "Claims of cluster blue: 4. To free them, run the command again with --yes.")
	assert.Contains(t, out, "10.81.0.1")
	out = run(true, append(release, "--yes", "--confirm", "green")...)
	assert.Contains(t, out, `nothing was deleted: "green" is not the name of the cluster, "blue"`)
	list, err := objects(t.Context(), c.namespace, "IPAddressClaim")
	require.NoError(t, err)
	assert.Len(t, list, 4)
	yes := exec.Command(binary, append(release, "--yes", "--kubeconfig", config)...)
	yes.Stdin = strings.NewReader("blue\n")
	freed, err := yes.CombinedOutput()
	require.NoError(t, err, "%s", freed)
	assert.Contains(t, string(freed), "Claims deleted: 4.")
	claimed(t, c.namespace)
}
