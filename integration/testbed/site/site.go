// Package site is an installation on a real network, for tests and benchmarks: a controller, nodes with a kube-proxy, a pod and a
// speaker each, and a client.
package site

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
)

// Every is how often probers ask.
const Every = 10 * time.Millisecond

// The networks of the nodes, and the pools in them.
var (
	networks = []netip.Prefix{netip.MustParsePrefix("192.0.0.0/16"), netip.MustParsePrefix("2001:db8::/64")}
	pools    = []string{"192.0.100.0/22", "2001:db8::1:0/112"}
)

// Site is an installation with one pool of both families and one L2Advertisement, both named main.
type Site struct {
	*netlab.Lab
	Bed       *testbed.Bed
	Namespace string // of the installation
	Client    *netlab.Host
	// Speakers are those that were started last, by node.
	Speakers   map[string]*netlab.Process
	Controller *testbed.Process

	t      testing.TB
	binary string
	args   []string
	hosts  int
}

// New makes a Site with some nodes, named n1 and so on; args are those of the speakers beside what they need to find each other.
func New(t testing.TB, bed *testbed.Bed, nodes int, args ...string) *Site {
	t.Helper()
	netlab.Skip(t)
	s := &Site{t: t, Bed: bed, Namespace: bed.Namespace(t), Speakers: map[string]*netlab.Process{}, args: args}
	var err error
	s.binary, err = bed.Build("speaker")
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, bed.Client.DeleteAllOf(context.WithoutCancel(t.Context()), &v1alpha1.Backend{}))
	})
	s.Create(&v1beta1.IPAddressPool{ObjectMeta: s.Meta("main"), Spec: v1beta1.IPAddressPoolSpec{Addresses: pools}})
	s.Create(&v1beta1.L2Advertisement{ObjectMeta: s.Meta("main")})
	s.Controller = bed.Start(t, s.Namespace, "--backend=speaker")
	s.Lab = netlab.New(t, bed.Cluster)
	s.AddNodes(nodes, networks...)
	s.Client = s.AddClient("client")
	for _, n := range s.Nodes() {
		s.Speak(n)
	}
	if !slices.Contains(args, "--memberlist-peers=") { // they cannot find each other yet
		s.met()
	}
	return s
}

// met waits until each speaker has heard of all others: one that has not is alone in its own eyes, and announces what another will take over.
func (s *Site) met() {
	s.t.Helper()
	for node, x := range s.Speakers {
		testbed.Eventually(s.t, node+" to meet the others", func(context.Context) error {
			for other := range s.Speakers {
				if other != node && !strings.Contains(x.Log(), `msg="speaker is alive" node=`+other+" ") {
					return errors.New("it has not met " + other)
				}
			}
			return nil
		})
	}
}

// NewAlone makes a Site as New does, on an API server of its own.
func NewAlone(t testing.TB, nodes int, args ...string) *Site {
	t.Helper()
	netlab.Skip(t)
	bed, err := testbed.New()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, bed.Close()) })
	return New(t, bed, nodes, args...)
}

// Meta returns the metadata of an object of the installation.
func (s *Site) Meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.Namespace, Name: name}
}

// Create creates an object.
func (s *Site) Create(o client.Object) {
	s.t.Helper()
	require.NoError(s.t, s.Bed.Client.Create(s.t.Context(), o))
}

// AddClient adds a host that is no node.
func (s *Site) AddClient(name string) *netlab.Host {
	s.t.Helper()
	s.hosts++
	own := make([]netip.Prefix, len(networks))
	for i, n := range networks {
		addr := n.Addr()
		for range 200 + s.hosts {
			addr = addr.Next()
		}
		own[i] = netip.PrefixFrom(addr, n.Bits())
	}
	return s.AddHost(name, own...)
}

// Speak starts the speaker of a node, as an ordinary user with the capability NET_RAW and nothing else.
func (s *Site) Speak(n *netlab.Node) *netlab.Process {
	s.t.Helper()
	var peers []string
	for _, other := range s.Nodes() {
		peers = append(peers, other.Addr(false).String())
	}
	args := append([]string{
		"--kubeconfig", s.Kubeconfig(), "--namespace", s.Namespace, "--node-name", n.Name(), "--log-format=text",
		"--memberlist-bind-address", n.Addr(false).String(), "--memberlist-peers", strings.Join(peers, ","), "--memberlist-secret-path", s.secret(),
	}, s.args...)
	p := n.Start(netlab.StartOptions{Name: "speaker", Rights: &netlab.Rights{UID: netlab.Nobody, Capabilities: []uintptr{unix.CAP_NET_RAW}}}, s.binary, args...)
	s.Speakers[n.Name()] = p
	return p
}

// secret returns where the speakers find what they have in common: what the controller has made for them.
func (s *Site) secret() string {
	s.t.Helper()
	path := filepath.Join(s.Dir(), "memberlist")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	var secret corev1.Secret
	testbed.Eventually(s.t, "the Secret of the speakers", func(ctx context.Context) error {
		return s.Bed.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: "memberlist"}, &secret)
	})
	require.NotEmpty(s.t, secret.Data["secretkey"])
	require.NoError(s.t, os.WriteFile(path, secret.Data["secretkey"], 0o644)) //nolint:gosec // the speakers run as other users
	return path
}

// Service creates a Service with a ready pod on each of some nodes, and returns it when it has an address of each family.
func (s *Site) Service(name string, on []*netlab.Node, change func(*corev1.Service)) *corev1.Service {
	s.t.Helper()
	svc := s.AddService(name, change)
	s.SetEndpoints(svc, netlab.Ready(on...)...)
	s.AwaitAddresses(svc)
	return svc
}

// AwaitAddresses waits until a Service has an address of each of its families.
func (s *Site) AwaitAddresses(svc *corev1.Service) {
	s.t.Helper()
	testbed.Eventually(s.t, "addresses of "+svc.Name, func(ctx context.Context) error {
		if err := s.Bed.Client.Get(ctx, client.ObjectKeyFromObject(svc), svc); err != nil {
			return err
		}
		if len(svc.Status.LoadBalancer.Ingress) != len(svc.Spec.ClusterIPs) {
			return errors.New("it has not got them")
		}
		return nil
	})
}

// Addrs returns the addresses of a Service.
func Addrs(svc *corev1.Service) []netip.Addr {
	var out []netip.Addr
	for _, in := range svc.Status.LoadBalancer.Ingress {
		out = append(out, netip.MustParseAddr(in.IP))
	}
	return out
}

// Advertised waits until the condition fairlead.io/Advertised of a Service begins so: "True Advertised: speaker".
func (s *Site) Advertised(svc *corev1.Service, want string) {
	s.t.Helper()
	testbed.Eventually(s.t, "the condition of "+svc.Name, func(ctx context.Context) error {
		if err := s.Bed.Client.Get(ctx, client.ObjectKeyFromObject(svc), svc); err != nil {
			return err
		}
		c := meta.FindStatusCondition(svc.Status.Conditions, "fairlead.io/Advertised")
		if c == nil {
			return errors.New("there is none")
		}
		if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); !strings.HasPrefix(got, want) {
			return fmt.Errorf("is %q, want %q", got, want)
		}
		return nil
	})
}

// Told waits until exactly one ServiceL2Status tells of a Service, and names this node; with nil, until there is none.
func (s *Site) Told(svc *corev1.Service, node *netlab.Host) {
	s.t.Helper()
	testbed.Eventually(s.t, "the ServiceL2Status of "+svc.Name, func(ctx context.Context) error {
		var list v1beta1.ServiceL2StatusList
		if err := s.Bed.Client.List(ctx, &list, client.InNamespace(s.Namespace), client.MatchingLabels{
			"metallb.io/service-name": svc.Name, "metallb.io/service-namespace": svc.Namespace,
		}); err != nil {
			return err
		}
		var nodes, want []string
		for _, o := range list.Items {
			nodes = append(nodes, o.Status.Node)
		}
		if node != nil {
			want = []string{node.Name()}
		}
		if !slices.Equal(nodes, want) {
			return fmt.Errorf("they name %q, want %q", nodes, want)
		}
		return nil
	})
}

// Node returns the node that is a host.
func (s *Site) Node(h *netlab.Host) *netlab.Node {
	i := slices.IndexFunc(s.Nodes(), func(n *netlab.Node) bool { return n.Host == h })
	require.GreaterOrEqual(s.t, i, 0, "%s is no node", h)
	return s.Nodes()[i]
}

// Except returns all nodes but one.
func (s *Site) Except(n *netlab.Node) []*netlab.Node {
	return slices.DeleteFunc(slices.Clone(s.Nodes()), func(x *netlab.Node) bool { return x == n })
}

// Owner waits until somebody answers for an address, and returns the node.
func (s *Site) Owner(p *netlab.Prober, vip netip.Addr) *netlab.Node {
	s.t.Helper()
	var h *netlab.Host
	p.Await(s.t, "an owner of "+vip.String(), func() bool { h = p.Owner(vip); return h != nil })
	return s.Node(h)
}

// Moved waits until another node than from answers for an address, and alone, and returns it.
func (s *Site) Moved(p *netlab.Prober, vip netip.Addr, from *netlab.Node) *netlab.Node {
	s.t.Helper()
	var h *netlab.Host
	p.Await(s.t, vip.String()+" to move away from "+from.Name(), func() bool {
		h = p.Owner(vip)
		return h != nil && h != from.Host
	})
	s.Alone(p, vip)
	return s.Node(h)
}

// Alone waits until one node, and no other, has answered for an address for half a second from now on at least, and returns since
// when.
func (s *Site) Alone(p *netlab.Prober, vip netip.Addr) time.Time {
	s.t.Helper()
	since := time.Now()
	p.Await(s.t, "one node to answer for "+vip.String(), func() bool {
		var last *netlab.Host
		for _, probe := range p.Probes(vip, since, time.Time{}) {
			switch {
			case len(probe.Replies) == 0:
			case len(probe.Replies) > 1, last != nil && probe.Replies[0].Host != last:
				since, last = probe.At.Add(time.Nanosecond), nil
			default:
				last = probe.Replies[0].Host
			}
		}
		return last != nil && time.Since(since) > 500*time.Millisecond
	})
	return since
}

// Exclude sets or removes the label that keeps a node from announcing.
func (s *Site) Exclude(n *netlab.Node, yes bool) {
	s.t.Helper()
	const label = "node.kubernetes.io/exclude-from-external-load-balancers"
	n.Update(func(o *corev1.Node) {
		delete(o.Labels, label)
		if yes {
			o.Labels[label] = ""
		}
	})
}
