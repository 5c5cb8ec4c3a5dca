package allocators

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator/clusterapi"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/service"
)

// member is a cluster whose claims are on the hub.
type member struct {
	*cluster
	name       string
	kubeconfig string
	process    *testbed.Process
}

// join lets a new cluster use the hub, by the manifest that is shipped for it.
func join(t *testing.T, name string) *member {
	t.Helper()
	b, err := testbed.New()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	manifest, err := os.ReadFile(testbed.Folder("docs", "examples", "allocator-hub.yaml"))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "hub.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(manifest), "fairlead-blue", "fairlead-"+name)), 0o600))
	bed.Kubectl(t, "apply", "-f", file)
	t.Cleanup(func() {
		claimed(t, "fairlead-"+name) // nothing has leaked
	})
	m := &member{cluster: install(t, b), name: name, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	m.credentials(m.token())
	return m
}

// token returns the one that the manifest has made.
func (m *member) token() string {
	m.t.Helper()
	// Nobody makes tokens of Secrets here: kube-controller-manager does not run.
	out := bed.Kubectl(m.t, "-n", "fairlead-"+m.name, "create", "token", "fairlead", "--duration", "1h")
	return strings.TrimSpace(out)
}

// credentials writes the kubeconfig that leads to the hub.
func (m *member) credentials(token string) {
	m.t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["hub"] = &clientcmdapi.Cluster{Server: bed.Config.Host, CertificateAuthorityData: bed.Config.CAData}
	c.AuthInfos["fairlead"] = &clientcmdapi.AuthInfo{Token: token}
	c.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: "fairlead"}
	c.CurrentContext = "hub"
	require.NoError(m.t, clientcmd.WriteToFile(*c, m.kubeconfig))
}

func (m *member) run() {
	m.t.Helper()
	m.process = m.start("--leader-elect=false", "--allocator-kubeconfig", m.kubeconfig, "--allocator-namespace", "fairlead-"+m.name,
		"--cluster-name", m.name)
}

// create makes Services at once.
func (m *member) create(from, to int) {
	m.t.Helper()
	var g errgroup.Group
	g.SetLimit(16)
	for i := from; i < to; i++ {
		g.Go(func() error {
			s := &corev1.Service{}
			s.Namespace, s.Name = m.namespace, fmt.Sprintf("s%d", i)
			s.Spec.Type, s.Spec.LoadBalancerClass = corev1.ServiceTypeLoadBalancer, &m.class
			s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
			return m.bed.Client.Create(context.WithoutCancel(m.t.Context()), s)
		})
	}
	require.NoError(m.t, g.Wait())
}

// services returns the addresses of Services by name, and the reasons of those that have none.
func (m *member) services(ctx context.Context) (has map[string]string, waits map[string]string, err error) {
	var list corev1.ServiceList
	if err := m.bed.Client.List(ctx, &list, client.InNamespace(m.namespace)); err != nil {
		return nil, nil, err
	}
	has, waits = map[string]string{}, map[string]string{}
	for i := range list.Items {
		s := &list.Items[i]
		if a := testbed.IPs(s); a != "" {
			has[s.Name] = a
		} else {
			waits[s.Name] = testbed.Condition(s, service.ConditionAllocated)
		}
	}
	return has, waits, nil
}

// TestHub: two clusters share a range of a hub. None of its addresses is given twice, all are used, and who waits says why; the hub comes and
// goes, the controllers are killed, and nobody's address moves; what is deleted goes to who waits, wherever it is.
func TestHub(t *testing.T) {
	const each, addresses = 100, 150
	name := "hub-test"
	from := providerPool(t, name, "10.80.0.1-10.80.0.150")
	members := []*member{join(t, "blue"), join(t, "green")}
	for _, m := range members {
		m.pool("p", from, "10.80.0.0/24")
		m.run()
	}
	var g errgroup.Group
	for _, m := range members {
		g.Go(func() error {
			m.create(0, each)
			return nil
		})
	}
	require.NoError(t, g.Wait())

	held := map[string]string{} // "cluster/service" -> address
	look := func(ctx context.Context, want int) error {
		seen := map[string]string{}
		now := map[string]string{}
		for _, m := range members {
			has, waits, err := m.services(ctx)
			if err != nil {
				return err
			}
			for s, a := range has {
				if other, twice := seen[a]; twice {
					t.Fatalf("%s was given to %s and to %s/%s", a, other, m.name, s)
				}
				seen[a], now[m.name+"/"+s] = m.name+"/"+s, a
				if was := held[m.name+"/"+s]; was != "" && was != a {
					t.Fatalf("%s/%s moved from %s to %s", m.name, s, was, a)
				}
				require.True(t, netip.MustParsePrefix("10.80.0.0/24").Contains(netip.MustParseAddr(a)))
			}
			for s, c := range waits {
				if !strings.HasPrefix(c, "False WaitingForAllocator: ") {
					return fmt.Errorf("%s/%s waits: %s", m.name, s, c)
				}
			}
		}
		for s := range held {
			if now[s] == "" {
				t.Fatalf("%s lost %s", s, held[s])
			}
		}
		held = now
		if len(now) != want {
			return fmt.Errorf("%d have an address, not %d", len(now), want)
		}
		return nil
	}
	settled := func(what string) {
		t.Helper()
		testbed.Eventually(t, what, func(ctx context.Context) error { return look(ctx, addresses) })
	}
	settled("150 addresses to be given out")

	// One is deleted in one cluster: somebody who waits has its address, here or there.
	drop := func(m *member) string {
		t.Helper()
		for s, a := range held {
			if cluster, name, _ := strings.Cut(s, "/"); cluster == m.name {
				require.NoError(t, m.bed.Client.Delete(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: name}}))
				delete(held, s)
				return a
			}
		}
		t.Fatal("nobody has an address")
		return ""
	}
	drop(members[0])
	settled("the address to be given to somebody who waits")

	// The hub is away: nothing moves, new Services wait and say why, and what is deleted meanwhile is released when it is back.
	require.NoError(t, bed.StopAPIServer(syscall.SIGKILL))
	drop(members[1])
	members[1].create(each, each+1)
	last := fmt.Sprintf("s%d", each)
	testbed.Eventually(t, "the new Service to say why", func(ctx context.Context) error {
		_, waits, err := members[1].services(ctx)
		if err == nil && !strings.Contains(waits[last], "it cannot be asked") {
			return fmt.Errorf("it says %q", waits[last])
		}
		return err
	})
	require.NoError(t, look(t.Context(), addresses-1))
	members[1].faulty("IPAddressPool " + members[1].namespace + `/p: metadata.annotations[fairlead.io/allocator]: "cluster-api" cannot be asked: `)
	members[0].process.Kill() // and it starts while the hub is away
	members[0].run()
	require.NoError(t, bed.StartAPIServer())
	restartProvider(t)
	settled("the hub to be back")
	members[1].faulty("")

	for i := range 20 {
		dropped := drop(members[i%2])
		for _, m := range members {
			m.process.Kill()
			m.create(each+10+i, each+11+i)
			m.run()
		}
		settled("the addresses after kills, of which " + dropped + " is another's")
	}

	// The kubeconfig expires, and is replaced.
	m := members[0]
	m.credentials("expired")
	m.create(500, 501)
	testbed.Eventually(t, "the reason", func(ctx context.Context) error {
		_, waits, err := m.services(ctx)
		if err == nil && !strings.Contains(waits["s500"], "Unauthorized") {
			return fmt.Errorf("it says %q", waits["s500"])
		}
		return err
	})
	require.NoError(t, look(t.Context(), addresses))
	m.credentials(m.token())
	drop(m)
	settled("the new credentials to be used")

	all, err := objects(t.Context(), "fairlead-blue", "IPAddressClaim")
	require.NoError(t, err)
	for _, o := range all {
		assert.True(t, strings.HasPrefix(o.GetName(), "blue-"), o.GetName())
		assert.Equal(t, "blue", o.GetLabels()[clusterapi.LabelCluster])
	}
	for _, m := range members {
		require.NoError(t, m.bed.Client.DeleteAllOf(t.Context(), &corev1.Service{}, client.InNamespace(m.namespace)))
		claimed(t, "fairlead-"+m.name)
	}
}

// restartProvider starts the provider anew: it ends when it has lost its API server.
func restartProvider(t *testing.T) {
	t.Helper()
	provider.Kill()
	var err error
	provider, err = bed.LaunchIPAM()
	require.NoError(t, err)
}
