package netlab

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/integration/testbed"
)

var networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}

// pods returns the pods that an address leads to, one request for each.
func pods(client *Host, addr netip.Addr, requests int) (map[string]int, error) {
	out := map[string]int{}
	for range requests {
		a, err := client.Get(addr, time.Second)
		if err != nil {
			return nil, err
		}
		out[a.Pod]++
	}
	return out, nil
}

// TestDataPath goes the whole way from a client's kernel through the real kube-proxy to a pod.
func TestDataPath(t *testing.T) {
	l := New(t, cluster(t))
	nodes := l.AddNodes(2, networks...)
	client := l.AddHost("client", addrs(50)...)
	for _, is6 := range []bool{false, true} {
		answer, err := nodes[0].HTTPClient(time.Second).Get("http://" + netip.AddrPortFrom(nodes[1].PodAddr(is6), PodPort).String())
		require.NoError(t, err, "from node to pod")
		require.NoError(t, answer.Body.Close())
	}

	cluster := l.AddService("cluster", nil)
	local := l.AddService("local", func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal })
	l.SetEndpoints(cluster, Ready(nodes...)...)
	l.SetEndpoints(local, Ready(nodes[1])...)
	l.SetIngress(cluster, vips...)
	locals := []netip.Addr{vip4.Next(), vip6.Next()}
	l.SetIngress(local, locals...)

	for i, vip := range vips {
		client.SetNeighbour(vip, nodes[0].Host)
		testbed.Eventually(t, "both pods behind "+vip.String(), func(context.Context) error {
			got, err := pods(client, vip, 8)
			if err == nil && len(got) < 2 {
				err = errNotYet
			}
			return err
		})
		// A node without a pod of its own drops what comes for a Service with the policy Local.
		client.SetNeighbour(locals[i], nodes[1].Host)
		testbed.Eventually(t, "the pod behind "+locals[i].String(), func(context.Context) error {
			a, err := client.Get(locals[i], time.Second)
			if err == nil {
				assert.Equal(t, client.Addr(vip.Is6()), a.Client.Addr(), "the client's address is not kept")
				assert.Equal(t, "n2", a.Pod)
			}
			return err
		})
		client.SetNeighbour(locals[i], nodes[0].Host)
		_, err := client.Get(locals[i], 200*time.Millisecond)
		assert.Error(t, err, locals[i])
	}

	f := l.Fetch(client, vip6, interval, time.Second)
	f.AwaitSuccess(t, time.Now())
	cut := time.Now()
	nodes[0].Cut()
	testbed.Eventually(t, "a request that is lost", func(context.Context) error {
		if len(f.Failed(cut, time.Time{})) == 0 {
			return errNotYet
		}
		return nil
	})
	nodes[0].Mend()
	f.AwaitSuccess(t, time.Now())
}

// TestAPI reads with kubectl from a node, through the relay.
func TestAPI(t *testing.T) {
	l := New(t, cluster(t))
	n := l.AddNode("n1", addrs(1)...)
	other := l.AddNode("n2", addrs(2)...)
	ready := func(h *Host, args ...string) (string, error) {
		p := h.launch(StartOptions{}, asset(l, "kubectl"), append(args,
			"--kubeconfig", l.Kubeconfig(), "get", "node", "n1", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`))
		<-p.Done()
		return p.Log(), p.err
	}
	for _, want := range []bool{true, false} {
		n.SetReady(want)
		got, err := ready(n.Host)
		require.NoError(t, err, got)
		assert.Equal(t, map[bool]string{true: "True", false: "False"}[want], got)
	}
	n.CutAPI()
	got, err := ready(n.Host)
	require.Error(t, err, "the API server answers: %s", got)
	_, err = ready(other.Host)
	require.NoError(t, err, "the API of another node is cut")
	n.RestoreAPI()
	_, err = ready(n.Host)
	require.NoError(t, err)

	n.HangAPI()
	_, err = ready(n.Host, "--request-timeout=500ms")
	require.Error(t, err, "the API server answers")
	p := n.Start(StartOptions{Name: "kubectl"}, asset(l, "kubectl"), "--kubeconfig", l.Kubeconfig(), "get", "--raw", "/readyz")
	n.RestoreAPI()
	<-p.Done()
	assert.Equal(t, "ok", p.Log())
	assert.True(t, strings.HasPrefix(n.Proxy.Status("Name"), "kube-proxy"))
}
