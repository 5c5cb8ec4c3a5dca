package bgp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/api/v1beta1"
	"github.com/fairlead/fairlead/api/v1beta2"
	"github.com/fairlead/fairlead/integration/testbed"
	"github.com/fairlead/fairlead/integration/testbed/netlab"
	"github.com/fairlead/fairlead/integration/testbed/routing"
	"github.com/fairlead/fairlead/integration/testbed/site"
)

// TestWhole goes the whole way: a BGPAdvertisement and BGPPeers, a Service, speakers on three nodes, routes to all of them in the
// kernel of a router, and pods that answer it.
func TestWhole(t *testing.T) {
	s := site.NewAlone(t, 3, "--bgp-shutdown-wait=2s")
	router := s.AddClient("router")
	r := routing.StartFRR(t, s.Lab, router, routing.Rack)
	for name, addr := range map[string]string{"tor-v4": router.Addr(false).String(), "tor-v6": router.Addr(true).String()} {
		s.Create(&v1beta2.BGPPeer{ObjectMeta: s.Meta(name), Spec: v1beta2.BGPPeerSpec{MyASN: 65001, PeerASN: 65002, PeerAddress: addr}})
	}
	s.Create(&v1beta1.BGPAdvertisement{ObjectMeta: s.Meta("adv"), Spec: v1beta1.BGPAdvertisementSpec{Communities: []string{"65001:7"}}})
	svc := s.Service("web", s.Nodes(), nil)
	vips := site.Addrs(svc)
	v4, v6 := vips[0].String()+"/32", vips[1].String()+"/128"
	hops := func(family, prefix string, want ...*netlab.Node) {
		t.Helper()
		var names []string
		for _, n := range want {
			names = append(names, n.Addr(family == "ipv6").String())
		}
		slices.Sort(names)
		await(t, fmt.Sprintf("next hops %v of %s", names, prefix), func() bool {
			var got []string
			for _, p := range r.Table(family)[prefix] {
				for _, h := range p.NextHops {
					if h.Scope != "link-local" {
						got = append(got, h.IP)
					}
				}
			}
			slices.Sort(got)
			return slices.Equal(slices.Compact(got), names)
		})
	}
	hops("ipv4", v4, s.Nodes()...)
	hops("ipv6", v6, s.Nodes()...)
	assert.Equal(t, "65001:7", r.Detail("ipv4", v4)[0].Community.String)
	for _, vip := range vips {
		pods := map[string]bool{}
		await(t, "answers of all pods through "+vip.String(), func() bool {
			a, err := router.Get(vip, 5*time.Second)
			require.NoError(t, err)
			pods[a.Pod] = true
			return len(pods) == 3
		})
	}
	s.Advertised(svc, "True Advertised: speaker: advertised by BGP from nodes")
	testbed.Eventually(t, "BGPSessions", func(ctx context.Context) error {
		var sessions v1alpha1.BGPSessionList
		if err := s.Bed.Client.List(ctx, &sessions, client.InNamespace(s.Namespace)); err != nil {
			return err
		}
		up := 0
		for _, x := range sessions.Items {
			if x.Status.State == "Established" && x.Status.Node != "" && strings.HasPrefix(x.Status.Peer, "tor-") {
				up++
			}
		}
		if up != 6 {
			return fmt.Errorf("%d are established: %+v", up, sessions.Items)
		}
		return nil
	})
	testbed.Eventually(t, "ServiceBGPStatuses", func(ctx context.Context) error {
		var list v1beta1.ServiceBGPStatusList
		if err := s.Bed.Client.List(ctx, &list, client.InNamespace(s.Namespace)); err != nil {
			return err
		}
		for _, x := range list.Items {
			if !slices.Equal(x.Status.Peers, []string{"tor-v4", "tor-v6"}) {
				return fmt.Errorf("%s names %q", x.Status.Node, x.Status.Peers)
			}
		}
		if len(list.Items) != 3 {
			return fmt.Errorf("there are %d, want 3", len(list.Items))
		}
		return nil
	})

	// Only where a pod is, with policy Local.
	local := s.Service("local", s.Nodes()[:1], func(svc *corev1.Service) { svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal })
	hops("ipv4", site.Addrs(local)[0].String()+"/32", s.Nodes()[0])
	s.SetEndpoints(local, netlab.Ready(s.Nodes()[1:]...)...)
	hops("ipv4", site.Addrs(local)[0].String()+"/32", s.Nodes()[1:]...)
	s.SetEndpoints(local)
	s.Advertised(local, "False NoEndpoints: ")

	// A node that stops loses no new connection: routers are asked first to prefer others.
	f := s.Fetch(router, vips[0], 20*time.Millisecond, 5*time.Second)
	f.AwaitSuccess(t, time.Now())
	before := time.Now()
	stopped := make(chan error)
	gone := s.Nodes()[2]
	go func() {
		_, err := s.Speakers[gone.Name()].Stop()
		stopped <- err
	}()
	await(t, "GRACEFUL_SHUTDOWN", func() bool {
		return slices.ContainsFunc(r.Detail("ipv4", v4), func(p routing.Path) bool {
			return strings.Contains(p.Community.String, "graceful-shutdown") && strings.Contains(p.Community.String, "65001:7")
		})
	})
	hops("ipv4", v4, s.Nodes()[:2]...)
	require.NoError(t, <-stopped)
	f.AwaitSuccess(t, time.Now())
	f.Stop()
	assert.Empty(t, slices.DeleteFunc(f.Failed(before, time.Time{}), midway), "requests")

	// Another setting of a peer concerns this peer.
	other := s.Nodes()[0].Addr(true).String()
	was := r.Neighbor(other).ConnectionsEstab
	var p v1beta2.BGPPeer
	require.NoError(t, s.Bed.Client.Get(t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: "tor-v4"}, &p))
	p.Spec.PeerASN = 65009
	require.NoError(t, s.Bed.Client.Update(t.Context(), &p))
	testbed.Eventually(t, "the reason", func(ctx context.Context) error {
		x, err := sessionOf(ctx, s.Bed.Client, s.Namespace, "n1", "tor-v4")
		if err != nil {
			return err
		}
		if x.Status.State == "Established" || !strings.Contains(x.Status.LastError, "AS") {
			return errors.New("it says " + x.Status.State + ": " + x.Status.LastError)
		}
		return nil
	})
	hops("ipv6", v6, s.Nodes()[:2]...)
	assert.Equal(t, was, r.Neighbor(other).ConnectionsEstab, "the other session is the same as before")
	assert.Equal(t, "Established", r.Neighbor(other).BGPState)
}
