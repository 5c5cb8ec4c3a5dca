package layer2

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// TestFaults hurts the node that announces an address in every way, and sees that another takes over, that clients get there by
// their own kernel's neighbour tables, and that one node answers when all is well again. What it prints are the times that the
// client was without an answer; integration/bench has those that count.
func TestFaults(t *testing.T) {
	s := site.New(t, bed, 5)
	local := func(svc *corev1.Service) { svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal }
	svc := s.Service("web", s.Nodes(), nil)
	pods := s.Service("local", s.Nodes(), local)
	watch := s.AddClient("watch")
	vips := site.Addrs(svc)
	p := s.Probe(watch, append(vips, site.Addrs(pods)...), site.Every)
	for _, tc := range []struct {
		name     string
		of       *corev1.Service // svc if nil
		hurt     func(*netlab.Node)
		heal     func(*netlab.Node)
		lossless bool // nobody goes without an answer
		apart    bool // the node does not know that it has lost the address, and both may go on with it when it is back
	}{
		{name: "crash", hurt: func(n *netlab.Node) { s.Speakers[n.Name()].Kill() }, heal: func(n *netlab.Node) { s.Speak(n) }},
		{name: "SIGTERM", lossless: true, hurt: func(n *netlab.Node) {
			_, err := s.Speakers[n.Name()].Stop()
			assert.NoError(t, err)
		}, heal: func(n *netlab.Node) { s.Speak(n) }},
		{name: "carrier lost", apart: true, hurt: func(n *netlab.Node) { n.LinkDown() }, heal: func(n *netlab.Node) { n.LinkUp() }},
		{name: "interface down", apart: true, hurt: func(n *netlab.Node) { n.InterfaceDown() }, heal: func(n *netlab.Node) { n.InterfaceUp() }},
		{name: "link cut", apart: true, hurt: func(n *netlab.Node) { n.Cut() }, heal: func(n *netlab.Node) { n.Mend() }},
		{name: "frozen", apart: true, hurt: func(n *netlab.Node) { s.Speakers[n.Name()].Freeze() }, heal: func(n *netlab.Node) { s.Speakers[n.Name()].Thaw() }},
		{name: "network unavailable", lossless: true, hurt: func(n *netlab.Node) { n.SetNetworkUnavailable(true) }, heal: func(n *netlab.Node) { n.SetNetworkUnavailable(false) }},
		{name: "not ready", lossless: true, hurt: func(n *netlab.Node) { n.SetReady(false) }, heal: func(n *netlab.Node) { n.SetReady(true) }},
		{name: "excluded by its label", lossless: true, hurt: func(n *netlab.Node) { s.Exclude(n, true) }, heal: func(n *netlab.Node) { s.Exclude(n, false) }},
		{name: "no endpoint there any more", lossless: true, of: pods,
			hurt: func(n *netlab.Node) { s.SetEndpoints(pods, netlab.Ready(s.Except(n)...)...) },
			heal: func(*netlab.Node) { s.SetEndpoints(pods, netlab.Ready(s.Nodes()...)...) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.of == nil {
				tc.of = svc
			}
			for _, vip := range site.Addrs(tc.of) {
				was := s.Owner(p, vip)
				s.Alone(p, vip)
				f := s.Fetch(s.Client, vip, 50*time.Millisecond, 3*time.Second)
				f.AwaitSuccess(t, time.Now())
				before := time.Now()
				tc.hurt(was)
				now := s.Moved(p, vip, was)
				assert.NotEqual(t, was.Name(), now.Name())
				got := f.AwaitSuccess(t, time.Now())
				if tc.of == pods {
					assert.Equal(t, now.Name(), got.Pod, "Local: the pod on the node that announces answers")
				}
				_, outage := p.Outage(vip, before, time.Time{})
				kinds := map[netlab.Kind]bool{}
				for _, g := range p.Gratuitous(vip, before) {
					if g.Host == now.Host {
						kinds[g.Kind] = true
					}
				}
				if vip.Is4() {
					assert.Equal(t, map[netlab.Kind]bool{netlab.ARPRequest: true, netlab.ARPReply: true}, kinds)
				} else {
					assert.Equal(t, map[netlab.Kind]bool{netlab.UnsolicitedNA: true}, kinds)
				}
				if tc.lossless {
					assert.Empty(t, p.Lost(vip, before, time.Time{}), "probes that nobody answered")
				}
				healed := time.Now()
				tc.heal(was)
				agreed := s.Alone(p, vip)
				f.AwaitSuccess(t, time.Now())
				f.Stop()
				if !tc.apart {
					assert.Equal(t, now.Name(), s.Owner(p, vip).Name(), "who comes back takes nothing away")
				}
				t.Logf("%s: longest time without an answer %v; %d of %d requests failed; alone %v after the end of the fault, at %s", vip, outage.Round(time.Millisecond),
					len(f.Failed(before, healed)), len(f.All(before, healed)), agreed.Sub(healed).Round(time.Millisecond), s.Owner(p, vip).Name())
			}
		})
	}
	s.Told(svc, s.Owner(p, vips[0]).Host)
}

// TestPartition cuts the network in two, with a client on either side, and heals it.
func TestPartition(t *testing.T) {
	s := site.New(t, bed, 4)
	svc := s.Service("web", s.Nodes(), nil)
	far := s.AddClient("far")
	near := s.AddClient("near")
	vips := site.Addrs(svc)
	p, q := s.Probe(near, vips, site.Every), s.Probe(far, vips, site.Every)
	owner := s.Owner(p, vips[0])
	s.Alone(p, vips[0])
	s.Alone(p, vips[1])
	one, other := []*netlab.Host{owner.Host, near, s.Client}, []*netlab.Host{far}
	for _, n := range s.Except(owner) {
		if len(one) < 4 {
			one = append(one, n.Host)
		} else {
			other = append(other, n.Host)
		}
	}
	s.Partition(one, other)
	there := s.Moved(q, vips[0], owner)
	s.Alone(p, vips[0])
	assert.Same(t, owner, s.Owner(p, vips[0]), "its own side keeps it")
	for _, h := range []*netlab.Host{far, s.Client} {
		// Requests that kube-proxy sends to a pod on the other side fail.
		f := s.Fetch(h, vips[0], 50*time.Millisecond, 3*time.Second)
		f.AwaitSuccess(t, time.Now())
		f.Stop()
	}

	healed := time.Now()
	s.Heal()
	for _, vip := range vips {
		p.Await(t, "the two sides to agree on "+vip.String(), func() bool {
			since := time.Now().Add(-300 * time.Millisecond)
			if since.Before(healed) {
				return false
			}
			a, b := p.Answerers(vip, since, time.Time{}), q.Answerers(vip, since, time.Time{})
			return len(a) == 1 && slices.Equal(a, b) && len(p.Contested(vip, since, time.Time{}))+len(q.Contested(vip, since, time.Time{})) == 0
		})
	}
	t.Logf("one node answers both sides %v after the heal at the latest", time.Since(healed)-300*time.Millisecond)
	winner := s.Owner(p, vips[0])
	assert.Contains(t, []*netlab.Node{owner, there}, winner, "one of the two that had it")
	p.Await(t, "the clients to be corrected", func() bool { return len(p.Gratuitous(vips[0], healed)) > 0 && len(q.Gratuitous(vips[0], healed)) > 0 })
	for _, h := range []*netlab.Host{far, s.Client} {
		_, err := h.Get(vips[0], 5*time.Second)
		require.NoError(t, err, "from %s", h)
		n, ok := h.Neighbour(vips[0])
		require.True(t, ok)
		assert.Same(t, winner.Host, n.Host, "%s has learned the winner", h)
	}
}

// TestOrdinaryProcess checks what the speaker runs with.
func TestOrdinaryProcess(t *testing.T) {
	s := site.New(t, bed, 1)
	svc := s.Service("web", s.Nodes(), nil)
	p := s.Probe(s.Client, site.Addrs(svc), site.Every)
	for _, vip := range site.Addrs(svc) {
		p.AwaitAnswer(t, vip, time.Now(), s.Nodes()[0].Host)
	}
	x := s.Speakers["n1"]
	assert.Equal(t, "0000000000002000", x.Status("CapEff"), "NET_RAW and nothing else")
	assert.Equal(t, "0000000000002000", x.Status("CapBnd"))
	assert.Contains(t, x.Status("Uid"), "65532")
	took, err := x.Stop()
	require.NoError(t, err)
	assert.Less(t, took, 5*time.Second)
	require.NoError(t, bed.Client.Get(t.Context(), client.ObjectKeyFromObject(svc), svc))
	assert.Len(t, svc.Status.LoadBalancer.Ingress, 2, "the address stays")
}

// TestBusyMachine has all processors busy, and sees that no speaker takes another for dead.
func TestBusyMachine(t *testing.T) {
	s := site.New(t, bed, 5)
	svc := s.Service("web", s.Nodes(), nil)
	vips := site.Addrs(svc)
	p := s.Probe(s.Client, vips, site.Every)
	for _, vip := range vips {
		s.Alone(p, vip)
	}
	owners := []*netlab.Node{s.Owner(p, vips[0]), s.Owner(p, vips[1])}
	began := time.Now()
	busy, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	for range 2 * runtime.NumCPU() {
		burn := s.Client.Start(netlab.StartOptions{Name: "burn"}, "sh", "-c", "while :; do :; done")
		context.AfterFunc(busy, burn.Kill)
	}
	<-busy.Done()
	for i, vip := range vips {
		s.Alone(p, vip)
		assert.Same(t, owners[i], s.Owner(p, vip))
		assert.Equal(t, []string{owners[i].Name()}, netlab.Names(p.Answerers(vip, began, time.Time{})), "nobody else answered meanwhile")
	}
	for node, x := range s.Speakers {
		assert.NotContains(t, x.Log(), "speaker is gone", node)
	}
}

// TestPeersByPods has the speakers find each other by the pods that they run in.
func TestPeersByPods(t *testing.T) {
	s := site.New(t, bed, 2, "--memberlist-peers=") // in place of the list
	for _, n := range s.Nodes() {
		pod := &corev1.Pod{ObjectMeta: s.Meta("speaker-" + n.Name()), Spec: corev1.PodSpec{
			NodeName: n.Name(), HostNetwork: true, Containers: []corev1.Container{{Name: "speaker", Image: "speaker"}},
		}}
		pod.Labels = map[string]string{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": "speaker"}
		s.Create(pod)
		pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: n.Addr(false).String()}
		require.NoError(t, bed.Client.Status().Update(t.Context(), pod))
	}
	svc := s.Service("web", s.Nodes(), nil)
	vips := site.Addrs(svc)
	p := s.Probe(s.Client, vips, site.Every)
	for _, n := range s.Nodes() {
		x := s.Speakers[n.Name()]
		testbed.Eventually(t, n.Name()+" to find the other", func(context.Context) error {
			if !strings.Contains(x.Log(), "speaker is alive") {
				return errors.New("it has not")
			}
			return nil
		})
	}
	for _, vip := range vips {
		s.Alone(p, vip)
	}
}
