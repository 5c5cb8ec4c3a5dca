package netlab

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/integration/testbed"
)

// The networks of all pods; node N has 10.244.N.0/24 and fd00:244:N::/64 of them.
const clusterCIDRs = "10.244.0.0/16,fd00:244::/32"

// Node is a host that is also a Node of the cluster: it forwards, has a pod with an HTTP server behind it, and runs the real
// kube-proxy. Every node reaches the pods of every other.
type Node struct {
	*Host
	// Proxy is the node's kube-proxy; nil without a cluster.
	Proxy *Process

	number int // from 1
	pod    *pod
}

// AddNode adds a node, with its Node object, and returns when its kube-proxy has read the cluster's Services. A name may be used
// only once in a cluster at a time.
func (l *Lab) AddNode(name string, addrs ...netip.Prefix) *Node {
	l.t.Helper()
	n := l.addNode(name, addrs)
	n.awaitProxy()
	return n
}

// AddNodes adds nodes n1 to n<count>, with the addresses base+1 and so on in each of bases, and starts their kube-proxies side by
// side.
func (l *Lab) AddNodes(count int, bases ...netip.Prefix) []*Node {
	l.t.Helper()
	out := make([]*Node, count)
	addrs := make([]netip.Addr, len(bases))
	for i, b := range bases {
		addrs[i] = b.Addr()
	}
	for i := range out {
		own := make([]netip.Prefix, len(bases))
		for j, b := range bases {
			addrs[j] = addrs[j].Next()
			own[j] = netip.PrefixFrom(addrs[j], b.Bits())
		}
		out[i] = l.addNode(fmt.Sprintf("n%d", i+1), own)
	}
	for _, n := range out {
		n.awaitProxy()
	}
	return out
}

func (l *Lab) addNode(name string, addrs []netip.Prefix) *Node {
	l.t.Helper()
	n := &Node{Host: l.AddHost(name, addrs...), number: len(l.nodes) + 1}
	require.NoError(l.t, n.ns.Sysctl(map[string]string{
		"ipv4/ip_forward":          "1",
		"ipv6/conf/all/forwarding": "1",
	}))
	n.addPod([2]netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", n.number)),
		netip.MustParsePrefix(fmt.Sprintf("fd00:244:%d::/64", n.number)),
	})
	for _, other := range l.nodes {
		n.reach(other)
		other.reach(n)
	}
	l.nodes = append(l.nodes, n)
	if l.cluster != nil {
		n.register()
		n.StartProxy()
	}
	return n
}

// reach leads to the pods of another node, over the families that both nodes have.
func (n *Node) reach(other *Node) {
	n.lab.t.Helper()
	for _, p := range other.pod.prefixes {
		if via := other.Addr(p.Addr().Is6()); via.IsValid() && n.Addr(p.Addr().Is6()).IsValid() {
			n.AddRoute(p, via)
		}
	}
}

// PodAddr returns the IPv4 or IPv6 address of the node's pod.
func (n *Node) PodAddr(is6 bool) netip.Addr {
	if is6 {
		return podAddr(n.pod.prefixes[1])
	}
	return podAddr(n.pod.prefixes[0])
}

// StartProxy starts kube-proxy again after Proxy has been killed. AddNode has started it the first time. Of a flag that is given twice the
// last counts.
func (n *Node) StartProxy(args ...string) {
	t := n.lab.t
	t.Helper()
	requireProgram(t, "nft")
	n.Proxy = n.Start(StartOptions{Name: "kube-proxy"}, asset(n.lab, "kube-proxy"), append([]string{
		"--kubeconfig", n.lab.kubeconfig,
		"--proxy-mode", "nftables",
		"--hostname-override", n.name,
		"--cluster-cidr", clusterCIDRs,
		"--healthz-bind-address", healthz,
		"--metrics-bind-address", "127.0.0.1:10249",
		"--iptables-min-sync-period", "20ms", // of whatever mode; a second by default
		"--oom-score-adj", "0",
		// What follows keeps it from sysctls that belong to the machine.
		"--conntrack-max-per-core", "0",
		"--conntrack-min", "0",
		"--conntrack-tcp-timeout-established", "0",
		"--conntrack-tcp-timeout-close-wait", "0",
	}, args...)...)
}

const healthz = "127.0.0.1:10256"

// awaitProxy waits until kube-proxy has written its rules once.
func (n *Node) awaitProxy() {
	t := n.lab.t
	t.Helper()
	if n.Proxy == nil {
		return
	}
	client := n.HTTPClient(time.Second)
	await(t, "kube-proxy on "+n.name, func() error {
		select {
		case <-n.Proxy.Done():
			require.Fail(t, "kube-proxy has ended", "%s: %v", n.name, n.Proxy.err)
		default:
		}
		return synced(client)
	})
}

// synced returns nil once kube-proxy has written the rules of both families. That it calls itself healthy says nothing: it does while
// it starts.
func synced(client *http.Client) error {
	answer, err := client.Get("http://" + healthz + "/healthz")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var health struct {
		Status map[corev1.IPFamily]any `json:"status"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&health); err != nil {
		return err
	}
	if len(health.Status) < 2 {
		return errNotYet
	}
	return nil
}

// asset returns the path of a binary that 'make tools' builds.
func asset(l *Lab, name string) string {
	l.t.Helper()
	dirs := []string{os.Getenv("KUBEBUILDER_ASSETS"), testbed.Folder("bin")}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); dir != "" && err == nil {
			return path
		}
	}
	require.Fail(l.t, name+" is missing", "it is in none of %q; run 'make tools'", dirs)
	return ""
}
