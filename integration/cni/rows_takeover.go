package cni

// takeoverRows are about pools that change, and what becomes of their addresses.
var takeoverRows = []Row{
	{
		Name: "a pool grows, and a second one comes", Only: beyondCalico,
		Steps: []Step{
			{Change: "one pool and an advertisement of all pools", Apply: docs(pooled("a", "198.51.100.0/32"), advert("all", ""), webA), Routes: heardA},
			{Change: "it grows", Apply: docs(pooled("a", "198.51.100.0/31"), service("web2", "a", "")), Routes: heardA + "r1 r2: 198.51.100.1 from all"},
			{Change: "another one", Apply: docs(pooled("b", rangeB), service("web-b", "b", "")), Routes: heardA + "r1 r2: 198.51.100.1 from all\nr1 r2: 203.0.113.0 from all"},
		},
	},
	{
		Name: "a second pool takes over the upper half of one", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "a pool with an address in each half", Routes: "r1 r2: 198.51.100.1 from all\nr1 r2: 198.51.100.9 from all",
				Apply: docs(pooled("a", rangeA), advert("all", ""), serviceAt("low", "198.51.100.1", ""), serviceAt("high", "198.51.100.9", "")),
			},
			{Change: "it is narrowed, and the second one comes", Apply: docs(pooled("a", "198.51.100.0/29"), pooled("b", "198.51.100.8/29")), Same: true, HoldSeconds: 4},
			{Change: "the other way round: one has it all again", Delete: []string{"IPAddressPool/b"}, Apply: pooled("a", rangeA), Same: true, HoldSeconds: 4},
		},
	},
	{
		Name: "a second pool takes over, which comes first", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "a pool with an address in each half", Routes: "r1 r2: 198.51.100.1 from all\nr1 r2: 198.51.100.9 from all",
				Apply: docs(pooled("a", rangeA), advert("all", ""), serviceAt("low", "198.51.100.1", ""), serviceAt("high", "198.51.100.9", "")),
			},
			{Change: "the second one comes, and the first is narrowed", Apply: docs(pooled("b", "198.51.100.8/29"), pooled("a", "198.51.100.0/29")), Same: true, HoldSeconds: 4},
		},
	},
	{
		Name: "a pool gets another name", Only: beyondCalico,
		Steps: []Step{
			{Change: "a pool", Apply: docs(pooled("a", rangeA), advert("all", ""), serviceAt("web", "198.51.100.1", "")), Routes: "r1 r2: 198.51.100.1 from all"},
			{Change: "it is renamed", Apply: pooled("renamed", rangeA), Delete: []string{"IPAddressPool/a"}, Same: true, HoldSeconds: 4},
		},
	},
	{
		Name: "pools are selected by label", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "one of two", Routes: heardA,
				Apply: docs(labelledPool("a", "kind: outer", rangeA), webA, labelledPool("b", "kind: inner", rangeB), service("web-b", "b", ""),
					advert("outer", "ipAddressPoolSelectors: [{matchLabels: {kind: outer}}]")),
			},
			{Change: "the other gets the label", Apply: labelledPool("b", "kind: outer", rangeB), Routes: heardA + "r1 r2: 203.0.113.0 from all"},
			{Change: "the first loses it", Apply: labelledPool("a", "kind: inner", rangeA), Routes: "r1 r2: 203.0.113.0 from all"},
			{Change: "an advertisement to r1 of what is inner", Apply: advert("inner", "ipAddressPoolSelectors: [{matchLabels: {kind: inner}}], peers: [r1]"), Routes: "r1: 198.51.100.0 from all\nr1 r2: 203.0.113.0 from all"},
		},
	},
	{
		Name: "a pool changes over from one advertisement to another", Only: beyondCalico,
		Steps: []Step{
			{
				Change: "each has one", Routes: heardA + "r1: 203.0.113.0 from all",
				Apply: docs(poolA, webA, pooled("b", rangeB), service("web-b", "b", ""), advert("all", of("a")), advert("first", of("b", "peers: [r1]"))),
			},
			{Change: "they change places", Apply: docs(advert("all", of("b")), advert("first", of("a", "peers: [r1]"))), Routes: "r1: 198.51.100.0 from all\nr1 r2: 203.0.113.0 from all"},
		},
	},
	{
		Name: "a pool without an advertisement", Only: beyondCalico,
		Steps: []Step{
			{Change: "nobody hears", Apply: docs(poolA, webA), Routes: "", Told: "NotAdvertised"},
			{Change: "until there is one", Apply: toAllA, Routes: heardA},
		},
	},
}
