package cni

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
)

// offCalico are the backends on which a route is that of a Service. On this Calico it is that of the pool.
var offCalico = []string{"cilium", "speaker"}

// serviceRows are about Services and their endpoints.
var serviceRows = []Row{
	{
		Name: "a Service with local endpoints", Short: true, Long: simpleOn, Only: offCalico,
		Steps: []Step{
			{
				Change:    "an endpoint on n2",
				Endpoints: map[string]string{"web": "n2"},
				Apply:     all(poolA, toAllA, svc("web", "a", "", "externalTrafficPolicy: Local")),
				Routes:    `r1 r2: 198.51.100.0 from n2`,
			},
			{
				Change:    "one on n3, too",
				Endpoints: map[string]string{"web": "n2 n3"},
				Routes:    `r1 r2: 198.51.100.0 from n2 n3`,
			},
			{
				Change:    "it moves",
				Endpoints: map[string]string{"web": "n3 n1"},
				Routes:    `r1 r2: 198.51.100.0 from n1 n3`,
			},
		},
	},
	{
		Name: "local endpoints of both families", Only: offCalico,
		Steps: []Step{
			{
				Change:    "an endpoint on n1",
				Endpoints: map[string]string{"web": "n1"},
				Apply: all(pool("a", "198.51.100.0/28", "2001:db8:a::/124"), toAllA,
					"kind: Service\nmetadata: {name: web}\nspec: {ipFamilies: [IPv4, IPv6], externalTrafficPolicy: Local}"),
				Routes: `
					r1 r2: 198.51.100.0 from n1
					r1 r2: 2001:db8:a:: from n1`,
			},
			{
				Change:     "it moves to n3",
				Endpoints:  map[string]string{"web": "n3"},
				Interrupts: true,
				Routes: `
					r1 r2: 198.51.100.0 from n3
					r1 r2: 2001:db8:a:: from n3`,
			},
		},
	},
	{
		Name: "local endpoints, and a router that is not to hear", Only: offCalico,
		Steps: []Step{
			{
				Change:    "for r1 only, an endpoint on n2",
				Endpoints: map[string]string{"web": "n2"},
				Apply:     all(poolA, adv("a", "ipAddressPools: [a], peers: [r1]"), svc("web", "a", "", "externalTrafficPolicy: Local")),
				Routes:    `r1: 198.51.100.0 from n2`,
			},
			{
				Change: "from a zone that n2 is not in",
				Label:  []string{"n1 zone=a", "n3 zone=a"},
				Apply:  adv("a", "ipAddressPools: [a], peers: [r1], "+onZone("a")),
			},
		},
	},
	{
		Name: "many Services", Only: []string{"calico"}, // whose routes are those of the pool
		Steps: []Step{
			liveA,
			{
				Change: "eleven at once",
				Apply:  services(11),
				Do: func(s *Scene) {
					testbed.Eventually(s, "addresses of all", func(ctx context.Context) error {
						var list corev1.ServiceList
						if err := s.Lab.Client.List(ctx, &list, client.InNamespace(s.Lab.Namespace)); err != nil {
							return err
						}
						for _, x := range list.Items {
							if len(x.Status.LoadBalancer.Ingress) == 0 {
								return fmt.Errorf("%s has none", x.Name)
							}
						}
						return nil
					})
				},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "a Service changes what does not matter",
		Steps: []Step{
			liveA,
			{Change: "labels", Apply: strings.Replace(svc("web", "a", "", ""), "{name: web,", "{name: web, labels: {app: web},", 1), Same: true},
			{Change: "endpoints", Endpoints: map[string]string{"web": "n1"}, Same: true},
			{Change: "a port", Apply: svc("web", "a", "", "ports: [{name: http, port: 8080, protocol: TCP}]"), Same: true},
		},
	},
	{
		Name: "two Services share an address",
		Steps: []Step{
			{
				Change: "two, by a sharing key",
				Apply: all(poolA, toAllA,
					"kind: Service\nmetadata: {name: web, annotations: {metallb.io/loadBalancerIPs: 198.51.100.5, metallb.io/allow-shared-ip: k}}\nspec: {ports: [{name: a, port: 80, protocol: TCP}]}",
					"kind: Service\nmetadata: {name: other, annotations: {metallb.io/loadBalancerIPs: 198.51.100.5, metallb.io/allow-shared-ip: k}}\nspec: {ports: [{name: b, port: 81, protocol: TCP}]}"),
				Routes: `r1 r2: 198.51.100.5 from all`,
			},
			{Change: "one goes", Delete: []string{"Service/other"}, Same: true},
		},
	},
}

func services(count int) string {
	var out []string
	for i := range count {
		out = append(out, svc(fmt.Sprint("web-", i), "a", "", ""))
	}
	return all(out...)
}

// alone is the argument that has a controller not wait for the lease of the one that was killed.
var alone = []string{"--leader-elect=false"}

// disturbedRows are about what happens beside.
var disturbedRows = []Row{
	{
		Name: "the controller is killed and comes back",
		Steps: []Step{
			liveA,
			{
				Change: "another pool for r1 from n1 only",
				Apply:  all(poolB, webB, adv("b", "ipAddressPools: [b], peers: [r1], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]")),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1: 203.0.113.0 from n1`,
			},
			{Change: "it is killed and comes back", Do: func(s *Scene) { s.Restart() }, Same: true, HoldSeconds: 3},
		},
	},
	{
		Name: "the controller is killed in the midst of a change", Args: alone,
		Steps: []Step{
			liveA,
			{
				Change: "another pool for r1 only, and a kill",
				Apply:  all(poolB, webB, adv("b", "ipAddressPools: [b], peers: [r1]")),
				Do:     killed,
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1: 203.0.113.0 from all`,
			},
			{
				Change: "it is for r2 from n3 only, and a kill",
				Apply:  adv("b", "ipAddressPools: [b], peers: [r2], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n3}}]"),
				Do:     killed,
				Routes: `
					r1 r2: 198.51.100.0 from all
					r2: 203.0.113.0 from n3`,
			},
			{
				Change: "it goes, and a kill",
				Delete: []string{"BGPAdvertisement/b"},
				Do:     killed,
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "a change while the controller is not there", Args: alone,
		Steps: []Step{
			liveA,
			{
				Change: "it is killed; the pool is for r1 only; it comes back",
				Do: func(s *Scene) {
					s.Lab.stop()
					s.Apply(adv("a", "ipAddressPools: [a], peers: [r1]"))
					s.Restart()
				},
				Routes: `r1: 198.51.100.0 from all`,
			},
			{
				Change: "it is killed; the pool is for all; it comes back",
				Do: func(s *Scene) {
					s.Lab.stop()
					s.Apply(adv("a", "ipAddressPools: [a]"))
					s.Restart()
				},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "faulty objects leave what was",
		Steps: []Step{
			liveA,
			{
				Change: "a faulty advertisement comes",
				Apply:  adv("faulty", `ipAddressPools: [a], communities: ["nobody-knows-it"]`),
				Same:   true,
			},
			{
				Change: "the advertisement becomes faulty",
				Apply:  adv("a", `ipAddressPools: [a], peers: [r1], communities: ["nobody-knows-it"]`),
				Same:   true,
			},
			{
				Change: "it is mended",
				Apply:  adv("a", `ipAddressPools: [a], peers: [r1], communities: ["64512:3"]`),
				Delete: []string{"BGPAdvertisement/faulty"},
				Routes: `r1: 198.51.100.0 from all with 64512:3`,
			},
		},
	},
	{
		Name: "a router more that does not answer",
		Steps: []Step{
			liveA,
			{
				Change: "a BGPPeer comes",
				Apply:  "kind: BGPPeer\nmetadata: {name: silent}\nspec: {myASN: 64512, peerASN: 65099, peerAddress: 192.0.0.99}",
				Same:   true,
			},
			{
				Change: "another pool is for it only",
				Apply:  all(poolB, webB, adv("b", "ipAddressPools: [b], peers: [silent]")),
				Same:   true,
			},
			{
				Change: "it goes",
				Delete: []string{"BGPPeer/silent"},
				Same:   true,
			},
		},
	},
}

// killed kills the controller soon after a change, and starts it again.
func killed(s *Scene) {
	time.Sleep(150 * time.Millisecond) // in the midst of it, which nobody tells
	s.Restart()
}

// peerChangeRows make their own BGPPeers.
var peerChangeRows = []Row{
	{
		Name: "routers come and go", OwnPeers: true,
		Steps: []Step{
			{
				Change: "r1, and a pool",
				Do: func(s *Scene) {
					s.Apply(all(s.PeerYAML("r1", false, ""), poolA, toAllA, webA))
				},
				Routes: `r1: 198.51.100.0 from all`,
			},
			{
				Change: "r2",
				Do:     func(s *Scene) { s.Apply(s.PeerYAML("r2", false, "")) },
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
			{
				Change: "r1 goes",
				Delete: []string{"BGPPeer/r1"},
				Resets: true,
				Routes: `r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "a router comes that is not to hear", OwnPeers: true,
		Steps: []Step{
			{
				Change: "r1, a pool for it, and one for all",
				Do: func(s *Scene) {
					s.Apply(all(s.PeerYAML("r1", false, ""), poolA, toAllA, webA, poolB, webB, adv("b", "ipAddressPools: [b], peers: [r1]")))
				},
				Routes: `
					r1: 198.51.100.0 from all
					r1: 203.0.113.0 from all`,
			},
			{
				Change: "r2",
				Do:     func(s *Scene) { s.Apply(s.PeerYAML("r2", false, "")) },
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1: 203.0.113.0 from all`,
			},
		},
	},
	{
		Name: "a BGPPeer's nodes are selected", OwnPeers: true,
		Steps: []Step{
			{
				Change: "r1 and r2 from all",
				Label:  []string{"n1 rack=a", "n2 rack=a", "n3 rack=b"},
				Do: func(s *Scene) {
					s.Apply(all(s.PeerYAML("r1", false, ""), s.PeerYAML("r2", false, ""), poolA, toAllA, webA))
				},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
			{
				Change: "r1 from a rack",
				Do:     func(s *Scene) { s.Apply(s.PeerYAML("r1", false, "nodeSelectors: [{matchLabels: {rack: a}}]")) },
				Resets: true,
				Routes: `
					r1: 198.51.100.0 from n1 n2
					r2: 198.51.100.0 from all`,
			},
			{
				Change: "a node changes over",
				Label:  []string{"n2 rack=b"},
				Resets: true,
				Routes: `
					r1: 198.51.100.0 from n1
					r2: 198.51.100.0 from all`,
			},
			{
				Change: "r1 from all again",
				Do:     func(s *Scene) { s.Apply(s.PeerYAML("r1", false, "")) },
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "a router is a second BGPPeer on one node", OwnPeers: true,
		Shows: []string{"BGPPeer nodeSelectors"},
		Steps: []Step{
			{
				Change: "r1 from n1 and n3",
				Do: func(s *Scene) {
					s.Apply(all(s.PeerYAML("r1", false, "nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n1, n3]}]}]"), poolA, toAllA, webA))
				},
				Routes: `r1: 198.51.100.0 from n1 n3`,
			},
			{
				Change: "the same as a second BGPPeer on n2",
				Do: func(s *Scene) {
					s.Apply(strings.Replace(s.PeerYAML("r1", false, "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]"), "name: r1", "name: r1-too", 1))
				},
				Routes: `r1: 198.51.100.0 from all`,
			},
			{
				Change: "it goes",
				Delete: []string{"BGPPeer/r1-too"},
				Resets: true,
				Routes: `r1: 198.51.100.0 from n1 n3`,
			},
		},
	},
}

// patch is a merge patch of an object of the CNI's.
func (s *Scene) patch(u client.Object, patch string) {
	s.Helper()
	require.NoError(s, s.Lab.Client.Patch(s.Context(), u, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("somebody")))
}
