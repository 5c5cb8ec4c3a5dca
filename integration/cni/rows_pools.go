package cni

// poolRows are about pools, and which of them an advertisement selects.
var poolRows = []Row{
	{
		Name: "a range that is no prefix",
		Steps: []Step{
			{
				Change: "a pool of a range",
				Apply:  all(pool("a", "198.51.100.4-198.51.100.11"), adv("a", "ipAddressPools: [a]"), svc("web", "a", "198.51.100.6", "")),
				Routes: `r1 r2: 198.51.100.6 from all`,
				Instead: map[string]Instead{"calico": {
					Routes: `
						r1 r2: 198.51.100.6 from all
						r1 r2: 198.51.100.8/30 from all`,
					Told: "aggregated in 198.51.100.4/30, 198.51.100.8/30",
				}},
			},
			{
				Change: "it is narrowed beside the address",
				Apply:  pool("a", "198.51.100.4-198.51.100.7"),
				Routes: `r1 r2: 198.51.100.6 from all`,
			},
		},
	},
	{
		Name: "a pool gets a second range",
		Steps: []Step{
			liveA,
			{
				Change: "a range more, and a Service in it",
				Apply:  all(pool("a", "198.51.100.0/28", "203.0.113.64/28"), svc("other", "a", "203.0.113.70", "")),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.70 from all`,
			},
			{
				Change: "the Service and the range go",
				Delete: []string{"Service/other"},
				Apply:  pool("a", "198.51.100.0/28"),
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "a pool is extended to a shorter prefix",
		Steps: []Step{
			liveA,
			{Change: "twice as many", Apply: pool("a", "198.51.100.0/27"), Same: true, HoldSeconds: 3},
			{Change: "four times as many", Apply: pool("a", "198.51.100.0/26"), Same: true, HoldSeconds: 3},
			{Change: "as before", Apply: pool("a", "198.51.100.0/28"), Same: true, HoldSeconds: 3},
		},
	},
	{
		Name: "a pool is split", Short: true, Long: simpleOn,
		Steps: []Step{
			{
				Change: "a pool with a Service in each half",
				Apply: all(pool("a", "198.51.100.0/24"), adv("all", ""), svc("web", "a", "198.51.100.10", ""),
					svc("other", "a", "198.51.100.200", "")),
				Routes: `
					r1 r2: 198.51.100.10 from all
					r1 r2: 198.51.100.200 from all`,
			},
			{
				Change: "a second pool takes the upper half over",
				Apply:  all(pool("a", "198.51.100.0/25"), pool("b", "198.51.100.128/25")),
				Same:   true, HoldSeconds: 3,
			},
		},
	},
	{
		Name: "advertisements select pools by labels",
		Steps: []Step{
			{
				Change: "two pools, one has the label",
				Apply: all(labelled(pool("a", "198.51.100.0/28"), "net: public"), pool("b", "203.0.113.0/28"),
					adv("public", "ipAddressPoolSelectors: [{matchLabels: {net: public}}]"), svc("web", "a", "", ""), svc("other", "b", "", "")),
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
			{
				Change: "the other one gets it",
				Apply:  labelled(pool("b", "203.0.113.0/28"), "net: public"),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from all`,
			},
			{
				Change: "the first one loses it",
				Apply:  labelled(pool("a", "198.51.100.0/28"), "net: private"),
				Routes: `r1 r2: 203.0.113.0 from all`,
			},
		},
	},
	{
		Name: "an advertisement changes its pools",
		Steps: []Step{
			{
				Change: "two pools, one is advertised",
				Apply:  all(poolA, poolB, webA, webB, adv("one", "ipAddressPools: [a]")),
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
			{
				Change: "the other one in its place",
				Apply:  adv("one", "ipAddressPools: [b]"),
				Routes: `r1 r2: 203.0.113.0 from all`,
			},
			{
				Change: "both",
				Apply:  adv("one", "ipAddressPools: [a, b]"),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from all`,
			},
			{
				Change: "one that does not exist, too",
				Apply:  adv("one", "ipAddressPools: [a, b, c]"),
				Same:   true,
			},
		},
	},
	{
		Name: "an advertisement without a selector is of all pools",
		Steps: []Step{
			{
				Change: "a pool",
				Apply:  all(poolA, webA, adv("all", "")),
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
			{
				Change: "another pool comes",
				Apply:  all(poolB, webB),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from all`,
			},
			{
				Change: "it goes, with its Service",
				Delete: []string{"Service/other", "IPAddressPool/b"},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "two advertisements of one pool",
		Steps: []Step{
			liveA,
			{Change: "a second one", Apply: adv("again", "ipAddressPools: [a]"), Same: true},
			{Change: "the first one goes", Delete: []string{"BGPAdvertisement/a"}, Same: true},
			{Change: "the second one goes", Delete: []string{"BGPAdvertisement/again"}},
		},
	},
	{
		Name: "a pool that gives addresses only to those who ask",
		Steps: []Step{
			liveA,
			{
				Change: "a pool without automatic assignment",
				Apply:  all("kind: IPAddressPool\nmetadata: {name: b}\nspec: {addresses: [203.0.113.0/28], autoAssign: false}", adv("b", "ipAddressPools: [b]"), svc("other", "b", "203.0.113.3", "")),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.3 from all`,
			},
		},
	},
	{
		Name: "both families from two pools",
		Steps: []Step{
			{
				Change: "a pool for each family, and an advertisement for each",
				Apply: all(pool("four", "198.51.100.0/28"), pool("six", "2001:db8:6::/124"), adv("four", "ipAddressPools: [four]"), adv("six", "ipAddressPools: [six]"),
					"kind: Service\nmetadata: {name: web, annotations: {fairlead.io/address-pools: \"four,six\"}}\nspec: {ipFamilies: [IPv4, IPv6]}"),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 2001:db8:6:: from all`,
				Instead: map[string]Instead{"cilium": {Told: `selects pool "four" and not "six": select both, or give the Service addresses of one pool`}},
			},
			{
				Change:  "that of IPv6 goes",
				Delete:  []string{"BGPAdvertisement/six"},
				Routes:  `r1 r2: 198.51.100.0 from all`,
				Instead: map[string]Instead{"cilium": {Told: `no BGPAdvertisement or L2Advertisement selects pool "six"`}},
			},
			{
				Change:  "it comes back, that of IPv4 goes",
				Apply:   adv("six", "ipAddressPools: [six]"),
				Delete:  []string{"BGPAdvertisement/four"},
				Routes:  `r1 r2: 2001:db8:6:: from all`,
				Instead: map[string]Instead{"cilium": {Told: `selects pool "six" and not "four": select both`}},
			},
			{
				Change: "one is of both",
				Apply:  adv("six", "ipAddressPools: [four, six]"),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 2001:db8:6:: from all`,
			},
		},
	},
	{
		Name: "IPv6 only",
		Steps: []Step{
			{
				Change: "a pool of IPv6",
				Apply: all(pool("six", "2001:db8:6::/120"), adv("six", "ipAddressPools: [six]"),
					"kind: Service\nmetadata: {name: web}\nspec: {ipFamilies: [IPv6]}"),
				Routes: `r1 r2: 2001:db8:6:: from all`,
			},
			{
				Change: "half of it",
				Apply:  pool("six", "2001:db8:6::/121"),
				Same:   true, HoldSeconds: 3,
			},
			{
				Change: "for r1 only",
				Apply:  adv("six", "ipAddressPools: [six], peers: [r1-v6]"),
				Routes: `r1: 2001:db8:6:: from all`,
			},
		},
	},
	{
		Name: "routes of whole prefixes",
		Steps: []Step{
			{
				Change: "a pool that is advertised as a whole",
				Apply: all(pool("a", "198.51.100.0/24", "2001:db8:a::/64"), adv("a", "ipAddressPools: [a], aggregationLength: 24, aggregationLengthV6: 64"),
					"kind: Service\nmetadata: {name: web}\nspec: {ipFamilies: [IPv4, IPv6]}"),
				Routes: `
					r1 r2: 198.51.100.0/24 from all
					r1 r2: 2001:db8:a::/64 from all`,
			},
			{Change: "one Service more", Apply: svc("other", "a", "", ""), Same: true},
			{
				Change: "for r2 only",
				Apply:  adv("a", "ipAddressPools: [a], aggregationLength: 24, aggregationLengthV6: 64, peers: [r2, r2-v6]"),
				Routes: `
					r2: 198.51.100.0/24 from all
					r2: 2001:db8:a::/64 from all`,
			},
			{
				Change: "from n2 only",
				Apply:  adv("a", "ipAddressPools: [a], aggregationLength: 24, aggregationLengthV6: 64, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]"),
				Routes: `
					r1 r2: 198.51.100.0/24 from n2
					r1 r2: 2001:db8:a::/64 from n2`,
			},
		},
	},
	{
		Name: "routes shorter than the pool's prefix and longer than an address",
		Steps: []Step{
			{
				Change: "a pool in routes of 16 addresses",
				Apply:  all(pool("a", "198.51.100.0/24"), adv("a", "ipAddressPools: [a], aggregationLength: 28"), svc("web", "a", "198.51.100.17", "")),
				Routes: `r1 r2: 198.51.100.16/28 from all`,
				Instead: map[string]Instead{"calico": {
					Routes: `r1 r2: 198.51.100.0/24 from all`,
					Told:   "is not honoured: Calico advertises 198.51.100.0/24 as it is",
				}},
			},
		},
	},
}

// communityRows are about what comes with routes.
var communityRows = []Row{
	{
		Name: "a community from the first moment on", Short: true,
		Steps: []Step{
			liveA,
			{
				Change: "another pool that is not to leave the neighbour",
				Apply:  all(poolB, webB, adv("b", `ipAddressPools: [b], communities: ["65535:65281"]`)),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from all with no-export`,
			},
			{
				Change: "it goes",
				Delete: []string{"BGPAdvertisement/b"},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
			{
				Change: "it comes back with one more",
				Apply:  adv("b", `ipAddressPools: [b], communities: ["65535:65281", "64512:7"]`),
				Routes: `
					r1 r2: 198.51.100.0 from all
					r1 r2: 203.0.113.0 from all with no-export 64512:7`,
			},
			{
				Change: "the pool goes",
				Delete: []string{"Service/other", "IPAddressPool/b"},
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "a community is replaced",
		Steps: []Step{
			{
				Change: "a pool with one",
				Apply:  all(poolA, webA, adv("a", `ipAddressPools: [a], communities: ["64512:1"]`)),
				Routes: `r1 r2: 198.51.100.0 from all with 64512:1`,
			},
			{
				Change: "another one",
				Apply:  adv("a", `ipAddressPools: [a], communities: ["64512:2"]`),
				Routes: `r1 r2: 198.51.100.0 from all with 64512:2`,
			},
			{
				Change: "three",
				Apply:  adv("a", `ipAddressPools: [a], communities: ["64512:1", "64512:2", "64512:3"]`),
				Routes: `r1 r2: 198.51.100.0 from all with 64512:1 64512:2 64512:3`,
			},
			{
				Change: "none",
				Apply:  adv("a", `ipAddressPools: [a]`),
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
		},
	},
	{
		Name: "a large community",
		Steps: []Step{
			{
				Change: "a pool with one",
				Apply:  all(poolA, webA, adv("a", `ipAddressPools: [a], communities: ["large:64512:1:2", "64512:9"]`)),
				Routes: `r1 r2: 198.51.100.0 from all with 64512:1:2 64512:9`,
			},
			{
				Change: "another one",
				Apply:  adv("a", `ipAddressPools: [a], communities: ["large:4200000000:1:3"]`),
				Routes: `r1 r2: 198.51.100.0 from all with 4200000000:1:3`,
			},
		},
	},
	{
		Name: "a community by its name",
		Steps: []Step{
			{
				Change: "a pool with one",
				Apply: all("kind: Community\nmetadata: {name: names}\nspec: {communities: [{name: inside, value: \"64512:10\"}]}", poolA, webA,
					adv("a", `ipAddressPools: [a], communities: [inside]`)),
				Routes: `r1 r2: 198.51.100.0 from all with 64512:10`,
			},
			{
				Change: "the name stands for another one",
				Apply:  "kind: Community\nmetadata: {name: names}\nspec: {communities: [{name: inside, value: \"64512:11\"}]}",
				Routes: `r1 r2: 198.51.100.0 from all with 64512:11`,
			},
			{
				Change: "the name goes: the advertisement is faulty, and stays as it was",
				Delete: []string{"Community/names"},
				Same:   true,
			},
			{
				Change: "the name comes back",
				Apply:  "kind: Community\nmetadata: {name: names}\nspec: {communities: [{name: inside, value: \"64512:12\"}]}",
				Routes: `r1 r2: 198.51.100.0 from all with 64512:12`,
			},
		},
	},
	{
		Name: "communities of two pools",
		Steps: []Step{
			{
				Change: "each has its own",
				Apply: all(poolA, poolB, webA, webB, adv("a", `ipAddressPools: [a], communities: ["64512:1"]`),
					adv("b", `ipAddressPools: [b], communities: ["64512:2"]`)),
				Routes: `
					r1 r2: 198.51.100.0 from all with 64512:1
					r1 r2: 203.0.113.0 from all with 64512:2`,
			},
			{
				Change: "they change places",
				Apply:  all(adv("a", `ipAddressPools: [a], communities: ["64512:2"]`), adv("b", `ipAddressPools: [b], communities: ["64512:1"]`)),
				Routes: `
					r1 r2: 198.51.100.0 from all with 64512:2
					r1 r2: 203.0.113.0 from all with 64512:1`,
			},
			{
				Change: "the one goes",
				Delete: []string{"BGPAdvertisement/a"},
				Routes: `r1 r2: 203.0.113.0 from all with 64512:1`,
			},
		},
	},
	{
		Name: "a route moves to another router with another community",
		Steps: []Step{
			{
				Change: "for r1",
				Apply:  all(poolA, webA, adv("a", `ipAddressPools: [a], peers: [r1], communities: ["64512:1"]`)),
				Routes: `r1: 198.51.100.0 from all with 64512:1`,
			},
			{
				Change: "for r2, not to leave it",
				Apply:  adv("a", `ipAddressPools: [a], peers: [r2], communities: ["65535:65281"]`),
				Routes: `r2: 198.51.100.0 from all with no-export`,
			},
			{
				Change: "for all, without",
				Apply:  adv("a", `ipAddressPools: [a]`),
				Routes: `r1 r2: 198.51.100.0 from all`,
			},
			{
				Change: "from n1 only, with another one",
				Apply:  adv("a", `ipAddressPools: [a], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}], communities: ["64512:3"]`),
				Routes: `r1 r2: 198.51.100.0 from n1 with 64512:3`,
			},
		},
	},
	{
		Name: "a community for IPv6",
		Steps: []Step{
			{
				Change: "a pool of both families",
				Apply: all(pool("a", "198.51.100.0/28", "2001:db8:a::/124"), adv("a", `ipAddressPools: [a], communities: ["64512:1"]`),
					"kind: Service\nmetadata: {name: web}\nspec: {ipFamilies: [IPv4, IPv6]}"),
				Routes: `
					r1 r2: 198.51.100.0 from all with 64512:1
					r1 r2: 2001:db8:a:: from all with 64512:1`,
			},
			{
				Change: "another one",
				Apply:  adv("a", `ipAddressPools: [a], communities: ["64512:5"]`),
				Routes: `
					r1 r2: 198.51.100.0 from all with 64512:5
					r1 r2: 2001:db8:a:: from all with 64512:5`,
			},
		},
	},
}
