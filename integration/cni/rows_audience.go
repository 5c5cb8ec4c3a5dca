package cni

// audienceRows are about which peers hear a route, and about what it comes with.
var audienceRows = []Row{
	{
		Name: "an advertisement for one peer is for all, and a narrower one comes beside it", Only: beyondCalico,
		Steps: []Step{
			{Change: "for r1", Apply: docs(poolA, webA, advert("a", of("a", "peers: [r1]"))), Routes: "r1: 198.51.100.0 from all"},
			{
				Change: "it is for all, and another pool for r1 comes",
				Apply:  docs(advert("a", of("a", "peers: []")), pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", "peers: [r1]"))),
				Routes: heardA + "r1: 203.0.113.0 from all",
			},
			{Change: "they change places", Apply: docs(advert("a", of("a", "peers: [r1]")), advert("b", of("b", "peers: []"))), Routes: "r1: 198.51.100.0 from all\nr1 r2: 203.0.113.0 from all"},
			{Change: "both are for r2", Apply: docs(advert("a", of("a", "peers: [r2]")), advert("b", of("b", "peers: [r2]"))), Routes: "r2: 198.51.100.0 from all\nr2: 203.0.113.0 from all"},
		},
	},
	{
		Name: "an advertisement for one node is for all, and a narrower one comes beside it", Only: beyondCalico,
		Steps: []Step{
			{Change: "for n1", Label: []string{"n1 zone=a"}, Apply: docs(poolA, webA, advert("a", of("a", from("zone", "a")))), Routes: "r1 r2: 198.51.100.0 from n1"},
			{
				Change: "it is for all, and another pool for n1 comes",
				Apply:  docs(advert("a", of("a", "nodeSelectors: []")), pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", from("zone", "a")))),
				Routes: heardA + "r1 r2: 203.0.113.0 from n1",
			},
			{
				Change: "they change places", Apply: docs(advert("a", of("a", from("zone", "a"))), advert("b", of("b", "nodeSelectors: []"))),
				Routes: "r1 r2: 198.51.100.0 from n1\nr1 r2: 203.0.113.0 from all",
			},
		},
	},
	{
		Name: "three pools for three audiences, one after the other", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{Change: "one for r1", Apply: docs(pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", "peers: [r1]"))), Routes: heardA + "r1: 203.0.113.0 from all"},
			{Change: "one for r2", Apply: docs(pooled("c", rangeC), service("web-c", "c", ""), advert("c", of("c", "peers: [r2]"))), Routes: heardA + "r1: 203.0.113.0 from all\nr2: 192.0.2.0 from all"},
			{Change: "that for r1 goes", Delete: []string{"BGPAdvertisement/b"}, Routes: heardA + "r2: 192.0.2.0 from all"},
			{Change: "it comes again", Apply: advert("b", of("b", "peers: [r1]")), Routes: heardA + "r1: 203.0.113.0 from all\nr2: 192.0.2.0 from all"},
		},
	},
	{
		Name: "an advertisement for a peer that does not exist", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{Change: "for nobody", Apply: docs(pooled("b", rangeB), service("web-b", "b", ""), advert("b", of("b", "peers: [r9]"))), Routes: heardA, Told: "BGPPeer"},
			{Change: "for r2, too", Apply: advert("b", of("b", "peers: [r9, r2]")), Routes: heardA + "r2: 203.0.113.0 from all"},
		},
	},
	{
		Name: "an IPv6 address for a peer with an IPv4 session", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "for r1, not r1-v6", Apply: docs(pooled("six", rangeA, "2001:db8:a::/124"), service("web", "six", "ipFamilies: [IPv4, IPv6]"), advert("a", of("six", "peers: [r1]"))),
				Routes: "r1: 198.51.100.0 from all", Told: "no session can tell the IPv6 routes",
				Instead: map[string]Instead{"speaker": {Routes: "r1: 198.51.100.0 from all", Told: "no session carries the IPv6 addresses"}},
			},
			{Change: "for r1-v6, too", Apply: advert("a", of("six", "peers: [r1, r1-v6]")), Routes: "r1: 198.51.100.0 from all\nr1: 2001:db8:a:: from all"},
		},
	},
	{
		Name: "the same router as a second BGPPeer for one node", Only: []string{"cilium"},
		Steps: []Step{
			liveA,
			{
				Change: "it comes", Do: func(s *Scene) {
					s.Apply("kind: BGPPeer\nmetadata: {name: second}\nspec: {myASN: 64512, peerASN: 65010, peerAddress: " + s.Lab.Host("r1").Addr(false).String() +
						", nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]}")
				},
				Same: true, HoldSeconds: 3, Told: "is the peer of BGPPeer",
			},
			{Change: "it goes", Delete: []string{"BGPPeer/second"}, Same: true, HoldSeconds: 3},
		},
	},
	{
		Name: "a router has one BGPPeer for two nodes and another for the third", Only: beyondCalico, OwnPeers: true,
		Steps: []Step{
			{
				Change: "one for n1 and n3", Apply: docs(poolA, toAllA, webA), Do: func(s *Scene) {
					s.Apply(s.PeerYAML("r1", false, "nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n1, n3]}]}]"))
				},
				Routes: "r1: 198.51.100.0 from n1 n3",
			},
			{
				Change: "another one for n2", Do: func(s *Scene) {
					s.Apply("kind: BGPPeer\nmetadata: {name: a-second}\nspec: {myASN: 64512, peerASN: 65010, peerAddress: " + s.Lab.Host("r1").Addr(false).String() +
						", nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]}")
				},
				Routes: "r1: 198.51.100.0 from all", HoldSeconds: 2,
			},
			{Change: "r2 for n1", Do: func(s *Scene) {
				s.Apply(s.PeerYAML("r2", false, "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]"))
			}, Routes: "r1: 198.51.100.0 from all\nr2: 198.51.100.0 from n1"},
			{Change: "r2 for all", Do: func(s *Scene) { s.Apply(s.PeerYAML("r2", false, "nodeSelectors: []")) }, Routes: heardA},
			{Change: "n2 has none any more", Delete: []string{"BGPPeer/a-second"}, Routes: "r1: 198.51.100.0 from n1 n3\nr2: 198.51.100.0 from all", Resets: true},
		},
	},
	{
		Name: "a BGPPeer that nobody answers for", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{Change: "it comes", Apply: "kind: BGPPeer\nmetadata: {name: nobody}\nspec: {myASN: 64512, peerASN: 65077, peerAddress: 192.0.0.99}", Same: true, HoldSeconds: 2},
			{Change: "it is for n1 only", Apply: "kind: BGPPeer\nmetadata: {name: nobody}\nspec: {myASN: 64512, peerASN: 65077, peerAddress: 192.0.0.99, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]}", Same: true, HoldSeconds: 2},
			{Change: "it goes", Delete: []string{"BGPPeer/nobody"}, Same: true, HoldSeconds: 2},
		},
	},
	{
		Name: "communities come and change", Only: beyondCalico,
		Steps: []Step{
			liveA,
			{Change: "two", Apply: advert("a", of("a", `communities: ["64512:8", "65535:65281"]`)), Routes: "r1 r2: 198.51.100.0 from all with 64512:8 no-export"},
			{Change: "a large one", Apply: advert("a", of("a", `communities: ["large:64512:1:2"]`)), Routes: "r1 r2: 198.51.100.0 from all with 64512:1:2"},
			{Change: "none", Apply: advert("a", of("a", "communities: []")), Routes: heardA},
		},
	},
	{
		Name: "communities by name", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "an alias", Routes: "r1 r2: 198.51.100.0 from all with 64512:8",
				Apply: docs(poolA, webA, "kind: Community\nmetadata: {name: c}\nspec: {communities: [{name: mine, value: \"64512:8\"}]}", advert("a", of("a", "communities: [mine]"))),
			},
			{
				Change: "it means another", Routes: "r1 r2: 198.51.100.0 from all with 64512:9",
				Apply: "kind: Community\nmetadata: {name: c}\nspec: {communities: [{name: mine, value: \"64512:9\"}]}",
			},
			{
				Change: "there is one more", Routes: "r1 r2: 198.51.100.0 from all with 64512:9",
				Apply: "kind: Community\nmetadata: {name: c}\nspec: {communities: [{name: mine, value: \"64512:9\"}, {name: yours, value: \"64512:7\"}]}",
			},
		},
	},
	{
		Name: "a community alias is removed", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "an alias with no-export", Routes: "r1 r2: 198.51.100.0 from all with 64512:8 no-export",
				Apply: docs(poolA, webA, "kind: Community\nmetadata: {name: c}\nspec: {communities: [{name: mine, value: \"64512:8\"}, {name: stay, value: \"65535:65281\"}]}",
					advert("a", of("a", "communities: [mine, stay]"))),
			},
			{Change: "it is removed: the last version stays", Delete: []string{"Community/c"}, Same: true, HoldSeconds: 2},
		},
	},
	{
		Name: "two advertisements on one pool", Only: []string{"cilium"},
		Steps: []Step{
			{Change: "one", Apply: docs(poolA, webA, advert("a", of("a", `communities: ["64512:1"]`))), Routes: "r1 r2: 198.51.100.0 from all with 64512:1"},
			{Change: "one more: their communities come together", Apply: advert("b", of("a", `communities: ["64512:2"]`)), Routes: "r1 r2: 198.51.100.0 from all with 64512:1 64512:2"},
			{Change: "it is for r2 only", Apply: advert("b", of("a", `communities: ["64512:2"]`, "peers: [r2]")), Routes: "r1: 198.51.100.0 from all with 64512:1\nr2: 198.51.100.0 from all with 64512:1 64512:2"},
			{
				Change: "and from n1 only", Label: []string{"n1 zone=a"}, Apply: advert("b", of("a", `communities: ["64512:2"]`, "peers: [r2]", from("zone", "a"))),
				Routes: "r1: 198.51.100.0 from all with 64512:1\nr2: 198.51.100.0 from n2 n3 with 64512:1\nr2: 198.51.100.0 from n1 with 64512:1 64512:2",
			},
			{Change: "the first goes", Delete: []string{"BGPAdvertisement/a"}, Routes: "r2: 198.51.100.0 from n1 with 64512:2"},
		},
	},
	{
		Name: "a local preference changes", Only: beyondCalico,
		Steps: []Step{
			{Change: "200", Apply: docs(poolA, webA, advert("a", of("a", "localPref: 200"))), Routes: "r1: 198.51.100.0 from all\nr2: 198.51.100.0 from all with pref 200"},
			{Change: "300", Apply: advert("a", of("a", "localPref: 300")), Routes: "r1: 198.51.100.0 from all\nr2: 198.51.100.0 from all with pref 300"},
			{Change: "none", Apply: advert("a", of("a")), Routes: heardA},
		},
	},
	{
		Name: "a local preference from one node", Only: []string{"cilium"},
		Steps: []Step{
			{
				Change: "n1 is preferred", Label: []string{"n1 first=yes-please"},
				Apply: docs(poolA, webA, advert("first", of("a", "localPref: 300", from("first", "yes-please"))),
					advert("rest", of("a", "nodeSelectors: [{matchExpressions: [{key: first, operator: DoesNotExist}]}]"))),
				Routes: "r1: 198.51.100.0 from all\nr2: 198.51.100.0 from n1 with pref 300\nr2: 198.51.100.0 from n2 n3",
			},
			{
				Change: "now it is n2", Label: []string{"n1 first-", "n2 first=yes-please"},
				Routes: "r1: 198.51.100.0 from all\nr2: 198.51.100.0 from n2 with pref 300\nr2: 198.51.100.0 from n1 n3",
			},
			{Change: "nobody", Label: []string{"n2 first-"}, Routes: heardA},
		},
	},
	{
		Name: "aggregates", Only: beyondCalico,
		Steps: []Step{
			{Change: "a /28", Apply: docs(poolA, serviceAt("web", "198.51.100.0", ""), serviceAt("web2", "198.51.100.1", ""), advert("a", of("a", "aggregationLength: 28"))), Routes: "r1 r2: 198.51.100.0/28 from all"},
			{Change: "a Service goes: the aggregate stays", Delete: []string{"Service/web2"}, Same: true},
			{Change: "the addresses themselves", Apply: advert("a", of("a", "aggregationLength: 32")), Routes: "r1 r2: 198.51.100.0/32 from all"},
			{Change: "a /29", Apply: advert("a", of("a", "aggregationLength: 29")), Routes: "r1 r2: 198.51.100.0/29 from all"},
		},
	},
	{
		Name: "aggregates of IPv6", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "a /120", Apply: docs(pooled("six", "2001:db8:a::/120"), service("web", "six", "ipFamilies: [IPv6]"), advert("a", of("six", "aggregationLengthV6: 120"))),
				Routes: "r1 r2: 2001:db8:a::/120 from all",
			},
			{Change: "the address", Apply: advert("a", of("six", "aggregationLengthV6: 128")), Routes: "r1 r2: 2001:db8:a::/128 from all"},
		},
	},
	{
		Name: "an aggregate to all, and the addresses to one peer with a community", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "both", Apply: docs(poolA, webA, advert("wide", of("a", "aggregationLength: 28")), advert("near", of("a", "peers: [r2]", `communities: ["65535:65281"]`))),
				Routes: "r1 r2: 198.51.100.0/28 from all\nr2: 198.51.100.0/32 from all with no-export",
			},
			{Change: "the addresses go", Delete: []string{"BGPAdvertisement/near"}, Routes: "r1 r2: 198.51.100.0/28 from all"},
		},
	},
}
