package cni

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
)

// ciliumRows are about Cilium's own ways: what it makes of Services, and its allocator.
var ciliumRows = []Row{
	{
		Name: "a community alias is removed, and the controller is killed", Only: []string{"cilium"},
		Steps: []Step{
			{
				Change: "an alias beside no-export", Routes: "r1 r2: 198.51.100.0 from all with 64512:8 no-export",
				Apply: docs(poolA, webA, "kind: Community\nmetadata: {name: c}\nspec: {communities: [{name: mine, value: \"64512:8\"}]}",
					advert("a", of("a", `communities: [mine, "65535:65281"]`))),
			},
			{Change: "it is removed: the last version stays", Delete: []string{"Community/c"}, Same: true, HoldSeconds: 1},
			// Nobody knows the last version any more. Without its communities the route must not be heard.
			{Change: "the controller is killed and comes again", Do: killedAndBack, Interrupts: true, Same: true, HoldSeconds: 4},
		},
	},
	{
		Name: "addresses from two pools, one of which is advertised", Only: []string{"cilium"},
		Steps: []Step{
			{
				Change:  "IPv4 of one pool, IPv6 of another; an advertisement has the first only",
				Apply:   docs(pooled("four", rangeA), pooled("six", "2001:db8:a::/124"), twoPools, advert("four", of("four"))),
				Routes:  "r1 r2: 198.51.100.0 from all",
				Instead: map[string]Instead{"cilium": {Routes: "", Told: "cilium advertises all addresses of a Service or none"}},
			},
			{
				Change: "one has the second only", Apply: advert("six", of("six", `communities: ["64512:6"]`)),
				Routes:  "r1 r2: 198.51.100.0 from all\nr1 r2: 2001:db8:a:: from all with 64512:6",
				Instead: map[string]Instead{"cilium": {Routes: "", Told: "cilium advertises all addresses of a Service or none"}},
			},
			{
				Change: "one has both", Apply: advert("both", "ipAddressPools: [four, six]"),
				Routes: "r1 r2: 198.51.100.0 from all\nr1 r2: 2001:db8:a:: from all",
			},
		},
	},
	{
		Name: "somebody writes an address of no pool into a Service", Only: []string{"cilium"},
		Steps: []Step{
			liveA,
			{Change: "beside ours", Do: func(s *Scene) { s.writeIngress("web", "198.51.100.0", "192.0.2.9") }, Routes: "", Told: "ForeignStatus", HoldSeconds: 2},
			{Change: "in place of ours", Do: func(s *Scene) { s.writeIngress("web", "192.0.2.9") }, Routes: "", Told: "ForeignStatus", HoldSeconds: 2},
			{Change: "beside ours again", Do: func(s *Scene) { s.writeIngress("web", "198.51.100.0", "192.0.2.9") }, Routes: "", HoldSeconds: 2},
			{Change: "the status is emptied", Do: func(s *Scene) { s.writeIngress("web") }, Routes: heardA, WithinSeconds: 4, HoldSeconds: 2},
		},
	},
	{
		Name: "a label of ours on a Service that is not ours", Only: []string{"cilium"},
		Steps: []Step{
			liveA,
			{
				Change: "a Service of another class gets the label and an address", Routes: heardA, HoldSeconds: 2,
				Apply: "kind: Service\nmetadata: {name: theirs, labels: {fairlead.io/pool: a}}\nspec: {loadBalancerClass: example.com/other}",
				Do:    func(s *Scene) { s.writeIngress("theirs", "192.0.2.9") },
			},
		},
	},
	{
		Name: "nobody selects the advertisements", Only: []string{"cilium"}, Args: []string{"--manage-peers=false"}, OwnPeers: true,
		Steps: []Step{
			{Change: "peers are not managed, and there is no CiliumBGPPeerConfig", Apply: docs(poolA, toAllA, webA), Routes: "", Told: "BackendInactive"},
		},
	},
	{
		Name: "peers of Cilium's own", Only: []string{"cilium"}, Args: []string{"--manage-peers=false"}, OwnPeers: true,
		Steps: []Step{
			{
				Change: "they select what is for them", Do: (*Scene).ownPeers,
				Apply: docs(poolA, toAllA, webA, pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", "peers: [r1]")),
					pooled("d", "192.0.2.32/28"), service("web-d", "d", ""), advert("d", of("d", "peers: [r2]"))),
				Routes: heardA + "r1: 203.0.113.0 from all\nr2: 192.0.2.32 from all",
			},
			{
				Change: "one for n1 is withheld", Label: []string{"n1 zone=a"}, Apply: docs(pooled("c", rangeC), service("web-c", "c", ""), advert("c", of("c", from("zone", "a")))),
				Routes: heardA + "r1: 203.0.113.0 from all\nr2: 192.0.2.32 from all", Told: "spec.nodeSelectors",
			},
			{Change: "that of all is for r2", Apply: advert("a", of("a", "peers: [r2]")), Routes: "r1: 203.0.113.0 from all\nr2: 198.51.100.0 from all\nr2: 192.0.2.32 from all"},
			{Change: "their cluster config goes", Delete: []string{"CiliumBGPClusterConfig/own"}, Routes: "", Resets: true},
		},
	},
	{
		Name: "an upgrade from a version with one cluster config for several nodes", Only: []string{"cilium"},
		Steps: []Step{
			liveA,
			{Change: "it is as that version left it", Do: (*Scene).asBefore, Same: true, Resets: true, Interrupts: true},
			{Change: "this version comes", Do: killedAndBack, Same: true, HoldSeconds: 8},
			{Change: "a node is relabelled, and an advertisement by zone comes", Label: []string{"n1 zone=a"}, Apply: docs(pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", from("zone", "a")))), Routes: heardA + "r1 r2: 203.0.113.0 from n1"},
		},
	},
	{
		Name: "an external policy without endpoints", Only: []string{"cilium"},
		Steps: []Step{
			liveA,
			// MetalLB withdraws it; Cilium does with enable-no-service-endpoints-routable=false.
			{Change: "no endpoint", Endpoints: map[string]string{"web": ""}, Same: true, HoldSeconds: 1},
		},
	},
	{
		Name: "Cilium's allocator is awake", Only: []string{"cilium"},
		Steps: []Step{
			{
				Change: "a pool of Cilium's, and then a Service", Do: func(s *Scene) { s.Apply(ciliumPool) }, Routes: "",
			},
			{Change: "a Service: it has no address as long as Cilium would take it away", Apply: docs(poolA, toAllA, webA), Routes: "", Told: "IPAMConflict", HoldSeconds: 2},
			{Change: "the controller is killed: it still has none", Do: killedAndBack, Routes: "", HoldSeconds: 3},
		},
	},
	{
		Name: "Cilium's allocator wakes up while routes are out, and sleeps again", Only: []string{"cilium"},
		Steps: []Step{
			{
				Change: "three Services", Apply: docs(poolA, toAllA, webA), Do: func(s *Scene) {
					s.assigned("web")
					s.Apply(service("web2", "a", ""))
					s.Apply(serviceAt("web5", "198.51.100.5", ""))
				},
				Routes: heardA + "r1 r2: 198.51.100.1 from all\nr1 r2: 198.51.100.5 from all",
			},
			{
				Change: "a pool of Cilium's comes", Do: func(s *Scene) { s.Apply(ciliumPool) }, Told: "IPAMConflict", WithinSeconds: 2, HoldSeconds: 3,
				// Cilium gives addresses of its own to Services with our label, which is taken away at once. It heeds that with what comes next.
				Routes: "", Meanwhile: "r1 r2: 10.99.0.0/32 from all\nr1 r2: 10.99.0.1/32 from all\nr1 r2: 10.99.0.2/32 from all",
			},
			{
				Change: "it goes: all have the addresses that they had", Delete: []string{"CiliumLoadBalancerIPPool/theirs"}, WithinSeconds: 4, HoldSeconds: 2,
				Routes: heardA + "r1 r2: 198.51.100.1 from all\nr1 r2: 198.51.100.5 from all",
			},
		},
	},
	{
		Name: "a Service gets an address of another pool, for others", Only: []string{"cilium"},
		Steps: []Step{
			{
				Change: "a pool for r1 and one for r2", Routes: "r1: 198.51.100.0 from all",
				Apply: docs(poolA, webA, pooled("b", rangeB), advert("a", of("a", "peers: [r1]")), advert("b", of("b", "peers: [r2]"))),
			},
			{Change: "it asks for the other", Apply: service("web", "b", ""), Routes: "r2: 203.0.113.0 from all", WithinSeconds: 4, HoldSeconds: 2},
			{Change: "and back", Apply: webA, Routes: "r1: 198.51.100.0 from all", WithinSeconds: 4, HoldSeconds: 2},
		},
	},
	{
		Name: "a password that was missing comes", Only: []string{"cilium"}, OwnPeers: true,
		Steps: []Step{
			{
				Change: "r1 asks for one that is not there", Apply: docs(poolA, toAllA, webA), Routes: "", Told: "there is no Secret",
				Do: func(s *Scene) { s.Apply(s.PeerYAML("r1", false, "passwordSecret: {name: r1}")) },
			},
			{
				// The router has no password, so there is no session; that it is set up is what Cilium is told.
				Change: "it comes", Apply: "kind: Secret\nmetadata: {name: r1}\ntype: kubernetes.io/basic-auth\nstringData: {password: hush}",
				Do: (*Scene).awaitPassword, Routes: "",
			},
		},
	},
}

// ciliumPool wakes up Cilium's allocator.
const ciliumPool = "kind: CiliumLoadBalancerIPPool\nmetadata: {name: theirs}\nspec: {blocks: [{cidr: 10.99.0.0/24}]}"

// twoPools is a Service with an address of each of the pools four and six.
const twoPools = `kind: Service
metadata: {name: web, annotations: {fairlead.io/address-pools: "four,six"}}
spec: {ipFamilies: [IPv4, IPv6]}`

// awaitPassword waits until there is a session with r1 that has a password for Cilium, as it has to be at once.
func (s *Scene) awaitPassword() {
	s.Helper()
	start := time.Now()
	testbed.Eventually(s, "Cilium to have the password", func(ctx context.Context) error {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(ciliumGroup.WithKind("CiliumBGPPeerConfigList"))
		if err := s.Lab.Client.List(ctx, list); err != nil {
			return err
		}
		for i := range list.Items {
			if secret, _, _ := unstructured.NestedString(list.Items[i].Object, "spec", "authSecretRef"); secret != "" {
				return nil
			}
		}
		return fmt.Errorf("none of %d peer configs has one", len(list.Items))
	})
	require.LessOrEqual(s, time.Since(start), 2*time.Second)
}

// assigned waits until a Service has an address.
func (s *Scene) assigned(name string) {
	s.Helper()
	testbed.Eventually(s, name+" to have an address", func(ctx context.Context) error {
		var svc corev1.Service
		err := s.Lab.Client.Get(ctx, client.ObjectKey{Namespace: s.Lab.Namespace, Name: name}, &svc)
		if err == nil && len(svc.Status.LoadBalancer.Ingress) == 0 {
			err = fmt.Errorf("%s has none", name)
		}
		return err
	})
}

// writeIngress writes addresses into the status of a Service, as somebody else would.
func (s *Scene) writeIngress(name string, addrs ...string) {
	s.Helper()
	require.NoError(s, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var svc corev1.Service
		if err := s.Lab.Client.Get(s.Context(), client.ObjectKey{Namespace: s.Lab.Namespace, Name: name}, &svc); err != nil {
			return err
		}
		svc.Status.LoadBalancer.Ingress = nil
		for _, a := range addrs {
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
		}
		return s.Lab.Client.Status().Update(s.Context(), &svc)
	}))
}

// ownPeers are sessions with both routers that a user of Cilium has set up, one CiliumBGPPeerConfig for each router.
func (s *Scene) ownPeers() {
	s.Helper()
	cluster := "kind: CiliumBGPClusterConfig\nmetadata: {name: own}\nspec: {bgpInstances: [{name: own, localASN: 64512, peers: ["
	for _, router := range []string{"r1", "r2"} {
		asn := map[string]string{"r1": "65010", "r2": "64512"}[router]
		cluster += "{name: " + router + ", peerASN: " + asn + ", peerAddress: " + s.Lab.Host(router).Addr(false).String() + ", peerConfigRef: {name: " + router + "}},"
		s.Apply("kind: CiliumBGPPeerConfig\nmetadata: {name: " + router + "}\nspec: {families: [{afi: ipv4, safi: unicast, advertisements: {matchLabels: {peer.fairlead.io/" + router + ": \"true\"}}}]}")
	}
	s.Apply(strings.TrimSuffix(cluster, ",") + "]}]}")
	s.AwaitSessions(len(nodeNames) * 2)
}

// asBefore puts the objects of versions that had one CiliumBGPClusterConfig for several nodes in the place of those of this version, with the
// controller stopped.
func (s *Scene) asBefore() {
	s.Helper()
	s.Lab.stop()
	for _, kind := range []string{"CiliumBGPClusterConfig", "CiliumBGPPeerConfig"} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(ciliumGroup.WithKind(kind + "List"))
		require.NoError(s, s.Lab.Client.List(s.Context(), list))
		for i := range list.Items {
			require.NoError(s, s.Lab.Client.Delete(s.Context(), &list.Items[i]))
		}
	}
	s.AwaitSessions(0)
	labels := "labels: {app.kubernetes.io/managed-by: fairlead, fairlead.io/installation: " + s.Lab.Namespace + "}"
	var peers []string
	for _, router := range []string{"r1", "r2"} {
		for _, is6 := range []bool{false, true} {
			name, afi := router, "ipv4"
			if is6 {
				name, afi = router+"-v6", "ipv6"
			}
			asn := map[string]int{"r1": OuterASN, "r2": ASN}[router]
			peers = append(peers, fmt.Sprintf("{name: %s, peerASN: %d, peerAddress: %q, peerConfigRef: {name: fairlead-bgppeer-%[1]s}}", name, asn, s.Lab.Host(router).Addr(is6)))
			s.Apply(fmt.Sprintf(`kind: CiliumBGPPeerConfig
metadata: {name: fairlead-bgppeer-%s, %s, annotations: {fairlead.io/source: BGPPeer/%s/%[1]s}}
spec: {families: [{afi: %[4]s, safi: unicast, advertisements: {matchExpressions: [{key: fairlead.io/advertisement, operator: In, values: [a]}, {key: fairlead.io/installation, operator: In, values: [%[3]s]}]}}]}`,
				name, labels, s.Lab.Namespace, afi))
		}
	}
	s.Apply(fmt.Sprintf(`kind: CiliumBGPClusterConfig
metadata: {name: fairlead-bgp, %s}
spec: {nodeSelector: {matchExpressions: [{key: %s, operator: DoesNotExist}]}, bgpInstances: [{name: as64512, localASN: 64512, peers: [%s]}]}`,
		labels, excluded, strings.Join(peers, ", ")))
	s.AwaitSessions(len(nodeNames) * 4)
}
