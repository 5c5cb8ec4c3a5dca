// Package cilium has Cilium's own control plane speak BGP for the nodes of a cni.Lab: its operator, and an agent for each node in the
// node's network namespace (tools/cilium tells what is Cilium's and what stands in).
package cilium

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/cni"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// group is where Cilium's objects are.
var group = schema.GroupVersion{Group: "cilium.io", Version: "v2"}

// settings are those of an installation by Helm with bgpControlPlane.enabled, l2announcements.enabled and kubeProxyReplacement, as far as
// anybody looks at them. Cilium's processes get the same as flags.
var settings = map[string]string{
	"enable-bgp-control-plane": "true", "enable-bgp-control-plane-status-report": "true", "enable-l2-announcements": "true",
	"bgp-secrets-namespace": "kube-system", "kube-proxy-replacement": "true", "enable-lb-ipam": "true", "default-lb-service-ipam": "lbipam",
	"enable-ipv4": "true", "enable-ipv6": "true", "enable-node-ipam": "false",
}

// CNI is Cilium in a Lab.
type CNI struct {
	// Agents are those that run, by node.
	Agents map[string]*netlab.Process
	// Operator is the operator.
	Operator *netlab.Process
	// TwoInterfaces gives nodes eth1 beside eth0.
	TwoInterfaces bool

	binary string
	second *netlab.Switch
}

var (
	_ cni.CNI     = (*CNI)(nil)
	_ cni.Settler = (*CNI)(nil)
)

// New returns a CNI for one Lab.
func New() *CNI { return &CNI{Agents: map[string]*netlab.Process{}} }

// Name is "cilium".
func (*CNI) Name() string { return "cilium" }

// Prepare installs the CRDs and settings, and starts the operator and what stands in for the garbage collector.
func (c *CNI) Prepare(t testing.TB, l *cni.Lab) {
	t.Helper()
	c.binary = testbed.Folder("bin", "cilium-lab")
	if _, err := os.Stat(c.binary); errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing; \"make tools\" builds it", c.binary)
		}
		t.Skipf("%s is missing; \"make tools\" builds it", c.binary)
	}
	crds, err := localcluster.ReadCRDs(localcluster.CiliumCRDs, testbed.Folder("bin"))
	require.NoError(t, err)
	require.NoError(t, l.Bed.InstallCRDs(crds...))
	require.NoError(t, l.Bed.Client.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "cilium-config"}, Data: settings,
	}))
	if c.TwoInterfaces {
		c.second = l.NewSwitch()
	}
	collectGarbage(t, l)
	host := l.AddHost("operator")
	c.Operator = host.Start(netlab.StartOptions{Name: "cilium-operator"}, c.binary, "operator", "--k8s-kubeconfig-path", l.Kubeconfig(), "--log-level", "warn")
}

// Join makes the CiliumNode, and starts the agent.
func (c *CNI) Join(t testing.TB, l *cni.Lab, n *netlab.Host) func(testing.TB) {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"addresses": []any{
		map[string]any{"type": "InternalIP", "ip": n.Addr(false).String()},
		map[string]any{"type": "InternalIP", "ip": n.Addr(true).String()},
	}}}}
	o.SetGroupVersionKind(group.WithKind("CiliumNode"))
	o.SetName(n.Name())
	o.SetLabels(map[string]string{corev1.LabelHostname: n.Name()})
	require.NoError(t, l.Bed.Client.Create(t.Context(), o))
	if c.second != nil {
		n.Attach(c.second)
	}
	c.StartAgent(l, n)
	return func(t testing.TB) {
		t.Helper()
		require.NoError(t, client.IgnoreNotFound(l.Bed.Client.Delete(t.Context(), o)))
		_, _ = c.Agents[n.Name()].Stop()
		delete(c.Agents, n.Name())
	}
}

// StartAgent starts the agent of a node.
func (c *CNI) StartAgent(l *cni.Lab, n *netlab.Host) {
	c.Agents[n.Name()] = n.Start(netlab.StartOptions{Name: "cilium-agent"}, c.binary, "agent", "--node-name", n.Name(),
		"--k8s-kubeconfig-path", l.Kubeconfig(), "--log-level", "warn", "--lab-dump", dump(l, n.Name()),
		// Leases of the L2 announcer move five times as fast as usual.
		"--l2-announcements-lease-duration", "3s", "--l2-announcements-renew-deadline", "1s", "--l2-announcements-retry-period", "400ms")
}

// dump returns where an agent writes its frontends and what it announces on layer 2.
func dump(l *cni.Lab, node string) string { return filepath.Join(l.Dir(), "dump-"+node) }

// Settle returns when no agent has a frontend of the installation's Services any more.
func (c *CNI) Settle(t testing.TB, l *cni.Lab) {
	t.Helper()
	for node := range c.Agents {
		testbed.Eventually(t, node+" to forget the Services", func(context.Context) error {
			text, err := os.ReadFile(dump(l, node))
			if err == nil && strings.Contains(string(text), l.Namespace+"/") {
				err = errors.New(string(text))
			}
			return err
		})
	}
}
