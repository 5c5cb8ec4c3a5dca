package netlab

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/internal/tool/localcluster"
	"github.com/fairlead/fairlead/internal/tool/localnet"
)

// Lab is a network of its own: a fabric namespace with one or more switches, and the hosts attached to them. It belongs to one test
// and goes with it. Its methods fail that test when they cannot do what they are asked; they are to be called from the test's
// goroutine only.
type Lab struct {
	// Client reads and writes the lab's cluster; nil without one.
	Client client.WithWatch

	t          testing.TB
	claim      *claim
	dir        string
	fabric     *localnet.Namespace
	switches   []*Switch
	hosts      []*Host
	nodes      []*Node
	cluster    *localcluster.Cluster
	kubeconfig string
	binaries   map[string]string // by where they come from: copies that every user may execute

	mu   sync.Mutex // protects macs, which probers read
	macs map[string]*Host
}

// New makes a lab with one switch; it skips the test as Skip does. The lab's nodes are nodes of the cluster; with a nil cluster, a
// lab has hosts only.
func New(t testing.TB, cluster *localcluster.Cluster) *Lab {
	t.Helper()
	Skip(t)
	require.NoError(t, sweep())
	claim, err := newClaim()
	require.NoError(t, err)
	l := &Lab{t: t, claim: claim, dir: claim.dir(), binaries: map[string]string{}, macs: map[string]*Host{}}
	t.Cleanup(func() { assert.NoError(t, l.claim.release()) })

	require.NoError(t, os.Mkdir(l.dir, 0o755)) // processes run as other users
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(l.dir)) })

	l.fabric = l.newNamespace("fabric")
	// The fabric forwards frames and says nothing itself.
	require.NoError(t, l.fabric.Sysctl(map[string]string{"ipv6/conf/default/disable_ipv6": "1"}))
	l.NewSwitch()
	if cluster != nil {
		l.join(cluster)
	}
	return l
}

func (l *Lab) join(cluster *localcluster.Cluster) {
	l.t.Helper()
	l.cluster = cluster
	var err error
	l.Client, err = client.NewWithWatch(cluster.Config, client.Options{Scheme: testbed.Scheme()})
	require.NoError(l.t, err)
	l.kubeconfig = filepath.Join(l.dir, "kubeconfig")
	require.NoError(l.t, os.WriteFile(l.kubeconfig, cluster.Kubeconfig, 0o644)) // processes run as other users
}

// Kubeconfig returns the path of an admin's kubeconfig that works in every host of the lab and that every user may read.
func (l *Lab) Kubeconfig() string { return l.kubeconfig }

// Dir returns a folder for the lab's files, which every user may read. It is removed when the test ends.
func (l *Lab) Dir() string { return l.dir }

// Name returns what begins the names of the lab's namespaces.
func (l *Lab) Name() string { return l.claim.name }

// newNamespace makes a namespace that goes with the lab.
func (l *Lab) newNamespace(name string) *localnet.Namespace {
	l.t.Helper()
	n, err := localnet.New(l.claim.name + "-" + name)
	require.NoError(l.t, err)
	l.t.Cleanup(func() { assert.NoError(l.t, n.Remove()) })
	return n
}

// HostOf returns the host that has an interface with that MAC; nil if there is none.
func (l *Lab) HostOf(mac net.HardwareAddr) *Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.macs[mac.String()]
}

// Hosts returns all hosts, those that are nodes included, in the order in which they were added.
func (l *Lab) Hosts() []*Host { return l.hosts }

// Nodes returns the nodes in the order in which they were added.
func (l *Lab) Nodes() []*Node { return l.nodes }

// patience is how long a step of building a lab may take.
const patience = testbed.Patience

// await waits until check says so; for what the kernel does by itself within milliseconds and tells no one.
func await(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		require.False(t, time.Now().After(deadline), "waiting for %s: %v", what, err)
		time.Sleep(time.Millisecond)
	}
}

var errNotYet = errors.New("not yet")

// first returns the first address of one family.
func first(prefixes []netip.Prefix, is6 bool) (netip.Addr, bool) {
	for _, p := range prefixes {
		if p.Addr().Is6() == is6 {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}
