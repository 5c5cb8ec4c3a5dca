package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
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

// rack is a site whose nodes hold sessions with FRR in the host "router"; nothing is announced by layer 2.
type rack struct {
	*site.Site
	t      *testing.T
	router *netlab.Host
	frr    *routing.FRR
}

func newRack(t *testing.T, nodes int, change func(*v1beta2.BGPPeerSpec), args ...string) *rack {
	t.Helper()
	r := &rack{Site: site.NewAlone(t, nodes, args...), t: t}
	require.NoError(t, r.Bed.Client.Delete(t.Context(), &v1beta1.L2Advertisement{ObjectMeta: r.Meta("main")}))
	r.router = r.AddClient("router")
	r.frr = routing.StartFRR(t, r.Lab, r.router, routing.Rack)
	for name, addr := range map[string]string{"tor-v4": r.router.Addr(false).String(), "tor-v6": r.router.Addr(true).String()} {
		spec := v1beta2.BGPPeerSpec{MyASN: 65001, PeerASN: 65002, PeerAddress: addr}
		change(&spec)
		r.Create(&v1beta2.BGPPeer{ObjectMeta: r.Meta(name), Spec: spec})
	}
	r.Create(&v1beta1.BGPAdvertisement{ObjectMeta: r.Meta("adv")})
	return r
}

// nextHops returns how many next hops a route has.
func (r *rack) nextHops(family, route string) int { return len(valid(r.frr, family, route)) }

// valid returns the paths of a route that a router may use.
func valid(f *routing.FRR, family, route string) []routing.Path {
	return slices.DeleteFunc(f.Table(family)[route], func(p routing.Path) bool { return !p.Valid })
}

// kernelHops returns over how many next hops a host's kernel spreads a route; 0 if there is only one.
func kernelHops(h *netlab.Host, family, route string) int {
	inet := map[string]string{"ipv4": "inet", "ipv6": "inet6"}[family]
	return strings.Count(h.Command("/usr/sbin/ip", "-family", inet, "route", "show", route), "nexthop")
}

// sessionOf reads the BGPSession of a node and a peer.
func sessionOf(ctx context.Context, c client.Client, namespace, node, peer string) (v1alpha1.BGPSession, error) {
	var list v1alpha1.BGPSessionList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return v1alpha1.BGPSession{}, err
	}
	for _, x := range list.Items {
		if x.Status.Node == node && x.Status.Peer == peer {
			return x, nil
		}
	}
	return v1alpha1.BGPSession{}, fmt.Errorf("node %q has no BGPSession with peer %q", node, peer)
}

// session waits until a BGPSession is as check wants it. name is that of the node, which has no dash, a dash, and that of the peer.
func (r *rack) session(name, what string, check func(v1alpha1.BGPSessionStatus) bool) {
	r.t.Helper()
	node, peer, _ := strings.Cut(name, "-")
	testbed.Eventually(r.t, "BGPSession "+name+": "+what, func(ctx context.Context) error {
		x, err := sessionOf(ctx, r.Bed.Client, r.Namespace, node, peer)
		if err != nil {
			return err
		}
		if !check(x.Status) {
			return fmt.Errorf("%+v", x.Status)
		}
		return nil
	})
}

// midway reports whether a connection that was established has failed: where routes come and go, the router's kernel spreads flows anew,
// and the next packet of one may come to a node that does not know it. Within connect(2) that is the last packet of the handshake: a node
// that answers the first one by a reset refuses the connection (ECONNREFUSED).
func midway(r netlab.Fetch) bool {
	var op *net.OpError
	return errors.As(r.Err, &op) && (op.Op == "read" || op.Op == "dial") && errors.Is(r.Err, syscall.ECONNRESET)
}

// TestUpgrade stops the speakers of three nodes one by one and starts them again, as an upgrade does, while the router's kernel fetches
// over all of them. With graceful restart the router never loses a route.
func TestUpgrade(t *testing.T) {
	for _, tc := range []struct {
		name     string
		graceful bool
	}{{"graceful restart", true}, {"graceful shutdown", false}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRack(t, 3, func(s *v1beta2.BGPPeerSpec) { s.EnableGracefulRestart = tc.graceful }, "--bgp-shutdown-wait=2s")
			svc := r.Service("web", r.Nodes(), nil)
			vips := site.Addrs(svc)
			routes := map[string]string{"ipv4": vips[0].String() + "/32", "ipv6": vips[1].String() + "/128"}
			everywhere := func() bool { return r.nextHops("ipv4", routes["ipv4"]) == 3 && r.nextHops("ipv6", routes["ipv6"]) == 3 }
			await(t, "the routes of all nodes", everywhere)
			for family, route := range routes {
				await(t, "the kernel's route to "+route, func() bool { return kernelHops(r.router, family, route) == 3 })
			}
			began := time.Now()
			var fetchers []*netlab.Fetcher
			for _, vip := range vips {
				f := r.Fetch(r.router, vip, 20*time.Millisecond, 5*time.Second)
				f.AwaitSuccess(t, began)
				fetchers = append(fetchers, f)
			}
			for _, n := range r.Nodes() {
				dropped := r.frr.Neighbor(n.Addr(false).String()).MessageStats.NotificationsRecv
				_, err := r.Speakers[n.Name()].Stop()
				require.NoError(t, err)
				if tc.graceful {
					assert.Equal(t, dropped, r.frr.Neighbor(n.Addr(false).String()).MessageStats.NotificationsRecv)
					for family, route := range routes {
						assert.Equal(t, 3, r.nextHops(family, route), "routes of %s while the speaker of %s is away", family, n.Name())
					}
				} else {
					await(t, "the routes of the other nodes", func() bool { return r.nextHops("ipv4", routes["ipv4"]) == 2 })
				}
				r.Speak(n)
				await(t, "the routes of all nodes, after "+n.Name(), func() bool {
					return everywhere() && !strings.Contains(fmt.Sprint(r.frr.Detail("ipv4", routes["ipv4"])), "Stale:true") &&
						r.frr.Neighbor(n.Addr(false).String()).BGPState == "Established"
				})
			}
			for i, f := range fetchers {
				f.AwaitSuccess(t, time.Now())
				f.Stop()
				all := f.All(began, time.Time{})
				t.Logf("%d requests to %s in %s", len(all), vips[i], time.Since(began).Round(time.Second))
				failed := f.Failed(began, time.Time{})
				if !tc.graceful {
					failed = slices.DeleteFunc(failed, midway)
				}
				assert.Empty(t, failed, "requests to %s", vips[i])
			}
		})
	}
}

// TestCordon has routers prefer other nodes while one is cordoned, and gives them up for good if its speaker stops then.
func TestCordon(t *testing.T) {
	r := newRack(t, 2, func(s *v1beta2.BGPPeerSpec) { s.EnableGracefulRestart = true }, "--bgp-shutdown-wait=1s")
	svc := r.Service("web", r.Nodes(), nil)
	route := site.Addrs(svc)[0].String() + "/32"
	await(t, "the routes of both nodes", func() bool { return r.nextHops("ipv4", route) == 2 })
	marked := func() int {
		n := 0
		for _, p := range r.frr.Detail("ipv4", route) {
			if strings.Contains(p.Community.String, "graceful-shutdown") {
				n++
			}
		}
		return n
	}
	require.Zero(t, marked())
	n := r.Nodes()[1]
	n.Update(func(o *corev1.Node) { o.Spec.Unschedulable = true })
	await(t, "one of the routes to be marked", func() bool { return marked() == 1 && r.nextHops("ipv4", route) == 2 })
	n.Update(func(o *corev1.Node) { o.Spec.Unschedulable = false })
	await(t, "no route to be marked", func() bool { return marked() == 0 && r.nextHops("ipv4", route) == 2 })
	n.Update(func(o *corev1.Node) { o.Spec.Unschedulable = true })
	await(t, "one of the routes to be marked", func() bool { return marked() == 1 })
	other := r.Nodes()[0]
	other.Update(func(o *corev1.Node) { o.Spec.Unschedulable = true })
	await(t, "both routes to be marked", func() bool { return marked() == 2 && r.nextHops("ipv4", route) == 2 })
	await(t, "both in the kernel", func() bool { return kernelHops(r.router, "ipv4", route) == 2 })
	other.Update(func(o *corev1.Node) { o.Spec.Unschedulable = false })
	await(t, "one of the routes to be marked", func() bool { return marked() == 1 })
	_, err := r.Speakers[n.Name()].Stop()
	require.NoError(t, err)
	await(t, "the routes of the other node alone", func() bool { return r.nextHops("ipv4", route) == 1 && marked() == 0 })
}

// TestFromNode has one BGPPeer for two racks, each with a router of its own.
func TestFromNode(t *testing.T) {
	r := &rack{Site: site.NewAlone(t, 2), t: t}
	require.NoError(t, r.Bed.Client.Delete(t.Context(), &v1beta1.L2Advertisement{ObjectMeta: r.Meta("main")}))
	const addressKey, asnKey, mineKey, sourceKey = "example.com/tor", "example.com/tor-asn", "example.com/asn", "example.com/source"
	var routers []*routing.FRR
	for i, n := range r.Nodes() {
		h := r.AddClient(fmt.Sprint("tor", i))
		routers = append(routers, routing.StartFRR(t, r.Lab, h, fmt.Sprintf("router bgp %d\nno bgp ebgp-requires-policy\nneighbor %s remote-as %d\n",
			65100+i, n.Addr(false), 65200+i)))
		n.Update(func(o *corev1.Node) {
			o.Annotations = map[string]string{
				addressKey: h.Addr(false).String(), asnKey: fmt.Sprint(65100 + i), mineKey: fmt.Sprint(65200 + i), sourceKey: n.Addr(false).String(),
			}
		})
	}
	meta := r.Meta("tor")
	meta.Annotations = map[string]string{
		"fairlead.io/peer-address-from": addressKey, "fairlead.io/peer-asn-from": asnKey, "fairlead.io/my-asn-from": mineKey,
		"fairlead.io/source-address-from": sourceKey,
	}
	r.Create(&v1beta2.BGPPeer{ObjectMeta: meta, Spec: v1beta2.BGPPeerSpec{MyASN: 1, PeerASN: 2, PeerAddress: "0.0.0.0"}})
	r.Create(&v1beta1.BGPAdvertisement{ObjectMeta: r.Meta("adv")})
	svc := r.Service("web", r.Nodes(), nil)
	route := site.Addrs(svc)[0].String() + "/32"
	for i, f := range routers {
		await(t, "the route", func() bool {
			p := f.Detail("ipv4", route)
			return len(p) == 1 && p[0].ASPath.String == fmt.Sprint(65200+i)
		})
	}

	// A value that makes no sense leaves the session as it is, and is named.
	n := r.Nodes()[0]
	before := routers[0].Neighbor(n.Addr(false).String())
	right := ""
	n.Update(func(o *corev1.Node) { right, o.Annotations[addressKey] = o.Annotations[addressKey], "tor0.example.com" })
	r.session("n1-tor", "the reason", func(x v1alpha1.BGPSessionStatus) bool {
		return x.State == "Established" && strings.Contains(x.LastError, `node "n1": metadata.annotations[example.com/tor] "tor0.example.com" is not the IP address of a router`)
	})
	sameSession(t, before, routers[0].Neighbor(n.Addr(false).String()))
	n.Update(func(o *corev1.Node) { o.Annotations[addressKey] = right })
	r.session("n1-tor", "no fault", func(x v1alpha1.BGPSessionStatus) bool { return x.State == "Established" && x.LastError == "" })

	// A node without the annotations has what the BGPPeer says, which here is nothing.
	n.Update(func(o *corev1.Node) { delete(o.Annotations, addressKey) })
	r.session("n1-tor", "the reason", func(x v1alpha1.BGPSessionStatus) bool {
		return strings.Contains(x.LastError, `node "n1" has no annotation "example.com/tor", and spec.peerAddress is 0.0.0.0`)
	})
	assert.Len(t, routers[1].Table("ipv4")[route], 1, "what the other node says")
}
