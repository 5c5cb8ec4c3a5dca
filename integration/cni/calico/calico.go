// Package calico runs Calico's own control plane on the nodes of a cni.Lab: confd with Calico's templates, and BIRD 1.6.
//
// It is Calico v3.28.5. It knows neither spec.serviceLoadBalancerAggregation (v3.31) nor routes of single addresses by the status of a
// Service (v3.30.7, v3.31.5, v3.32): what Fairlead does with those is tested against the CRDs, in integration/backends.
package calico

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/cni"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// Version is that of Calico.
const Version = "v3.28.5"

// Group is where its objects are.
var Group = schema.GroupVersion{Group: "crd.projectcalico.org", Version: "v1"}

// Namespace is that of calico-node.
const Namespace = "kube-system"

// CNI is Calico; see cni.CNI.
type CNI struct {
	mute atomic.Bool // nobody answers CalicoNodeStatus objects
	// kubeconfig is that of calico-node.
	kubeconfig string

	mu    sync.Mutex
	nodes map[string]*node // guarded by mu
}

var _ cni.CNI = (*CNI)(nil)

// New returns it.
func New() *CNI { return &CNI{nodes: map[string]*node{}} }

// Name is that of the backend.
func (c *CNI) Name() string { return "calico" }

// Prepare installs the CRDs, and what every installation has: an IPPool for pods, and the word that the datastore is ready.
func (c *CNI) Prepare(t testing.TB, l *cni.Lab) {
	t.Helper()
	for _, need := range []string{"confd", "confd-templates", "bird1/bird", "bird1/bird6", "bird1/birdc", "bird1/birdc6"} {
		requireBuilt(t, need)
	}
	crds, err := localcluster.ReadCRDs(localcluster.CalicoCRDs, testbed.Folder("bin"))
	require.NoError(t, err)
	require.NoError(t, l.Bed.InstallCRDs(crds...))
	for _, o := range []*unstructured.Unstructured{
		// Without VXLAN, Calico sets a variable for the kernel's routes that only its own BIRD knows.
		Object("ClusterInformation", "default", map[string]any{"calicoVersion": Version, "clusterType": "k8s,bgp", "datastoreReady": true}),
		Object("IPPool", "pods", map[string]any{"cidr": "10.244.0.0/16", "ipipMode": "Never", "vxlanMode": "Always", "nodeSelector": "all()"}),
		Object("IPPool", "pods-v6", map[string]any{"cidr": "fd00:244::/32", "ipipMode": "Never", "vxlanMode": "Never", "nodeSelector": "all()"}),
	} {
		require.NoError(t, l.Client.Create(t.Context(), o))
	}
	c.kubeconfig = asAccount(t, l)
	mirror(t, l)
	c.answer(t, l)
}

// Object makes an object of Calico's.
func Object(kind, name string, spec map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(Group.WithKind(kind))
	u.SetName(name)
	return u
}

// requireBuilt ends the test if something is missing in bin: where tests have to run it fails, with the reason, else it skips.
func requireBuilt(t testing.TB, name string) {
	t.Helper()
	if _, err := os.Stat(testbed.Folder("bin", name)); err == nil {
		return
	}
	const format = "bin/%s is missing, without which there is no Calico; run 'make tools'"
	if os.Getenv("CI") != "" {
		t.Fatalf(format, name)
	}
	t.Skipf(format, name)
}

// node is what runs on a node.
type node struct {
	host        *netlab.Host
	dir         string
	confd       *netlab.Process
	bird, bird6 *netlab.Process
}

// Join starts confd and both BIRDs, which are at work when it returns.
func (c *CNI) Join(t testing.TB, l *cni.Lab, h *netlab.Host) func(testing.TB) {
	t.Helper()
	annotations, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{
		"projectcalico.org/IPv4Address": h.Addr(false).String() + "/16", "projectcalico.org/IPv6Address": h.Addr(true).String() + "/64",
	}}})
	require.NoError(t, err)
	o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: h.Name()}}
	require.NoError(t, l.Client.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, annotations)))
	dir, err := os.MkdirTemp(l.Dir(), h.Name())
	require.NoError(t, err)
	n := &node{host: h, dir: dir}
	n.configure(t)
	n.startConfd(t, c.kubeconfig)
	n.startBIRDs(t)
	c.mu.Lock()
	c.nodes[h.Name()] = n
	c.mu.Unlock()
	return func(t testing.TB) {
		t.Helper()
		c.mu.Lock()
		delete(c.nodes, h.Name())
		c.mu.Unlock()
		n.confd.Kill()
		for _, p := range []*netlab.Process{n.bird, n.bird6} { // in good order: else routers wait for it to come back
			_, err := p.Stop()
			assert.NoError(t, err)
		}
	}
}

// node returns a node; nil if it is not in the cluster.
func (c *CNI) node(name string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[name]
}

func (n *node) path(elem ...string) string {
	return filepath.Join(append([]string{n.dir}, elem...)...)
}

// configure gives confd its templates, and the program by which it has BIRD read its configuration again.
func (n *node) configure(t testing.TB) {
	t.Helper()
	require.NoError(t, localcluster.LayCalico(n.dir, testbed.Folder("bin", "confd-templates")))
	sv := strings.ReplaceAll(svScript, "DIR", n.dir)
	require.NoError(t, os.WriteFile(n.path("bin", "sv"), []byte(sv), 0o755)) //nolint:gosec // it is a program
}

// svScript stands in for runit's "sv hup bird|bird6". BIRD forgets a SIGHUP that comes while it reads its configuration
// (sysdep/unix/main.c and io.c of BIRD 1.6), in Calico as here, and then stays with an old one until the next change. Calico has nothing
// against that. With one signal, as runit sends it, one change in twenty of a single prefix did not come to be a route on two cores that
// were busy, two in five of 250 prefixes, and all of 1,000, which is where the limit of backends/calico is from. So that the rows do not
// depend on who is first, the signal is sent again here a moment later, and once more after that.
const svScript = `#!/bin/sh
pid=$(cat "DIR/$2.pid") || exit 1
kill -HUP "$pid" || exit 1
(sleep 0.25; kill -HUP "$pid"; sleep 0.75; kill -HUP "$pid") >/dev/null 2>&1 &
`

// supervise is what calico-node's runit does with a program that ends.
const supervise = `while :; do "$@"; echo "confd has ended: $?"; sleep 1; done`

func (n *node) startConfd(t testing.TB, kubeconfig string) {
	t.Helper()
	env := localcluster.ConfdEnv(n.host.Name(), n.dir, kubeconfig, testbed.Folder("bin", "bird1")+":"+os.Getenv("PATH"))
	n.confd = n.host.Start(netlab.StartOptions{Name: "confd", Dir: n.dir, Env: env}, "/bin/sh", "-c", supervise, "sh", testbed.Folder("bin", "confd"), "-confdir", n.dir)
	t.Cleanup(func() { assert.NotContains(t, n.confd.Log(), "panic:", "confd on %s has crashed", n.host) })
}

func (n *node) startBIRDs(t testing.TB) {
	t.Helper()
	n.bird, n.bird6 = n.startBIRD(t, "bird"), n.startBIRD(t, "bird6")
}

// startBIRD starts one as calico-node does (node/filesystem/etc/service/available/bird/run) when confd has written what it reads.
func (n *node) startBIRD(t testing.TB, name string) *netlab.Process {
	t.Helper()
	testbed.Eventually(t, "the configuration of "+name+" on "+n.host.Name(), func(context.Context) error {
		for _, file := range []string{name, name + "_aggr", name + "_ipam"} {
			if _, err := os.Stat(n.path("config", file+".cfg")); err != nil {
				return err
			}
		}
		return nil
	})
	p := n.host.Start(netlab.StartOptions{Name: name, Dir: n.dir}, testbed.Folder("bin", "bird1", name), localcluster.BIRDArgs(name, n.dir)...)
	testbed.Eventually(t, name+" on "+n.host.Name(), func(context.Context) error {
		select {
		case <-p.Done():
			require.Fail(t, name+" has ended", p.Log())
		default:
		}
		if b, err := os.ReadFile(n.path(name + ".pid")); err != nil || len(b) == 0 {
			return errors.Join(err, errors.New("it has not begun"))
		}
		return nil
	})
	return p
}

// Birdc asks the BIRD of a node, "bird" or "bird6".
func (c *CNI) Birdc(node, bird string, args ...string) string {
	n := c.node(node)
	client := map[string]string{"bird": "birdc", "bird6": "birdc6"}[bird]
	return n.host.Command(testbed.Folder("bin", "bird1", client), append([]string{"-s", n.path(bird + ".ctl")}, args...)...)
}

// Config returns what confd has written for the BIRD of a node: "bird", "bird_aggr" and so on.
func (c *CNI) Config(t testing.TB, node, file string) string {
	t.Helper()
	b, err := os.ReadFile(c.node(node).path("config", file+".cfg"))
	require.NoError(t, err)
	return string(b)
}
