package cni

import (
	"context"
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/integration/testbed"
)

var onCalico = []string{"calico"}

// calico makes an object of Calico's.
func calico(kind, name string, spec map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(schema.GroupVersion{Group: "crd.projectcalico.org", Version: "v1"}.WithKind(kind))
	u.SetName(name)
	return u
}

// make creates an object of the CNI's, which goes with the Row.
func (s *Scene) make(u *unstructured.Unstructured) {
	s.Helper()
	require.NoError(s, s.Lab.Client.Create(s.Context(), u))
	s.made = append(s.made, u)
}

// configure changes Calico's BGPConfiguration "default" as somebody else does, by a merge patch of its spec.
func (s *Scene) configure(spec string) {
	s.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":`+spec+`}`))
	err := s.Lab.Client.Patch(s.Context(), calico("BGPConfiguration", "default", nil), patch, client.FieldOwner("somebody"))
	if apierrors.IsNotFound(err) {
		require.NoError(s, s.Lab.Client.Create(s.Context(), calico("BGPConfiguration", "default", map[string]any{})))
		s.configure(spec)
		return
	}
	require.NoError(s, err)
}

// change changes a list of Calico's BGPConfiguration "default", as somebody else does.
func (s *Scene) change(list string, to func([]any) []any) {
	s.Helper()
	testbed.Eventually(s, "the BGPConfiguration to be changed", func(ctx context.Context) error {
		u := calico("BGPConfiguration", "default", nil)
		if err := s.Lab.Client.Get(ctx, client.ObjectKeyFromObject(u), u); err != nil {
			return err
		}
		have, _, err := unstructured.NestedSlice(u.Object, "spec", list)
		if err != nil {
			return err
		}
		if err := unstructured.SetNestedSlice(u.Object, to(have), "spec", list); err != nil {
			return err
		}
		return s.Lab.Client.Update(ctx, u, client.FieldOwner("somebody"))
	})
}

// block adds an entry to the list of blocks.
func block(cidr string) func(*Scene) {
	return func(s *Scene) {
		s.change("serviceLoadBalancerIPs", func(list []any) []any { return append(list, map[string]any{"cidr": cidr}) })
		s.undo = append(s.undo, func() { noBlock(cidr)(s) }) // in case that the row ends early
	}
}

// noBlock takes an entry out of the list of blocks.
func noBlock(cidr string) func(*Scene) {
	return func(s *Scene) {
		s.change("serviceLoadBalancerIPs", func(list []any) []any {
			var out []any
			for _, b := range list {
				if b.(map[string]any)["cidr"] != cidr {
					out = append(out, b)
				}
			}
			return out
		})
	}
}

// theirPeers makes BGPPeers of Calico's for the routers.
func theirPeers(routers ...string) func(*Scene) {
	return func(s *Scene) {
		for _, r := range routers {
			asn := int64(OuterASN)
			if r == "r2" {
				asn = ASN
			}
			s.make(calico("BGPPeer", "their-"+r, map[string]any{"peerIP": s.Lab.routers[r].Addr(false).String(), "asNumber": asn}))
		}
		s.AwaitSessions(len(routers) * len(nodeNames))
	}
}

// unmanaged is the argument that has the CNI's own peers used.
var unmanaged = []string{"--manage-peers=false"}

// calicoRows are about Calico's own objects.
var calicoRows = []Row{
	{
		Name: "Calico's own peers", Only: onCalico, Args: unmanaged, OwnPeers: true,
		Steps: []Step{
			{
				Change: "both routers, and a pool",
				Do: func(s *Scene) {
					theirPeers("r1", "r2")(s)
					s.Apply(all(poolA, toAllA, webA))
				},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
			{
				Change: "another pool for one router only, which cannot be kept from the other one",
				Apply:  all(poolB, webB, adv("b", "ipAddressPools: [b], peers: [r1]")),
				Same:   true, HoldSeconds: 2, Told: "peers",
			},
			{
				Change: "it is from one node only, which cannot be had either",
				Apply:  adv("b", "ipAddressPools: [b], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]"),
				Same:   true, HoldSeconds: 2, Told: "nodeSelectors",
			},
			{
				Change: "it is for all",
				Apply:  adv("b", "ipAddressPools: [b]"),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from all`,
			},
		},
	},
	{
		Name: "Calico's own peers, its mesh, and local endpoints", Only: onCalico, Args: unmanaged, OwnPeers: true,
		Steps: []Step{
			{
				Change: "both routers, and a pool",
				Do: func(s *Scene) {
					theirPeers("r1", "r2")(s)
					s.Apply(all(poolA, toAllA, webA))
				},
				Routes: `r1 r2: 198.51.100.0/28 from all`,
			},
			{
				Change:    "a Service with an endpoint on n2",
				Endpoints: map[string]string{"local": "n2"},
				Apply:     svc("local", "a", "198.51.100.5", "externalTrafficPolicy: Local"),
				Routes: `
					r1 r2: 198.51.100.0/28 from all
					r1 r2: 198.51.100.5/32 from n2`,
				Instead: map[string]Instead{"calico": { // r2 is inside, where nodes pass nothing on
					Routes: `
						r1 r2: 198.51.100.0/28 from all
						r1: 198.51.100.5/32 from all
						r2: 198.51.100.5/32 from n2`,
					Told: "every node advertises them, not only those with an endpoint",
				}},
			},
			{
				Change: "the mesh is switched off",
				Do:     func(s *Scene) { s.configure(`{"nodeToNodeMeshEnabled":false}`) },
				Routes: `
					r1 r2: 198.51.100.0/28 from all
					r1 r2: 198.51.100.5/32 from n2`,
			},
			{
				Change: "everything goes, and it is switched on again",
				Delete: []string{"Service/web", "Service/local", "BGPAdvertisement/a"},
				Do:     func(s *Scene) { s.configure(`{"nodeToNodeMeshEnabled":null}`) },
			},
		},
	},
	{
		Name: "a BGPPeer of Calico's own comes while a pool is for one router", Only: onCalico, OwnPeers: true,
		Steps: []Step{
			{
				Change: "a pool for r1, another one for all",
				Do: func(s *Scene) {
					s.Apply(all(s.PeerYAML("r1", false, ""), poolA, webA, adv("a", "ipAddressPools: [a]"), poolB, webB, adv("b", "ipAddressPools: [b], peers: [r1]")))
				},
				Routes: `
					r1: 198.51.100.0 from all
					r1: 203.0.113.0 from all`,
			},
			{
				// It hears everything from the moment on at which there is a session, which takes longer than to notice it.
				Change: "Calico's own peer r2",
				Do:     theirPeers("r2"),
				Routes: `r1 r2: 198.51.100.0 from all`,
				Told:   "peers",
			},
		},
	},
	{
		Name: "somebody takes our entry out", Only: onCalico,
		Steps: []Step{
			{
				Change: "a pool that no other row has: it is remembered for ten minutes that they fight for it",
				Apply:  all(pool("c", "203.0.113.64/28"), svc("web", "c", "", ""), adv("c", "ipAddressPools: [c]")),
				Routes: `r1 r2: 203.0.113.64 from all`,
			},
			{Change: "once", Do: noBlock("203.0.113.64/28"), Same: true, Interrupts: true, HoldSeconds: 2},
			{Change: "twice", Do: noBlock("203.0.113.64/28"), Same: true, Interrupts: true, HoldSeconds: 2},
			{Change: "three times", Do: noBlock("203.0.113.64/28"), Same: true, Interrupts: true, HoldSeconds: 2},
			{Change: "a fourth time: it is left to them, and told", Do: noBlock("203.0.113.64/28"), Told: "Contended"},
		},
	},
	{
		Name: "entries of others", Only: onCalico,
		Steps: []Step{
			liveA,
			{
				Change: "somebody adds a block",
				Do:     block("203.0.113.128/25"),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.128/25 from all`,
			},
			{
				Change: "our pool changes beside it",
				Apply:  pool("a", "198.51.100.0/27"),
				Same:   true, HoldSeconds: 3,
			},
			{
				Change: "our advertisement goes, their block stays",
				Delete: []string{"BGPAdvertisement/a"},
				Routes: `r1 r2: 203.0.113.128/25 from all`,
			},
			{Change: "they take it out", Do: noBlock("203.0.113.128/25")},
		},
	},
	{
		Name: "a block of others covers a pool", Only: onCalico,
		Steps: []Step{
			{
				Change: "somebody has a wide block",
				Do: func(s *Scene) {
					s.configure(`{}`)
					block("198.51.100.0/24")(s)
				},
				Routes: `r1 r2: 198.51.100.0/24 from all`,
			},
			{
				Change: "a pool within",
				Apply:  all(poolA, toAllA, webA),
				Same:   true, HoldSeconds: 2, Told: "CoveredByExisting",
			},
			{
				Change: "they take it out",
				Do:     noBlock("198.51.100.0/24"), Interrupts: true,
				Routes: `r1 r2: 198.51.100.0/28 from all`,
			},
		},
	},
	{
		Name: "somebody's entry that BIRD cannot read", Only: onCalico,
		Steps: []Step{
			liveA,
			{
				Change: "host bits: every node stays with what it has",
				Do:     block("203.0.113.7/24"),
				Same:   true, HoldSeconds: 2, Told: "has host bits",
			},
			{
				Change: "they take it out",
				Do:     noBlock("203.0.113.7/24"),
				Same:   true, HoldSeconds: 2,
			},
			{
				Change: "changes work again",
				Apply:  all(poolB, webB, adv("b", "ipAddressPools: [b]")),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from all`,
			},
		},
	},
	{
		Name: "communities of others", Only: onCalico,
		Steps: []Step{
			{
				Change: "a pool with a community",
				Apply:  all(poolA, webA, adv("a", `ipAddressPools: [a], communities: ["64512:1"]`)),
				Routes: `r1 r2: 198.51.100.0 from all with 64512:1`,
			},
			{
				Change: "somebody has one for the same prefix",
				Do: func(s *Scene) {
					s.change("prefixAdvertisements", func(list []any) []any {
						return append(list, map[string]any{"cidr": "198.51.100.0/24", "communities": []any{"64999:9"}})
					})
				},
				Routes: `r1 r2: 198.51.100.0 from all with 64512:1 64999:9`,
			},
			{
				Change: "ours goes",
				Apply:  adv("a", `ipAddressPools: [a]`),
				Routes: `r1 r2: 198.51.100.0 from all with 64999:9`,
			},
			{
				Change: "theirs goes",
				Do:     func(s *Scene) { s.configure(`{"prefixAdvertisements":null}`) },
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "settings that are not ours change", Only: onCalico,
		Steps: []Step{
			liveA,
			{Change: "the log level", Do: func(s *Scene) { s.configure(`{"logSeverityScreen":"Debug"}`) }, Same: true},
			{Change: "the log level back", Do: func(s *Scene) { s.configure(`{"logSeverityScreen":null}`) }, Same: true},
			{Change: "the mesh goes", Do: func(s *Scene) { s.configure(`{"nodeToNodeMeshEnabled":false}`) }, Same: true, HoldSeconds: 2},
			{Change: "the mesh comes back", Do: func(s *Scene) { s.configure(`{"nodeToNodeMeshEnabled":null}`) }, Same: true, HoldSeconds: 2},
			{
				Change: "a filter of somebody's",
				Do: func(s *Scene) {
					s.make(calico("BGPFilter", "theirs", map[string]any{"exportV4": []any{map[string]any{"cidr": "10.0.0.0/8", "matchOperator": "In", "action": "Reject"}}}))
				},
				Same: true,
			},
		},
	},
	{
		Name: "an IPPool keeps routes on the nodes", Only: onCalico,
		Steps: []Step{
			liveA,
			{
				Change: "an IPPool without export over the pool",
				Do: func(s *Scene) {
					s.make(calico("IPPool", "quiet", map[string]any{"cidr": "198.51.100.0/24", "vxlanMode": "Always", "disableBGPExport": true, "disabled": true}))
				},
				Told: `IPPool "quiet" keeps its routes on the nodes`,
			},
			{
				Change: "it goes",
				Do: func(s *Scene) {
					require.NoError(s, s.Lab.Client.Delete(s.Context(), calico("IPPool", "quiet", nil)))
				},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "somebody edits what is ours", Only: onCalico,
		Steps: []Step{
			{
				Change: "a pool for r1 only",
				Apply:  all(poolA, webA, adv("a", "ipAddressPools: [a], peers: [r1]")),
				Routes: `r1: 198.51.100.0 from all`,
			},
			{
				Change: "the session gets no nodes",
				Do: func(s *Scene) {
					s.patch(calico("BGPPeer", "fairlead-r1", nil), `{"spec":{"nodeSelector":"!all()"}}`)
				},
				Interrupts: true, Resets: true, Routes: `r1: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "a pool goes while its nodes get another one", Only: onCalico,
		Steps: []Step{
			{
				Change: "a pool for r2, and one from n2", Label: []string{"n2 zone=a"},
				Apply: all(poolA, webA, adv("three", "ipAddressPools: [a], peers: [r2]"), poolB, webB, adv("one", "ipAddressPools: [b], "+onZone("a"))),
				Routes: `
					r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from n2`,
			},
			{
				Change: "the second one is of the first pool, too", Apply: adv("one", "ipAddressPools: [a], "+onZone("a")),
				Routes: `
					r2: 198.51.100.0 from all
					r1: 198.51.100.0 from n2`,
			},
		},
	},
	{
		// The old nodes cease, then the communities change, then the new nodes begin.
		Name: "a route moves to other nodes with another community", Only: onCalico,
		Steps: []Step{
			{
				Change: "from n1",
				Apply:  all(poolA, webA, adv("a", `ipAddressPools: [a], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}], communities: ["64512:3"]`)),
				Routes: `r1 r2: 198.51.100.0 from n1 with 64512:3`,
			},
			{
				Change: "from the others, with another one",
				Apply: adv("a", `ipAddressPools: [a], communities: ["64512:4"],
  nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [n1]}]}]`),
				Routes: `r1 r2: 198.51.100.0 from n2 n3 with 64512:4`,
			},
			{
				Change: "from all, with a third one",
				Apply:  adv("a", `ipAddressPools: [a], communities: ["64512:5"]`),
				Routes: `r1 r2: 198.51.100.0 from all with 64512:5`,
			},
			{
				Change: "from one of them to one router, without any",
				Apply:  adv("a", `ipAddressPools: [a], peers: [r2], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]`),
				Routes: `r2: 198.51.100.0 from n2`,
			},
		},
	},
	{
		// The prefix of the pool comes from every node, and the address beside it from those with an endpoint.
		Name: "local endpoints beside the prefix of a pool", Only: onCalico,
		Steps: []Step{
			{
				Change: "a pool",
				Apply:  all(poolA, toAllA, webA),
				Routes: `r1 r2: 198.51.100.0/28 from all`,
			},
			{
				Change:    "a Service with an endpoint on n2",
				Endpoints: map[string]string{"local": "n2"},
				Apply:     svc("local", "a", "198.51.100.5", "externalTrafficPolicy: Local"),
				Routes: `
					r1 r2: 198.51.100.0/28 from all
					r1 r2: 198.51.100.5/32 from n2`,
				Told: "routes of their own, beside the prefix that every node advertises",
			},
			{
				Change:    "one on n3, too",
				Endpoints: map[string]string{"local": "n2 n3"},
				Routes: `
					r1 r2: 198.51.100.0/28 from all
					r1 r2: 198.51.100.5/32 from n2 n3`,
			},
			{
				Change:    "it moves",
				Endpoints: map[string]string{"local": "n3 n1"},
				Routes: `
					r1 r2: 198.51.100.0/28 from all
					r1 r2: 198.51.100.5/32 from n1 n3`,
			},
			{
				Change: "the pool is for r1 only",
				Apply:  adv("a", "ipAddressPools: [a], peers: [r1]"),
				Routes: `
					r1: 198.51.100.0/28 from all
					r1: 198.51.100.5/32 from n1 n3`,
			},
			{
				Change: "from n1 and n2 only",
				Apply:  adv("a", "ipAddressPools: [a], peers: [r1], nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n1, n2]}]}]"),
				Routes: `
					r1: 198.51.100.0/28 from n1 n2
					r1: 198.51.100.5/32 from n1`,
			},
			{
				Change:    "no endpoint is left",
				Endpoints: map[string]string{"local": ""},
				Routes:    `r1: 198.51.100.0/28 from n1 n2`,
			},
		},
	},
	{
		Name: "a thousand ranges", Only: onCalico,
		Steps: []Step{
			liveA,
			{
				Change: "a pool of a thousand ranges",
				Apply:  all(pool("b", thousand()...), svc("other", "b", "203.0.96.0", ""), adv("b", "ipAddressPools: [b]")),
				Same:   true, HoldSeconds: 2,
				Told: "its prefixes, 1000, make 1001 entries of spec.serviceLoadBalancerIPs in one family, and BIRD reads no more than 100 reliably",
			},
			{
				Change: "those that are as many as BIRD reads",
				Apply:  pool("b", thousand()[:99]...),
				Routes: "r1 r2: 198.51.100.0 from all" + routesOf("r1 r2", thousand()[:99]),
			},
			{
				Change: "others come beside it",
				Apply:  all(pool("c", "203.0.112.0/28"), adv("c", "ipAddressPools: [c]")),
				Same:   true, HoldSeconds: 2, Told: "the pool is not advertised",
			},
		},
	},
	{
		Name: "everything is taken back", Only: onCalico,
		Steps: []Step{
			{
				Change: "pools with communities, for one router and from one node",
				Apply: all(poolA, webA, adv("a", `ipAddressPools: [a], peers: [r1], communities: ["65535:65281"]`), poolB, webB,
					adv("b", "ipAddressPools: [b], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]")),
				Routes: `
					r1: 198.51.100.0 from all with no-export
					r1 r2: 203.0.113.0 from n1`,
			},
			{
				Change: "controller cleanup",
				Do: func(s *Scene) {
					s.Lab.stop()
					s.Lab.Bed.Cleanup(s, s.Lab.Namespace)
				},
				Resets: true,
			},
			{
				Change: "the controller comes back",
				Do:     func(s *Scene) { s.Restart() },
				Resets: true,
				Routes: `
					r1: 198.51.100.0 from all with no-export
					r1 r2: 203.0.113.0 from n1`,
			},
		},
	},
}

// thousand are the ranges of a thousand routes: every other pair of addresses.
func thousand() []string {
	var out []string
	for i := range 1000 {
		n := i * 4
		out = append(out, fmt.Sprintf("203.0.%d.%d/31", 96+n/256, n%256))
	}
	return out
}

func routesOf(routers string, prefixes []string) string {
	var b strings.Builder
	for _, p := range prefixes {
		fmt.Fprintf(&b, "\n%s: %s from all", routers, p)
	}
	return b.String()
}
